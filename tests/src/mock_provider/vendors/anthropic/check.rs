//! What Anthropic checks in a request.

use http::HeaderMap;
use serde_json::Value;

use super::{
    super::pairing::{self, Broken, Message},
    thinking,
};
use crate::mock_provider::{
    ask::{self, Ask, Choice, Kind, Thinking, Tool},
    shape::{
        Checked, Fault, Field, Fields, Is, closed_schema, is_name, list, may, must, object, open_object, path, range,
    },
    vendor::text,
};

const REQUEST: [Field; 22] = [
    must("model", Is::Filled),
    must("messages", Is::List),
    may("max_tokens", Is::Whole),
    may("system", Is::Any),
    may("tools", Is::List),
    may("tool_choice", Is::Object),
    may("temperature", Is::Number),
    may("top_p", Is::Number),
    may("top_k", Is::Whole),
    may("stop_sequences", Is::Texts),
    may("stream", Is::Flag),
    may("metadata", Is::Object),
    may("thinking", Is::Object),
    may("service_tier", Is::Word(&["auto", "standard_only"])),
    may("container", Is::Any),
    may("mcp_servers", Is::List),
    may("context_management", Is::Object),
    may("output_config", Is::Object),
    may("output_format", Is::Object),
    may("cache_control", Is::Object),
    may("inference_geo", Is::Text),
    may("speed", Is::Text),
];
const CACHE: [Field; 2] = [must("type", Is::Word(&["ephemeral"])), may("ttl", Is::Word(&["5m", "1h"]))];
const MARK: Field = may("cache_control", Is::Object);
const KIND: Field = must("type", Is::Text);

pub(super) fn request(body: &Value, model: &str, headers: &HeaderMap) -> Checked<Ask> {
    if text(headers, "anthropic-version") != Some("2023-06-01") {
        return Err(Fault::said("anthropic-version", "header is required"));
    }
    let fields = object(body, "", &REQUEST)?;
    let betas = Betas(text(headers, "anthropic-beta").unwrap_or_default());
    betas.needed(fields, "context_management", "context-management-2025-06-27")?;
    betas.needed(fields, "output_format", "structured-outputs-2025-11-13")?;
    betas.needed(fields, "mcp_servers", "mcp-client-2025-11-20")?;
    if fields.get("max_tokens").and_then(Value::as_i64).is_some_and(|limit| limit < 1) {
        return Err(Fault::said("max_tokens", "Input should be greater than or equal to 1"));
    }
    range(fields, "", "temperature", 0.0..=1.0)?;
    range(fields, "", "top_p", 0.0..=1.0)?;
    if fields.contains_key("temperature") && fields.contains_key("top_p") {
        return Err(Fault::said(
            "",
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        ));
    }
    if list(fields, "stop_sequences").iter().any(|stop| stop.as_str().is_none_or(|stop| stop.trim().is_empty())) {
        return Err(Fault::said("stop_sequences", "each stop sequence must contain non-whitespace"));
    }
    if let Some(metadata) = fields.get("metadata") {
        object(metadata, "metadata", &[may("user_id", Is::Text)])?;
    }
    if let Some(system @ Value::Array(blocks)) = fields.get("system") {
        for (index, one) in blocks.iter().enumerate() {
            block(one, &format!("system.{index}"), &["text"])?;
        }
        marks(system, "system")?;
    }
    messages(fields, &betas)?;
    let tools = tools(fields)?;
    let choice = choice(fields)?;
    let thinks = thinking::check(fields, model)?;
    let schema = schema(fields)?;
    let marked = count_marks(body);
    if marked > 4 {
        return Err(Fault::said(
            "",
            format!("A maximum of 4 blocks with cache_control may be provided. Found {marked}."),
        ));
    }
    let all = list(fields, "messages");
    Ok(Ask {
        text: all
            .iter()
            .rev()
            .find(|one| one["role"] != "system")
            .map(|one| ask::texts(&one["content"]))
            .unwrap_or_default(),
        tools,
        choice,
        rounds: ask::rounds(all.iter().map(kind)),
        limit: fields.get("max_tokens").and_then(Value::as_u64),
        n: 1,
        schema,
        thinking: if thinks { Thinking::On } else { Thinking::Off },
        prompt: ask::cost(fields, &["system", "messages", "tools"]),
        stream: body["stream"] == true,
    })
}

struct Betas<'a>(&'a str);

