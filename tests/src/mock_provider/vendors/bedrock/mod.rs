//! Amazon Bedrock's Converse API.

mod answer;
mod check;
mod frame;

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::{gemini::percent_decoded, models};
use crate::mock_provider::{
    answer::Answer,
    ask::Ask,
    body::Faults,
    script::Script,
    shape::{Checked, Fault, Problem},
    stream::Event,
    vendor::{Operation, Vendor, bearer},
};

pub(in crate::mock_provider) struct Bedrock;

impl Vendor for Bedrock {
    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        bearer(headers)
    }

    fn call(&self, method: &Method, path: &str, _: &str) -> Option<Operation> {
        if (method, path) == (&Method::GET, "foundation-models") {
            return Some(Operation::Models);
        }
        let (model, action) = path.strip_prefix("model/")?.split_once('/')?;
        let stream = match action {
            "converse" => Some(false),
            "converse-stream" => Some(true),
            _ => return None,
        };
        Some(Operation::Chat { model: Some(percent_decoded(model)), stream })
    }

    fn models(&self) -> &'static [&'static str] {
        &models::BEDROCK
    }

    fn listed(&self) -> Value {
        let model = |id: &&str| {
            json!({"modelId": id, "modelName": id, "providerName": "Mock", "modelArn": format!("arn:aws:bedrock:::{id}"),
                   "inputModalities": ["TEXT", "IMAGE"], "outputModalities": ["TEXT"],
                   "responseStreamingSupported": true, "inferenceTypesSupported": ["ON_DEMAND"]})
        };
        json!({"modelSummaries": models::BEDROCK.iter().map(model).collect::<Vec<_>>()})
    }

    fn ask(&self, body: &Value, _: &str, _: &HeaderMap) -> Checked<Ask> {
        check::request(body)
    }

    fn answer(&self, answer: &Answer, _: &Ask) -> Value {
        answer::document(answer)
    }

    fn events(&self, answer: &Answer, _: &Ask, script: &Script) -> Vec<Event> {
        answer::events(answer, script)
    }

    fn faults(&self) -> Faults {
        let error = json!({"message": "The model stopped.", "originalStatusCode": 500});
        let mut garbage = frame::event("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": "x"}}));
        if let Some(last) = garbage.last_mut() {
            // The checksum is wrong now.
            *last ^= 0xff;
        }
        Faults { error: frame::exception("modelStreamErrorException", &error), garbage }
    }

    fn stream_type(&self) -> &'static str {
        "application/vnd.amazon.eventstream"
    }

    fn error(&self, fault: &Fault) -> Value {
        let words = match &fault.problem {
            Problem::Missing => format!(
                "1 validation error detected: Value at '{}' failed to satisfy constraint: Member must not be null",
                fault.at
            ),
            Problem::Unknown => {
                format!("The model returned the following errors: extraneous key [{}] is not permitted", fault.at)
            }
            Problem::Expected(what) => format!("Value at '{}' must be {what}", fault.at),
            Problem::Said(words) => words.clone(),
        };
        json!({"message": words})
    }

    fn error_headers(&self, status: StatusCode) -> Vec<(&'static str, &'static str)> {
        let kind = match status.as_u16() {
            401 | 403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            429 => "ThrottlingException",
            503 => "ServiceUnavailableException",
            500.. => "InternalServerException",
            _ => "ValidationException",
        };
        vec![("x-amzn-errortype", kind)]
    }
}
