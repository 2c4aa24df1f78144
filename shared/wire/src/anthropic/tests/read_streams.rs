use omniroute_core::error::ErrorClass;
use serde_json::json;

use super::*;
use crate::ir::{Collector, FinishReason, Part, StreamError};

pub(super) const STREAM: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_up\",\"model\":\"claude\",\"content\":[],\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":4,\"cache_creation_input_tokens\":5,\"cache_creation\":{\"ephemeral_5m_input_tokens\":2,\"ephemeral_1h_input_tokens\":3},\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\u{e9}\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"sig\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"redacted_thinking\",\"data\":\"blob\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"query\\\":\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\" \\\"x\\\"}\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"text_delta\",\"text\":\"found\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"citations_delta\",\"citation\":{\"type\":\"char_location\",\"cited_text\":\"c\",\"document_index\":0,\"document_title\":\"D\",\"start_char_index\":0,\"end_char_index\":1}}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":3}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":4,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":4,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":4,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"n\\\": 1\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":4,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\".0}\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":4}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":9}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

pub(super) fn collect(stream: &str) -> Result<crate::ir::Response<'static>, StreamError> {
    let mut collector = Collector::default();
    events(stream, usize::MAX).iter().for_each(|event| collector.push(event));
    collector.finish()
}

fn frame(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

#[test]
fn splitting_a_stream_anywhere_changes_no_event() {
    let whole = events(STREAM, usize::MAX);
    for split in 1..200 {
        assert_eq!(events(STREAM, split), whole, "pieces of {split}");
    }
    let crlf = STREAM.replace('\n', "\r\n");
    assert_eq!(events(&crlf, 3), whole);
    let (head, tail) = STREAM.split_at(STREAM.find('\u{e9}').expect("there") + 1 - 1);
    assert_eq!(events(&[head, tail].concat(), 1), whole);
}

#[test]
fn a_stream_is_read_with_everything_in_it() {
    let response = collect(STREAM).expect("an answer");
    let usage = response.usage;
    assert_eq!((usage.input, usage.cache_read, usage.output), (Some(10), Some(4), Some(9)));
    assert_eq!((usage.cache_write_5m, usage.cache_write_1h), (Some(2), Some(3)));
    let choice = &response.choices[0];
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
    let [
        Part::Thinking { text, signature: Some(signature) },
        Part::RedactedThinking { data },
        Part::ServerTool { raw, .. },
        Part::Text { annotations, .. },
        Part::ToolCall { arguments, .. },
    ] = choice.parts.as_slice()
    else {
        panic!("{:?}", choice.parts);
    };
    assert_eq!((text.as_ref(), signature.payload.as_ref(), data.payload.as_ref()), ("hm\u{e9}", "sig", "blob"));
    assert_eq!(raw.as_str(), r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{"query": "x"}}"#);
    assert_eq!((annotations.len(), annotations[0].title.as_deref()), (1, Some("D")));
    assert_eq!(arguments, "{\"n\": 1.0}");
}

#[test]
fn usage_is_known_from_the_start_on() {
    let all = events(STREAM, usize::MAX);
    assert!(matches!(&all[1], Event::Usage(usage) if usage.input == Some(10)), "{:?}", all[1]);
}

#[test]
fn the_structured_tool_streams_as_text() {
    let block = |input: &Value| {
        frame(
            "content_block_start",
            &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "a", "name": STRUCTURED_TOOL, "input": input}}),
        )
    };
    let delta = |text: &str| {
        frame(
            "content_block_delta",
            &json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": text}}),
        )
    };
    let end = [
        frame("content_block_stop", &json!({"type": "content_block_stop", "index": 0})),
        frame(
            "message_delta",
            &json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}}),
        ),
        frame("message_stop", &json!({"type": "message_stop"})),
    ]
    .concat();
    for (stream, text) in [
        ([block(&json!({})), delta("{\"n\":"), delta(" 1.0}"), end.clone()].concat(), "{\"n\": 1.0}"),
        ([block(&json!({})), end.clone()].concat(), "{}"),
        ([block(&json!({"n": 1})), end.clone()].concat(), "{\"n\":1}"),
    ] {
        let response = collect(&stream).expect("an answer");
        assert_eq!(response.choices[0].parts, [Part::text(text)]);
        assert_eq!(response.choices[0].finish, Some(FinishReason::End));
    }
}

#[test]
fn arguments_that_come_with_the_start_are_not_lost() {
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "a", "name": "f", "input": {"n": 1}}});
    let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{\"n\":1}"}});
    let end =
        frame("message_delta", &json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}));
    for stream in [
        [frame("content_block_start", &block), end.clone()].concat(),
        [frame("content_block_start", &block), frame("content_block_delta", &delta), end.clone()].concat(),
    ] {
        let response = collect(&stream).expect("an answer");
        assert!(matches!(&response.choices[0].parts[0], Part::ToolCall { arguments, .. } if arguments == "{\"n\":1}"));
        assert_eq!(response.choices[0].finish, Some(FinishReason::ToolCalls), "\"end\" beside a call is corrected");
    }
}

