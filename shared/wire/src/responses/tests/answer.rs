use omniroute_core::error::{ErrorClass, GatewayError};
use serde_json::json;

use super::*;
use crate::ir::{
    Annotation, CallKind, Choice, FinishReason, Format, Json, Part, Source, StreamError, Tool, ToolKind, replay,
};
use crate::usage::Usage;

fn call(id: &'static str, name: &'static str, arguments: &'static str, kind: CallKind) -> Part<'static> {
    Part::ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), kind, signature: None, cache: None }
}

pub(super) fn answer(parts: Vec<Part<'static>>, finish: FinishReason) -> Response<'static> {
    Response {
        id: "up".into(),
        model: "up-m".into(),
        created: Some(5),
        choices: vec![Choice { parts, finish: Some(finish), stop_sequence: None, logprobs: None }],
        usage: Usage {
            input: Some(6),
            cache_read: Some(3),
            cache_write_5m: Some(1),
            output: Some(4),
            reasoning: Some(2),
            ..Usage::default()
        },
        ..Response::default()
    }
}

pub(super) fn write(response: &Response<'_>, exchange: &ResponseContext) -> Value {
    let mut out = Vec::new();
    encode_response(response, exchange, &mut out);
    serde_json::from_slice(&out).expect("valid JSON")
}

/// An answer with all there is.
pub(super) fn rich() -> Response<'static> {
    let mut signed = call("c1", "f", "{\"n\": 1.0}", CallKind::Function);
    if let Part::ToolCall { signature, .. } = &mut signed {
        *signature = Some(Signature { family: Family::Gemini, payload: "thought".into() });
    }
    let citation = Annotation {
        url: Some("https://x".into()),
        title: Some("X".into()),
        cited_text: None,
        start: Some(0),
        end: Some(2),
        family: Family::Anthropic,
        raw: None,
    };
    answer(
        vec![
            Part::Thinking {
                text: "hm".into(),
                signature: Some(Signature { family: Family::Anthropic, payload: "sig".into() }),
            },
            Part::RedactedThinking { data: Signature { family: Family::Anthropic, payload: "blob".into() } },
            Part::Text { text: "one".into(), annotations: vec![citation], cache: None },
            Part::text("two"),
            Part::Refusal { text: "no".into() },
            Part::ServerTool {
                family: Family::OpenAi,
                raw: Json::from_string(r#"{"type":"web_search_call","id":"ws_1","status":"completed"}"#.into())
                    .expect("JSON"),
            },
            signed,
            call("c2", "patch", "{\"input\": \"a\\nb\"}", CallKind::Function),
            call("c3", "native", "free", CallKind::Custom),
            call("c4", "ns__g", "", CallKind::Function),
            Part::Image {
                source: Source::Inline { media_type: "image/png".into(), data: "AA==".into() },
                detail: None,
                cache: None,
            },
        ],
        FinishReason::ToolCalls,
    )
}

/// The tools that the client of [`rich`] declared.
pub(super) fn rich_exchange() -> ResponseContext {
    let mut request = Request::new(Format::OpenAiResponses, "m");
    let mut tool = |name: &'static str, kind, namespace: Option<&'static str>| {
        request.tools.push(Tool {
            name: name.into(),
            description: None,
            kind,
            namespace: namespace.map(Into::into),
            cache: None,
        });
    };
    tool("f", ToolKind::Function { schema: None, strict: None }, None);
    tool("patch", ToolKind::Custom { grammar: None }, None);
    tool("ns__g", ToolKind::Function { schema: None, strict: None }, Some("ns"));
    ResponseContext { names: names_of(&request), ..exchange() }
}

#[test]
fn an_answer_is_dealt_out_to_items() {
    let body = write(&rich(), &rich_exchange());
    assert_eq!(
        body["output"],
        json!([
            {"id": "rs_1_0", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "sealed|anthropic|sig"},
            {"id": "rs_1_1", "type": "reasoning", "summary": [], "encrypted_content": "sealed|anthropic|redacted:blob"},
            {"id": "msg_1_2", "type": "message", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "text": "one", "logprobs": [], "annotations": [
                    {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 0, "end_index": 2},
                ]},
                {"type": "output_text", "text": "two", "logprobs": [], "annotations": []},
                {"type": "refusal", "refusal": "no"},
            ]},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"id": "rs_1_4", "type": "reasoning", "summary": [], "encrypted_content": "sealed|gemini|call:c1\nthought"},
            {"id": "fc_1_5", "type": "function_call", "status": "completed", "call_id": "c1", "name": "f", "arguments": "{\"n\": 1.0}"},
            {"id": "ctc_1_6", "type": "custom_tool_call", "status": "completed", "call_id": "c2", "name": "patch", "input": "a\nb"},
            {"id": "ctc_1_7", "type": "custom_tool_call", "status": "completed", "call_id": "c3", "name": "native", "input": "free"},
            {"id": "fc_1_8", "type": "function_call", "status": "completed", "call_id": "c4", "name": "g", "namespace": "ns", "arguments": "{}"},
            {"id": "ig_1_9", "type": "image_generation_call", "status": "completed", "result": "AA=="},
        ])
    );
    assert_eq!(
        body["usage"],
        json!({"input_tokens": 10, "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 1},
            "output_tokens": 6, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 16})
    );
}