impl Betas<'_> {
    fn has(&self, beta: &str) -> bool {
        self.0.split(',').any(|one| one.trim() == beta)
    }

    fn needed(&self, fields: &Fields, name: &str, beta: &str) -> Checked {
        if fields.contains_key(name) && !self.has(beta) {
            return Err(Fault::new(name, crate::mock_provider::shape::Problem::Unknown));
        }
        Ok(())
    }
}

fn kind(message: &Value) -> Kind {
    let results = message["content"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "tool_result"));
    match message["role"].as_str() {
        Some("assistant") => Kind::Assistant,
        Some("user") if results => Kind::Results,
        Some("user") => Kind::User,
        _ => Kind::Other,
    }
}

fn messages(fields: &Fields, betas: &Betas<'_>) -> Checked {
    let all = list(fields, "messages");
    if all.is_empty() {
        return Err(Fault::said("messages", "at least one message is required"));
    }
    let mut pairs = Vec::new();
    for (index, value) in all.iter().enumerate() {
        let at = format!("messages.{index}");
        let message = object(value, &at, &[must("role", Is::Text), must("content", Is::Any)])?;
        let role = message["role"].as_str().unwrap_or_default();
        let allowed: &[&str] = match role {
            "user" => &["text", "image", "document", "tool_result", "search_result", "container_upload"],
            "assistant" => &[
                "text",
                "thinking",
                "redacted_thinking",
                "tool_use",
                "server_tool_use",
                "web_search_tool_result",
                "web_fetch_tool_result",
                "code_execution_tool_result",
                "mcp_tool_use",
                "mcp_tool_result",
            ],
            "system" if betas.has("mid-conversation-system-2026-04-07") => &["text"],
            _ => return Err(Fault::said("messages", format!("Unexpected role \"{role}\"."))),
        };
        if index == 0 && role != "user" {
            return Err(Fault::said("messages", "first message must use the \"user\" role"));
        }
        let pair = content(&message["content"], &at, allowed, role == "assistant" && index + 1 == all.len())?;
        if role != "system" {
            // Neighbours of one role are one message.
            match pairs.last_mut() {
                Some((last, before)) if *last == role => merge(before, pair),
                _ => pairs.push((role, pair)),
            }
        }
    }
    let pairs: Vec<Message<'_>> = pairs.into_iter().map(|(_, pair)| pair).collect();
    pairing::check(&pairs).map_err(|broken| match broken {
        Broken::Unanswered(index, ids) => Fault::said(
            format!("messages.{index}"),
            format!(
                "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block \
                 must have a corresponding `tool_result` block in the next message.",
                ids.join(", ")
            ),
        ),
        Broken::Unasked(index, id) => Fault::said(
            format!("messages.{index}"),
            format!(
                "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a \
                 corresponding `tool_use` block in the previous message."
            ),
        ),
        Broken::Late(index) => {
            Fault::said(format!("messages.{index}"), "`tool_result` blocks must come before other content")
        }
        Broken::Twice(index, id) => {
            Fault::said(format!("messages.{index}"), format!("`tool_use` ids must be unique: {id}"))
        }
    })
}

fn merge<'a>(into: &mut Message<'a>, more: Message<'a>) {
    into.late_result |= more.late_result;
    into.calls.extend(more.calls);
    into.results.extend(more.results);
}

fn content<'a>(content: &'a Value, at: &str, allowed: &[&str], is_prefill: bool) -> Checked<Message<'a>> {
    let at = path(at, "content");
    let mut pair = Message::default();
    let blocks = match content {
        Value::String(said) => {
            if said.is_empty() {
                return Err(Fault::said(at, "messages must have non-empty content"));
            }
            return prefill(said, is_prefill).map(|()| pair);
        }
        Value::Array(blocks) if blocks.is_empty() && !is_prefill => {
            return Err(Fault::said(at, "messages must have non-empty content"));
        }
        Value::Array(blocks) => blocks,
        _ => return Err(Fault::expected(at, "a valid list")),
    };
    let mut other = false;
    for (index, one) in blocks.iter().enumerate() {
        let at = format!("{at}.{index}");
        match block(one, &at, allowed)? {
            "tool_use" => pair.calls.push(one["id"].as_str().unwrap_or_default()),
            "tool_result" => {
                pair.late_result |= other;
                pair.results.push(one["tool_use_id"].as_str().unwrap_or_default());
            }
            _ => other = true,
        }
    }
    if let Some(last) = blocks.last().and_then(|last| last["text"].as_str()) {
        prefill(last, is_prefill)?;
    }
    Ok(pair)
}

