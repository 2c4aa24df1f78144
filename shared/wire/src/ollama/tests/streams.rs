use serde_json::{Value, json};

use super::*;
use crate::{
    codec::{StreamDecoder, StreamEncoder},
    ir::{CallKind, Collector, Event, FinishReason, Part, PartKind, Response, StreamError, Validator, replay},
    usage::Usage,
};

const STREAM: &str = concat!(
    "{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00.123456789Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}\n",
    "{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00.2Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\" so\"},\"done\":false}\r\n",
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"h\u{e9}\"},\"done\":false,\"logprobs\":[{\"token\":\"h\u{e9}\",\"logprob\":-0.25}]}\n\n",
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\": 1.0}}},{\"id\":\"own\",\"function\":{\"index\":1,\"name\":\"g\",\"arguments\":{}}}]},\"done\":false}\n",
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":5,\"prompt_eval_count\":26,\"eval_count\":9}\n",
);

fn events(stream: &[u8], split: usize) -> Vec<String> {
    let (mut decoder, mut validator) = (Decoder::default(), Validator::default());
    let mut all = Vec::new();
    let mut emit = |event: Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        all.push(format!("{event:?}"));
    };
    for piece in stream.chunks(split.max(1)) {
        decoder.feed(piece, &mut emit);
    }
    decoder.end(&mut emit);
    validator.end().expect("a complete stream");
    all
}

fn collected(stream: &[u8]) -> Result<Response<'static>, StreamError> {
    let (mut decoder, mut collector) = (Decoder::default(), Collector::default());
    decoder.feed(stream, &mut |event| collector.push(&event));
    decoder.end(&mut |event| collector.push(&event));
    collector.finish()
}

/// The lines that a client gets, split as Python splits text.
fn client_lines(response: &Response<'_>, exchange: ResponseContext, shape: Shape) -> Vec<Value> {
    let mut encoder = Encoder::new(exchange, shape, Timing::default());
    let mut out = Vec::new();
    replay(response, &mut |event| encoder.event(&event, &mut out));
    encoder.end(&mut out);
    assert_eq!(encoder.keepalive(), None);
    let text = String::from_utf8(out).expect("text");
    assert!(text.ends_with('\n'));
    text[..text.len() - 1]
        .split(['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'])
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
        .collect()
}

#[test]
fn splitting_a_stream_anywhere_changes_no_event() {
    let whole = events(STREAM.as_bytes(), usize::MAX);
    for split in 1..80 {
        assert_eq!(events(STREAM.as_bytes(), split), whole, "pieces of {split}");
    }
}

#[test]
fn a_stream_is_an_answer_with_whole_calls() {
    let response = collected(STREAM.as_bytes()).expect("an answer");
    assert_eq!((response.model.as_ref(), response.created), ("m", Some(1_767_225_600)));
    let choice = &response.choices[0];
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls), "\"stop\" beside calls");
    assert_eq!((response.usage.input, response.usage.output), (Some(26), Some(9)));
    assert_eq!(choice.parts[0], Part::Thinking { text: "hm so".into(), signature: None });
    assert_eq!(choice.parts[1], Part::text("hé"));
    let Part::ToolCall { id, arguments, .. } = &choice.parts[2] else { panic!("a call") };
    assert_eq!(arguments, "{\"x\": 1.0}");
    assert!(id.starts_with("call_"), "{id}");
    assert!(matches!(&choice.parts[3], Part::ToolCall { id, .. } if id == "own"));
    let logprobs = choice.logprobs.as_ref().expect("there").to_value();
    assert_eq!(logprobs["content"][0], json!({"token":"hé","logprob":-0.25,"bytes":null,"top_logprobs":[]}));
}

#[test]
fn a_generate_stream_and_a_last_line_without_its_end_are_understood() {
    let stream = br#"{"model":"m","response":"a","done":false}
{"model":"m","response":"b","thinking":"","done":true,"done_reason":"length"}"#;
    let response = collected(stream).expect("an answer");
    assert_eq!(response.choices[0].parts, [Part::text("ab")]);
    assert_eq!(response.choices[0].finish, Some(FinishReason::MaxTokens));
    assert_eq!(response.usage, Usage::default(), "unknown is not 0");
}

