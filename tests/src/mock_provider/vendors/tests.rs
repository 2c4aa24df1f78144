//! Each vendor takes a right request and refuses wrong ones, in its own words.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::{Anthropic, Bedrock, Cohere, Gemini, Ollama, Responses};
use crate::mock_provider::{ask::sign, vendor::Vendor};

/// What the vendor says to a body after a change; `None` when it has nothing against it.
fn fault(vendor: &dyn Vendor, model: &str, body: &Value, change: impl FnOnce(&mut Value)) -> Option<String> {
    let mut body = body.clone();
    change(&mut body);
    let mut headers = HeaderMap::new();
    headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    let asked = vendor.complete(&body).and_then(|()| vendor.ask(&body, model, &headers));
    asked.err().map(|fault| vendor.error(&fault).to_string())
}

/// Names of changes, the changes, and what the refusal has to mention.
type Wrong = (&'static str, fn(&mut Value), &'static str);

fn check(vendor: &dyn Vendor, model: &str, right: &Value, wrong: &[Wrong]) {
    assert_eq!(fault(vendor, model, right, |_| {}), None);
    for (what, change, said) in wrong {
        let words = fault(vendor, model, right, change).unwrap_or_else(|| panic!("{what} is let through"));
        assert!(words.contains(said), "{what}: {words}");
    }
}

#[test]
fn anthropic_refuses() {
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": sign("claude", "hm")});
    let right = json!({
        "model": "m", "max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [thought, {"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]},
        ],
    });
    check(
        &Anthropic,
        "claude-sonnet-4-5-mock",
        &right,
        &[
            ("no limit", |body| body["max_tokens"] = Value::Null, "max_tokens: Field required"),
            ("an unknown field", |body| body["n"] = json!(1), "n: Extra inputs are not permitted"),
            ("a role", |body| body["messages"][0]["role"] = json!("developer"), "Unexpected role"),
            ("a system turn without its beta", |body| body["messages"][0]["role"] = json!("system"), "Unexpected role"),
            (
                "another id",
                |body| body["messages"][2]["content"][0]["tool_use_id"] = json!("b"),
                "unexpected `tool_use_id`",
            ),
            ("a missing result", |body| body["messages"][2]["content"] = json!("x"), "without `tool_result`"),
            ("an id's letters", |body| body["messages"][1]["content"][1]["id"] = json!("a.b"), "String should match"),
            (
                "arguments as text",
                |body| body["messages"][1]["content"][1]["input"] = json!("{}"),
                "Input should be an object",
            ),
            (
                "a false signature",
                |body| body["messages"][1]["content"][0]["signature"] = json!("x"),
                "Invalid `signature`",
            ),
            (
                "a loop without its thought",
                |body| {
                    body["messages"][1]["content"].as_array_mut().expect("blocks").remove(0);
                },
                "Expected `thinking`",
            ),
            ("a budget above the limit", |body| body["max_tokens"] = json!(1024), "must be greater than"),
            ("temperature and thinking", |body| body["temperature"] = json!(0.5), "may only be set to 1"),
            ("a forced tool and thinking", |body| body["tool_choice"] = json!({"type": "any"}), "forces tool use"),
            (
                "adaptive thinking here",
                |body| body["thinking"] = json!({"type": "adaptive"}),
                "not supported on this model",
            ),
            (
                "an empty text",
                |body| body["messages"][0]["content"] = json!([{"type": "text", "text": " "}]),
                "non-whitespace",
            ),
            (
                "a schema that is no object",
                |body| body["tools"][0]["input_schema"]["type"] = json!("string"),
                "'object'",
            ),
            (
                "an open schema",
                |body| {
                    body["output_config"] =
                        json!({"format": {"type": "json_schema", "schema": {"properties": {"a": {}}}}});
                },
                "additionalProperties",
            ),
            ("two ways to sample", |body| (body["temperature"], body["top_p"]) = (json!(1), json!(1)), "cannot both"),
        ],
    );
}