fn prefill(text: &str, is_prefill: bool) -> Checked {
    if is_prefill && text.ends_with(char::is_whitespace) {
        return Err(Fault::said("messages", "final assistant content cannot end with trailing whitespace"));
    }
    Ok(())
}

/// Checks a block, gives its type.
fn block<'v>(value: &'v Value, at: &str, allowed: &[&str]) -> Checked<&'v str> {
    let kind = open_object(value, at, &[KIND])?["type"].as_str().unwrap_or_default();
    if !allowed.contains(&kind) {
        let known = allowed.join("', '");
        return Err(Fault::said(
            at,
            format!("Input tag '{kind}' found using 'type' does not match any of the expected tags: '{known}'"),
        ));
    }
    match kind {
        "text" => {
            let fields = object(value, at, &[KIND, must("text", Is::Text), may("citations", Is::List), MARK])?;
            if fields["text"].as_str().is_some_and(|text| text.trim().is_empty()) {
                return Err(Fault::said("messages", "text content blocks must contain non-whitespace text"));
            }
        }
        "image" | "document" => {
            let fields = match kind {
                "image" => object(value, at, &[KIND, must("source", Is::Object), MARK])?,
                _ => {
                    let own = [may("title", Is::Text), may("context", Is::Text), may("citations", Is::Object)];
                    let [title, context, citations] = own;
                    object(value, at, &[KIND, must("source", Is::Object), title, context, citations, MARK])?
                }
            };
            source(&fields["source"], &path(at, "source"), kind)?;
        }
        "tool_use" => {
            let own = [
                KIND,
                must("id", Is::Text),
                must("name", Is::Filled),
                must("input", Is::Object),
                MARK,
                may("caller", Is::Object),
            ];
            let fields = object(value, at, &own)?;
            if !fields["id"].as_str().is_some_and(|id| is_name(id, 256, "_-")) {
                return Err(Fault::said(path(at, "id"), "String should match pattern '^[a-zA-Z0-9_-]+$'"));
            }
        }
        "tool_result" => {
            let own = [KIND, must("tool_use_id", Is::Filled), may("content", Is::Any), may("is_error", Is::Flag), MARK];
            let fields = object(value, at, &own)?;
            let is_error = fields.get("is_error") == Some(&Value::Bool(true));
            match fields.get("content") {
                Some(Value::Array(parts)) => {
                    for (index, part) in parts.iter().enumerate() {
                        let kinds: &[&str] = if is_error {
                            &["text"]
                        } else {
                            &["text", "image", "document", "search_result", "tool_reference"]
                        };
                        block(part, &format!("{at}.content.{index}"), kinds)?;
                    }
                }
                Some(Value::String(_)) | None => {}
                Some(_) => return Err(Fault::expected(path(at, "content"), "a valid list")),
            }
        }
        "thinking" => {
            object(value, at, &[KIND, must("thinking", Is::Text), must("signature", Is::Text)])?;
        }
        "redacted_thinking" => {
            object(value, at, &[KIND, must("data", Is::Filled)])?;
        }
        _ => {}
    }
    marks(value, at)?;
    Ok(kind)
}

fn source(value: &Value, at: &str, of: &str) -> Checked {
    let kind = open_object(value, at, &[KIND])?["type"].as_str().unwrap_or_default();
    let images = Is::Word(&["image/jpeg", "image/png", "image/gif", "image/webp"]);
    match (kind, of) {
        ("base64", "image") => object(value, at, &[KIND, must("media_type", images), must("data", Is::Base64)])?,
        ("base64", _) => {
            object(value, at, &[KIND, must("media_type", Is::Word(&["application/pdf"])), must("data", Is::Base64)])?
        }
        ("text", "document") => {
            object(value, at, &[KIND, must("media_type", Is::Word(&["text/plain"])), must("data", Is::Text)])?
        }
        ("url", _) => object(value, at, &[KIND, must("url", Is::Filled)])?,
        ("file", _) => object(value, at, &[KIND, must("file_id", Is::Filled)])?,
        ("content", "document") => object(value, at, &[KIND, must("content", Is::Any)])?,
        _ => return Err(Fault::said(at, format!("Input tag '{kind}' does not match any of the expected tags"))),
    };
    Ok(())
}