#[test]
fn broken_streams_are_errors() {
    let cut = &STREAM[..STREAM.find("\"done\":true").expect("there") - 60];
    for (stream, code) in [
        (cut.as_bytes(), "upstream_malformed"),
        (&STREAM.as_bytes()[..STREAM.find('\n').expect("there") + 1], "upstream_stream_cut"),
        (b"", "upstream_stream_cut"),
        (b"<html>502</html>\n", "upstream_malformed"),
        (b"{\"response\":\"\xff\"}\n", "upstream_malformed"),
        (b"{\"response\":\"a\",\"done\":false}\n{\"error\":\"out of memory\"}\n{\"done\":true}\n", "upstream_error"),
    ] {
        let error = collected(stream).expect_err("an error");
        assert_eq!(error.code, code, "{}", String::from_utf8_lossy(stream));
        let last = events(stream, 7);
        assert_eq!(last.iter().filter(|event| event.starts_with("Error")).count(), 1, "{last:?}");
    }
    let busy = collected(b"{\"error\":\"server busy, please try again\",\"status\":503}\n").expect_err("an error");
    assert_eq!(busy.class, omniroute_core::error::ErrorClass::Overloaded);
}

#[test]
fn what_breaks_off_behind_a_whole_answer_takes_nothing_from_it() {
    let expected = collected(STREAM.as_bytes()).expect("an answer");
    for broken in ["{\"model\":\"m\",\"don", "{"] {
        // With a last line that says something, so that it is not known for the last before the stream ends.
        let said = STREAM.replace("\"content\":\"\"},\"done\":true", "\"content\":\"!\"},\"done\":true");
        let whole = collected(said.as_bytes()).expect("an answer");
        assert_ne!(whole, expected);
        assert_eq!(collected(format!("{said}{broken}").as_bytes()).expect("an answer"), whole);
        assert_eq!(collected(format!("{said}{broken}\n").as_bytes()).expect_err("garbage").code, "upstream_malformed");
    }
}

#[test]
fn the_count_of_a_last_line_that_says_something_is_told_with_it() {
    let last = br#"{"model":"m","response":"a","done":true,"prompt_eval_count":26,"eval_count":9}
"#;
    let mut decoder = Decoder::default();
    let mut counted = Vec::new();
    decoder.feed(last, &mut |event| {
        if let Event::Usage(usage) = event {
            counted.push((usage.input, usage.output));
        }
    });
    assert!(decoder.complete() && !decoder.done());
    assert_eq!(counted, [(Some(26), Some(9))]);
}

#[test]
fn a_line_that_never_ends_does_no_harm_and_only_the_streams_end_is_the_answers() {
    let mut decoder = Decoder::default();
    let mut errors = 0;
    for _ in 0..20 {
        decoder.feed(&vec![b'x'; 1024 * 1024], &mut |_| errors += 1);
    }
    decoder.end(&mut |_| errors += 1);
    assert_eq!(errors, 1);
    let first = br#"{"message":{"content":""},"done":true}
{"message":{"content":"hey"},"done":true}
{"message":{"content":""},"done":true,"done_reason":"length"}"#;
    let response = collected(first).expect("an answer");
    assert_eq!(response.choices[0].parts, [Part::text("hey")]);
    assert_eq!(response.choices[0].finish, Some(FinishReason::MaxTokens));
}

#[test]
fn a_stream_written_and_read_again_says_the_same() {
    let original = collected(STREAM.as_bytes()).expect("an answer");
    for shape in [Shape::Chat, Shape::Generate] {
        let mut encoder = Encoder::new(exchange(), shape, Timing::default());
        let mut out = Vec::new();
        replay(&original, &mut |event| encoder.event(&event, &mut out));
        encoder.end(&mut out);
        let again = collected(&out).expect("an answer");
        assert_eq!(again.choices, original.choices);
        assert_eq!(again.usage, original.usage);
        assert_eq!(again.created, original.created);
    }
}

#[test]
fn the_lines_are_those_of_the_real_server() {
    let response = collected(STREAM.as_bytes()).expect("an answer");
    let lines = client_lines(&response, exchange(), Shape::Chat);
    assert_eq!(lines[0]["message"], json!({"role":"assistant","content":"","thinking":"hm so"}));
    assert_eq!(lines[1]["message"], json!({"role":"assistant","content":"hé"}));
    assert_eq!(lines[2]["message"]["tool_calls"][0]["function"], json!({"index":0,"name":"f","arguments":{"x":1.0}}));
    assert_eq!(lines[3]["message"]["tool_calls"][0]["function"]["index"], 1);
    assert_eq!(lines[4]["logprobs"][0]["token"], "hé");
    let last = lines.last().expect("there");
    assert_eq!(last["message"], json!({"role":"assistant","content":""}));
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")));
    assert_eq!((&last["prompt_eval_count"], &last["eval_count"]), (&json!(26), &json!(9)));
    assert!(lines.iter().all(|line| line["model"] == "mock/m" && line["created_at"] == "2026-01-01T00:00:00.000Z"));
    assert!(lines[..lines.len() - 1].iter().all(|line| line["done"] == false));
    let quiet = ResponseContext { show_thinking: false, ..exchange() };
    let lines = client_lines(&response, quiet, Shape::Generate);
    assert_eq!(lines[0]["response"], "hé", "no thoughts");
    assert_eq!(lines[1]["tool_calls"][0]["function"]["name"], "f");
    assert!(lines.iter().all(|line| line["response"].is_string()), "every line has a text");
}

