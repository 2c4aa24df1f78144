use serde_json::json;

use super::*;
use crate::ir::{Choice, FinishReason, Part, Response, replay};

const MESSAGE: &str = r#"{"id":"msg_up","type":"message","role":"assistant","model":"claude","content":[
    {"type":"thinking","thinking":"hm","signature":"sig"},
    {"type":"redacted_thinking","data":"blob"},
    {"type":"text","text":"found","citations":[{"type":"web_search_result_location","url":"https://x","title":"X","cited_text":"c","encrypted_index":"e"}]},
    {"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"x"}},
    {"type":"tool_use","id":"toolu_1","name":"f","input":{"n":  1.0},"caller":{"type":"code_execution_20250825","tool_id":"s"}}],
    "stop_reason":"tool_use","stop_sequence":null,"container":{"id":"c","expires_at":"t"},
    "usage":{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":4,"cache_creation":{"ephemeral_5m_input_tokens":2,"ephemeral_1h_input_tokens":3},
        "output_tokens":9,"output_tokens_details":{"thinking_tokens":6},"service_tier":"priority","server_tool_use":{"web_search_requests":1}}}"#;

fn answer(response: &Response<'_>, exchange: &Exchange) -> Value {
    let mut out = Vec::new();
    encode_response(response, exchange, &mut out);
    serde_json::from_slice(&out).expect("valid JSON")
}

fn response(parts: Vec<Part<'static>>, finish: FinishReason) -> Response<'static> {
    Response { choices: vec![Choice { parts, finish: Some(finish), ..Choice::default() }], ..Response::default() }
}

#[test]
fn an_answer_is_read_with_everything_in_it() {
    let response = decode_response(MESSAGE.as_bytes(), &CONTEXT).expect("an answer");
    let usage = response.usage;
    assert_eq!(
        (usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h),
        (Some(10), Some(4), Some(2), Some(3))
    );
    assert_eq!((usage.output, usage.reasoning), (Some(3), Some(6)));
    assert_eq!(response.service_tier.as_deref(), Some("priority"));
    assert_eq!(usage.service, Some(crate::usage::Service::Priority));
    let choice = &response.choices[0];
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
    let Part::Text { annotations, .. } = &choice.parts[2] else { panic!("no text") };
    assert_eq!((annotations[0].url.as_deref(), annotations[0].title.as_deref()), (Some("https://x"), Some("X")));
    let Part::ToolCall { arguments, .. } = &choice.parts[4] else { panic!("no call") };
    assert_eq!(arguments, "{\"n\":  1.0}");
    assert_eq!(
        response.extensions.iter().map(|(path, _)| path).collect::<Vec<_>>(),
        ["tool_use.toolu_1.caller", "container"]
    );
}

#[test]
fn an_answer_goes_to_an_anthropic_client_with_nothing_lost() {
    let response = decode_response(MESSAGE.as_bytes(), &CONTEXT).expect("an answer");
    let mut expected: Value = serde_json::from_str(MESSAGE).expect("JSON");
    expected["id"] = json!("msg_1");
    expected["model"] = json!("mock/m");
    expected["usage"].as_object_mut().expect("usage").remove("server_tool_use");
    assert_eq!(answer(&response, &exchange()), expected);
}

#[test]
fn a_chat_answer_becomes_a_message() {
    let body = r#"{"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","reasoning_content":"hm",
        "annotations":[{"type":"url_citation","url_citation":{"url":"https://x","title":"X","start_index":0,"end_index":2}}],
        "tool_calls":[{"id":"call_1","type":"function","function":{"name":"f_x","arguments":""},"extra_content":{"google":{"thought_signature":"sig"}}}]},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":10,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":4}}}"#;
    let response = openai::decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
    let message = answer(&response, &exchange());
    assert_eq!(
        message["content"],
        json!([
            {"type": "thinking", "thinking": "hm", "signature": "sealed:openai:"},
            {"type": "text", "text": "hi", "citations": [{"type": "web_search_result_location", "cited_text": "", "encrypted_index": "", "title": "X", "url": "https://x"}]},
            {"type": "redacted_thinking", "data": "sealed:gemini:sig"},
            {"type": "tool_use", "id": "call_1", "name": "f_x", "input": {}},
        ])
    );
    assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!("tool_use"), &Value::Null));
    let usage = &message["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["cache_read_input_tokens"], &usage["output_tokens"]),
        (&json!(6), &json!(4), &json!(6))
    );
    // What the client sends back is what was there.
    let again = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": message["content"]}]});
    let again = again.to_string();
    let request = read(&again);
    let parts = &request.turns[1].parts;
    assert!(matches!(&parts[0], Part::Thinking { signature: None, .. }));
    let Part::Text { annotations, .. } = &parts[1] else { panic!("no text") };
    assert!(annotations[0].raw.is_none(), "a citation made by us must not go to Anthropic as its own");
    assert!(matches!(&parts[2], Part::ToolCall { signature: Some(signature), .. } if signature.payload == "sig"));
}

