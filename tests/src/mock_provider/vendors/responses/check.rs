//! What the Responses API checks in a request.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::mock_provider::{
    ask::{self, Ask, Choice, Kind, Thinking, Tool, sign},
    shape::{
        Checked, Fault, Field, Fields, Is, closed_schema, is_base64, is_name, list, may, must, object, open_object,
        range,
    },
};

const REQUEST: [Field; 31] = [
    must("model", Is::Filled),
    must("input", Is::Any),
    may("background", Is::Flag),
    may("client_metadata", Is::Object),
    may("context_management", Is::Any),
    may("conversation", Is::Any),
    may("include", Is::Texts),
    may("instructions", Is::Text),
    may("max_output_tokens", Is::Whole),
    may("max_tool_calls", Is::Whole),
    may("metadata", Is::Object),
    may("moderation", Is::Any),
    may("parallel_tool_calls", Is::Flag),
    may("previous_response_id", Is::Text),
    may("prompt", Is::Object),
    may("prompt_cache_key", Is::Text),
    may("prompt_cache_retention", Is::Text),
    may("reasoning", Is::Object),
    may("safety_identifier", Is::Text),
    may("service_tier", Is::Word(&["auto", "default", "flex", "scale", "priority"])),
    may("store", Is::Flag),
    may("stream", Is::Flag),
    may("stream_options", Is::Object),
    may("temperature", Is::Number),
    may("text", Is::Object),
    may("tool_choice", Is::Any),
    may("tools", Is::List),
    may("top_logprobs", Is::Whole),
    may("top_p", Is::Number),
    may("truncation", Is::Word(&["auto", "disabled"])),
    may("user", Is::Text),
];
const KIND: Field = may("type", Is::Text);
const STATUS: Field = may("status", Is::Word(&["in_progress", "completed", "incomplete"]));

pub(super) fn request(body: &Value) -> Checked<Ask> {
    let fields = object(body, "", &REQUEST)?;
    range(fields, "", "temperature", 0.0..=2.0)?;
    range(fields, "", "top_p", 0.0..=1.0)?;
    if fields.get("max_output_tokens").and_then(Value::as_i64).is_some_and(|limit| limit < 16) {
        return Err(Fault::said(
            "max_output_tokens",
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16.",
        ));
    }
    if fields.contains_key("previous_response_id") {
        return Err(Fault::said("previous_response_id", "Previous response not found."));
    }
    match &fields["input"] {
        Value::String(_) => {}
        Value::Array(_) => items(list(fields, "input"))?,
        _ => return Err(Fault::expected("input", "one of a string or array of input items")),
    }
    let tools = tools(list(fields, "tools"), "tools")?;
    let choice = choice(&body["tool_choice"], &tools)?;
    let reasoning = body.get("reasoning").filter(|reasoning| !reasoning.is_null());
    if let Some(reasoning) = reasoning {
        let efforts = Is::Word(&["none", "minimal", "low", "medium", "high", "xhigh", "max"]);
        let summaries = Is::Word(&["auto", "concise", "detailed"]);
        object(
            reasoning,
            "reasoning",
            &[may("effort", efforts), may("summary", summaries), may("generate_summary", summaries)],
        )?;
    }
    let shown = reasoning.is_some_and(|reasoning| reasoning["summary"].is_string());
    let input = match &fields["input"] {
        Value::String(text) => text.clone(),
        _ => list(fields, "input").last().map(text).unwrap_or_default(),
    };
    Ok(Ask {
        text: input,
        tools,
        choice,
        rounds: ask::rounds(list(fields, "input").iter().map(kind)),
        limit: fields.get("max_output_tokens").and_then(Value::as_u64),
        n: 1,
        schema: format(&body["text"])?,
        thinking: if shown { Thinking::On } else { Thinking::Scripted },
        prompt: ask::cost(fields, &["instructions", "input", "tools"]),
        stream: body["stream"] == true,
    })
}

fn text(item: &Value) -> String {
    match &item["output"] {
        Value::Null => ask::texts(&item["content"]),
        output => ask::texts(output),
    }
}

fn kind(item: &Value) -> Kind {
    match (item["type"].as_str().unwrap_or("message"), item["role"].as_str()) {
        ("function_call_output" | "custom_tool_call_output" | "local_shell_call_output", _) => Kind::Results,
        ("message", Some("user")) => Kind::User,
        ("message", Some("assistant")) => Kind::Assistant,
        ("message", _) => Kind::Other,
        _ => Kind::Assistant,
    }
}

