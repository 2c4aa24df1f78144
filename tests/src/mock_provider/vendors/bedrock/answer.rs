//! How Converse writes an answer of Claude's.

use serde_json::{Value, json};

use super::frame;
use crate::mock_provider::{
    answer::{Answer, Call, Finish},
    ask::sign,
    script::Script,
    stream::Event,
};

fn id(call: &Call) -> String {
    call.id.replacen("call", "tooluse", 1)
}

fn reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Said => "end_turn",
        Finish::Limit => "max_tokens",
        Finish::Calls => "tool_use",
    }
}

/// The input is counted without what came from the cache.
fn usage(answer: &Answer) -> Value {
    let usage = &answer.usage;
    json!({
        "inputTokens": usage.prompt - usage.cached, "outputTokens": usage.completion,
        "totalTokens": usage.prompt + usage.completion, "cacheReadInputTokens": usage.cached, "cacheWriteInputTokens": 0,
    })
}

pub(super) fn document(answer: &Answer) -> Value {
    let mut content = Vec::new();
    if !answer.thought.is_empty() {
        let text = answer.thoughts();
        content
            .push(json!({"reasoningContent": {"reasoningText": {"signature": sign("claude", &text), "text": text}}}));
    }
    if !answer.pieces.is_empty() {
        content.push(json!({"text": answer.text()}));
    }
    for call in &answer.calls {
        content.push(json!({"toolUse": {"toolUseId": id(call), "name": call.name, "input": call.input()}}));
    }
    json!({
        "output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason(answer),
        "usage": usage(answer), "metrics": {"latencyMs": 551},
    })
}

pub(super) fn events(answer: &Answer, script: &Script) -> Vec<Event> {
    let mut events = Vec::new();
    let mut send = |kind: &str, payload: Value, tokens| {
        events.push(Event { bytes: frame::event(kind, &payload), completion_tokens: tokens });
    };
    send("messageStart", json!({"role": "assistant"}), 0);
    let mut index = 0;
    if !answer.thought.is_empty() {
        for piece in &answer.thought {
            let delta = json!({"reasoningContent": {"text": piece}});
            send("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}), 0);
        }
        let delta = json!({"reasoningContent": {"signature": sign("claude", &answer.thoughts())}});
        send("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}), 0);
        send("contentBlockStop", json!({"contentBlockIndex": index}), 0);
        index += 1;
    }
    if !answer.pieces.is_empty() {
        // A text begins without an event of its own.
        for piece in &answer.pieces {
            send("contentBlockDelta", json!({"contentBlockIndex": index, "delta": {"text": piece}}), 1);
        }
        send("contentBlockStop", json!({"contentBlockIndex": index}), 0);
        index += 1;
    }
    for call in &answer.calls {
        let start = json!({"toolUse": {"toolUseId": id(call), "name": call.name}});
        send("contentBlockStart", json!({"contentBlockIndex": index, "start": start}), 0);
        for piece in &call.arguments {
            let delta = json!({"toolUse": {"input": piece}});
            send("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}), 1);
        }
        send("contentBlockStop", json!({"contentBlockIndex": index}), 0);
        index += 1;
    }
    if !script.no_finish {
        send("messageStop", json!({"stopReason": reason(answer)}), answer.usage.reasoning);
        if !script.no_usage {
            send("metadata", json!({"usage": usage(answer), "metrics": {"latencyMs": 551}}), 0);
        }
    }
    events
}
