//! What Converse checks in a request.

use serde_json::Value;

use super::super::pairing::{self, Broken, Message};
use crate::mock_provider::{
    ask::{self, Ask, Choice, Kind, Thinking, Tool, sign},
    shape::{Checked, Fault, Field, Fields, Is, closed_schema, is_name, list, may, must, object},
};

const REQUEST: [Field; 12] = [
    must("messages", Is::List),
    may("system", Is::List),
    may("inferenceConfig", Is::Object),
    may("toolConfig", Is::Object),
    may("additionalModelRequestFields", Is::Object),
    may("additionalModelResponseFieldPaths", Is::Texts),
    may("guardrailConfig", Is::Object),
    may("performanceConfig", Is::Object),
    may("promptVariables", Is::Object),
    may("requestMetadata", Is::Object),
    may("serviceTier", Is::Object),
    may("outputConfig", Is::Object),
];

pub(super) fn request(body: &Value) -> Checked<Ask> {
    let fields = object(body, "", &REQUEST)?;
    for (index, block) in list(fields, "system").iter().enumerate() {
        one_of(block, &format!("system.{index}"), &["text", "cachePoint", "guardContent"])?;
    }
    let all = list(fields, "messages");
    let pairs = all.iter().enumerate().map(|(index, value)| message(value, index, all)).collect::<Checked<Vec<_>>>()?;
    let uses_tools = pairs.iter().any(|pair| !(pair.calls.is_empty() && pair.results.is_empty()));
    pairing::check(&pairs).map_err(|broken| match broken {
        Broken::Unanswered(index, ids) => Fault::said(
            "",
            format!(
                "Expected toolResult blocks at messages.{}.content for the following Ids: {}",
                index + 1,
                ids.join(", ")
            ),
        ),
        Broken::Unasked(index, id) => Fault::said(
            "",
            format!(
                "The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks of \
                 previous turn ({id})."
            ),
        ),
        Broken::Late(index) => Fault::said("", format!("messages.{index}: toolResult blocks must come first")),
        Broken::Twice(index, id) => Fault::said("", format!("messages.{index} contains duplicate Ids: {id}")),
    })?;
    if uses_tools && !fields.contains_key("toolConfig") {
        return Err(Fault::said(
            "",
            "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        ));
    }
    let config = fields.get("inferenceConfig").cloned().unwrap_or_else(|| serde_json::json!({}));
    let own = [
        may("maxTokens", Is::Whole),
        may("temperature", Is::Number),
        may("topP", Is::Number),
        may("stopSequences", Is::Texts),
    ];
    let limit = object(&config, "inferenceConfig", &own)?.get("maxTokens").and_then(Value::as_u64);
    if limit == Some(0) {
        return Err(Fault::said(
            "",
            "Value '0' at 'inferenceConfig.maxTokens' must have value greater than or equal to 1",
        ));
    }
    let (tools, choice) = tools(fields)?;
    let thinking = &fields.get("additionalModelRequestFields").unwrap_or(&Value::Null)["thinking"];
    let thinks = matches!(thinking["type"].as_str(), Some("enabled" | "adaptive"));
    if thinks && thinking["budget_tokens"].as_u64() >= limit && limit.is_some() {
        return Err(Fault::said("", "`max_tokens` must be greater than `thinking.budget_tokens`."));
    }
    if thinks && (config["temperature"].as_f64().is_some_and(|number| number < 1.0)) {
        return Err(Fault::said("", "`temperature` may only be set to 1 when thinking is enabled."));
    }
    Ok(Ask {
        text: all.last().map(last_text).unwrap_or_default(),
        tools,
        choice,
        rounds: ask::rounds(all.iter().map(kind)),
        limit,
        n: 1,
        schema: schema(fields)?,
        thinking: if thinks { Thinking::On } else { Thinking::Off },
        prompt: ask::cost(fields, &["system", "messages", "toolConfig"]),
        stream: false,
    })
}

fn blocks(message: &Value) -> &[Value] {
    message["content"].as_array().map_or(&[], Vec::as_slice)
}

fn kind(message: &Value) -> Kind {
    if message["role"] == "assistant" {
        Kind::Assistant
    } else if blocks(message).iter().any(|block| block["toolResult"].is_object()) {
        Kind::Results
    } else {
        Kind::User
    }
}

fn last_text(message: &Value) -> String {
    let said = blocks(message).iter().map(|block| match &block["toolResult"] {
        Value::Null => block["text"].as_str().unwrap_or_default().to_owned(),
        result => ask::texts(&result["content"]),
    });
    said.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The member of a union that is set.
fn one_of<'v>(value: &'v Value, at: &str, known: &[&str]) -> Checked<(&'v str, &'v Value)> {
    let fields = value.as_object().ok_or_else(|| Fault::expected(at, "an object"))?;
    let mut members = fields.iter();
    let (Some((name, inner)), None) = (members.next(), members.next()) else {
        return Err(Fault::said("", format!("Invalid number of parameters set for tagged union structure at {at}")));
    };
    if !known.contains(&name.as_str()) {
        return Err(Fault::said(
            "",
            format!("Unknown parameter in {at}: \"{name}\", must be one of: {}", known.join(", ")),
        ));
    }
    if inner.as_str().is_some_and(|text| text.trim().is_empty()) {
        return Err(Fault::said(
            "",
            format!(
                "The text field in the ContentBlock object at {at} is blank. Add text to the text field, and try again."
            ),
        ));
    }
    Ok((name, inner))
}

fn message<'a>(value: &'a Value, index: usize, all: &[Value]) -> Checked<Message<'a>> {
    let at = format!("messages.{index}");
    let message = object(value, &at, &[must("role", Is::Word(&["user", "assistant"])), must("content", Is::List)])?;
    if index == 0 && message["role"] != "user" {
        return Err(Fault::said(
            "",
            "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
        ));
    }
    if index > 0 && all[index - 1]["role"] == message["role"] {
        return Err(Fault::said("", format!("{at}: roles must alternate between \"user\" and \"assistant\"")));
    }
    if blocks(value).is_empty() {
        return Err(Fault::said(
            "",
            format!(
                "The content field in the Message object at {at} is empty. Add a ContentBlock object to the content field and try again."
            ),
        ));
    }
    let known: &[&str] = if message["role"] == "user" {
        &["text", "image", "document", "video", "toolResult", "cachePoint", "guardContent", "searchResult"]
    } else {
        &["text", "toolUse", "reasoningContent", "cachePoint", "citationsContent"]
    };
    let mut pair = Message::default();
    for (number, value) in blocks(value).iter().enumerate() {
        let at = format!("{at}.content.{number}");
        let (name, inner) = one_of(value, &at, known)?;
        block(name, inner, &at)?;
        match name {
            "toolUse" => pair.calls.push(inner["toolUseId"].as_str().unwrap_or_default()),
            "toolResult" => pair.results.push(inner["toolUseId"].as_str().unwrap_or_default()),
            _ => {}
        }
    }
    Ok(pair)
}

