//! What OpenAI checks across the messages of a chat, and what such a chat asks for.

use serde_json::Value;

use super::{
    ask::{self, Ask, Choice, Kind, Thinking, Tool},
    error::ApiError,
    shape::{self, closed_schema, is_name},
};

/// Parts that a role's messages may be made of.
fn parts_of(role: &str) -> &'static [&'static str] {
    match role {
        "user" => &["text", "image_url", "input_audio", "file"],
        "assistant" => &["text", "refusal"],
        _ => &["text"],
    }
}

/// Checks that calls and results follow each other, that parts are where they may be, and that names and schemas are
/// such as OpenAI takes.
pub(super) fn chat(body: &Value) -> Result<(), ApiError> {
    let fields = body.as_object().ok_or_else(|| ApiError::wrong_type("body", "an object", body))?;
    let mut open: Vec<&str> = Vec::new();
    let mut called = false;
    for (index, message) in shape::list(fields, "messages").iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            if !called {
                let message = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message \
                               with 'tool_calls'.";
                return Err(ApiError::bad_request(message).param(format!("messages.[{index}].role")));
            }
            let Some(at) = open.iter().position(|one| *one == id) else {
                let message = format!(
                    "Invalid parameter: 'tool_call_id' of '{id}' not found in 'tool_calls' of previous message."
                );
                return Err(ApiError::bad_request(message).param(format!("messages.[{index}].tool_call_id")));
            };
            open.remove(at);
        } else {
            if !open.is_empty() {
                return Err(unanswered(&open));
            }
            called = message["tool_calls"].is_array();
        }
        parts(index, role, message)?;
        open.extend(calls(index, message)?);
    }
    if !open.is_empty() {
        return Err(unanswered(&open));
    }
    let mut names: Vec<&str> = Vec::new();
    for (index, tool) in shape::list(fields, "tools").iter().enumerate() {
        let kind = tool["type"].as_str().unwrap_or_default();
        let name = tool[kind]["name"].as_str().unwrap_or_default();
        if !is_name(name, 64, "_-") || names.contains(&name) {
            let message = format!(
                "Invalid 'tools[{index}].{kind}.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$', and is used once."
            );
            return Err(ApiError::bad_request(message).code("invalid_value"));
        }
        names.push(name);
        let schema = &tool[kind]["parameters"];
        let is_object = schema.is_null() || schema["type"] == "object" || schema == &serde_json::json!({});
        if !is_object {
            return Err(bad_schema(
                &format!("function '{name}'"),
                "schema must be a JSON Schema of 'type: \"object\"'",
            ));
        }
        if tool[kind]["strict"] == true {
            closed_schema(schema, true).map_err(|why| bad_schema(&format!("function '{name}'"), &why))?;
        }
    }
    format(&body["response_format"])
}

fn unanswered(open: &[&str]) -> ApiError {
    ApiError::bad_request(format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
         The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    ))
}

fn bad_schema(of: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!("Invalid schema for {of}: In context=(), {why}")).code("invalid_function_parameters")
}

fn parts(index: usize, role: &str, message: &Value) -> Result<(), ApiError> {
    for (at, part) in message["content"].as_array().into_iter().flatten().enumerate() {
        let kind = part["type"].as_str().unwrap_or_default();
        let at = format!("messages[{index}].content[{at}]");
        if !parts_of(role).contains(&kind) {
            let known = parts_of(role).join("', '");
            let message = format!("Invalid value: '{kind}'. Supported values are: '{known}'.");
            return Err(ApiError::bad_request(message).param(format!("{at}.type")).code("invalid_value"));
        }
        let wrong = match kind {
            "text" | "refusal" if !part[kind].is_string() => Some((kind, "a string")),
            "image_url" if !part[kind]["url"].is_string() => Some(("image_url.url", "a string")),
            "input_audio" if !part[kind]["data"].is_string() => Some(("input_audio.data", "a string")),
            "file" if !part[kind].is_object() => Some(("file", "an object")),
            _ => None,
        };
        if let Some((field, expected)) = wrong {
            return Err(ApiError::wrong_type(&format!("{at}.{field}"), expected, &part[kind]));
        }
        let url = part["image_url"]["url"].as_str().unwrap_or_default();
        if url.starts_with("data:") && !url.split_once(";base64,").is_some_and(|(_, data)| shape::is_base64(data)) {
            return Err(ApiError::bad_request("Invalid base64 image_url.").code("invalid_base64"));
        }
    }
    Ok(())
}

