//! Gemini CLI: calls go back with their signature but without the thoughts, and get an id when they had none.

use serde_json::{Value, json};

use super::{Agent, Turn, command, edit, events, result};

pub struct GeminiCli {
    contents: Vec<Value>,
}

// === impl GeminiCli ===

impl GeminiCli {
    pub(super) fn new() -> Self {
        let parts = json!([{"text": "<session_context>Today is a day.</session_context>"}, {"text": "please run it"}]);
        Self { contents: vec![json!({"parts": parts, "role": "user"})] }
    }
}

impl Agent for GeminiCli {
    fn name(&self) -> &'static str {
        "Gemini CLI"
    }

    fn path(&self, model: &str) -> String {
        format!("/v1beta/models/{model}:streamGenerateContent?alt=sse")
    }

    fn headers(&self) -> (Vec<(&'static str, &'static str)>, &'static str) {
        let headers = vec![
            ("user-agent", "GeminiCLI-tui/0.61.0/gemini-2.5-pro (linux; x64; terminal)"),
            ("x-goog-api-client", "google-genai-sdk/1.30.0 gl-node/v20.20.2"),
        ];
        (headers, "x-goog-api-key")
    }

    fn body(&self, _: &str) -> Value {
        let tool =
            |name: &str, schema: Value| json!({"name": name, "description": "A tool", "parametersJsonSchema": schema});
        json!({
            "contents": self.contents,
            "systemInstruction": {"parts": [{"text": "You are an agent. Use the tools."}], "role": "user"},
            "tools": [{"functionDeclarations": [
                tool("run_shell_command", command("command")),
                tool("replace", edit()),
                tool("list_directory", json!({"type": "object", "properties": {"dir_path": {"type": "string"}}})),
            ]}],
            "generationConfig": {
                "temperature": 1, "topP": 0.95, "topK": 64,
                "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 8192},
            },
        })
    }

    fn take(&mut self, _: &str, stream: &str) -> Turn {
        let mut turn = Turn::default();
        let (mut parts, mut results, mut finish) = (Vec::new(), Vec::new(), None);
        let events = events(stream);
        for event in &events {
            let candidate = &event["candidates"][0];
            for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
                let text = part["text"].as_str().unwrap_or_default();
                if part["thought"] == true {
                    turn.thought += text;
                } else if part["functionCall"].is_object() {
                    let mut part = part.clone();
                    let call = &mut part["functionCall"];
                    let name = call["name"].as_str().expect("a name").to_owned();
                    assert!(call["args"].is_object(), "{call}");
                    if call["id"].is_null() {
                        call["id"] = format!("{name}_1795486285284_{}", results.len()).into();
                    }
                    let said = result(&name, &call["args"].to_string());
                    results.push(
                        json!({"functionResponse": {"name": name, "response": {"output": said}, "id": call["id"]}}),
                    );
                    turn.calls.push(name);
                    parts.push(part);
                } else if !text.is_empty() {
                    turn.text += text;
                    parts.push(part.clone());
                }
            }
            finish = candidate["finishReason"].as_str().or(finish);
        }
        assert_eq!(finish, Some("STOP"), "{stream}");
        let usage = &events.last().expect("events")["usageMetadata"];
        assert!(usage["totalTokenCount"].as_u64() > Some(0), "{usage}");
        self.contents.push(json!({"parts": parts, "role": "model"}));
        if !results.is_empty() {
            self.contents.push(json!({"parts": results, "role": "user"}));
        }
        turn
    }
}