#[test]
fn an_answer_repeats_the_request() {
    let echo = echo(
        br#"{"model":"m","input":"secret","instructions":"be brief","tools":[{"type":"function","name":"f"}],"temperature":0.10,
            "service_tier":"flex","previous_response_id":"resp_0","user":null,"x_vendor":1}"#,
    );
    let body = write(&answer(vec![Part::text("x")], FinishReason::End), &ResponseContext { echo, ..exchange() });
    assert_eq!(
        (&body["id"], &body["object"], &body["status"]),
        (&json!("resp_1"), &json!("response"), &json!("completed"))
    );
    assert_eq!((&body["created_at"], &body["model"]), (&json!(5), &json!("mock/m")));
    assert_eq!((&body["instructions"], &body["temperature"]), (&json!("be brief"), &json!(0.1)));
    assert_eq!((&body["tools"], &body["service_tier"]), (&json!([{"type": "function", "name": "f"}]), &json!("flex")));
    assert_eq!(body["previous_response_id"], "resp_0");
    // What SDKs demand is there without having been asked for.
    assert_eq!((&body["parallel_tool_calls"], &body["tool_choice"]), (&json!(true), &json!("auto")));
    assert_eq!((&body["metadata"], &body["error"], &body["user"]), (&json!({}), &Value::Null, &Value::Null));
    assert!(body.get("x_vendor").is_none() && body.get("input").is_none());
    assert!(super::echo(b"rubbish").is_empty());
}

#[test]
fn each_reason_to_end_has_its_status() {
    for (finish, status, reason) in [
        (FinishReason::End, "completed", Value::Null),
        (FinishReason::StopSequence, "completed", Value::Null),
        (FinishReason::ToolCalls, "completed", Value::Null),
        (FinishReason::MaxTokens, "incomplete", json!({"reason": "max_output_tokens"})),
        (FinishReason::ContextWindow, "incomplete", json!({"reason": "max_output_tokens"})),
        (FinishReason::ContentFilter, "incomplete", json!({"reason": "content_filter"})),
    ] {
        let body = write(&answer(vec![Part::text("x")], finish), &exchange());
        assert_eq!((body["status"].as_str(), &body["incomplete_details"]), (Some(status), &reason));
    }
    let body = write(&answer(vec![], FinishReason::Refusal), &exchange());
    assert_eq!(body["output"][0]["content"][0]["type"], "refusal");
    assert_eq!(write(&Response::default(), &exchange())["output"], json!([]));
}

#[test]
fn thoughts_that_are_not_to_be_shown_leave_their_signature() {
    let hidden = ResponseContext { show_thinking: false, ..exchange() };
    let signed = |signature: Option<&'static str>| Part::Thinking {
        text: "secret".into(),
        signature: signature.map(|payload| Signature { family: Family::OpenAi, payload: payload.into() }),
    };
    let body = write(&answer(vec![signed(Some("enc")), signed(None), Part::text("x")], FinishReason::End), &hidden);
    assert_eq!(body["output"].as_array().map(Vec::len), Some(2));
    assert_eq!((&body["output"][0]["summary"], &body["output"][0]["encrypted_content"]), (&json!([]), &json!("enc")));
}

