//! How Gemini writes an answer.

use serde_json::{Value, json};

use crate::mock_provider::{
    answer::{Answer, Finish},
    ask::sign,
    script::Script,
    stream::Event,
};

/// Thoughts are counted beside the candidates, not among them.
fn usage(answer: &Answer, said: u64) -> Value {
    let usage = &answer.usage;
    let mut document = json!({
        "promptTokenCount": usage.prompt, "candidatesTokenCount": said,
        "totalTokenCount": usage.prompt + said + usage.reasoning,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.prompt}],
    });
    if usage.reasoning > 0 {
        document["thoughtsTokenCount"] = usage.reasoning.into();
    }
    if usage.cached > 0 {
        document["cachedContentTokenCount"] = usage.cached.into();
    }
    document
}

fn calls(answer: &Answer) -> Vec<Value> {
    let part = |(index, call): (usize, &crate::mock_provider::answer::Call)| {
        let mut part = json!({"functionCall": {"name": call.name, "args": call.input()}});
        if answer.model.starts_with("gemini-3") {
            part["functionCall"]["id"] = call.id.as_str().into();
        }
        if index == 0 {
            part["thoughtSignature"] = sign("gemini", &call.name).into();
        }
        part
    };
    answer.calls.iter().enumerate().map(part).collect()
}

fn chunk(answer: &Answer, index: usize, parts: &[Value], finished: bool, said: u64) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": index});
    if finished {
        candidate["finishReason"] = (if answer.finish == Finish::Limit { "MAX_TOKENS" } else { "STOP" }).into();
    }
    json!({
        "candidates": [candidate], "usageMetadata": usage(answer, said), "modelVersion": answer.model,
        "responseId": format!("mock-{}", answer.number),
    })
}

pub(super) fn document(answer: &Answer) -> Value {
    let mut parts = Vec::new();
    if !answer.thought.is_empty() {
        parts.push(json!({"text": answer.thoughts(), "thought": true}));
    }
    if !answer.pieces.is_empty() {
        parts.push(json!({"text": answer.text()}));
    }
    parts.extend(calls(answer));
    let said = answer.usage.completion - answer.usage.reasoning;
    let mut document = chunk(answer, 0, &parts, true, said);
    let candidates = (0..answer.n).map(|index| chunk(answer, index, &parts, true, said)["candidates"][0].take());
    document["candidates"] = candidates.collect();
    document
}

pub(super) fn events(answer: &Answer, script: &Script) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let said = answer.usage.completion - answer.usage.reasoning;
    let send = |events: &mut Vec<Event>, document: &Value, tokens| {
        // Google separates its events with CRLF.
        events.push(Event { bytes: format!("data: {document}\r\n\r\n").into_bytes(), completion_tokens: tokens });
    };
    if !answer.thought.is_empty() {
        let part = json!({"text": answer.thoughts(), "thought": true});
        send(&mut events, &chunk(answer, 0, &[part], false, 0), answer.usage.reasoning);
    } else if answer.usage.reasoning > 0 {
        send(&mut events, &chunk(answer, 0, &[json!({"text": ""})], false, 0), answer.usage.reasoning);
    }
    for (index, piece) in answer.pieces.iter().enumerate() {
        send(&mut events, &chunk(answer, 0, &[json!({"text": piece})], false, index as u64 + 1), 1);
    }
    let calls = calls(answer);
    if !calls.is_empty() {
        send(&mut events, &chunk(answer, 0, &calls, false, said), said);
    }
    if !script.no_finish {
        let mut last = chunk(answer, 0, &[json!({"text": ""})], true, said);
        if script.no_usage
            && let Some(fields) = last.as_object_mut()
        {
            fields.remove("usageMetadata");
        }
        send(&mut events, &last, 0);
    }
    events
}
