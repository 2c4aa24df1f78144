//! An answer as a stream of events, as OpenAI sends it: the role, the text or the calls in pieces, the finish reason,
//! the usage when it was asked for, `[DONE]`.

use serde_json::{Value, json};

use super::{
    answer::{Answer, CREATED, FINGERPRINT},
    body::Faults,
    error::ApiError,
    script::Script,
};

/// One event and what the model has been paid for once it is out.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub bytes: Vec<u8>,
    pub completion_tokens: u64,
}

/// The whole stream. `usage`: the client set `stream_options.include_usage`.
pub(super) fn events(answer: &Answer, usage: bool, script: &Script) -> Vec<Event> {
    let mut stream = Stream { answer, usage, events: Vec::new() };
    for index in 0..answer.n {
        stream.choice(index);
    }
    for index in (0..answer.n).filter(|_| !script.no_finish) {
        stream.delta(index, json!({}), json!(answer.finish.of_openai()), 0);
    }
    // What was thought is paid for when it is over.
    if let Some(last) = stream.events.last_mut() {
        last.completion_tokens += answer.usage.reasoning;
    }
    if usage && !script.no_usage {
        let mut chunk = stream.chunk();
        chunk["usage"] = answer.usage.document();
        stream.events.push(event(&chunk, 0));
    }
    if !script.no_done && !script.no_finish {
        stream.events.push(Event { bytes: b"data: [DONE]\n\n".to_vec(), completion_tokens: 0 });
    }
    stream.events
}

/// What breaks a stream off.
pub(super) fn faults() -> Faults {
    let error = ApiError::new(http::StatusCode::INTERNAL_SERVER_ERROR, "The server had an error.");
    Faults { error: event(&error.body(), 0).bytes, garbage: b"data: {\"choices\":[{\"delta\": <<<\n\n".to_vec() }
}

struct Stream<'a> {
    answer: &'a Answer,
    usage: bool,
    events: Vec<Event>,
}

// === impl Stream ===

impl Stream<'_> {
    fn choice(&mut self, index: usize) {
        let answer = self.answer;
        if answer.calls.is_empty() {
            self.delta(index, json!({"role": "assistant", "content": "", "refusal": null}), Value::Null, 0);
            self.thoughts(index);
            for piece in &answer.pieces {
                self.delta(index, json!({"content": piece}), Value::Null, 1);
            }
            return;
        }
        self.delta(index, json!({"role": "assistant", "content": null, "refusal": null}), Value::Null, 0);
        self.thoughts(index);
        for (at, call) in answer.calls.iter().enumerate() {
            let (kind, input) = call.words();
            let head = json!({"index": at, "id": call.id, "type": kind, kind: {"name": call.name, input: ""}});
            self.delta(index, json!({"tool_calls": [head]}), Value::Null, 0);
            for piece in &call.arguments {
                let delta = json!({"tool_calls": [{"index": at, kind: {input: piece}}]});
                self.delta(index, delta, Value::Null, 1);
            }
        }
    }

    /// As hosts of open models show them.
    fn thoughts(&mut self, index: usize) {
        let answer = self.answer;
        for piece in &answer.thought {
            self.delta(index, json!({"reasoning_content": piece}), Value::Null, 0);
        }
    }

    fn delta(&mut self, index: usize, delta: Value, finish: Value, tokens: u64) {
        let mut chunk = self.chunk();
        chunk["choices"] = json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        self.events.push(event(&chunk, tokens));
    }

    fn chunk(&self) -> Value {
        let mut chunk = json!({
            "id": self.answer.id(), "object": "chat.completion.chunk", "created": CREATED, "model": self.answer.model,
            "service_tier": "default", "system_fingerprint": FINGERPRINT, "choices": [],
        });
        if self.usage {
            // Every chunk has the field once it was asked for.
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

fn event(chunk: &Value, completion_tokens: u64) -> Event {
    Event { bytes: format!("data: {chunk}\n\n").into_bytes(), completion_tokens }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock_provider::schema;

    fn texts(body: &Value, usage: bool, script: &Script) -> Vec<String> {
        let answer = Answer::to(&schema::ask(body), "m", script, 1);
        let text = |event: Event| String::from_utf8(event.bytes).expect("text");
        events(&answer, usage, script).into_iter().map(text).collect()
    }

    #[test]
    fn the_usage_chunk_comes_only_when_asked_for_and_before_the_end() {
        let body = json!({"messages": [{"role": "user", "content": "hi"}], "stream": true});
        let plain = texts(&body, false, &Script::default());
        assert!(plain.iter().all(|event| !event.contains("usage")));
        let asked = texts(&body, true, &Script::default());
        assert!(asked[0].contains("\"role\":\"assistant\"") && asked[0].contains("\"usage\":null"));
        assert!(asked[asked.len() - 3].contains("\"finish_reason\":\"stop\""));
        let usage = &asked[asked.len() - 2];
        assert!(usage.contains("\"choices\":[]") && usage.contains("\"total_tokens\""), "{usage}");
        assert_eq!(asked[asked.len() - 1], "data: [DONE]\n\n");
    }

    #[test]
    fn the_events_are_paid_for_one_by_one_and_add_up() {
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}}}}}]);
        for body in [
            json!({"messages": [{"role": "user", "content": "hi"}], "n": 2}),
            json!({"messages": [{"role": "user", "content": "hi"}], "tools": tools}),
            json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}),
        ] {
            let script = Script { reasoning_tokens: 5, tool_calls: Some(2), ..Script::default() };
            let answer = Answer::to(&schema::ask(&body), "m", &script, 1);
            let paid: u64 = events(&answer, true, &script).iter().map(|event| event.completion_tokens).sum();
            assert_eq!(paid, answer.usage.completion, "{body}");
        }
    }
}