fn block(name: &str, inner: &Value, at: &str) -> Checked {
    let is_id = |value: &Value| value.as_str().is_some_and(|id| is_name(id, 64, "_-"));
    match name {
        "image" => {
            let formats = Is::Word(&["png", "jpeg", "gif", "webp"]);
            let image = object(inner, at, &[must("format", formats), must("source", Is::Object)])?;
            object(&image["source"], at, &[must("bytes", Is::Base64)])?;
        }
        "document" => {
            let formats = Is::Word(&["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"]);
            let own = [
                must("format", formats),
                must("name", Is::Filled),
                must("source", Is::Object),
                may("context", Is::Text),
                may("citations", Is::Object),
            ];
            let document = object(inner, at, &own)?;
            if !document["name"].as_str().is_some_and(|name| is_name(name, 200, " -()[]")) {
                return Err(Fault::said(
                    "",
                    "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, parentheses, and square brackets.",
                ));
            }
        }
        "toolUse" => {
            let call =
                object(inner, at, &[must("toolUseId", Is::Text), must("name", Is::Text), must("input", Is::Object)])?;
            if !is_id(&call["toolUseId"]) || !is_id(&call["name"]) {
                return Err(Fault::said(
                    "",
                    format!(
                        "Value at '{at}.toolUse' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"
                    ),
                ));
            }
        }
        "toolResult" => {
            let own = [
                must("toolUseId", Is::Text),
                must("content", Is::List),
                may("status", Is::Word(&["success", "error"])),
            ];
            let result = object(inner, at, &own)?;
            for (number, part) in list(result, "content").iter().enumerate() {
                one_of(
                    part,
                    &format!("{at}.toolResult.content.{number}"),
                    &["text", "json", "image", "document", "video", "searchResult"],
                )?;
            }
        }
        "reasoningContent" => {
            let (member, text) = one_of(inner, at, &["reasoningText", "redactedContent"])?;
            if member == "reasoningText" {
                let text = object(text, at, &[must("text", Is::Text), may("signature", Is::Text)])?;
                let thought = text["text"].as_str().unwrap_or_default();
                if text.get("signature").is_none_or(|signature| *signature != sign("claude", thought)) {
                    return Err(Fault::said("", format!("{at}: Invalid `signature` in `thinking` block")));
                }
            }
        }
        "cachePoint" => {
            object(inner, at, &[must("type", Is::Word(&["default"])), may("ttl", Is::Word(&["5m", "1h"]))])?;
        }
        _ => {}
    }
    Ok(())
}