fn items(all: &[Value]) -> Checked {
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for (index, item) in all.iter().enumerate() {
        let at = format!("input[{index}]");
        let kind = open_object(item, &at, &[KIND])?.get("type").and_then(Value::as_str).unwrap_or("message");
        let call_id = item["call_id"].as_str().unwrap_or_default();
        let name = must("name", Is::Filled);
        let id = may("id", Is::Text);
        let call = must("call_id", Is::Filled);
        let namespace = may("namespace", Is::Text);
        let prefix = match kind {
            "message" => {
                message(item, &at)?;
                "msg"
            }
            "function_call" => {
                object(item, &at, &[KIND, id, STATUS, name, call, must("arguments", Is::Text), namespace])?;
                open.insert(call_id);
                "fc"
            }
            "custom_tool_call" => {
                object(item, &at, &[KIND, id, STATUS, name, call, must("input", Is::Text), namespace])?;
                open.insert(call_id);
                "ctc"
            }
            "function_call_output" | "custom_tool_call_output" => {
                object(item, &at, &[KIND, id, STATUS, call, must("output", Is::Any)])?;
                if !open.remove(call_id) {
                    return Err(Fault::said(
                        "input",
                        format!("No tool call found for function call output with call_id {call_id}."),
                    ));
                }
                if item["output"].is_array() {
                    parts(&item["output"], &format!("{at}.output"), &["input_text", "input_image", "input_file"])?;
                } else if !item["output"].is_string() {
                    return Err(Fault::expected(format!("{at}.output"), "one of a string or array"));
                }
                ""
            }
            "reasoning" => {
                reasoning(item, &at)?;
                "rs"
            }
            "item_reference"
            | "web_search_call"
            | "file_search_call"
            | "code_interpreter_call"
            | "local_shell_call"
            | "local_shell_call_output"
            | "image_generation_call"
            | "mcp_call"
            | "mcp_list_tools"
            | "compaction" => "",
            _ => return Err(Fault::said(format!("{at}.type"), format!("Invalid value: '{kind}'."))),
        };
        if let Some(id) = item["id"].as_str().filter(|id| !id.starts_with(prefix)) {
            let words = format!("Invalid '{at}.id': '{id}'. Expected an ID that begins with '{prefix}'.");
            return Err(Fault::said(format!("{at}.id"), words));
        }
        if item["id"].as_str().is_some_and(|id| id.len() > 64) || call_id.len() > 64 {
            return Err(Fault::said(format!("{at}.id"), "string too long. Expected a string with maximum length 64."));
        }
    }
    match open.first() {
        Some(id) => Err(Fault::said("input", format!("No tool output found for function call {id}."))),
        None => Ok(()),
    }
}

fn message(item: &Value, at: &str) -> Checked {
    let roles = Is::Word(&["user", "assistant", "system", "developer"]);
    let own =
        [KIND, STATUS, may("id", Is::Text), must("role", roles), must("content", Is::Any), may("phase", Is::Text)];
    let fields = object(item, at, &own)?;
    let known: &[&str] = if fields["role"] == "assistant" {
        &["output_text", "refusal"]
    } else {
        &["input_text", "input_image", "input_file"]
    };
    match &fields["content"] {
        Value::String(_) => Ok(()),
        content => parts(content, &format!("{at}.content"), known),
    }
}

fn parts(content: &Value, at: &str, known: &[&str]) -> Checked {
    let all = content.as_array().ok_or_else(|| Fault::expected(at, "one of a string or array of objects"))?;
    for (index, part) in all.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let kind = part["type"].as_str().unwrap_or_default();
        if !known.contains(&kind) {
            let known = known.join("', '");
            return Err(Fault::said(
                format!("{at}.type"),
                format!("Invalid value: '{kind}'. Supported values are: '{known}'."),
            ));
        }
        let own: &[Field] = match kind {
            "input_text" => &[KIND, must("text", Is::Text)],
            "output_text" => &[KIND, must("text", Is::Text), may("annotations", Is::List), may("logprobs", Is::List)],
            "refusal" => &[KIND, must("refusal", Is::Text)],
            "input_image" => &[
                KIND,
                may("image_url", Is::Text),
                may("file_id", Is::Text),
                may("detail", Is::Word(&["low", "high", "auto", "original"])),
            ],
            _ => &[
                KIND,
                may("file_id", Is::Text),
                may("filename", Is::Text),
                may("file_data", Is::Text),
                may("file_url", Is::Text),
            ],
        };
        object(part, &at, own)?;
        let url = part["image_url"].as_str().unwrap_or_default();
        if url.starts_with("data:") && !url.split_once(";base64,").is_some_and(|(_, data)| is_base64(data)) {
            return Err(Fault::said(at, "The image data you provided does not represent a valid image."));
        }
    }
    Ok(())
}

