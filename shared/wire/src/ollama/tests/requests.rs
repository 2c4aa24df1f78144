use serde_json::json;

use super::*;
use crate::{
    ir::{Effort, OutputFormat, Part, Role, ThinkingStyle},
    openai,
};

fn decode(body: &str) -> Request<'_> {
    decode_request(body.as_bytes(), &CONTEXT).unwrap_or_else(|error| panic!("{error}: {body}"))
}

const LOOP: &str = r#"{"model":"p/m","messages":[
    {"role":"system","content":"be brief"},
    {"role":"USER","content":"look","images":["iVBORw0KGgoAAAANSUhEUg=="]},
    {"role":"assistant","content":"","thinking":"hm","tool_calls":[
        {"function":{"name":"f.x","arguments":{"n": 1.50}}},
        {"function":{"name":"g","arguments":{}}},
        {"function":{"index":2,"name":"g","arguments":"{\"z\":1}"}}]},
    {"role":"tool","content":"for g","tool_name":"g"},
    {"role":"tool","content":"for f","tool_name":"f.x"},
    {"role":"tool","content":"for the second g"},
    {"role":"system","content":"mid"},
    {"role":"user","content":"and now?"}],
    "tools":[{"type":"function","function":{"name":"f.x","description":"does f","parameters":{"type":"object","properties":{"n":{"type":"number"}}}}}],
    "format":"json","think":"high","keep_alive":"5m","logprobs":true,"top_logprobs":3,"shift":false,
    "options":{"num_predict":128.0,"temperature":0.5,"top_k":40,"top_p":0.9,"min_p":0.1,"seed":42,"stop":["END"],
        "repeat_penalty":1.1,"presence_penalty":0.5,"frequency_penalty":0.25,"num_ctx":8192,"mirostat":1}}"#;

#[test]
fn a_tool_loop_is_read_with_ids_that_calls_and_results_share() {
    let request = decode(LOOP);
    assert!(request.stream, "absent means true");
    assert_eq!(request.system.iter().map(|part| part.position).collect::<Vec<_>>(), [0, 5]);
    let roles: Vec<Role> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::Tool, Role::Tool, Role::User]);
    let calls: Vec<(&str, &str, &str)> = request.turns[1]
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolCall { id, name, arguments, .. } => Some((id.as_ref(), name.as_ref(), arguments.as_ref())),
            _ => None,
        })
        .collect();
    assert_eq!((calls[0].1, calls[0].2), ("f.x", "{\"n\": 1.50}"), "byte for byte");
    assert_eq!((calls[1].2, calls[2].2), ("{}", "{\"z\":1}"));
    let answered: Vec<&str> = request
        .turns
        .iter()
        .flat_map(|turn| &turn.parts)
        .filter_map(|part| if let Part::ToolResult { call_id, .. } = part { Some(call_id.as_ref()) } else { None })
        .collect();
    assert_eq!(answered, [calls[1].0, calls[0].0, calls[2].0], "by name, then in order");
    assert_eq!(decode(LOOP).turns, request.turns, "the same ids every time");
}

#[test]
fn images_get_the_media_type_that_their_bytes_show() {
    let request = decode(
        r#"{"model":"m","messages":[{"role":"user","content":"x","images":["/9j/4AAQSkZJRgABAQ==",
            "data:image/webp;base64,AA==","https://a/b.png","UklGRgAAAABXQVZFZm10IA=="]}]}"#,
    );
    let sources: Vec<_> = request.turns[0].parts.iter().map(|part| format!("{part:?}")).collect();
    assert!(sources[0].contains("image/jpeg"), "{}", sources[0]);
    assert!(sources[1].contains("image/webp"), "{}", sources[1]);
    assert!(sources[2].contains("Url"), "{}", sources[2]);
    assert!(sources[3].starts_with("Audio") && sources[3].contains("audio/wav"), "{}", sources[3]);
}