#[test]
fn log_probabilities_cross_in_both_directions() {
    let list = r#"[{"token":"x","logprob":-0.5,"bytes":[120],"top_logprobs":[]}]"#;
    let mut response = answer(vec![Part::text("x")], FinishReason::End);
    response.choices[0].logprobs = Json::from_string(format!("{{\"content\":{list},\"refusal\":null}}"));
    let body = write(&response, &exchange());
    assert_eq!(body["output"][0]["content"][0]["logprobs"], serde_json::from_str::<Value>(list).expect("JSON"));
    let text = body.to_string();
    let again = decode_response(text.as_bytes(), &CONTEXT).expect("read");
    let logprobs = again.choices[0].logprobs.as_ref().expect("there").to_value();
    assert_eq!(logprobs["content"], serde_json::from_str::<Value>(list).expect("JSON"));
}

#[test]
fn an_answer_written_and_read_again_says_the_same() {
    let own = |payload: &'static str| Signature { family: Family::OpenAi, payload: payload.into() };
    let response = answer(
        vec![
            Part::Thinking { text: "hm".into(), signature: Some(own("enc")) },
            Part::RedactedThinking { data: own("blob") },
            Part::text("text"),
            Part::Refusal { text: "no".into() },
            call("c1", "f", "{\"n\": 1.0}", CallKind::Function),
            call("c3", "native", "free", CallKind::Custom),
        ],
        FinishReason::ToolCalls,
    );
    let text = write(&response, &exchange()).to_string();
    let again = decode_response(text.as_bytes(), &CONTEXT).expect("read");
    assert_eq!(again.choices, response.choices);
    assert_eq!(again.usage.total_input(), response.usage.total_input());
    assert_eq!((again.usage.cache_read, again.usage.reasoning), (Some(3), Some(2)));
}

#[test]
fn a_stream_ends_with_what_a_whole_answer_would_have_been() {
    let response = rich();
    let exchange = rich_exchange();
    let mut events = Vec::new();
    replay(&response, &mut |event| events.push(event));
    let stream = written(exchange.clone(), &events);
    let frames = frames(&stream);
    let last = frames.last().expect("an end");
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"], write(&response, &exchange));
}

#[test]
fn answers_that_are_none_are_refused() {
    for (body, code) in [
        ("<html>", "invalid_json"),
        ("{}", "invalid_field"),
        (
            r#"{"id":"r","status":"failed","error":{"code":"server_error","message":"boom"},"output":[]}"#,
            "upstream_failed",
        ),
        (r#"{"error":{"message":"boom"}}"#, "upstream_failed"),
        (r#"{"status":"queued","output":[]}"#, "invalid_field"),
        (r#"{"status":"completed","output":[{"type":"function_call"}]}"#, "invalid_field"),
        (r#"{"status":"completed","output":[7]}"#, "invalid_field"),
    ] {
        assert_eq!(decode_response(body.as_bytes(), &CONTEXT).expect_err(body).code, code, "{body}");
    }
    let error = decode_error(500, br#"{"status":"failed","error":{"code":"rate_limit_exceeded","message":"x"}}"#);
    assert_eq!(error.class, ErrorClass::RateLimited);
}

#[test]
fn errors_have_openais_shape() {
    let error = GatewayError::new(ErrorClass::NotFound, "model_not_found", "no such model").with_param("model");
    let (status, body) = encode_error(&error, "req_1");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (status, &body["error"]["code"], &body["error"]["param"]),
        (404, &json!("model_not_found"), &json!("model"))
    );
    let mut out = Vec::new();
    let error = StreamError {
        class: ErrorClass::RateLimited,
        code: "rate_limited",
        message: "Slow down.".into(),
        retry_after: Some(std::time::Duration::from_millis(1500)),
        request_id: None,
    };
    let begun = Begun { next: 26, id: Some("resp_9".into()), created: 7, model: Some("gpt-x".into()) };
    encode_stream_error(&begun, &error, &mut out);
    let written = String::from_utf8(out).expect("text");
    for named in [
        r#""sequence_number":26,"#,
        r#""sequence_number":27,"#,
        r#""id":"resp_9""#,
        r#""created_at":7,"#,
        r#""model":"gpt-x""#,
    ] {
        assert!(written.contains(named), "{named} in {written}");
    }
    let mut out = Vec::new();
    encode_stream_error(&Begun::default(), &error, &mut out);
    let frames = frames(&out);
    assert_eq!(kinds(&frames), ["error", "response.failed"]);
    assert!(frames[0].get("error").is_none(), "SDKs take that for a broken connection");
    assert_eq!(frames[0]["message"], "Slow down. Please try again in 1.5s.");
    assert_eq!(frames[1]["response"]["error"]["code"], "rate_limit_exceeded");
}
