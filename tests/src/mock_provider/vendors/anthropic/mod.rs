//! Anthropic's Messages API.

mod answer;
mod check;
mod thinking;

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::models;
use crate::mock_provider::{
    answer::Answer,
    ask::Ask,
    body::Faults,
    script::Script,
    shape::{Checked, Fault, Problem},
    stream::Event,
    vendor::{Operation, Vendor, event, text},
};

pub(in crate::mock_provider) struct Anthropic;

impl Vendor for Anthropic {
    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        text(headers, "x-api-key")
    }

    fn call(&self, method: &Method, path: &str, _: &str) -> Option<Operation> {
        match (method, path) {
            (&Method::POST, "messages") => Some(Operation::Chat { model: None, stream: None }),
            (&Method::POST, "messages/count_tokens") => Some(Operation::Count { model: None }),
            (&Method::GET, "models") => Some(Operation::Models),
            _ => None,
        }
    }

    fn models(&self) -> &'static [&'static str] {
        &models::ANTHROPIC
    }

    fn listed(&self) -> Value {
        let model = |id: &&str| {
            json!({"type": "model", "id": id, "display_name": id, "created_at": "2025-09-29T00:00:00Z",
                   "max_input_tokens": 200_000, "max_tokens": 64_000})
        };
        let data: Vec<Value> = models::ANTHROPIC.iter().map(model).collect();
        json!({"data": data, "has_more": false, "first_id": models::ANTHROPIC[0], "last_id": models::ANTHROPIC[1]})
    }

    fn ask(&self, body: &Value, model: &str, headers: &HeaderMap) -> Checked<Ask> {
        check::request(body, model, headers)
    }

    fn complete(&self, body: &Value) -> Checked {
        if body["max_tokens"].is_null() { Err(Fault::missing("max_tokens")) } else { Ok(()) }
    }

    fn answer(&self, answer: &Answer, _: &Ask) -> Value {
        answer::document(answer)
    }

    fn events(&self, answer: &Answer, _: &Ask, script: &Script) -> Vec<Event> {
        answer::events(answer, script)
    }

    fn faults(&self) -> Faults {
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
        Faults {
            error: event(Some("error"), &error, 0).bytes,
            garbage: b"event: content_block_delta\ndata: {\"delta\": <<<\n\n".to_vec(),
        }
    }

    fn error(&self, fault: &Fault) -> Value {
        let kind = match fault.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.as_u16() == 529 => "overloaded_error",
            status if status.is_server_error() => "api_error",
            _ => "invalid_request_error",
        };
        let words = match &fault.problem {
            Problem::Missing => "Field required".to_owned(),
            Problem::Unknown => "Extra inputs are not permitted".to_owned(),
            Problem::Expected(what) => format!("Input should be {what}"),
            Problem::Said(words) => words.clone(),
        };
        let message = if fault.at.is_empty() { words } else { format!("{}: {words}", fault.at) };
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_mock"})
    }

    fn counted(&self, tokens: u64) -> Value {
        json!({"input_tokens": tokens})
    }
}