/// The schema that the answer has to follow; it comes as text.
fn schema(fields: &Fields) -> Checked<Option<Value>> {
    let Some(config) = fields.get("outputConfig") else { return Ok(None) };
    let efforts = Is::Word(&["low", "medium", "high", "xhigh", "max"]);
    let config = object(config, "outputConfig", &[may("textFormat", Is::Object), may("effort", efforts)])?;
    let Some(format) = config.get("textFormat") else { return Ok(None) };
    let at = "outputConfig.textFormat";
    let format = object(format, at, &[must("type", Is::Word(&["json_schema"])), must("structure", Is::Object)])?;
    let (_, inner) = one_of(&format["structure"], at, &["jsonSchema"])?;
    let own = [must("schema", Is::Text), may("name", Is::Text), may("description", Is::Text)];
    let text = object(inner, at, &own)?["schema"].as_str().unwrap_or_default();
    let schema: Value =
        serde_json::from_str(text).map_err(|why| Fault::said("", format!("{at}: invalid JSON: {why}")))?;
    closed_schema(&schema, false).map_err(|why| Fault::said("", format!("{at}: {why}")))?;
    Ok(Some(schema))
}

fn tools(fields: &Fields) -> Checked<(Vec<Tool>, Choice)> {
    let Some(config) = fields.get("toolConfig") else { return Ok((Vec::new(), Choice::Auto)) };
    let config = object(config, "toolConfig", &[must("tools", Is::List), may("toolChoice", Is::Object)])?;
    let mut tools = Vec::new();
    for (index, value) in list(config, "tools").iter().enumerate() {
        let at = format!("toolConfig.tools.{index}");
        let ("toolSpec", spec) = one_of(value, &at, &["toolSpec", "cachePoint", "systemTool"])? else { continue };
        let own = [
            must("name", Is::Text),
            may("description", Is::Filled),
            must("inputSchema", Is::Object),
            may("strict", Is::Flag),
        ];
        let spec = object(spec, &format!("{at}.toolSpec"), &own)?;
        let name = spec["name"].as_str().unwrap_or_default();
        if !is_name(name, 64, "_-") {
            return Err(Fault::said(
                "",
                format!(
                    "Value '{name}' at '{at}.toolSpec.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"
                ),
            ));
        }
        let (_, schema) = one_of(&spec["inputSchema"], &at, &["json"])?;
        if schema["type"] != "object" {
            return Err(Fault::said(
                "",
                format!("The value at {at}.toolSpec.inputSchema.json.type must be one of the following: object."),
            ));
        }
        tools.push(Tool { name: name.to_owned(), schema: schema.clone(), free: false });
    }
    if tools.is_empty() {
        return Err(Fault::said("", "toolConfig.tools must have at least one tool"));
    }
    let choice = match config.get("toolChoice") {
        None => Choice::Auto,
        Some(choice) => match one_of(choice, "toolConfig.toolChoice", &["auto", "any", "tool"])? {
            ("tool", tool) => Choice::Named(tool["name"].as_str().unwrap_or_default().to_owned()),
            _ => Choice::Auto,
        },
    };
    Ok((tools, choice))
}