/// Ids of the calls that a message makes.
fn calls(index: usize, message: &Value) -> Result<Vec<&str>, ApiError> {
    let calls = &message["tool_calls"];
    if calls.is_null() {
        return Ok(Vec::new());
    }
    let at = format!("messages[{index}].tool_calls");
    let Some(calls) = calls.as_array() else { return Err(ApiError::wrong_type(&at, "an array", calls)) };
    if calls.is_empty() {
        let message = format!("Invalid '{at}': empty array. Expected an array with minimum length 1.");
        return Err(ApiError::bad_request(message).param(at).code("empty_array"));
    }
    let mut ids = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        let at = format!("{at}[{number}]");
        let (kind, input) = match call["type"].as_str() {
            Some("function") => ("function", "arguments"),
            Some("custom") => ("custom", "input"),
            _ => return Err(ApiError::missing(&format!("{at}.type"))),
        };
        let name = call[kind]["name"].as_str().unwrap_or_default();
        if !is_name(name, 64, "_-") {
            let message = format!("Invalid '{at}.{kind}.name': string does not match pattern.");
            return Err(ApiError::bad_request(message).param(format!("{at}.{kind}.name")).code("invalid_value"));
        }
        let Some(text) = call[kind][input].as_str() else {
            return Err(ApiError::wrong_type(&format!("{at}.{kind}.{input}"), "a string", &call[kind][input]));
        };
        if kind == "function" && !serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object()) {
            let message = format!("Invalid '{at}.function.arguments': not a JSON object.");
            return Err(ApiError::bad_request(message).code("invalid_value"));
        }
        let id = call["id"].as_str().ok_or_else(|| ApiError::missing(&format!("{at}.id")))?;
        if id.len() > 40 {
            let message = format!("Invalid '{at}.id': string too long. Expected a string with maximum length 40.");
            return Err(ApiError::bad_request(message).code("string_above_max_length"));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn format(format: &Value) -> Result<(), ApiError> {
    match format["type"].as_str() {
        None if format.is_null() => Ok(()),
        Some("text" | "json_object") => Ok(()),
        Some("json_schema") => {
            let wanted = &format["json_schema"];
            if !wanted["name"].as_str().is_some_and(|name| is_name(name, 64, "_-")) {
                return Err(ApiError::missing("response_format.json_schema.name"));
            }
            if wanted["strict"] == true {
                closed_schema(&wanted["schema"], true).map_err(|why| bad_schema("response_format", &why))?;
            }
            Ok(())
        }
        _ => Err(ApiError::missing("response_format.type")),
    }
}

/// What a chat that has been checked asks for.
pub(super) fn ask(body: &Value) -> Ask {
    let empty = shape::Fields::new();
    let fields = body.as_object().unwrap_or(&empty);
    let messages = shape::list(fields, "messages");
    let kind = |message: &Value| match message["role"].as_str() {
        Some("tool" | "function") => Kind::Results,
        Some("assistant") => Kind::Assistant,
        Some("user") => Kind::User,
        _ => Kind::Other,
    };
    let tool = |tool: &Value| {
        let kind = tool["type"].as_str().unwrap_or("function");
        Tool {
            name: tool[kind]["name"].as_str().unwrap_or_default().to_owned(),
            schema: tool[kind]["parameters"].clone(),
            free: kind == "custom",
        }
    };
    let chosen = &body["tool_choice"];
    let named = chosen["function"]["name"].as_str().or_else(|| chosen["custom"]["name"].as_str());
    let choice = match named {
        Some(name) => Choice::Named(name.to_owned()),
        None if chosen == "none" => Choice::Forbidden,
        None => Choice::Auto,
    };
    let format = &body["response_format"];
    Ask {
        text: super::answer::last_text(body),
        tools: shape::list(fields, "tools").iter().map(tool).collect(),
        choice,
        rounds: ask::rounds(messages.iter().map(kind)),
        limit: body["max_completion_tokens"].as_u64().or_else(|| body["max_tokens"].as_u64()),
        n: body["n"].as_u64().map_or(1, |n| usize::try_from(n).unwrap_or(1)),
        schema: (format["type"] == "json_schema" || format["type"] == "json_object")
            .then(|| format["json_schema"]["schema"].clone()),
        thinking: Thinking::Scripted,
        prompt: super::tokens::of_prompt(body),
        stream: body["stream"] == true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(messages: Value) -> Option<String> {
        chat(&json!({"messages": messages})).err().map(|error| error.message)
    }

    #[test]
    fn results_follow_their_calls() {
        let call = json!({"role": "assistant", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
        let result = json!({"role": "tool", "tool_call_id": "a", "content": "x"});
        let user = json!({"role": "user", "content": "x"});
        assert_eq!(fault(json!([user, call, result])), None);
        assert!(fault(json!([user, result])).expect("a fault").contains("preceeding"));
        assert!(fault(json!([user, call])).expect("a fault").contains("did not have response"));
        assert!(fault(json!([user, call, user, result])).expect("a fault").contains("did not have response"));
        assert!(fault(json!([user, call, result, result])).expect("a fault").contains("not found"));
    }

    #[test]
    fn parts_and_schemas_are_checked() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,YQ=="}});
        assert_eq!(fault(json!([{"role": "user", "content": [image]}])), None);
        assert!(fault(json!([{"role": "assistant", "content": [image]}])).is_some());
        let tool = json!([{"type": "function", "function": {"name": "a b"}}]);
        assert!(chat(&json!({"messages": [], "tools": tool})).is_err());
        let open = json!({"type": "json_schema", "json_schema": {"name": "x", "strict": true,
            "schema": {"type": "object", "properties": {"a": {}}}}});
        assert!(chat(&json!({"messages": [], "response_format": open})).is_err());
    }
}
