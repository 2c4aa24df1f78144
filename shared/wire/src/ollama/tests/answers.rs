use std::time::{Duration, Instant};

use omniroute_core::error::{ErrorClass, GatewayError};
use serde_json::{Value, json};

use super::*;
use crate::{
    codec::StreamEncoder as _,
    ir::{CallKind, Choice, FinishReason, Part, Response, StreamError},
    usage::Usage,
};

fn call(arguments: &'static str) -> Part<'static> {
    Part::ToolCall {
        id: "c1".into(),
        name: "f".into(),
        arguments: arguments.into(),
        kind: CallKind::Function,
        signature: None,
        cache: None,
    }
}

fn response(arguments: &'static str) -> Response<'static> {
    Response {
        created: Some(1_700_000_000),
        choices: vec![Choice {
            parts: vec![Part::Thinking { text: "hm".into(), signature: None }, Part::text("hello"), call(arguments)],
            finish: Some(FinishReason::ToolCalls),
            stop_sequence: None,
            logprobs: crate::ir::Json::from_string(
                r#"{"content":[{"token":"h","logprob":-0.5,"bytes":null,"top_logprobs":[]}],"refusal":null}"#.into(),
            ),
        }],
        usage: Usage { input: Some(10), cache_read: Some(4), output: Some(5), reasoning: Some(2), ..Usage::default() },
        ..Response::default()
    }
}

fn written(response: &Response<'_>, exchange: &ResponseContext, shape: Shape, timing: &Timing) -> Value {
    let mut out = Vec::new();
    encode_response(response, exchange, shape, timing, &mut out);
    serde_json::from_slice(&out).expect("JSON")
}

#[test]
fn an_answer_has_what_clients_read() {
    let timing = Timing::default();
    let start = Instant::now();
    timing.received(start);
    timing.sent(start + Duration::from_nanos(10));
    timing.first_output(start + Duration::from_nanos(110));
    timing.finished(start + Duration::from_nanos(1110));
    timing.finished(start + Duration::from_secs(9));
    let answer = written(&response("{\"a\": 1}"), &exchange(), Shape::Chat, &timing);
    let expected = json!({"model":"mock/m","created_at":"2023-11-14T22:13:20.000Z",
        "message":{"role":"assistant","content":"hello","thinking":"hm",
            "tool_calls":[{"id":"c1","function":{"index":0,"name":"f","arguments":{"a":1}}}]},
        "done":true,"done_reason":"stop","logprobs":[{"token":"h","logprob":-0.5,"bytes":null,"top_logprobs":[]}],
        "total_duration":1110,"load_duration":10,"prompt_eval_count":14,"prompt_eval_duration":100,"eval_count":7,
        "eval_duration":1000});
    assert_eq!(answer, expected);
}

#[test]
fn a_generated_text_stands_at_the_top_and_unknowns_are_left_out() {
    let mut response = response("{}");
    response.usage = Usage::default();
    let exchange = ResponseContext { show_thinking: false, ..exchange() };
    let answer = written(&response, &exchange, Shape::Generate, &Timing::default());
    assert_eq!(answer["response"], "hello");
    assert_eq!(answer["tool_calls"][0]["function"]["name"], "f");
    for absent in ["message", "thinking", "context", "eval_count", "total_duration"] {
        assert!(answer.get(absent).is_none(), "{absent} in {answer}");
    }
}

#[test]
fn an_empty_answer_and_a_cut_call_are_still_answers() {
    let answer = written(&Response::default(), &exchange(), Shape::Chat, &Timing::default());
    assert_eq!(answer["message"], json!({"role":"assistant","content":""}));
    let cut = written(&response("{\"a\":"), &exchange(), Shape::Chat, &Timing::default());
    assert_eq!(cut["message"]["tool_calls"][0]["function"]["arguments"], json!({"input":"{\"a\":"}));
}

#[test]
fn an_answer_written_and_read_again_says_the_same() {
    let original = response("{\"a\": 1}");
    for shape in [Shape::Chat, Shape::Generate] {
        let mut out = Vec::new();
        encode_response(&original, &exchange(), shape, &Timing::default(), &mut out);
        let again = decode_response(&out, &CONTEXT).expect("an answer");
        assert_eq!(again.choices[0].parts, original.choices[0].parts);
        assert_eq!(again.choices[0].finish, Some(FinishReason::ToolCalls));
        assert_eq!(again.created, original.created);
        assert_eq!((again.usage.input, again.usage.output), (Some(14), Some(7)));
        assert!(again.choices[0].logprobs.is_some());
    }
}

#[test]
fn calls_of_two_rounds_never_share_an_id() {
    let body = |moment: &str| {
        format!(
            r#"{{"model":"m","created_at":"{moment}","message":{{"role":"assistant","content":"","tool_calls":
                [{{"function":{{"name":"f","arguments":{{}}}}}},{{"function":{{"name":"f","arguments":{{}}}}}}]}},
                "done":true,"done_reason":"stop"}}"#
        )
    };
    let ids = |body: &str| -> Vec<String> {
        let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
        let parts = response.choices[0].parts.iter();
        parts
            .filter_map(|part| if let Part::ToolCall { id, .. } = part { Some(id.to_string()) } else { None })
            .collect()
    };
    let (first, second) = (body("2026-01-01T00:00:00.1Z"), body("2026-01-01T00:00:00.2Z"));
    let mut all = [ids(&first), ids(&second)].concat();
    assert_eq!(ids(&first), all[..2]);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
}