#[test]
fn settings_are_read_and_the_rest_is_kept() {
    let request = decode(LOOP);
    assert_eq!((request.max_tokens, request.sampling.top_k, request.sampling.seed), (Some(128), Some(40), Some(42)));
    assert_eq!(request.stop, ["END"]);
    assert_eq!(request.output, OutputFormat::Json);
    assert_eq!((request.sampling.logprobs, request.sampling.top_logprobs), (Some(true), Some(3)));
    let reasoning = request.reasoning.expect("asked for");
    assert_eq!((reasoning.enabled, reasoning.effort), (Some(true), Some(Effort::High)));
    let kept: Vec<&str> = request.extensions.iter().map(|(name, _)| name).collect();
    assert_eq!(kept, ["options.num_ctx", "options.mirostat", "keep_alive", "shift"]);
}

#[test]
fn special_numbers_are_no_limits() {
    let request = decode(
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"options":{"num_predict":-1,"top_k":0,"seed":-1}}"#,
    );
    assert_eq!((request.max_tokens, request.sampling.top_k, request.sampling.seed), (None, None, None));
    let (body, losses) = encode(&request);
    assert_eq!(body["options"], json!({"num_predict":-1,"top_k":0}));
    assert!(losses.is_empty(), "{losses:?}");
}