#[test]
fn thoughts_are_shown_only_to_who_wants_them() {
    let response = decode_response(MESSAGE.as_bytes(), &CONTEXT).expect("an answer");
    let message = answer(&response, &Exchange { show_thinking: false, ..exchange() });
    assert!(!message.to_string().contains("thinking\":"), "{message}");
    assert_eq!(message["content"][0]["type"], "text");
}

#[test]
fn the_structured_tool_comes_back_as_text() {
    let body = format!(
        r#"{{"content":[{{"type":"tool_use","id":"a","name":"{STRUCTURED_TOOL}","input":{{"n": 1.0}}}}],"stop_reason":"tool_use","usage":{{}}}}"#
    );
    let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
    assert_eq!(response.choices[0].parts, [Part::text("{\"n\": 1.0}")]);
    assert_eq!(response.choices[0].finish, Some(FinishReason::End));
}

#[test]
fn every_stop_word_is_understood_and_said() {
    for (word, reason) in [
        ("end_turn", FinishReason::End),
        ("max_tokens", FinishReason::MaxTokens),
        ("stop_sequence", FinishReason::StopSequence),
        ("pause_turn", FinishReason::Pause),
        ("refusal", FinishReason::Refusal),
        ("model_context_window_exceeded", FinishReason::ContextWindow),
    ] {
        let body = format!(r#"{{"content":[],"stop_reason":"{word}","stop_sequence":"X"}}"#);
        let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
        assert_eq!(response.choices[0].finish, Some(reason));
        let message = answer(&response, &exchange());
        assert_eq!(message["stop_reason"], word);
        assert_eq!(message["stop_sequence"].is_null(), word != "stop_sequence");
    }
    let body = r#"{"content":[{"type":"tool_use","id":"a","name":"f","input":{}}],"stop_reason":"end_turn"}"#;
    let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
    assert_eq!(response.choices[0].finish, Some(FinishReason::ToolCalls), "some hosts say so beside calls");
    assert_eq!(answer(&response_of(FinishReason::ContentFilter), &exchange())["stop_reason"], "refusal");
}

fn response_of(finish: FinishReason) -> Response<'static> {
    response(Vec::new(), finish)
}

#[test]
fn a_refusal_says_why_in_every_dialect() {
    let body = r#"{"content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","category":"cyber","explanation":"no"}}"#;
    let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
    assert_eq!(response.choices[0].parts, [Part::Refusal { text: "no".into() }]);
    let message = answer(&response, &exchange());
    assert_eq!((&message["content"], &message["stop_details"]["category"]), (&json!([]), &json!("cyber")));
    let refusal = super::answers::response(vec![Part::Refusal { text: "I cannot".into() }], FinishReason::Refusal);
    let message = answer(&refusal, &exchange());
    assert_eq!((&message["content"][0]["text"], &message["stop_reason"]), (&json!("I cannot"), &json!("refusal")));
}

#[test]
fn empty_texts_and_what_the_format_cannot_carry() {
    let image = Part::Image {
        source: crate::ir::Source::Inline { media_type: "image/png".into(), data: "AA==".into() },
        detail: None,
        cache: None,
    };
    let foreign = Part::ServerTool {
        family: Family::OpenAi,
        raw: crate::ir::Json::from_string("{\"type\":\"web_search_call\"}".to_owned()).expect("JSON"),
    };
    let message = answer(&response(vec![Part::text(""), foreign, image], FinishReason::End), &exchange());
    assert_eq!(message["content"].as_array().map(Vec::len), Some(1));
    assert_eq!(message["content"][0]["type"], "text");
    assert_eq!(message["usage"]["input_tokens"], 11, "nothing is known of the usage: the estimate");
}

#[test]
fn arguments_that_are_no_object_do_not_break_the_answer() {
    for (arguments, input) in [("{\"cut", json!({"input": "{\"cut"})), ("", json!({})), ("7", json!({"input": "7"}))] {
        let call = Part::ToolCall {
            id: "a".into(),
            name: "f".into(),
            arguments: arguments.into(),
            kind: crate::ir::CallKind::Function,
            signature: None,
            cache: None,
        };
        let message = answer(&response(vec![call], FinishReason::ToolCalls), &exchange());
        assert_eq!(message["content"][0]["input"], input);
    }
}

#[test]
fn a_whole_answer_streams_as_itself() {
    let response = decode_response(MESSAGE.as_bytes(), &CONTEXT).expect("an answer");
    let mut all = Vec::new();
    replay(&response, &mut |event| all.push(own(event)));
    let message = assembled(&written(&all, exchange()));
    let whole = answer(&response, &exchange());
    let mut expected = whole["content"].clone();
    expected[4].as_object_mut().expect("a call").remove("caller");
    assert_eq!(message["content"], expected);
    assert_eq!(message["stop_reason"], whole["stop_reason"]);
    assert_eq!(message["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
}
