use omniroute_core::error::ErrorClass;
use serde_json::json;

use super::{
    read_streams::{STREAM, collect},
    *,
};
use crate::ir::{CallKind, FinishReason, Part, PartKind, StreamError};

fn start() -> Event<'static> {
    Event::Start { id: "x".into(), model: "m".into(), created: None }
}

fn finish(reason: FinishReason) -> Event<'static> {
    Event::Finish { choice: 0, reason, stop_sequence: None }
}

fn begin(part: u32, kind: PartKind<'static>) -> Event<'static> {
    Event::PartStart { choice: 0, part, kind }
}

fn call(part: u32, id: &'static str) -> Event<'static> {
    begin(part, PartKind::ToolCall { id: id.into(), name: "f".into(), kind: CallKind::Function })
}

fn arguments(part: u32, text: &'static str) -> Event<'static> {
    Event::ArgsDelta { choice: 0, part, text: text.into() }
}

fn stop(part: u32) -> Event<'static> {
    Event::PartStop { choice: 0, part }
}

#[test]
fn a_stream_written_and_read_again_says_the_same() {
    let all = events(STREAM, usize::MAX);
    let mut encoder = Encoder::new(exchange());
    let mut out = Vec::new();
    all.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    let text = String::from_utf8(out).expect("text");
    assert!(text.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
    let (first, again) = (collect(STREAM).expect("one"), collect(&text).expect("two"));
    assert_eq!(first.choices, again.choices);
    assert_eq!(first.usage, again.usage);
}

#[test]
fn the_stream_of_a_client_is_what_its_sdk_puts_together() {
    let message = assembled(&written(&events(STREAM, usize::MAX), exchange()));
    assert_eq!((&message["id"], &message["model"]), (&json!("msg_1"), &json!("mock/m")));
    let kinds: Vec<_> = message["content"].as_array().expect("blocks").iter().map(|b| b["type"].clone()).collect();
    assert_eq!(kinds, ["thinking", "redacted_thinking", "server_tool_use", "text", "tool_use"]);
    assert_eq!(message["content"][0]["signature"], "sig");
    assert_eq!(message["content"][4]["input"], json!({"n": 1.0}));
    assert_eq!(message["stop_reason"], "tool_use");
    assert_eq!(message["usage"]["cache_creation"]["ephemeral_1h_input_tokens"], 3);
}

#[test]
fn the_start_announces_an_estimate_and_the_end_the_truth() {
    let usage = crate::usage::Usage { input: Some(70), cache_read: Some(30), output: Some(5), ..Default::default() };
    let all = written(&[start(), Event::Usage(usage), finish(FinishReason::End)], exchange());
    assert_eq!(all[0].1["message"]["usage"]["input_tokens"], 11);
    assert_eq!(all[0].1["message"]["usage"]["output_tokens"], 1);
    assert_eq!(all[1].1["usage"]["input_tokens"], 70);
    assert_eq!(all[1].1["usage"]["cache_read_input_tokens"], 30);
    let unknown = written(&[start(), finish(FinishReason::End)], exchange());
    assert_eq!(unknown[1].1["usage"]["input_tokens"], 11);
    assert_eq!(assembled(&unknown)["content"], json!([]));
}

#[test]
fn calls_that_run_side_by_side_are_put_in_order() {
    let all = [
        start(),
        call(0, "a"),
        arguments(0, "{\"x\":"),
        call(1, "b"),
        arguments(1, "{"),
        call(2, "c"),
        arguments(0, "1}"),
        arguments(1, "\"y\":2}"),
        stop(1),
        arguments(2, "{}"),
        stop(0),
        stop(2),
        finish(FinishReason::ToolCalls),
    ];
    let message = assembled(&written(&all, exchange()));
    let calls: Vec<_> =
        message["content"].as_array().expect("blocks").iter().map(|b| (b["id"].clone(), b["input"].clone())).collect();
    assert_eq!(calls, [(json!("a"), json!({"x": 1})), (json!("b"), json!({"y": 2})), (json!("c"), json!({}))]);
}

#[test]
fn a_part_that_waits_is_kept_up_to_a_bound() {
    let piece: &'static str = Box::leak("x".repeat(300 * 1024).into_boxed_str());
    let mut all = vec![start(), call(0, "a"), call(1, "b")];
    all.extend((0..5).map(|_| arguments(1, piece)));
    all.extend([stop(0), stop(1), finish(FinishReason::ToolCalls)]);
    let mut encoder = Encoder::new(exchange());
    let mut out = Vec::new();
    all.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    let text = String::from_utf8(out).expect("text");
    assert_eq!(text.matches("event: error").count(), 1);
    assert!(!text.contains("message_stop"), "nothing follows an error");
}

#[test]
fn a_thought_always_ends_with_a_signature() {
    let thought = |text: &'static str| Event::ThinkingDelta { choice: 0, part: 0, text: text.into() };
    let unsigned = [start(), begin(0, PartKind::Thinking), thought("hm"), stop(0), finish(FinishReason::End)];
    let all = written(&unsigned, exchange());
    assert_eq!(all[3].1["delta"], json!({"type": "signature_delta", "signature": "sealed:openai:"}));
    let signature = Signature { family: Family::Gemini, payload: "g".into() };
    let signed = Event::SignatureDelta { choice: 0, part: 0, signature };
    // Early, and without a text at all: hidden reasoning.
    let all = written(
        &[start(), begin(0, PartKind::Thinking), signed.clone(), thought("hm"), stop(0), finish(FinishReason::End)],
        exchange(),
    );
    assert_eq!(all[2].1["delta"]["type"], "thinking_delta");
    assert_eq!(all[3].1["delta"]["signature"], "sealed:gemini:g");
    let all = written(&[start(), begin(0, PartKind::Thinking), signed, stop(0), finish(FinishReason::End)], exchange());
    assert_eq!(
        assembled(&all)["content"],
        json!([{"type": "thinking", "thinking": "", "signature": "sealed:gemini:g"}])
    );
    let hidden = written(&unsigned, ResponseContext { show_thinking: false, ..exchange() });
    assert_eq!(assembled(&hidden)["content"], json!([]));
}

#[test]
fn a_calls_signature_stands_beside_it() {
    let signature = Signature { family: Family::Gemini, payload: "g".into() };
    let signed = Event::SignatureDelta { choice: 0, part: 0, signature };
    let early = [start(), call(0, "a"), signed.clone(), arguments(0, "{}"), stop(0), finish(FinishReason::ToolCalls)];
    let late = [start(), call(0, "a"), arguments(0, "{}"), signed, stop(0), finish(FinishReason::ToolCalls)];
    for (all, order) in [(early, ["redacted_thinking", "tool_use"]), (late, ["tool_use", "redacted_thinking"])] {
        let message = assembled(&written(&all, exchange()));
        let kinds: Vec<_> = message["content"].as_array().expect("blocks").iter().map(|b| b["type"].clone()).collect();
        assert_eq!(kinds, order);
        let again = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": message["content"]}]}).to_string();
        assert!(
            matches!(&read(&again).turns[1].parts[0], Part::ToolCall { signature: Some(own), .. } if own.payload == "g")
        );
    }
}

#[test]
fn blocks_without_content_do_not_appear() {
    let text = |part, text: &'static str| Event::TextDelta { choice: 0, part, text: text.into() };
    let all = [
        start(),
        begin(0, PartKind::Text),
        text(0, ""),
        stop(0),
        begin(1, PartKind::Thinking),
        stop(1),
        call(2, "a"),
        stop(2),
        begin(
            3,
            PartKind::ServerTool {
                family: Family::OpenAi,
                raw: crate::ir::Json::from_string("{}".into()).expect("JSON"),
            },
        ),
        stop(3),
        begin(4, PartKind::Refusal),
        text(4, "no"),
        stop(4),
        finish(FinishReason::Refusal),
    ];
    let message = assembled(&written(&all, exchange()));
    assert_eq!(
        message["content"],
        json!([{"type": "tool_use", "id": "a", "name": "f", "input": {}}, {"type": "text", "text": "no"}])
    );
    assert_eq!(message["stop_reason"], "refusal");
}

#[test]
fn free_text_of_a_custom_tool_is_escaped_piece_by_piece() {
    let all = [
        start(),
        begin(0, PartKind::ToolCall { id: "a".into(), name: "patch".into(), kind: CallKind::Custom }),
        arguments(0, "line\n\"quo"),
        arguments(0, "ted\" \u{1F980}\\"),
        stop(0),
        finish(FinishReason::ToolCalls),
    ];
    let message = assembled(&written(&all, exchange()));
    assert_eq!(message["content"][0]["input"], json!({"input": "line\n\"quoted\" \u{1F980}\\"}));
}

#[test]
fn the_stop_sequence_is_named() {
    let end = Event::Finish { choice: 0, reason: FinishReason::StopSequence, stop_sequence: Some("END".into()) };
    let all = written(&[start(), end], exchange());
    assert_eq!(all[1].1["delta"], json!({"stop_reason": "stop_sequence", "stop_sequence": "END"}));
}

#[test]
fn only_the_first_choice_is_shown_and_pings_pass() {
    let other = Event::PartStart { choice: 1, part: 0, kind: PartKind::Text };
    let all = written(
        &[start(), Event::Ping, other, Event::PartStop { choice: 1, part: 0 }, finish(FinishReason::End)],
        exchange(),
    );
    assert_eq!(
        all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["message_start", "ping", "message_delta", "message_stop"]
    );
    let ping = Encoder::new(exchange()).keepalive().expect("a ping");
    assert_eq!(ping, b"event: ping\ndata: {\"type\":\"ping\"}\n\n");
}

#[test]
fn an_error_ends_the_stream() {
    let error = StreamError {
        class: ErrorClass::Overloaded,
        code: "x",
        message: "busy".into(),
        retry_after: None,
        request_id: None,
    };
    let mut encoder = Encoder::new(exchange());
    let mut out = Vec::new();
    for event in [start(), begin(0, PartKind::Text), Event::Error(error), stop(0)] {
        encoder.event(&event, &mut out);
    }
    encoder.end(&mut out);
    let text = String::from_utf8(out).expect("text");
    assert!(text.ends_with("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n"), "{text}");
}

#[test]
fn a_chat_stream_reaches_an_anthropic_client_in_its_order() {
    let stream = concat!(
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}},{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\": 1}\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"}\"}}]},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":6}}\n\n",
        "data: [DONE]\n\n",
    );
    let mut decoder = openai::Decoder::default();
    let mut all = Vec::new();
    decoder.feed(stream.as_bytes(), &mut |event| all.push(own(event)));
    decoder.end(&mut |event| all.push(own(event)));
    let message = assembled(&written(&all, exchange()));
    assert_eq!(
        message["content"],
        json!([
            {"type": "thinking", "thinking": "hm", "signature": "sealed:openai:"},
            {"type": "text", "text": "hi"},
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "b", "name": "g", "input": {}},
        ])
    );
    assert_eq!((&message["stop_reason"], &message["usage"]["output_tokens"]), (&json!("tool_use"), &json!(6)));
}

#[test]
fn a_sound_in_many_pieces_is_noted_once() {
    let piece = |part| begin(part, PartKind::Media { media_type: "audio/pcm".into(), data: "AAAA".into() });
    let mut events = vec![start()];
    events.extend((0..100).flat_map(|part| [piece(part), stop(part)]));
    events.extend([
        begin(100, PartKind::Text),
        Event::TextDelta { choice: 0, part: 100, text: "and".into() },
        stop(100),
        piece(101),
        stop(101),
        finish(FinishReason::End),
    ]);
    let mut collector = crate::ir::Collector::default();
    let mut encoder = Encoder::new(exchange());
    let mut stream = Vec::new();
    for event in &events {
        encoder.event(event, &mut stream);
        collector.push(event);
    }
    encoder.end(&mut stream);
    let mut whole = Vec::new();
    encode_response(&collector.finish().expect("an answer"), &exchange(), &mut whole);
    for written in [stream, whole] {
        let text = String::from_utf8(written).expect("text");
        assert_eq!(text.matches(crate::anthropic::encode_response::MEDIA_NOTE).count(), 2, "{text}");
    }
}
