//! A long conversation as a coding agent sends it: tools, and round after round of calls and their results.
//!
//! It is made of the same rounds in each dialect, so that two requests of one size carry the same.

use serde_json::{Value, json};

use super::dialect::Dialect;

/// What the agent knows how to do.
const TOOLS: [&str; 12] = [
    "read_file",
    "write_file",
    "edit_file",
    "list_directory",
    "search",
    "run_command",
    "fetch_page",
    "apply_patch",
    "open_terminal",
    "read_terminal",
    "ask_user",
    "remember",
];
/// A piece of a source file, with what has to be escaped in JSON and what has not.
const LINE: &str = "\tlet path = root.join(\"src\\main.rs\"); // größer als 4 KiB? then → split it\n";
/// Lines of a result.
const LINES: usize = 48;
const SYSTEM: &str =
    "You are a coding agent. You work in a repository, one step after the other, and test what you do. ";

/// The fields of a body that hold the conversation: about `bytes` of JSON, beginning and ending inside the object.
pub(super) fn fields(dialect: Dialect, bytes: usize) -> String {
    let system = SYSTEM.repeat(80);
    let tools: Vec<Value> = TOOLS.iter().map(|name| tool(dialect, name)).collect();
    let mut messages = Vec::new();
    if dialect == Dialect::Chat {
        messages.push(json!({"role": "system", "content": system}));
    }
    messages.push(json!({"role": "user", "content": "Find out why the tests fail, and mend it."}));
    let first: Vec<Value> = round(dialect, 0);
    let each = first.iter().map(|message| message.to_string().len() + 1).sum::<usize>().max(1);
    for number in 0..bytes / each {
        messages.extend(round(dialect, number));
    }
    let (messages, tools) = (Value::from(messages), Value::from(tools));
    match dialect {
        Dialect::Messages => {
            format!("\"max_tokens\":8192,\"system\":{},\"messages\":{messages},\"tools\":{tools}", Value::from(system))
        }
        Dialect::Chat | Dialect::Responses => format!("\"messages\":{messages},\"tools\":{tools}"),
    }
}

/// A call, with what the model said before it, and its result.
fn round(dialect: Dialect, number: usize) -> Vec<Value> {
    let id = format!("call_{number:024}");
    let name = TOOLS[number % TOOLS.len()];
    let said = "The error comes from the reader of paths, so I look at it first. ".repeat(4);
    let input = json!({"path": format!("src/module_{number}/mod.rs"), "from": number, "text": LINE.repeat(4)});
    let result = format!("{number}\n{}", LINE.repeat(LINES));
    match dialect {
        Dialect::Messages => vec![
            json!({"role": "assistant", "content": [
                {"type": "text", "text": said},
                {"type": "tool_use", "id": id, "name": name, "input": input},
            ]}),
            json!({"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": result}]},
            ]}),
        ],
        Dialect::Chat | Dialect::Responses => vec![
            json!({"role": "assistant", "content": said, "tool_calls": [
                {"id": id, "type": "function", "function": {"name": name, "arguments": input.to_string()}},
            ]}),
            json!({"role": "tool", "tool_call_id": id, "content": result}),
        ],
    }
}

fn tool(dialect: Dialect, name: &str) -> Value {
    let about = format!("{name}: does what its name says, in the working directory, and tells what came of it.");
    let schema = json!({
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Relative to the root of the repository."},
            "from": {"type": "integer", "minimum": 0},
            "text": {"type": "string"},
            "mode": {"type": "string", "enum": ["fast", "careful"]},
        },
        "required": ["path"],
    });
    match dialect {
        Dialect::Messages => json!({"name": name, "description": about, "input_schema": schema}),
        Dialect::Chat | Dialect::Responses => {
            json!({"type": "function", "function": {"name": name, "description": about, "parameters": schema}})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_size_and_many_messages() {
        for dialect in [Dialect::Chat, Dialect::Messages] {
            let text = format!("{{{}}}", fields(dialect, 1024 * 1024));
            assert!((1_000_000..1_100_000).contains(&text.len()), "{}", text.len());
            let body: Value = serde_json::from_str(&text).expect("JSON");
            let messages = body["messages"].as_array().expect("messages").len();
            assert!((300..700).contains(&messages), "{messages}");
            assert_eq!(body["tools"].as_array().expect("tools").len(), TOOLS.len());
        }
    }
}
