use std::time::Duration;

use omniroute_core::error::ErrorClass;

use super::super::{
    Decoder,
    frames::{write_event, write_exception, write_frame},
};
use crate::{
    answer_tool::Unwrapping,
    codec::StreamDecoder,
    ir::{Collector, Event, Family, FinishReason, Part, Response, Signature, StreamError, Validator},
};

const EVENTS: &[(&str, &str)] = &[
    ("messageStart", r#"{"role":"assistant","p":"abcdef"}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}},"p":"ab"}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"sig"}}}"#),
    ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"AAE="}}}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"Ag=="}}}"#),
    ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"text":"Hé"}}"#),
    (
        "contentBlockDelta",
        r#"{"contentBlockIndex":2,"delta":{"citation":{"title":"T","location":{"web":{"url":"https://w","domain":"w"}}}}}"#,
    ),
    ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"text":" there"}}"#),
    ("contentBlockStop", r#"{"contentBlockIndex":2}"#),
    (
        "contentBlockStart",
        r#"{"contentBlockIndex":3,"start":{"toolUse":{"toolUseId":"s","name":"nova_grounding","type":"server_tool_use"}}}"#,
    ),
    ("contentBlockDelta", r#"{"contentBlockIndex":3,"delta":{"toolUse":{"input":"{\"q\":"}}}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":3,"delta":{"toolUse":{"input":"1}"}}}"#),
    ("contentBlockStop", r#"{"contentBlockIndex":3}"#),
    (
        "contentBlockStart",
        r#"{"contentBlockIndex":4,"start":{"toolResult":{"toolUseId":"s","type":"nova_grounding_result","status":"success"}}}"#,
    ),
    ("contentBlockDelta", r#"{"contentBlockIndex":4,"delta":{"toolResult":[{"text":"r"},{"json":{"a":1}}]}}"#),
    ("contentBlockStop", r#"{"contentBlockIndex":4}"#),
    ("contentBlockStart", r#"{"contentBlockIndex":5,"start":{"image":{"format":"png"}}}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":5,"delta":{"image":{"source":{"bytes":"AA=="}}}}"#),
    ("contentBlockStop", r#"{"contentBlockIndex":5}"#),
    ("contentBlockStart", r#"{"contentBlockIndex":6,"start":{"toolUse":{"toolUseId":"t1","name":"f"}}}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":6,"delta":{"toolUse":{"input":""}}}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":6,"delta":{"toolUse":{"input":"{\"x\": "}}}"#),
    ("contentBlockDelta", r#"{"contentBlockIndex":6,"delta":{"toolUse":{"input":"1.0}"}}}"#),
    ("contentBlockStop", r#"{"contentBlockIndex":6}"#),
    ("contentBlockStart", r#"{"contentBlockIndex":7,"start":{"toolUse":{"toolUseId":"t2","name":"g"}}}"#),
    ("contentBlockStop", r#"{"contentBlockIndex":7}"#),
    ("inventedLater", "[1]"),
    ("messageStop", r#"{"stopReason":"tool_use","additionalModelResponseFields":{"stop_sequence":null}}"#),
    (
        "metadata",
        r#"{"usage":{"inputTokens":3,"outputTokens":5,"totalTokens":8,"cacheWriteInputTokens":4,"cacheDetails":[{"ttl":"1h","inputTokens":4}]},"metrics":{"latencyMs":9},"p":"x"}"#,
    ),
];

fn framed(events: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, payload) in events {
        write_event(kind, payload.as_bytes(), &mut out);
    }
    out
}

fn events(stream: &[u8], split: usize) -> Vec<String> {
    let (mut decoder, mut validator) = (Decoder::default(), Validator::default());
    let mut all = Vec::new();
    let mut emit = |event: Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        all.push(format!("{event:?}"));
    };
    for piece in stream.chunks(split) {
        decoder.feed(piece, &mut emit);
    }
    decoder.end(&mut emit);
    validator.end().expect("a complete stream");
    all
}

fn collect(stream: &[u8]) -> Result<Response<'static>, StreamError> {
    let (mut decoder, mut collector) = (Decoder::default(), Collector::default());
    decoder.feed(stream, &mut |event| collector.push(&event));
    decoder.end(&mut |event| collector.push(&event));
    collector.finish()
}

#[test]
fn splitting_a_stream_anywhere_changes_no_event() {
    let stream = framed(EVENTS);
    let whole = events(&stream, usize::MAX);
    for split in 1..200 {
        assert_eq!(events(&stream, split), whole, "pieces of {split}");
    }
}

#[test]
fn everything_arrives_byte_for_byte() {
    let response = collect(&framed(EVENTS)).expect("an answer");
    let choice = &response.choices[0];
    let signed = |payload: &'static str| Signature { family: Family::Bedrock, payload: payload.into() };
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
    assert_eq!(choice.parts[0], Part::Thinking { text: "hm".into(), signature: Some(signed("sig")) });
    assert_eq!(choice.parts[1], Part::RedactedThinking { data: signed("AAEC") }, "two pieces of base64 joined");
    let Part::Text { text, annotations, .. } = &choice.parts[2] else { panic!("text") };
    assert_eq!((text.as_ref(), annotations[0].url.as_deref()), ("Hé there", Some("https://w")));
    let raws: Vec<_> = choice.parts[3..5]
        .iter()
        .map(|part| if let Part::ServerTool { raw, .. } = part { raw.as_str() } else { "?" })
        .collect();
    assert_eq!(
        raws,
        [
            r#"{"toolUse":{"toolUseId":"s","name":"nova_grounding","input":{"q":1},"type":"server_tool_use"}}"#,
            r#"{"toolResult":{"toolUseId":"s","type":"nova_grounding_result","status":"success","content":[{"text":"r"},{"json":{"a":1}}]}}"#
        ]
    );
    assert!(matches!(choice.parts[5], Part::Image { .. }));
    let arguments: Vec<_> = choice.parts[6..]
        .iter()
        .map(|part| if let Part::ToolCall { arguments, .. } = part { arguments.as_ref() } else { "?" })
        .collect();
    assert_eq!(arguments, ["{\"x\": 1.0}", "{}"], "a call without parameters has an empty object");
    assert_eq!((response.usage.input, response.usage.cache_write_1h), (Some(3), Some(4)));
}

#[test]
fn the_tool_that_stands_for_the_format_streams_as_text() {
    let stream = framed(&[
        ("messageStart", r#"{"role":"assistant"}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Here it is:"}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        (
            "contentBlockStart",
            r#"{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"t","name":"omniroute_json_answer"}}}"#,
        ),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"a\""}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":": 1}"}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
        ("messageStop", r#"{"stopReason":"tool_use"}"#),
    ]);
    let (mut decoder, mut collector) = (Unwrapping::new(Box::new(Decoder::default())), Collector::default());
    decoder.feed(&stream, &mut |event| collector.push(&event));
    decoder.end(&mut |event| collector.push(&event));
    let response = collector.finish().expect("an answer");
    assert_eq!(response.choices[0].parts, [Part::text("{\"a\": 1}")]);
    assert_eq!(response.choices[0].finish, Some(FinishReason::End));
}

#[test]
fn a_stream_cut_anywhere_before_its_end_is_an_error() {
    let whole = framed(EVENTS);
    let stop = framed(&EVENTS[..30]).len();
    for end in 0..whole.len() {
        let result = collect(&whole[..end]);
        assert_eq!(result.is_ok(), end >= stop, "cut at {end}: only what follows the stop may be missing");
        if let Err(error) = result {
            assert_eq!(error.code, "upstream_stream_cut");
        }
    }
}

#[test]
fn exceptions_in_band_are_error_events_and_nothing_follows() {
    for (name, payload, class, wait) in [
        ("throttlingException", r#"{"message":"Please try again in 3s"}"#, ErrorClass::RateLimited, Some(3)),
        (
            "modelStreamErrorException",
            r#"{"message":"m","originalStatusCode":500,"originalMessage":"o"}"#,
            ErrorClass::Upstream,
            None,
        ),
        ("serviceUnavailableException", r#"{"message":"m"}"#, ErrorClass::Overloaded, None),
        ("internalServerException", r#"{"message":"m"}"#, ErrorClass::Upstream, None),
        (
            "validationException",
            r#"{"message":"Input is too long for requested model"}"#,
            ErrorClass::ContextTooLong,
            None,
        ),
        ("validationException", r#"{"message":"m"}"#, ErrorClass::BadRequest, None),
        ("modelTimeoutException", "not json", ErrorClass::UpstreamTimeout, None),
    ] {
        for before in [0, 3, 24] {
            let mut stream = framed(&EVENTS[..before]);
            write_exception(name, payload.as_bytes(), &mut stream);
            stream.extend(framed(&EVENTS[before..]));
            assert!(events(&stream, 5).last().is_some_and(|last| last.starts_with("Error")), "{name}");
            let error = collect(&stream).expect_err(name);
            assert_eq!((error.class, error.retry_after), (class, wait.map(Duration::from_secs)), "{name}");
        }
    }
    let mut stream = framed(&EVENTS[..3]);
    let headers = [(":message-type", "error"), (":error-code", "ThrottlingException"), (":error-message", "slow")];
    write_frame(&headers, b"", &mut stream);
    let error = collect(&stream).expect_err("an error");
    assert_eq!((error.class, error.message.as_str()), (ErrorClass::RateLimited, "slow"));
}

#[test]
fn an_exception_behind_the_end_changes_nothing() {
    let mut stream = framed(EVENTS);
    write_exception("internalServerException", b"{}", &mut stream);
    assert!(collect(&stream).is_ok());
}

#[test]
fn what_is_no_event_stream_is_an_error() {
    let mut flipped = framed(EVENTS);
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let bad_json = framed(&[EVENTS[0], ("contentBlockDelta", "{")]);
    let bad_type = framed(&[EVENTS[0], ("contentBlockDelta", r#"{"contentBlockIndex":-1,"delta":7}"#)]);
    let bad_text = framed(&[EVENTS[0], ("messageStop", "\u{0}")]);
    for stream in [
        &flipped[..],
        b"data: {\"choices\":[]}\n\n",
        b"<html><body>busy</body></html>",
        &bad_json,
        &bad_type,
        &bad_text,
    ] {
        let error = collect(stream).expect_err("no event stream");
        assert_eq!((error.class, error.code), (ErrorClass::Upstream, "upstream_malformed"));
        assert!(events(stream, 7).last().is_some_and(|last| last.starts_with("Error")));
    }
}

#[test]
fn a_malformed_call_is_an_error_never_a_finish() {
    let error = collect(&framed(&[EVENTS[0], ("messageStop", r#"{"stopReason":"malformed_tool_use"}"#)]));
    assert_eq!(error.expect_err("malformed").code, "malformed_tool_call");
}

#[test]
fn a_stop_sequence_is_told() {
    let stream = framed(&[
        EVENTS[7],
        ("messageStop", r#"{"stopReason":"stop_sequence","additionalModelResponseFields":{"stop_sequence":"END"}}"#),
    ]);
    let response = collect(&stream).expect("an answer, though it did not say that it starts");
    assert_eq!(response.choices[0].finish, Some(FinishReason::StopSequence));
    assert_eq!(response.choices[0].stop_sequence.as_deref(), Some("END"));
}

#[test]
fn a_stream_out_of_order_still_obeys_the_order_of_events() {
    // Blocks that share a number, never stop, stop twice or never start; everything interleaved.
    let order = [7, 21, 1, 24, 4, 3, 3, 26, 12, 16, 19, 30, 10, 0, 11, 7, 23, 18, 19, 29, 29, 7, 21, 30, 0];
    let shuffled: Vec<_> = order.iter().map(|at| EVENTS[*at]).collect();
    let all = events(&framed(&shuffled), 13);
    assert_eq!(all.iter().filter(|event| event.starts_with("Finish")).count(), 1, "{all:?}");
    // Several blocks open at once.
    let open = framed(&[EVENTS[21], EVENTS[26], EVENTS[23], EVENTS[7], EVENTS[24], EVENTS[29]]);
    let response = collect(&open).expect("an answer");
    assert_eq!(response.choices[0].parts.len(), 3);
}

#[test]
fn many_blocks_and_much_media_do_not_grow_without_bound() {
    let mut stream = Vec::new();
    for index in 0..5000 {
        let start = format!(r#"{{"contentBlockIndex":{index},"start":{{"toolUse":{{"toolUseId":"t","name":"f"}}}}}}"#);
        write_event("contentBlockStart", start.as_bytes(), &mut stream);
    }
    stream.extend(framed(&[EVENTS[29]]));
    let starts = events(&stream, 4096).iter().filter(|event| event.starts_with("PartStart")).count();
    assert!(starts <= 4096, "{starts}");
    let mut decoder = Decoder::default();
    let mut last = String::new();
    let piece = format!(
        r#"{{"contentBlockIndex":0,"delta":{{"reasoningContent":{{"redactedContent":"{}"}}}}}}"#,
        "A".repeat(8 * 1024 * 1024)
    );
    for _ in 0..6 {
        let mut frame = Vec::new();
        write_event("contentBlockDelta", piece.as_bytes(), &mut frame);
        decoder.feed(&frame, &mut |event| last = format!("{event:?}"));
    }
    assert!(last.contains("stream_too_long"), "{last}");
}