#[test]
fn gemini_refuses() {
    let signed = sign("gemini", "f");
    let right = json!({
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": signed}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": 1}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {}}}]}],
    });
    check(
        &Gemini,
        "gemini-3-pro-mock",
        &right,
        &[
            ("no contents", |body| body["contents"] = json!([]), "contents is not specified"),
            ("an unknown field", |body| body["model"] = json!("m"), "Unknown name \\\"model\\\""),
            ("an unknown field inside", |body| body["contents"][0]["name"] = json!("x"), "Unknown name"),
            ("a role", |body| body["contents"][0]["role"] = json!("assistant"), "Invalid value"),
            (
                "two data in a part",
                |body| body["contents"][0]["parts"][0]["inlineData"] = json!({"mimeType": "image/png", "data": ""}),
                "oneof",
            ),
            (
                "a response that is no object",
                |body| body["contents"][2]["parts"][0]["functionResponse"]["response"] = json!("x"),
                "an object",
            ),
            (
                "another name",
                |body| body["contents"][2]["parts"][0]["functionResponse"]["name"] = json!("g"),
                "do not match",
            ),
            (
                "a call without its response",
                |body| body["contents"][2]["parts"] = json!([{"text": "x"}]),
                "function response turn",
            ),
            (
                "a signature that is gone",
                |body| {
                    body["contents"][1]["parts"][0].as_object_mut().expect("a part").remove("thoughtSignature");
                },
                "missing a thought_signature",
            ),
            (
                "a false signature",
                |body| body["contents"][1]["parts"][0]["thoughtSignature"] = json!("YWJj"),
                "not valid",
            ),
            (
                "a word of JSON Schema",
                |body| {
                    body["tools"][0]["functionDeclarations"][0]["parameters"]["additionalProperties"] = json!(false);
                },
                "additionalProperties",
            ),
            (
                "a name that starts with a digit",
                |body| body["tools"][0]["functionDeclarations"][0]["name"] = json!("1f"),
                "Invalid function name",
            ),
            (
                "a schema without its media type",
                |body| body["generationConfig"] = json!({"responseJsonSchema": {}}),
                "mime type",
            ),
            (
                "allowed names without a mode",
                |body| {
                    body["toolConfig"] =
                        json!({"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}});
                },
                "ANY",
            ),
        ],
    );
    let older = |change: fn(&mut Value)| fault(&Gemini, "gemini-2.5-flash-mock", &right, change);
    let level = older(|body| body["generationConfig"] = json!({"thinkingConfig": {"thinkingLevel": "low"}}));
    assert!(level.expect("a fault").contains("level"));
}

#[test]
fn responses_refuse() {
    let right = json!({
        "model": "m", "store": false,
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sign("openai", "reasoning")},
            {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": false}],
    });
    check(
        &Responses,
        "gpt-mock",
        &right,
        &[
            ("an unknown field", |body| body["max_tokens"] = json!(9), "Unknown parameter: 'max_tokens'"),
            ("a part of Chat's", |body| body["input"][0]["content"][0]["type"] = json!("text"), "Supported values are"),
            ("an id of another kind", |body| body["input"][2]["id"] = json!("call_1"), "begins with 'fc'"),
            ("an output without a call", |body| body["input"][3]["call_id"] = json!("d"), "No tool call found"),
            (
                "a call without an output",
                |body| body["input"][3] = json!({"role": "user", "content": "x"}),
                "No tool output found",
            ),
            ("false secrets", |body| body["input"][1]["encrypted_content"] = json!("x"), "could not be verified"),
            (
                "thoughts that are not stored",
                |body| body["input"][1]["encrypted_content"] = Value::Null,
                "not persisted",
            ),
            (
                "a tool of Chat's",
                |body| body["tools"][0] = json!({"type": "function", "function": {"name": "f"}}),
                "tools[0].name",
            ),
            (
                "an open strict schema",
                |body| {
                    body["tools"][0]["strict"] = json!(true);
                    body["tools"][0]["parameters"]["properties"] = json!({"a": {}});
                },
                "additionalProperties",
            ),
            ("a limit that is too low", |body| body["max_output_tokens"] = json!(1), "16"),
        ],
    );
}

#[test]
fn ollama_refuses() {
    let right = json!({
        "model": "m", "think": true,
        "messages": [
            {"role": "user", "content": "hi", "images": ["YWJj"]},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
            {"role": "tool", "content": "x", "tool_name": "f"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "unknown": 1,
    });
    check(
        &Ollama,
        "llama-mock",
        &right,
        &[
            (
                "arguments as text",
                |body| {
                    body["messages"][1]["tool_calls"][0]["function"]["arguments"] = json!("{}");
                },
                "unmarshal",
            ),
            ("parts", |body| body["messages"][0]["content"] = json!([{"type": "text", "text": "x"}]), "unmarshal"),
            ("a data URL", |body| body["messages"][0]["images"][0] = json!("data:image/png;base64,YQ=="), "base64"),
            ("a format", |body| body["format"] = json!("yaml"), "invalid format"),
            ("a level", |body| body["think"] = json!("much"), "invalid think value"),
            ("an option as text", |body| body["options"] = json!({"temperature": "1"}), "must be of type number"),
        ],
    );
}

#[test]
fn cohere_refuses() {
    let right = json!({
        "model": "m",
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "x"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    });
    check(
        &Cohere,
        "command-a-mock",
        &right,
        &[
            ("an unknown field", |body| body["top_p"] = json!(0.5), "'top_p' is not a valid field"),
            ("a temperature", |body| body["temperature"] = json!(1.5), "between"),
            ("another id", |body| body["messages"][2]["tool_call_id"] = json!("b"), "not found"),
            (
                "a call without a result",
                |body| body["messages"][2] = json!({"role": "user", "content": "x"}),
                "without results",
            ),
            ("a choice of OpenAI's", |body| body["tool_choice"] = json!("auto"), "tool_choice"),
            ("no message", |body| body["messages"] = json!([]), "must not be empty"),
        ],
    );
}

#[test]
fn bedrock_refuses() {
    let thought = json!({"reasoningContent": {"reasoningText": {"text": "hm", "signature": sign("claude", "hm")}}});
    let right = json!({
        "messages": [
            {"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [thought, {"toolUse": {"toolUseId": "a", "name": "f", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": [{"text": "x"}]}}]},
        ],
        "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]},
    });
    check(
        &Bedrock,
        "anthropic.claude-sonnet-4-5-mock-v1:0",
        &right,
        &[
            ("an unknown field", |body| body["model"] = json!("m"), "extraneous key"),
            (
                "no tools beside calls",
                |body| {
                    body.as_object_mut().expect("an object").remove("toolConfig");
                },
                "toolConfig field must be defined",
            ),
            ("two turns of one role", |body| body["messages"][1]["role"] = json!("user"), "roles must alternate"),
            ("a blank text", |body| body["messages"][0]["content"][0]["text"] = json!(" "), "is blank"),
            ("two members", |body| body["messages"][0]["content"][0]["image"] = json!({}), "tagged union"),
            ("another id", |body| body["messages"][2]["content"][0]["toolResult"]["toolUseId"] = json!("b"), "exceeds"),
            ("no result", |body| body["messages"][2]["content"] = json!([{"text": "x"}]), "Expected toolResult blocks"),
            (
                "an id's letters",
                |body| body["messages"][1]["content"][1]["toolUse"]["toolUseId"] = json!("a.b"),
                "regular expression",
            ),
            (
                "a false signature",
                |body| {
                    body["messages"][1]["content"][0]["reasoningContent"]["reasoningText"]["signature"] = json!("x");
                },
                "Invalid `signature`",
            ),
        ],
    );
}