#[test]
fn what_is_no_answer_is_an_error() {
    for body in [&b"<html>"[..], b"{}", b"[]", br#"{"error":"model not loaded"}"#, b"\xff", br#"{"message":3}"#] {
        decode_response(body, &CONTEXT).expect_err("no answer");
    }
    let length = br#"{"response":"x","done":true,"done_reason":"length"}"#;
    assert_eq!(decode_response(length, &CONTEXT).expect("one").choices[0].finish, Some(FinishReason::MaxTokens));
    let open = br#"{"response":"x","done":false}"#;
    assert_eq!(decode_response(open, &CONTEXT).expect("one").choices[0].finish, None);
}

#[test]
fn errors_of_a_server_are_understood() {
    for (status, body, class) in [
        (404, r#"{"error":"model 'x' not found"}"#, ErrorClass::NotFound),
        (400, r#"{"error":"\"m\" does not support tools"}"#, ErrorClass::BadRequest),
        (400, r#"{"error":"the input length exceeds the context length"}"#, ErrorClass::ContextTooLong),
        (500, r#"{"error":"request (9 tokens) exceeds the available context size"}"#, ErrorClass::ContextTooLong),
        (
            503,
            r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
            ErrorClass::Overloaded,
        ),
        (401, r#"{"error":"unauthorized","signin_url":"https://x"}"#, ErrorClass::Unauthenticated),
        (429, r#"{"error":{"message":"slow down"}}"#, ErrorClass::RateLimited),
        (500, "llama runner process has terminated", ErrorClass::Upstream),
        (502, "", ErrorClass::Upstream),
    ] {
        assert_eq!(decode_error(status, body.as_bytes()).class, class, "{body}");
    }
}

#[test]
fn errors_are_a_text_that_clients_show() {
    let error = GatewayError::bad_request("invalid_field", "no \"model\"").with_param("model").with_hint("name one");
    let (status, body) = encode_error(&error, "r1");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status, &body["error"], &body["request_id"]), (400, &json!("no \"model\""), &json!("r1")));
    assert_eq!(body["omniroute"], json!({"code":"invalid_field","param":"model","hint":"name one"}));
    let error = StreamError {
        class: ErrorClass::Overloaded,
        code: "overloaded",
        message: "two\nlines".into(),
        retry_after: None,
        request_id: None,
    };
    let mut out = Vec::new();
    encode_stream_error(&error, &mut out);
    assert_eq!(out, b"{\"error\":\"two\\nlines\",\"status\":503}\n");
}

#[test]
fn an_answer_that_was_declined_without_words_has_some() {
    let declined = |finish, parts| {
        let choice = Choice { parts, finish: Some(finish), ..Choice::default() };
        Response { choices: vec![choice], ..Response::default() }
    };
    let refusal = |text: &'static str| vec![Part::Refusal { text: text.into() }];
    for (response, words) in [
        (declined(FinishReason::Refusal, Vec::new()), crate::openai::REFUSED),
        (declined(FinishReason::ContentFilter, Vec::new()), crate::openai::REFUSED),
        (declined(FinishReason::Refusal, refusal("no")), "no"),
        (declined(FinishReason::ContentFilter, vec![Part::text("so far")]), "so far"),
        (declined(FinishReason::End, Vec::new()), ""),
    ] {
        for shape in [Shape::Chat, Shape::Generate] {
            let said = |line: &Value| match shape {
                Shape::Chat => line["message"]["content"].as_str().expect("a text").to_owned(),
                Shape::Generate => line["response"].as_str().expect("a text").to_owned(),
            };
            assert_eq!(said(&written(&response, &exchange(), shape, &Timing::default())), words);
            let mut encoder = Encoder::new(exchange(), shape, Timing::default());
            let mut out = Vec::new();
            crate::ir::replay(&response, &mut |event| encoder.event(&event, &mut out));
            encoder.end(&mut out);
            let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let streamed: String = lines.map(|line| said(&serde_json::from_slice(line).expect("JSON"))).collect();
            assert_eq!(streamed, words);
        }
    }
}