fn reasoning(item: &Value, at: &str) -> Checked {
    let own = [
        KIND,
        STATUS,
        may("id", Is::Text),
        must("summary", Is::List),
        may("content", Is::List),
        may("encrypted_content", Is::Text),
    ];
    let fields = object(item, at, &own)?;
    for (index, part) in list(fields, "summary").iter().enumerate() {
        object(
            part,
            &format!("{at}.summary[{index}]"),
            &[must("type", Is::Word(&["summary_text"])), must("text", Is::Text)],
        )?;
    }
    match fields.get("encrypted_content").and_then(Value::as_str) {
        Some(secret) if secret != sign("openai", "reasoning") => {
            let words = "The encrypted content could not be verified. Reason: Encrypted content could not be decrypted or parsed.";
            Err(Fault::said(at, words))
        }
        // Nothing is stored here, so that an id alone points at nothing.
        None if item["id"].is_string() => {
            let id = item["id"].as_str().unwrap_or_default();
            Err(Fault::said(
                "input",
                format!("Item with id '{id}' not found. Items are not persisted when `store` is set to false."),
            ))
        }
        _ => Ok(()),
    }
}

fn tools(all: &[Value], at: &str) -> Checked<Vec<Tool>> {
    let mut tools = Vec::new();
    for (index, tool) in all.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let name = must("name", Is::Filled);
        let described = may("description", Is::Text);
        let deferred = may("defer_loading", Is::Flag);
        let free = match open_object(tool, &at, &[must("type", Is::Text)])?["type"].as_str().unwrap_or_default() {
            "function" => {
                object(
                    tool,
                    &at,
                    &[KIND, name, described, may("parameters", Is::Object), may("strict", Is::Flag), deferred],
                )?;
                if tool["strict"] == true {
                    closed_schema(&tool["parameters"], true).map_err(|why| {
                        Fault::said(format!("{at}.parameters"), format!("Invalid schema for function: {why}"))
                    })?;
                }
                false
            }
            "custom" => {
                object(tool, &at, &[KIND, name, described, may("format", Is::Object), deferred])?;
                true
            }
            "namespace" => {
                object(tool, &at, &[KIND, name, described, must("tools", Is::List)])?;
                self::tools(tool["tools"].as_array().map_or(&[], Vec::as_slice), &format!("{at}.tools"))?;
                continue;
            }
            "web_search"
            | "web_search_preview"
            | "file_search"
            | "code_interpreter"
            | "image_generation"
            | "mcp"
            | "local_shell"
            | "computer_use_preview" => continue,
            other => return Err(Fault::said(format!("{at}.type"), format!("Invalid value: '{other}'."))),
        };
        let name = tool["name"].as_str().unwrap_or_default();
        if !is_name(name, 64, "_-") {
            return Err(Fault::said(format!("{at}.name"), "string does not match pattern '^[a-zA-Z0-9_-]+$'."));
        }
        tools.push(Tool { name: name.to_owned(), schema: tool["parameters"].clone(), free });
    }
    Ok(tools)
}

fn choice(choice: &Value, tools: &[Tool]) -> Checked<Choice> {
    match choice {
        Value::Null => Ok(Choice::Auto),
        Value::String(word) if word == "none" => Ok(Choice::Forbidden),
        Value::String(word) if word == "auto" || word == "required" => Ok(Choice::Auto),
        Value::Object(fields) if fields.contains_key("name") => {
            object(choice, "tool_choice", &[must("type", Is::Word(&["function", "custom"])), must("name", Is::Text)])?;
            let name = choice["name"].as_str().unwrap_or_default();
            if tools.iter().any(|tool| tool.name == name) {
                Ok(Choice::Named(name.to_owned()))
            } else {
                Err(Fault::said("tool_choice", format!("Tool choice '{name}' not found in 'tools' parameter.")))
            }
        }
        Value::Object(fields) if fields.contains_key("type") => Ok(Choice::Auto),
        _ => Err(Fault::said("tool_choice", "Invalid value for 'tool_choice'.")),
    }
}

fn format(text: &Value) -> Checked<Option<Value>> {
    if text.is_null() {
        return Ok(None);
    }
    let fields: &Fields =
        object(text, "text", &[may("format", Is::Object), may("verbosity", Is::Word(&["low", "medium", "high"]))])?;
    let Some(format) = fields.get("format").filter(|format| !format.is_null()) else { return Ok(None) };
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Value::Null)),
        Some("json_schema") => {
            let own = [
                KIND,
                must("name", Is::Filled),
                must("schema", Is::Object),
                may("strict", Is::Flag),
                may("description", Is::Text),
            ];
            let format = object(format, "text.format", &own)?;
            if format.get("strict") == Some(&Value::Bool(true)) {
                closed_schema(&format["schema"], true).map_err(|why| {
                    Fault::said("text.format.schema", format!("Invalid schema for response_format: {why}"))
                })?;
            }
            Ok(Some(format["schema"].clone()))
        }
        _ => Err(Fault::said(
            "text.format.type",
            "Invalid value. Supported values are: 'text', 'json_object', 'json_schema'.",
        )),
    }
}
