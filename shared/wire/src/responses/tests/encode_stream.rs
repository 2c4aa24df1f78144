use omniroute_core::error::ErrorClass;
use serde_json::json;

use super::{accumulate::accumulate, answer::rich_exchange, *};
use crate::ir::{CallKind, FinishReason, Json, Part, PartKind, StreamError};
use crate::usage::Usage;

fn start() -> Event<'static> {
    Event::Start { id: "up".into(), model: "m".into(), created: Some(5) }
}

fn begin(part: u32, kind: PartKind<'static>) -> Event<'static> {
    Event::PartStart { choice: 0, part, kind }
}

fn text(part: u32, text: &'static str) -> Event<'static> {
    Event::TextDelta { choice: 0, part, text: text.into() }
}

fn args(part: u32, text: &'static str) -> Event<'static> {
    Event::ArgsDelta { choice: 0, part, text: text.into() }
}

const fn stop(part: u32) -> Event<'static> {
    Event::PartStop { choice: 0, part }
}

const fn finish(reason: FinishReason) -> Event<'static> {
    Event::Finish { choice: 0, reason, stop_sequence: None }
}

fn call(id: &'static str, name: &'static str, kind: CallKind) -> PartKind<'static> {
    PartKind::ToolCall { id: id.into(), name: name.into(), kind }
}

#[test]
fn a_sound_comes_in_events_of_its_own_and_is_no_item() {
    let sound = |media_type: &'static str| PartKind::Media { media_type: media_type.into(), data: "AAE=".into() };
    let events = [
        start(),
        begin(0, sound("audio/pcm")),
        stop(0),
        begin(1, sound("video/mp4")),
        stop(1),
        finish(FinishReason::End),
    ];
    let frames = frames(&written(exchange(), &events));
    assert_eq!(
        kinds(&frames),
        [
            "response.created",
            "response.in_progress",
            "response.audio.delta",
            "response.audio.done",
            "response.completed"
        ]
    );
    assert_eq!(frames[2]["delta"], "AAE=");
    assert_eq!(frames[4]["response"]["output"], json!([]));
}

