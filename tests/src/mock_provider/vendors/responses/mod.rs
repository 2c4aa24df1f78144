//! OpenAI's Responses API.

mod answer;
mod check;

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
    vendor::{Operation, Vendor, bearer, event},
};

pub(in crate::mock_provider) struct Responses;

impl Vendor for Responses {
    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        bearer(headers)
    }

    fn call(&self, method: &Method, path: &str, _: &str) -> Option<Operation> {
        ((method, path) == (&Method::POST, "")).then_some(Operation::Chat { model: None, stream: None })
    }

    fn models(&self) -> &'static [&'static str] {
        &models::RESPONSES
    }

    fn listed(&self) -> Value {
        Value::Null
    }

    fn ask(&self, body: &Value, _: &str, _: &HeaderMap) -> Checked<Ask> {
        check::request(body)
    }

    fn answer(&self, answer: &Answer, ask: &Ask) -> Value {
        answer::document(answer, ask)
    }

    fn events(&self, answer: &Answer, ask: &Ask, script: &Script) -> Vec<Event> {
        answer::events(answer, ask, script)
    }

    fn faults(&self) -> Faults {
        let error = json!({"type": "error", "code": "server_error", "message": "The server had an error.", "param": null,
                           "sequence_number": 99});
        Faults {
            error: event(Some("error"), &error, 0).bytes,
            garbage: b"event: response.output_text.delta\ndata: {\"delta\": <<<\n\n".to_vec(),
        }
    }

    fn error(&self, fault: &Fault) -> Value {
        let at = fault.at.as_str();
        let (message, code) = match &fault.problem {
            Problem::Missing => (format!("Missing required parameter: '{at}'."), "missing_required_parameter"),
            Problem::Unknown => (format!("Unknown parameter: '{at}'."), "unknown_parameter"),
            Problem::Expected(what) => (format!("Invalid type for '{at}': expected {what}."), "invalid_type"),
            Problem::Said(words) => (words.clone(), "invalid_value"),
        };
        let (kind, code) = match fault.status {
            StatusCode::UNAUTHORIZED => ("invalid_request_error", "invalid_api_key"),
            StatusCode::NOT_FOUND => ("invalid_request_error", "model_not_found"),
            StatusCode::TOO_MANY_REQUESTS => ("requests", "rate_limit_exceeded"),
            status if status.is_server_error() => ("server_error", "server_error"),
            _ => ("invalid_request_error", code),
        };
        json!({"error": {"message": message, "type": kind, "param": at, "code": code}})
    }
}