#[test]
fn think_and_format_have_several_forms() {
    let with = |rest: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{rest}}}"#);
    for (rest, enabled, effort) in [
        (r#""think":true"#, Some(true), None),
        (r#""think":false"#, Some(false), None),
        (r#""think":"max""#, Some(true), Some(Effort::Max)),
    ] {
        let body = with(rest);
        let reasoning = decode(&body).reasoning.expect("asked for");
        assert_eq!((reasoning.enabled, reasoning.effort), (enabled, effort), "{rest}");
    }
    assert_eq!(decode(&with(r#""think":null,"format":"","options":null,"tools":null"#)).reasoning, None);
    let body = with(r#""format":{"type":"object",  "properties":{}},"stream":false"#);
    let request = decode(&body);
    assert!(!request.stream);
    let OutputFormat::Schema { schema, .. } = &request.output else { panic!("a schema") };
    assert_eq!(schema.as_str(), r#"{"type":"object",  "properties":{}}"#);
}

#[test]
fn bad_fields_are_named() {
    let deep = format!(r#"{{"model":"m","messages":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for (body, param) in [
        (r#"{"messages":[]}"#, Some("model")),
        (r#"{"model":"","messages":[]}"#, Some("model")),
        (r#"{"model":7}"#, Some("model")),
        (r#"{"model":"m","messages":[{"content":"x"}]}"#, Some("messages.0.role")),
        (r#"{"model":"m","messages":[{"role":"robot","content":"x"}]}"#, Some("messages.0.role")),
        (r#"{"model":"m","messages":[{"role":"user","content":7}]}"#, Some("messages[0].content")),
        (r#"{"model":"m","messages":[{"role":"user","images":[1]}]}"#, Some("messages[0].images[0]")),
        (r#"{"model":"m","messages":[{"role":"system","images":["AA=="]}]}"#, Some("messages.0.images")),
        (
            r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":{}}}]}]}"#,
            Some("messages.0.tool_calls.0.function.name"),
        ),
        (
            r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":3}}]}]}"#,
            Some("messages[0].tool_calls[0].function.arguments"),
        ),
        (r#"{"model":"m","tools":[{"type":"function"}]}"#, Some("tools.0.function")),
        (r#"{"model":"m","tools":[{"type":"function","function":{}}]}"#, Some("tools.0.function.name")),
        (r#"{"model":"m","tools":[7]}"#, Some("tools.0")),
        (r#"{"model":"m","format":"yaml"}"#, Some("format")),
        (r#"{"model":"m","think":"sometimes"}"#, Some("think")),
        (r#"{"model":"m","think":3}"#, Some("think")),
        (r#"{"model":"m","top_logprobs":21}"#, Some("top_logprobs")),
        (r#"{"model":"m","options":{"temperature":-1}}"#, Some("options.temperature")),
        (r#"{"model":"m","options":{"num_predict":"many"}}"#, Some("options.num_predict")),
        (r#"{"model":"m","options":{"num_predict":1e300}}"#, Some("options.num_predict")),
        (r#"{"model":"m","stream":"yes"}"#, Some("stream")),
        (r#"{"model":"m""#, None),
        ("", None),
        ("[]", None),
        (&deep, Some("messages[0]")),
    ] {
        let error = decode_request(body.as_bytes(), &CONTEXT).expect_err(body);
        let shown = &body[..body.len().min(100)];
        assert_eq!(error.param.as_deref(), param, "{shown}: {error}");
    }
    assert!(decode_request(b"{\"model\":\"\xff\"}", &CONTEXT).is_err());
}

#[test]
fn a_request_keeps_its_meaning_through_the_representation() {
    let request = decode(LOOP);
    let profile = Profile { thinking: ThinkingStyle::Effort, ..Profile::default() };
    let (body, losses) = encode_with(&request, &profile).expect("encoded");
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!((&body["model"], &body["stream"], &body["think"]), (&json!("up"), &json!(false), &json!("high")));
    assert_eq!(body["format"], "json");
    assert_eq!((&body["keep_alive"], &body["shift"]), (&json!("5m"), &json!(false)));
    assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &json!(3)));
    let expected = json!({"num_predict":128,"temperature":0.5,"top_k":40,"top_p":0.9,"min_p":0.1,"seed":42,
        "stop":["END"],"repeat_penalty":1.1,"presence_penalty":0.5,"frequency_penalty":0.25,"num_ctx":8192,"mirostat":1});
    assert_eq!(body["options"], expected);
    let messages = body["messages"].as_array().expect("messages");
    let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap_or_default()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "tool", "tool", "system", "user"]);
    assert_eq!(messages[1]["images"], json!(["iVBORw0KGgoAAAANSUhEUg=="]));
    assert_eq!(messages[2]["thinking"], "hm");
    assert_eq!(messages[2]["tool_calls"][0]["function"], json!({"index":0,"name":"f_x","arguments":{"n":1.5}}));
    assert_eq!(messages[4]["tool_name"], "f_x", "renamed like the call");
    assert_eq!(messages[4]["tool_call_id"], messages[2]["tool_calls"][0]["id"]);
    assert_eq!(messages[5]["tool_name"], "g", "found through the call");
    let text = body.to_string();
    let again = decode(&text);
    assert_eq!(again.turns.len(), request.turns.len());
    assert_eq!(again.system, request.system);
}

#[test]
fn a_chat_request_crosses_over_and_its_losses_are_listed() {
    let body = br#"{"model":"m","messages":[
        {"role":"developer","content":"rules"},
        {"role":"user","name":"ann","content":[{"type":"text","text":"one"},{"type":"text","text":"two"},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"cut"}}]},
        {"role":"tool","tool_call_id":"a","content":"42"}],
        "tools":[{"type":"function","function":{"name":"f","strict":true}},{"type":"function","function":{"name":"g"}}],
        "tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,"logit_bias":{"1":2},
        "user":"u","metadata":{},"service_tier":"flex","prompt_cache_key":"k","store":true,"reasoning_effort":"minimal",
        "max_completion_tokens":9,"x_vendor":1,"web_search_options":{}}"#;
    let request = openai::decode_request(body, &CONTEXT).expect("a request");
    let (body, losses) = encode(&request);
    for name in [
        "messages.name",
        "image_url.detail",
        "tool_calls.arguments",
        "tools.web_search_options",
        "tool_choice",
        "tools.strict",
        "x_vendor",
        "parallel_tool_calls",
        "logit_bias",
        "user",
        "metadata",
        "service_tier",
        "prompt_cache_key",
        "store",
        "reasoning_effort",
    ] {
        assert!(losses.iter().any(|own| own == name), "{name} in {losses:?}");
    }
    assert_eq!(losses.len(), 15, "{losses:?}");
    assert_eq!(body["messages"][0], json!({"role":"system","content":"rules"}));
    assert_eq!(body["messages"][1], json!({"role":"user","content":"one\ntwo","images":["AA=="]}));
    assert_eq!(body["messages"][2]["tool_calls"][0]["function"]["arguments"], json!({"input":"{\"cut"}));
    assert_eq!(body["messages"][3], json!({"role":"tool","content":"42","tool_name":"f","tool_call_id":"a"}));
    assert_eq!(body["tools"].as_array().map(Vec::len), Some(1), "only the wanted one is offered");
    assert_eq!(body["think"], "low", "the nearest it has");
    assert_eq!(body["options"]["num_predict"], 9);
}
