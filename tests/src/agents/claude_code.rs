//! Claude Code: Messages with betas, thinking, cache marks that move, and `system` turns in mid-conversation.

use serde_json::{Value, json};

use super::{Agent, Turn, command, edit, events, result};

pub struct ClaudeCode {
    messages: Vec<Value>,
}

const BETAS: &str = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,\
                     prompt-caching-scope-2026-01-05,mid-conversation-system-2026-04-07,effort-2025-11-24";

// === impl ClaudeCode ===

impl ClaudeCode {
    pub(super) fn new() -> Self {
        let question = json!([
            {"type": "text", "text": "<system-reminder>\nThe directory is /srv/project.\n</system-reminder>"},
            {"type": "text", "text": "please run it"},
        ]);
        let reminder = "Answer in the language of the question. Files that were read: none.";
        Self {
            messages: vec![
                json!({"role": "user", "content": question}),
                json!({"role": "system", "content": reminder}),
            ],
        }
    }
}

impl Agent for ClaudeCode {
    fn name(&self) -> &'static str {
        "Claude Code"
    }

    fn path(&self, _: &str) -> String {
        "/v1/messages?beta=true".to_owned()
    }

    fn headers(&self) -> (Vec<(&'static str, &'static str)>, &'static str) {
        let headers = vec![
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", BETAS),
            ("anthropic-dangerous-direct-browser-access", "true"),
            ("user-agent", "claude-cli/2.1.197 (external, sdk-cli)"),
            ("x-app", "cli"),
            ("x-stainless-retry-count", "0"),
            ("x-stainless-timeout", "600"),
        ];
        (headers, "x-api-key")
    }

    fn body(&self, model: &str) -> Value {
        let mut messages = self.messages.clone();
        // The mark is always on the last block that a user's message has.
        let last = messages.iter_mut().rev().find(|message| message["role"] == "user");
        if let Some(block) = last.and_then(|message| message["content"].as_array_mut()).and_then(|all| all.last_mut()) {
            block["cache_control"] = json!({"type": "ephemeral"});
        }
        let mark = json!({"type": "ephemeral"});
        let is_older = model.contains("sonnet-4-5");
        let thinking =
            if is_older { json!({"type": "enabled", "budget_tokens": 31_999}) } else { json!({"type": "adaptive"}) };
        let mut body = json!({
            "model": model,
            "messages": messages,
            "system": [
                {"type": "text", "text": format!("x-anthropic-billing-header: cc_version=2.1; turn={};", self.messages.len())},
                {"type": "text", "text": "You help with programs.", "cache_control": mark},
                {"type": "text", "text": "Use the tools. Be careful with files.", "cache_control": mark},
            ],
            "tools": [
                {"name": "Bash", "description": "Runs a command", "input_schema": command("command")},
                {"name": "Edit", "description": "Edits a file", "input_schema": edit()},
                {"name": "mcp__tracker__list-issues", "description": "Lists issues",
                 "input_schema": {"type": "object", "properties": {}}},
            ],
            "metadata": {"user_id": "{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s\"}"},
            "max_tokens": 32_000,
            "thinking": thinking,
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "stream": true,
        });
        if !is_older {
            body["output_config"] = json!({"effort": "high"});
        }
        body
    }

    fn take(&mut self, model: &str, stream: &str) -> Turn {
        let events = events(stream);
        let (mut content, stop) = collect(&events);
        let mut turn = Turn::default();
        let mut results = Vec::new();
        for block in &content {
            match block["type"].as_str() {
                Some("text") => turn.text += block["text"].as_str().expect("a text"),
                Some("thinking") => {
                    turn.thought += block["thinking"].as_str().expect("a thought");
                    assert!(
                        block["signature"].as_str().is_some_and(|signature| !signature.is_empty()),
                        "unsigned: {block}"
                    );
                }
                Some("redacted_thinking") => assert!(block["data"].is_string(), "{block}"),
                Some("tool_use") => {
                    let name = block["name"].as_str().expect("a name");
                    let said = result(name, &block["input"].to_string());
                    results.push(
                        json!({"tool_use_id": block["id"], "type": "tool_result", "content": said, "is_error": false}),
                    );
                    turn.calls.push(name.to_owned());
                }
                _ => panic!("Claude Code stops at a block that it does not know: {block}"),
            }
        }
        assert_eq!(stop == "tool_use", !results.is_empty(), "{stop}");
        // Thoughts go back to the model that had them, and the answer says who that is.
        if events[0]["message"]["model"] != model {
            content.retain(|block| !matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking")));
        }
        self.messages.push(json!({"role": "assistant", "content": content}));
        if !results.is_empty() {
            self.messages.push(json!({"role": "user", "content": results}));
        }
        turn
    }
}

/// Blocks and stop reason, as the SDK puts them together; the order of the events is checked.
fn collect(events: &[Value]) -> (Vec<Value>, String) {
    let (mut content, mut inputs, mut stop): (Vec<Value>, Vec<String>, String) = Default::default();
    let mut open = None;
    let mut over = false;
    assert_eq!(events[0]["type"], "message_start", "{events:?}");
    for event in events {
        assert!(!over, "an event behind message_stop: {event}");
        let index = event["index"].as_u64().and_then(|index| usize::try_from(index).ok());
        match event["type"].as_str().expect("a type") {
            "message_start" => assert!(event["message"]["usage"]["input_tokens"].is_u64(), "{event}"),
            "ping" => {}
            "content_block_start" => {
                assert_eq!((open, index), (None, Some(content.len())), "{event}");
                open = index;
                content.push(event["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                assert_eq!(open, index, "{event}");
                let at = index.expect("an index");
                let delta = &event["delta"];
                let field = match delta["type"].as_str().expect("a type") {
                    "text_delta" => "text",
                    "thinking_delta" => "thinking",
                    "signature_delta" => "signature",
                    "input_json_delta" => {
                        inputs[at] += delta["partial_json"].as_str().expect("a text");
                        continue;
                    }
                    other => panic!("an unknown delta: {other}"),
                };
                let so_far = content[at][field].as_str().unwrap_or_default();
                content[at][field] = format!("{so_far}{}", delta[field].as_str().expect("a text")).into();
            }
            "content_block_stop" => {
                assert_eq!(open.take(), index, "{event}");
                let at = index.expect("an index");
                if content[at]["type"] == "tool_use" {
                    let input = if inputs[at].is_empty() { "{}" } else { &inputs[at] };
                    content[at]["input"] = serde_json::from_str(input).unwrap_or_else(|why| panic!("{why}: {input}"));
                }
            }
            "message_delta" => {
                event["delta"]["stop_reason"].as_str().expect("a reason").clone_into(&mut stop);
                assert!(event["usage"]["output_tokens"].as_u64() > Some(0), "{event}");
            }
            "message_stop" => over = true,
            other => panic!("an unknown event: {other}: {event}"),
        }
    }
    assert!(over && open.is_none(), "the stream does not end");
    (content, stop)
}