#[test]
fn a_text_comes_in_the_order_that_sdks_rely_on() {
    let events = [
        start(),
        begin(0, PartKind::Text),
        text(0, "h"),
        text(0, "i"),
        stop(0),
        finish(FinishReason::End),
        Event::Usage(Usage { input: Some(3), output: Some(2), ..Usage::default() }),
    ];
    let frames = frames(&written(exchange(), &events));
    assert_eq!(
        kinds(&frames),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    accumulate(&frames);
    let created = &frames[0]["response"];
    assert_eq!(
        (&created["status"], &created["usage"], &created["output"]),
        (&json!("in_progress"), &Value::Null, &json!([]))
    );
    let last = &frames[9]["response"];
    assert_eq!(
        (&last["status"], &last["usage"]["total_tokens"], &last["created_at"]),
        (&json!("completed"), &json!(5), &json!(5))
    );
    assert_eq!(frames[4]["logprobs"], json!([]));
}

#[test]
fn thoughts_are_summaries_and_end_with_their_signature() {
    let events = [
        start(),
        begin(0, PartKind::Thinking),
        Event::ThinkingDelta { choice: 0, part: 0, text: "hm".into() },
        Event::SignatureDelta {
            choice: 0,
            part: 0,
            signature: Signature { family: Family::Anthropic, payload: "sig".into() },
        },
        stop(0),
        begin(1, PartKind::Text),
        text(1, "x"),
        stop(1),
        finish(FinishReason::End),
    ];
    let frames = frames(&written(exchange(), &events));
    assert_eq!(
        kinds(&frames)[2..8],
        [
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
        ]
    );
    assert_eq!(frames[4]["summary_index"], 0);
    let items = accumulate(&frames);
    assert_eq!(items[0]["encrypted_content"], "sealed|anthropic|sig");
    // Not shown: the signature alone, or nothing at all.
    let hidden = ResponseContext { show_thinking: false, ..exchange() };
    let frames = super::frames(&written(hidden, &events));
    let items = accumulate(&frames);
    assert_eq!((items.len(), &items[0]["summary"]), (2, &json!([])));
    assert!(!kinds(&frames).iter().any(|kind| kind.contains("summary")));
}

#[test]
fn parallel_calls_interleave_and_keep_their_places() {
    let events = [
        start(),
        begin(0, PartKind::Text),
        text(0, "calling"),
        begin(1, call("a", "f", CallKind::Function)),
        begin(2, call("b", "f", CallKind::Function)),
        args(2, "{\"y\":"),
        args(1, "{\"x\": 1.0}"),
        stop(0),
        args(2, "2}"),
        stop(2),
        stop(1),
        begin(3, call("c", "f", CallKind::Function)),
        stop(3),
        finish(FinishReason::ToolCalls),
    ];
    let frames = frames(&written(exchange(), &events));
    let items = accumulate(&frames);
    let calls: Vec<_> = items[1..].iter().map(|item| (item["call_id"].as_str(), item["arguments"].as_str())).collect();
    assert_eq!(calls, [(Some("b"), Some("{\"y\":2}")), (Some("a"), Some("{\"x\": 1.0}")), (Some("c"), Some("{}"))]);
    assert_eq!(items[0]["type"], "message");
}

#[test]
fn free_text_comes_out_of_a_functions_arguments_as_it_arrives() {
    let arguments = "{\"input\": \"*** Begin\\n\\ud83e\\udd80 \\\"q\\\"\"}";
    let expected = "*** Begin\n\u{1F980} \"q\"";
    for split in 1..arguments.len() {
        if !arguments.is_char_boundary(split) {
            continue;
        }
        let (head, tail) = arguments.split_at(split);
        let events = [
            start(),
            begin(0, call("a", "patch", CallKind::Function)),
            args(0, head),
            args(0, tail),
            stop(0),
            finish(FinishReason::ToolCalls),
        ];
        let frames = frames(&written(rich_exchange(), &events));
        let items = accumulate(&frames);
        assert_eq!((items[0]["type"].as_str(), items[0]["input"].as_str()), (Some("custom_tool_call"), Some(expected)));
        let done = frames.iter().find(|frame| frame["type"] == "response.custom_tool_call_input.done").expect("an end");
        assert_eq!(done["input"], expected);
    }
}

#[test]
fn a_model_that_does_not_keep_to_the_form_is_taken_by_its_word() {
    for (arguments, input) in [("*** Begin", "*** Begin"), ("{}", ""), ("", ""), ("{\"input\": \"\"}", "")] {
        let events = [
            start(),
            begin(0, call("a", "patch", CallKind::Function)),
            args(0, arguments),
            stop(0),
            finish(FinishReason::ToolCalls),
        ];
        let items = accumulate(&frames(&written(rich_exchange(), &events)));
        assert_eq!(items[0]["input"], input, "{arguments}");
    }
}

#[test]
fn a_tool_of_a_group_comes_back_in_its_group() {
    let events = [
        start(),
        begin(0, call("a", "ns__g", CallKind::Function)),
        args(0, "{}"),
        stop(0),
        finish(FinishReason::ToolCalls),
    ];
    let frames = frames(&written(rich_exchange(), &events));
    for frame in [&frames[2], &frames[5]] {
        assert_eq!((&frame["item"]["name"], &frame["item"]["namespace"]), (&json!("g"), &json!("ns")), "{frame}");
    }
}

#[test]
fn the_signature_of_a_call_travels_in_an_item_before_it() {
    let signature = || Event::SignatureDelta {
        choice: 0,
        part: 0,
        signature: Signature { family: Family::Gemini, payload: "thought".into() },
    };
    let head = [start(), begin(0, call("c1", "f", CallKind::Function))];
    let tail = [args(0, "{}"), stop(0), finish(FinishReason::ToolCalls)];
    let early = [&head[..], &[signature()], &tail[..]].concat();
    let late = [&head[..], &tail[..1], &[signature()], &tail[1..]].concat();
    for (events, order) in [(early, ["reasoning", "function_call"]), (late, ["function_call", "reasoning"])] {
        let items = accumulate(&frames(&written(exchange(), &events)));
        assert_eq!(items.iter().map(|item| item["type"].as_str().unwrap_or_default()).collect::<Vec<_>>(), order);
        // Sent back, it is the call's again.
        let body = json!({"model": "m", "input": items}).to_string();
        let request = request(&body);
        let Part::ToolCall { signature, .. } = &request.turns[0].parts[0] else { panic!("a call") };
        assert_eq!(signature.as_ref().map(|own| (own.family, own.payload.as_ref())), Some((Family::Gemini, "thought")));
    }
}

#[test]
fn texts_of_one_message_are_its_contents() {
    let events = [
        start(),
        begin(0, PartKind::Text),
        text(0, "a"),
        stop(0),
        begin(1, PartKind::Refusal),
        text(1, "no"),
        stop(1),
        Event::Logprobs {
            choice: 0,
            raw: Json::from_string(r#"{"content":[{"token":"a","logprob":-1}]}"#.into()).expect("JSON"),
        },
        begin(2, PartKind::RedactedThinking { data: Signature { family: Family::OpenAi, payload: "enc".into() } }),
        stop(2),
        begin(3, PartKind::Text),
        text(3, "b"),
        stop(3),
        finish(FinishReason::End),
    ];
    let items = accumulate(&frames(&written(exchange(), &events)));
    assert_eq!(
        items.iter().map(|item| item["type"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        ["message", "reasoning", "message"]
    );
    assert_eq!(items[0]["content"].as_array().map(Vec::len), Some(2));
    assert_eq!(items[0]["content"][0]["logprobs"], json!([{"token": "a", "logprob": -1}]));
    assert_eq!(items[1]["encrypted_content"], "enc");
}

#[test]
fn each_way_to_end_has_its_event() {
    for (reason, kind, items) in [
        (FinishReason::End, "response.completed", 0),
        (FinishReason::StopSequence, "response.completed", 0),
        (FinishReason::MaxTokens, "response.incomplete", 0),
        (FinishReason::ContextWindow, "response.incomplete", 0),
        (FinishReason::ContentFilter, "response.incomplete", 0),
        (FinishReason::Refusal, "response.completed", 1),
        (FinishReason::MalformedCall, "response.failed", 0),
    ] {
        let frames = frames(&written(exchange(), &[start(), finish(reason)]));
        assert_eq!(accumulate(&frames).len(), items);
        assert_eq!(frames.last().expect("an end")["type"], kind, "{reason:?}");
    }
}

#[test]
fn an_error_keeps_what_was_whole_and_ends_the_stream() {
    let error = StreamError {
        class: ErrorClass::ContextTooLong,
        code: "upstream_error",
        message: "too long".into(),
        retry_after: None,
        request_id: None,
    };
    let events = [
        start(),
        begin(0, PartKind::Text),
        text(0, "x"),
        stop(0),
        begin(1, call("a", "f", CallKind::Function)),
        Event::Error(error.clone()),
    ];
    let frames = frames(&written(exchange(), &events));
    let last = frames.last().expect("an end");
    assert_eq!(kinds(&frames)[frames.len() - 2..], ["error", "response.failed"]);
    assert_eq!(last["response"]["error"], json!({"code": "context_length_exceeded", "message": "too long"}));
    assert_eq!(last["response"]["status"], "failed");
    // Also when nothing came before it: helpers of SDKs refuse a stream that does not begin with `created`.
    let frames = super::frames(&written(exchange(), &[Event::Error(error)]));
    assert_eq!(kinds(&frames), ["response.created", "response.in_progress", "error", "response.failed"]);
}

#[test]
fn a_stream_that_nobody_finished_fails() {
    let mut encoder = Encoder::new(exchange());
    let mut out = Vec::new();
    encoder.event(&start(), &mut out);
    encoder.end(&mut out);
    encoder.end(&mut out);
    assert_eq!(frames(&out).last().expect("an end")["type"], "response.failed");
    assert!(encoder.keepalive().is_some_and(|comment| comment.starts_with(b":")));
}

#[test]
fn a_stream_written_and_read_again_says_the_same() {
    let events = [
        start(),
        begin(0, PartKind::Thinking),
        Event::ThinkingDelta { choice: 0, part: 0, text: "hm".into() },
        Event::SignatureDelta {
            choice: 0,
            part: 0,
            signature: Signature { family: Family::OpenAi, payload: "enc".into() },
        },
        stop(0),
        begin(1, PartKind::Text),
        text(1, "h\u{e9}"),
        text(1, "llo"),
        stop(1),
        begin(2, call("a", "f", CallKind::Function)),
        begin(3, call("b", "c", CallKind::Custom)),
        args(2, "{\"x\": 1.0}"),
        args(3, "free\ntext"),
        stop(2),
        stop(3),
        Event::Usage(Usage {
            input: Some(3),
            cache_read: Some(1),
            cache_write_5m: Some(0),
            output: Some(2),
            reasoning: Some(1),
            ..Usage::default()
        }),
        finish(FinishReason::ToolCalls),
    ];
    let mut first = Collector::default();
    events.iter().for_each(|event| first.push(event));
    let first = first.finish().expect("an answer");
    let stream = written(exchange(), &events);
    decoded(&stream, 5);
    let again = collected(&stream).expect("an answer");
    assert_eq!((again.choices, again.usage), (first.choices, first.usage));
}

#[test]
fn the_items_of_a_stream_can_be_stored() {
    let mut encoder = Encoder::new(exchange());
    let mut out = Vec::new();
    for event in [start(), begin(0, PartKind::Text), text(0, "x"), stop(0), finish(FinishReason::End)] {
        encoder.event(&event, &mut out);
    }
    encoder.end(&mut out);
    let items = encoder.output_items();
    let last = frames(&out).pop().expect("an end").to_string();
    let same = output_items(last.as_bytes()).expect("items");
    assert_eq!(items[0].to_value(), same[0].to_value());
    assert_eq!(response_id(&exchange()), "resp_1");
}
