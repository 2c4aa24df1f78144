//! How the Responses API writes an answer: items, and a stream that builds each of them up.

use serde_json::{Value, json};

use crate::mock_provider::{
    answer::{Answer, CREATED, Call, Finish},
    ask::{Ask, sign},
    script::Script,
    stream::Event,
    vendor::event,
};

fn reasoning(answer: &Answer, text: &str) -> Value {
    json!({"type": "reasoning", "id": format!("rs_mock_{}", answer.number),
           "summary": [{"type": "summary_text", "text": text}], "encrypted_content": sign("openai", "reasoning")})
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn message(answer: &Answer, content: &[Value], status: &str) -> Value {
    json!({"type": "message", "id": format!("msg_mock_{}", answer.number), "role": "assistant", "status": status,
           "content": content})
}

fn call(call: &Call, input: &str, status: &str) -> Value {
    if call.free {
        let id = call.id.replacen("call", "ctc", 1);
        return json!({"type": "custom_tool_call", "id": id, "call_id": call.id, "name": call.name, "input": input,
                      "status": status});
    }
    let id = call.id.replacen("call", "fc", 1);
    json!({"type": "function_call", "id": id, "call_id": call.id, "name": call.name, "arguments": input,
           "status": status})
}

fn items(answer: &Answer) -> Vec<Value> {
    let mut items = Vec::new();
    if !answer.thought.is_empty() {
        items.push(reasoning(answer, &answer.thoughts()));
    }
    if !answer.pieces.is_empty() {
        items.push(message(answer, &[part(&answer.text())], "completed"));
    }
    items.extend(answer.calls.iter().map(|one| call(one, &one.arguments.concat(), "completed")));
    items
}

fn usage(answer: &Answer) -> Value {
    let usage = &answer.usage;
    json!({
        "input_tokens": usage.prompt, "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    })
}

fn response(answer: &Answer, status: &str, output: Vec<Value>, usage: Value) -> Value {
    json!({
        "id": format!("resp_mock_{}", answer.number), "object": "response", "created_at": CREATED, "status": status,
        "background": false, "error": null,
        "incomplete_details": if status == "incomplete" { json!({"reason": "max_output_tokens"}) } else { Value::Null },
        "instructions": null, "max_output_tokens": null, "model": answer.model, "output": output,
        "parallel_tool_calls": true, "previous_response_id": null, "reasoning": {"effort": null, "summary": null},
        "service_tier": "default", "store": false, "temperature": 1.0, "text": {"format": {"type": "text"}},
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled", "usage": usage, "metadata": {},
    })
}

fn status(answer: &Answer) -> &'static str {
    if answer.finish == Finish::Limit { "incomplete" } else { "completed" }
}

pub(super) fn document(answer: &Answer, _: &Ask) -> Value {
    response(answer, status(answer), items(answer), usage(answer))
}

pub(super) fn events(answer: &Answer, _: &Ask, script: &Script) -> Vec<Event> {
    let mut stream = Stream { events: Vec::new(), items: 0 };
    for kind in ["response.created", "response.in_progress"] {
        stream.send(kind, json!({"response": response(answer, "in_progress", Vec::new(), Value::Null)}), 0);
    }
    if !answer.thought.is_empty() {
        let text = answer.thoughts();
        let done = reasoning(answer, &text);
        let id = done["id"].clone();
        let mut empty = done.clone();
        empty["summary"] = json!([]);
        stream.item(&empty, &done, |stream, index| {
            let at = |mut data: Value| {
                (data["item_id"], data["output_index"], data["summary_index"]) = (id.clone(), index.into(), 0.into());
                data
            };
            stream.send(
                "response.reasoning_summary_part.added",
                at(json!({"part": {"type": "summary_text", "text": ""}})),
                0,
            );
            for piece in &answer.thought {
                stream.send("response.reasoning_summary_text.delta", at(json!({"delta": piece})), 0);
            }
            stream.send("response.reasoning_summary_text.done", at(json!({"text": text})), 0);
            stream.send(
                "response.reasoning_summary_part.done",
                at(json!({"part": {"type": "summary_text", "text": text}})),
                0,
            );
        });
    }
    if !answer.pieces.is_empty() {
        let text = answer.text();
        let done = message(answer, &[part(&text)], "completed");
        let id = done["id"].clone();
        stream.item(&message(answer, &[], "in_progress"), &done, |stream, index| {
            let at = |mut data: Value| {
                (data["item_id"], data["output_index"], data["content_index"]) = (id.clone(), index.into(), 0.into());
                data
            };
            stream.send("response.content_part.added", at(json!({"part": part("")})), 0);
            for piece in &answer.pieces {
                stream.send("response.output_text.delta", at(json!({"delta": piece, "logprobs": []})), 1);
            }
            stream.send("response.output_text.done", at(json!({"text": text, "logprobs": []})), 0);
            stream.send("response.content_part.done", at(json!({"part": part(&text)})), 0);
        });
    }
    for one in &answer.calls {
        let input = one.arguments.concat();
        let done = call(one, &input, "completed");
        let id = done["id"].clone();
        let (kind, field) =
            if one.free { ("custom_tool_call_input", "input") } else { ("function_call_arguments", "arguments") };
        stream.item(&call(one, "", "in_progress"), &done, |stream, index| {
            for piece in &one.arguments {
                let data = json!({"item_id": id, "output_index": index, "delta": piece});
                stream.send(&format!("response.{kind}.delta"), data, 1);
            }
            let data = json!({"item_id": id, "output_index": index, field: input});
            stream.send(&format!("response.{kind}.done"), data, 0);
        });
    }
    if !script.no_finish {
        let status = status(answer);
        let usage = if script.no_usage { Value::Null } else { usage(answer) };
        let whole = response(answer, status, items(answer), usage);
        stream.send(&format!("response.{status}"), json!({"response": whole}), answer.usage.reasoning);
    }
    stream.events
}

struct Stream {
    events: Vec<Event>,
    items: u64,
}

// === impl Stream ===

impl Stream {
    fn send(&mut self, kind: &str, mut data: Value, tokens: u64) {
        data["type"] = kind.into();
        data["sequence_number"] = self.events.len().into();
        self.events.push(event(Some(kind), &data, tokens));
    }

    fn item(&mut self, empty: &Value, done: &Value, inside: impl FnOnce(&mut Self, u64)) {
        let index = self.items;
        self.items += 1;
        self.send("response.output_item.added", json!({"output_index": index, "item": empty}), 0);
        inside(self, index);
        self.send("response.output_item.done", json!({"output_index": index, "item": done}), 0);
    }
}