fn marks(value: &Value, at: &str) -> Checked {
    match value.get("cache_control").filter(|mark| !mark.is_null()) {
        Some(mark) => object(mark, &path(at, "cache_control"), &CACHE).map(|_| ()),
        None => Ok(()),
    }
}

fn count_marks(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields
            .iter()
            // A tool may well have a parameter of that name.
            .filter(|(name, _)| !matches!(name.as_str(), "input" | "input_schema"))
            .map(|(name, inner)| if name == "cache_control" && inner.is_object() { 1 } else { count_marks(inner) })
            .sum(),
        Value::Array(items) => items.iter().map(count_marks).sum(),
        _ => 0,
    }
}

fn tools(fields: &Fields) -> Checked<Vec<Tool>> {
    let mut tools: Vec<Tool> = Vec::new();
    for (index, value) in list(fields, "tools").iter().enumerate() {
        let at = format!("tools.{index}");
        let name = open_object(value, &at, &[must("name", Is::Text)])?["name"].as_str().unwrap_or_default();
        if tools.iter().any(|tool| tool.name == name) {
            return Err(Fault::said("tools", "Tool names must be unique."));
        }
        if value["type"].as_str().is_some_and(|kind| kind != "custom") {
            continue;
        }
        let own = [
            may("type", Is::Text),
            must("name", Is::Text),
            may("description", Is::Text),
            must("input_schema", Is::Object),
            MARK,
            may("strict", Is::Flag),
            may("defer_loading", Is::Flag),
            may("eager_input_streaming", Is::Flag),
            may("input_examples", Is::List),
            may("allowed_callers", Is::Texts),
        ];
        let tool = object(value, &at, &own)?;
        if !is_name(name, 128, "_-") {
            return Err(Fault::said(path(&at, "custom.name"), "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"));
        }
        let schema = &tool["input_schema"];
        if schema["type"] != "object" {
            return Err(Fault::said(path(&at, "custom.input_schema.type"), "Input should be 'object'"));
        }
        if ["oneOf", "anyOf", "allOf"].iter().any(|word| schema.get(word).is_some()) {
            let words = "input_schema does not support oneOf, allOf, or anyOf at the top level";
            return Err(Fault::said(path(&at, "custom.input_schema"), words));
        }
        marks(value, &at)?;
        tools.push(Tool { name: name.to_owned(), schema: schema.clone(), free: false });
    }
    Ok(tools)
}

fn choice(fields: &Fields) -> Checked<Choice> {
    let Some(choice) = fields.get("tool_choice").filter(|choice| !choice.is_null()) else { return Ok(Choice::Auto) };
    if list(fields, "tools").is_empty() {
        return Err(Fault::said("tool_choice", "may only be specified while providing `tools`"));
    }
    let flag = may("disable_parallel_tool_use", Is::Flag);
    match choice["type"].as_str() {
        Some("auto" | "any") => object(choice, "tool_choice", &[KIND, flag]).map(|_| Choice::Auto),
        Some("none") => object(choice, "tool_choice", &[KIND]).map(|_| Choice::Forbidden),
        Some("tool") => {
            let choice = object(choice, "tool_choice", &[KIND, must("name", Is::Text), flag])?;
            let name = choice["name"].as_str().unwrap_or_default();
            if !list(fields, "tools").iter().any(|tool| tool["name"] == name) {
                return Err(Fault::said("tool_choice", format!("Tool '{name}' not found in provided tools")));
            }
            Ok(Choice::Named(name.to_owned()))
        }
        _ => Err(Fault::said(
            "tool_choice",
            "Input tag does not match any of the expected tags: 'auto', 'any', 'tool', 'none'",
        )),
    }
}

/// The schema that the answer has to follow.
fn schema(fields: &Fields) -> Checked<Option<Value>> {
    let config = fields.get("output_config").unwrap_or(&Value::Null);
    if config.is_object() {
        let efforts = Is::Word(&["low", "medium", "high", "xhigh", "max"]);
        object(
            config,
            "output_config",
            &[may("effort", efforts), may("format", Is::Object), may("task_budget", Is::Object)],
        )?;
    }
    let format = config.get("format").or_else(|| fields.get("output_format")).filter(|format| !format.is_null());
    let Some(format) = format else { return Ok(None) };
    let at = "output_config.format";
    let format = object(format, at, &[must("type", Is::Word(&["json_schema"])), must("schema", Is::Object)])?;
    closed_schema(&format["schema"], false).map_err(|why| Fault::said(path(at, "schema"), why))?;
    Ok(Some(format["schema"].clone()))
}
