//! How Anthropic writes an answer.

use serde_json::{Value, json};

use crate::mock_provider::{
    answer::{Answer, Call, Finish},
    ask::sign,
    script::Script,
    stream::Event,
    vendor::event,
};

fn id(call: &Call) -> String {
    call.id.replacen("call", "toolu", 1)
}

fn stop_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Said => "end_turn",
        Finish::Limit => "max_tokens",
        Finish::Calls => "tool_use",
    }
}

/// The input is counted without what came from the cache.
fn usage(answer: &Answer, output: u64) -> Value {
    let usage = &answer.usage;
    json!({
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output, "service_tier": "standard",
    })
}

pub(super) fn document(answer: &Answer) -> Value {
    let mut content = Vec::new();
    if !answer.thought.is_empty() {
        let thinking = answer.thoughts();
        content.push(json!({"type": "thinking", "signature": sign("claude", &thinking), "thinking": thinking}));
    }
    if !answer.pieces.is_empty() {
        content.push(json!({"type": "text", "text": answer.text()}));
    }
    for call in &answer.calls {
        content.push(json!({"type": "tool_use", "id": id(call), "name": call.name, "input": call.input()}));
    }
    json!({
        "id": format!("msg_mock_{}", answer.number), "type": "message", "role": "assistant", "model": answer.model,
        "content": content, "stop_reason": stop_reason(answer.finish), "stop_sequence": null,
        "usage": usage(answer, answer.usage.completion),
    })
}

pub(super) fn events(answer: &Answer, script: &Script) -> Vec<Event> {
    let mut stream = Stream { events: Vec::new(), blocks: 0 };
    let start = json!({
        "id": format!("msg_mock_{}", answer.number), "type": "message", "role": "assistant", "model": answer.model,
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage(answer, 1),
    });
    stream.send("message_start", json!({"message": start}), 0);
    stream.send("ping", json!({}), 0);
    if !answer.thought.is_empty() {
        let pieces = answer.thought.iter().map(|piece| json!({"type": "thinking_delta", "thinking": piece}));
        let signature = json!({"type": "signature_delta", "signature": sign("claude", &answer.thoughts())});
        let deltas = pieces.chain([signature]).map(|delta| (delta, 0));
        stream.block(&json!({"type": "thinking", "thinking": "", "signature": ""}), deltas);
    }
    if !answer.pieces.is_empty() {
        let deltas = answer.pieces.iter().map(|piece| (json!({"type": "text_delta", "text": piece}), 1));
        stream.block(&json!({"type": "text", "text": ""}), deltas);
    }
    for call in &answer.calls {
        // The first delta is always an empty one.
        let first = (json!({"type": "input_json_delta", "partial_json": ""}), 0);
        let rest = call.arguments.iter().map(|piece| (json!({"type": "input_json_delta", "partial_json": piece}), 1));
        let block = json!({"type": "tool_use", "id": id(call), "name": call.name, "input": {}});
        stream.block(&block, std::iter::once(first).chain(rest));
    }
    if !script.no_finish {
        let mut delta = json!({
            "delta": {"stop_reason": stop_reason(answer.finish), "stop_sequence": null},
            "usage": usage(answer, answer.usage.completion),
        });
        if script.no_usage {
            delta["usage"] = json!({"output_tokens": 0});
        }
        stream.send("message_delta", delta, answer.usage.reasoning);
    }
    if !script.no_done && !script.no_finish {
        stream.send("message_stop", json!({}), 0);
    }
    stream.events
}

struct Stream {
    events: Vec<Event>,
    blocks: usize,
}

// === impl Stream ===

impl Stream {
    fn send(&mut self, name: &str, mut data: Value, tokens: u64) {
        data["type"] = name.into();
        self.events.push(event(Some(name), &data, tokens));
    }

    fn block(&mut self, start: &Value, deltas: impl Iterator<Item = (Value, u64)>) {
        let index = self.blocks;
        self.blocks += 1;
        self.send("content_block_start", json!({"index": index, "content_block": start}), 0);
        for (delta, tokens) in deltas {
            self.send("content_block_delta", json!({"index": index, "delta": delta}), tokens);
        }
        self.send("content_block_stop", json!({"index": index}), 0);
    }
}
