use omniroute_core::error::ErrorClass;

use super::super::Decoder;
use crate::{
    codec::StreamDecoder,
    ir::{Collector, Event, FinishReason, Part, Response, StreamError, Validator},
};

const RECORDS: &[&str] = &[
    r#"{"type":"message-start","id":"m1","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#,
    r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":""}}}}"#,
    r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"hm"}}}}"#,
    r#"{"type":"content-end","index":0}"#,
    r#"{"type":"content-start","index":1,"delta":{"message":{"content":{"type":"text","text":""}}}}"#,
    r#"{"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"Hé "}}},"logprobs":{"text":"Hé ","token_ids":[1],"logprobs":[-0.5]}}"#,
    r#"{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":2,"text":"Hé","sources":[{"type":"document","id":"1","document":{"id":"1","title":"T"}}],"type":"TEXT_CONTENT","content_index":1}}}}"#,
    r#"{"type":"citation-end","index":0}"#,
    r#"{"type":"content-end","index":1}"#,
    r#"{"type":"citation-start","index":1,"delta":{"message":{"citations":{"start":0,"end":1,"text":"H","sources":[]}}}}"#,
    r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I will"}}}"#,
    r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":" look."}}}"#,
    r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"f_1","type":"function","function":{"name":"f","arguments":""}}}}}"#,
    r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{\n    \""}}}}}"#,
    r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"x\": 1.0}"}}}}}"#,
    r#"{"type":"tool-call-end","index":0}"#,
    r#"{"type":"tool-call-start","index":1,"delta":{"message":{"tool_calls":[{"id":"g_1","type":"function","function":{"name":"g"}}]}}}"#,
    r#"{"type":"debug","prompt":"<BOS>"}"#,
    r#"{"type":"invented-later","index":0}"#,
    r#"{"type":"message-end","id":"m1","delta":{"finish_reason":"TOOL_CALL","usage":{"billed_units":{"input_tokens":18.0,"output_tokens":6.0},"tokens":{"input_tokens":1661.0,"output_tokens":19.0}}}}"#,
];

fn as_events(records: &[&str]) -> String {
    records.iter().map(|record| format!("event: x\ndata: {record}\n\n")).collect()
}

fn as_lines(records: &[&str]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
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

fn collect(records: &[&str]) -> Result<Response<'static>, StreamError> {
    let (mut decoder, mut collector) = (Decoder::default(), Collector::default());
    decoder.feed(as_events(records).as_bytes(), &mut |event| collector.push(&event));
    decoder.end(&mut |event| collector.push(&event));
    collector.finish()
}

#[test]
fn events_and_lines_split_anywhere_give_the_same() {
    let whole = events(as_events(RECORDS).as_bytes(), usize::MAX);
    for split in 1..80 {
        assert_eq!(events(as_events(RECORDS).as_bytes(), split), whole, "events in pieces of {split}");
        assert_eq!(events(as_lines(RECORDS).as_bytes(), split), whole, "lines in pieces of {split}");
    }
}

#[test]
fn everything_arrives_byte_for_byte() {
    let response = collect(RECORDS).expect("an answer");
    let choice = &response.choices[0];
    assert_eq!((response.id.as_ref(), choice.finish), ("m1", Some(FinishReason::ToolCalls)));
    assert_eq!(choice.parts[0], Part::Thinking { text: "hm".into(), signature: None });
    let Part::Text { text, annotations, .. } = &choice.parts[1] else { panic!("text") };
    assert_eq!((text.as_ref(), annotations.len()), ("Hé ", 2), "also a citation behind the content's end");
    assert_eq!(choice.parts[2], Part::text("I will look."));
    let arguments: Vec<_> = choice.parts[3..]
        .iter()
        .map(|part| if let Part::ToolCall { arguments, .. } = part { arguments.as_ref() } else { "?" })
        .collect();
    assert_eq!(arguments, ["{\n    \"x\": 1.0}", "{}"], "a call without parameters has an empty object");
    assert_eq!((response.usage.input, response.usage.output), (Some(18), Some(6)));
    assert!(choice.logprobs.is_some());
}

#[test]
fn a_stream_cut_anywhere_before_its_end_is_an_error() {
    for count in 0..RECORDS.len() {
        let error = collect(&RECORDS[..count]).expect_err("cut");
        assert_eq!(error.code, "upstream_stream_cut", "after {count}");
    }
}

#[test]
fn failures_in_mid_stream_are_error_events() {
    let end = |finish: &str, error: &str| {
        format!(r#"{{"type":"message-end","delta":{{"finish_reason":"{finish}","error":"{error}"}}}}"#)
    };
    for (record, class, message) in [
        (end("ERROR", "boom"), ErrorClass::Upstream, "boom"),
        (end("TIMEOUT", ""), ErrorClass::UpstreamTimeout, "the upstream ran out of time"),
        (r#"{"message":"too many tokens: x"}"#.to_owned(), ErrorClass::ContextTooLong, "too many tokens: x"),
        (r#"{"type":"error","message":"gone"}"#.to_owned(), ErrorClass::Upstream, "gone"),
        ("{".to_owned(), ErrorClass::Upstream, "the upstream sent an event that is not valid JSON"),
        ("<html>".to_owned(), ErrorClass::Upstream, "the upstream sent an event that is not valid JSON"),
        (
            r#"{"type":"content-delta","delta":{"message":{"content":{"text":5}}}}"#.to_owned(),
            ErrorClass::Upstream,
            "the upstream sent an event that is not valid JSON",
        ),
    ] {
        for before in [0, 3, 15] {
            let mut records = RECORDS[..before].to_vec();
            records.push(&record);
            records.extend(&RECORDS[before..]);
            let all = events(as_events(&records).as_bytes(), 7);
            assert!(all.last().is_some_and(|last| last.starts_with("Error")), "nothing follows: {record}");
            let error = collect(&records).expect_err("an error");
            assert_eq!((error.class, error.message.as_str()), (class, message), "{record}");
        }
    }
}

#[test]
fn html_and_silence_are_errors_too() {
    for stream in [&b""[..], b"\n\n", b"<html><body>busy</body></html>", b"\xff\xfe", b"data: \xff\n\n"] {
        let all = events(stream, 3);
        assert!(all.len() == 1 && all[0].starts_with("Error"), "{all:?}");
    }
}

#[test]
fn a_stream_out_of_order_still_obeys_the_order_of_events() {
    // Deltas without starts, ends without deltas, a call that never ends, everything twice.
    let shuffled: Vec<&str> = [6, 15, 13, 2, 5, 12, 10, 14, 3, 3, 16, 5, 12, 8, 13, 1, 0, 0, 19, 4, 19]
        .iter()
        .map(|at| RECORDS[*at])
        .collect();
    let all = events(as_events(&shuffled).as_bytes(), 11);
    assert!(all.last().is_some_and(|last| last.starts_with("Finish")), "{all:?}");
}

#[test]
fn many_parts_do_not_grow_without_bound() {
    let mut records = vec![RECORDS[0].to_owned()];
    for index in 0..5000 {
        records.push(format!(
            r#"{{"type":"tool-call-start","index":{index},"delta":{{"message":{{"tool_calls":{{"id":"{index}","function":{{"name":"f"}}}}}}}}}}"#
        ));
    }
    records.push(RECORDS[19].to_owned());
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let starts = events(as_lines(&records).as_bytes(), 4096);
    assert_eq!(starts.iter().filter(|event| event.starts_with("PartStart")).count(), 4096);
}