#[test]
fn a_compaction_and_unknown_events_are_carried_or_passed_over() {
    let stream = [
        frame("content_block_start", &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "compaction", "content": null}})),
        frame("content_block_delta", &json!({"type": "content_block_delta", "index": 0, "delta": {"type": "compaction_delta", "content": "sum", "encrypted_content": "e"}})),
        frame("content_block_delta", &json!({"type": "content_block_delta", "index": 0, "delta": {"type": "made_tomorrow"}})),
        frame("made_tomorrow", &json!({"type": "made_tomorrow"})),
        frame("content_block_stop", &json!({"type": "content_block_stop", "index": 0})),
        frame("message_delta", &json!({"type": "message_delta", "delta": {"stop_reason": "compaction"}, "usage": {}})),
    ]
    .concat();
    let response = collect(&stream).expect("an answer");
    let Part::ServerTool { raw, .. } = &response.choices[0].parts[0] else { panic!("no block") };
    assert_eq!(raw.to_value(), json!({"type": "compaction", "content": "sum", "encrypted_content": "e"}));
    assert_eq!(response.choices[0].finish, Some(FinishReason::Pause));
}

#[test]
fn a_refusal_in_mid_stream_says_why() {
    let cut =
        STREAM.find("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":3}").expect("there");
    let end = frame(
        "message_delta",
        &json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": "no"}}, "usage": {"output_tokens": 3}}),
    );
    let response = collect(&[&STREAM[..cut], &end].concat()).expect("an answer");
    assert_eq!(response.choices[0].finish, Some(FinishReason::Refusal));
    assert_eq!(response.choices[0].parts.last(), Some(&Part::Refusal { text: "no".into() }));
}

#[test]
fn a_stream_cut_anywhere_before_its_finish_is_an_error() {
    let finished = STREAM.find("event: message_delta").expect("there");
    for end in (0..finished).filter(|end| STREAM.is_char_boundary(*end)) {
        let last = events(&STREAM[..end], usize::MAX).pop();
        assert!(matches!(last, Some(Event::Error(_))), "cut at {end}: {last:?}");
    }
    // With a stop reason the answer is whole, as after a finish without `[DONE]`.
    let stopped = STREAM.find("event: message_stop").expect("there");
    assert!(collect(&STREAM[..stopped]).is_ok());
}

#[test]
fn errors_inside_a_200_stream_are_error_events() {
    let error = |kind: &str| {
        frame("error", &json!({"type": "error", "error": {"type": kind, "message": "m"}, "request_id": null}))
    };
    for (kind, class) in [
        ("overloaded_error", ErrorClass::Overloaded),
        ("rate_limit_error", ErrorClass::RateLimited),
        ("api_error", ErrorClass::Upstream),
        ("invalid_request_error", ErrorClass::BadRequest),
    ] {
        for before in ["", &STREAM[..STREAM.find("event: content_block_stop").expect("there")]] {
            let all = events(&[before, &error(kind), "event: message_stop\ndata: {}\n\n"].concat(), 7);
            let Some(Event::Error(error)) = all.last() else { panic!("{all:?}") };
            assert_eq!((error.class, error.message.as_str()), (class, "m"));
        }
    }
    for odd in [
        "data: {\"error\":{\"message\":\"m\"}}\n\n",
        "data: {not json\n\n",
        "<html>busy</html>",
        "",
        "{\"type\":\"error\"}",
    ] {
        let all = events(odd, usize::MAX);
        assert!(matches!(all.as_slice(), [Event::Error(_)]), "{odd}: {all:?}");
    }
    let late = [STREAM, &error("api_error")].concat();
    assert!(collect(&late).is_ok(), "what comes after the end changes nothing");
}

#[test]
fn hosts_that_keep_only_half_of_the_form_are_understood() {
    // No event names, no indexes, no message_start, no stops, and OpenAI's end.
    let stream = concat!(
        "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\n",
        "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}\n\n",
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n",
        "data: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}\n\n",
        "data: [DONE]\n\n",
    );
    let response = collect(stream).expect("an answer");
    assert_eq!(response.choices[0].parts, [Part::text("ab")]);
    assert_eq!((response.usage.input, response.usage.output), (Some(3), Some(2)));
}

#[test]
fn a_hostile_stream_neither_panics_nor_grows_without_bound() {
    let start = |index: u64| {
        frame(
            "content_block_start",
            &json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}),
        )
    };
    let many: String = (0..6_000).map(start).collect();
    let opened = events(&many, usize::MAX).iter().filter(|event| matches!(event, Event::PartStart { .. })).count();
    assert!(opened <= 4096, "{opened}");
    let again = [start(0), start(0), start(0)].concat();
    events(&again, 1);
    for odd in [
        json!({"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": "x"}}),
        json!({"type": "content_block_stop", "index": 9}),
        json!({"type": "content_block_start", "index": 0}),
        json!({"type": "content_block_start", "index": 0, "content_block": 7}),
        json!({"type": "message_start", "message": {"usage": {"input_tokens": "many"}}}),
        json!({"type": 7}),
        json!({}),
    ] {
        events(&[&frame("x", &odd), STREAM].concat(), 11);
    }
    let mut decoder = Decoder::default();
    let mut failed = false;
    let open = frame(
        "content_block_start",
        &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use", "input": {}}}),
    );
    decoder.feed(open.as_bytes(), &mut |_| {});
    let piece = frame(
        "content_block_delta",
        &json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "x".repeat(1024 * 1024)}}),
    );
    for _ in 0..20 {
        decoder.feed(piece.as_bytes(), &mut |event| failed |= matches!(event, Event::Error(_)));
    }
    assert!(failed, "a block that never ends is cut off");
}