#[test]
fn a_line_stays_one_line_whatever_is_in_it() {
    let mut response = collected(STREAM.as_bytes()).expect("an answer");
    let text = "a\nb\rc\u{85}d\u{2028}e\u{2029}f\u{b}g’h\u{1c}é\u{a0}";
    response.choices[0].parts = vec![
        Part::text(text),
        Part::ToolCall {
            id: "c".into(),
            name: "f".into(),
            arguments: "{\n  \"k\u{2028}\":\r\n \"v\u{85}\"\n}".into(),
            kind: CallKind::Function,
            signature: None,
            cache: None,
        },
    ];
    let lines = client_lines(&response, exchange(), Shape::Chat);
    assert_eq!(lines[0]["message"]["content"], text);
    assert_eq!(lines[1]["message"]["tool_calls"][0]["function"]["arguments"], json!({"k\u{2028}":"v\u{85}"}));
}

#[test]
fn interleaved_calls_go_out_whole_as_they_end() {
    let mut encoder = Encoder::new(exchange(), Shape::Chat, Timing::default());
    let mut out = Vec::new();
    let start = |part, name: &'static str| Event::PartStart {
        choice: 0,
        part,
        kind: PartKind::ToolCall { id: name.into(), name: name.into(), kind: CallKind::Function },
    };
    let args = |part, text: &'static str| Event::ArgsDelta { choice: 0, part, text: text.into() };
    for event in [
        Event::Start { id: "".into(), model: "m".into(), created: None },
        start(0, "a"),
        start(1, "b"),
        args(0, "{\"x\":"),
        args(1, "{\"y\""),
        args(1, ":2}"),
        Event::PartStop { choice: 0, part: 1 },
        args(0, "1}"),
        Event::PartStop { choice: 0, part: 0 },
        Event::Finish { choice: 0, reason: FinishReason::ToolCalls, stop_sequence: None },
    ] {
        encoder.event(&event, &mut out);
    }
    encoder.end(&mut out);
    let text = String::from_utf8(out).expect("text");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["message"]["tool_calls"][0]["function"], json!({"index":0,"name":"b","arguments":{"y":2}}));
    assert_eq!(lines[1]["message"]["tool_calls"][0]["function"], json!({"index":1,"name":"a","arguments":{"x":1}}));
}

#[test]
fn a_call_that_is_no_object_ends_the_stream_with_an_error() {
    for arguments in ["{\"x\":", "[1]", "nonsense", "{} trailing"] {
        let mut encoder = Encoder::new(exchange(), Shape::Chat, Timing::default());
        let mut out = Vec::new();
        let kind = PartKind::ToolCall { id: "a".into(), name: "a".into(), kind: CallKind::Function };
        encoder.event(&Event::PartStart { choice: 0, part: 0, kind }, &mut out);
        encoder.event(&Event::ArgsDelta { choice: 0, part: 0, text: arguments.into() }, &mut out);
        encoder.event(&Event::PartStop { choice: 0, part: 0 }, &mut out);
        let reason = FinishReason::ToolCalls;
        encoder.event(&Event::Finish { choice: 0, reason, stop_sequence: None }, &mut out);
        encoder.end(&mut out);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("\"error\":"), "{text}");
    }
}

#[test]
fn nothing_follows_an_error() {
    let mut encoder = Encoder::new(exchange(), Shape::Generate, Timing::default());
    let mut out = Vec::new();
    let mut decoder = Decoder::default();
    let stream = b"{\"response\":\"a\",\"done\":false}\n{\"error\":\"boom\"}\n";
    decoder.feed(stream, &mut |event| encoder.event(&event, &mut out));
    decoder.end(&mut |event| encoder.event(&event, &mut out));
    encoder.end(&mut out);
    let text = String::from_utf8(out).expect("text");
    assert_eq!(text.lines().last(), Some("{\"error\":\"boom\",\"status\":502}"));
    assert_eq!(text.lines().count(), 2);
}
