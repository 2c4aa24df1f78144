//! Google's Gemini API.

mod answer;
mod check;
mod config;
mod names;
mod tools;

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::models;
use crate::mock_provider::{
    answer::Answer,
    ask::{self, Ask},
    body::Faults,
    script::Script,
    server::embedding,
    shape::{Checked, Fault, Is, Problem, may, must, object},
    stream::Event,
    tokens,
    vendor::{Operation, Vendor, text},
};

pub(in crate::mock_provider) struct Gemini;

impl Vendor for Gemini {
    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        text(headers, "x-goog-api-key")
    }

    fn call(&self, method: &Method, path: &str, query: &str) -> Option<Operation> {
        if (method, path) == (&Method::GET, "models") {
            return Some(Operation::Models);
        }
        let (model, action) = path.strip_prefix("models/")?.split_once(':')?;
        let model = Some(percent_decoded(model));
        match (action, query) {
            ("generateContent", "") => Some(Operation::Chat { model, stream: Some(false) }),
            ("streamGenerateContent", "alt=sse") => Some(Operation::Chat { model, stream: Some(true) }),
            ("countTokens", _) => Some(Operation::Count { model }),
            ("embedContent", _) => Some(Operation::Embed { model, many: false }),
            ("batchEmbedContents", _) => Some(Operation::Embed { model, many: true }),
            _ => None,
        }
    }

    fn models(&self) -> &'static [&'static str] {
        &models::GEMINI
    }

    fn listed(&self) -> Value {
        let model = |id: &&str| {
            let methods: &[&str] = if id.contains("embedding") {
                &["embedContent", "countTokens"]
            } else {
                &["generateContent", "countTokens", "createCachedContent", "batchGenerateContent"]
            };
            json!({"name": format!("models/{id}"), "version": "001", "displayName": id, "description": "A model",
                   "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536, "supportedGenerationMethods": methods,
                   "temperature": 1, "topP": 0.95, "topK": 64})
        };
        json!({"models": models::GEMINI.iter().map(model).collect::<Vec<_>>()})
    }

    fn ask(&self, body: &Value, model: &str, _: &HeaderMap) -> Checked<Ask> {
        let mut body = names::in_camel_case(body);
        // A count may wrap the whole request.
        if let Some(inner) = body.get_mut("generateContentRequest") {
            body = inner.take();
            if let Some(fields) = body.as_object_mut() {
                fields.remove("model");
            }
        }
        check::request(&body, model)
    }

    fn answer(&self, answer: &Answer, _: &Ask) -> Value {
        answer::document(answer)
    }

    fn events(&self, answer: &Answer, _: &Ask, script: &Script) -> Vec<Event> {
        answer::events(answer, script)
    }

    fn faults(&self) -> Faults {
        let error = json!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}});
        Faults {
            error: format!("data: {error}\r\n\r\n").into_bytes(),
            garbage: b"data: {\"candidates\": <<<\r\n\r\n".to_vec(),
        }
    }

    fn error(&self, fault: &Fault) -> Value {
        let status = match fault.status.as_u16() {
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            429 => "RESOURCE_EXHAUSTED",
            503 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            500.. => "INTERNAL",
            _ => "INVALID_ARGUMENT",
        };
        let (at, name) = fault.at.rsplit_once('.').unwrap_or(("", &fault.at));
        let message = match &fault.problem {
            Problem::Missing => format!("* GenerateContentRequest.{}: {name} is not specified\n", fault.at),
            Problem::Unknown if at.is_empty() => {
                format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.")
            }
            Problem::Unknown => {
                format!("Invalid JSON payload received. Unknown name \"{name}\" at '{at}': Cannot find field.")
            }
            Problem::Expected(what) => format!("Invalid value at '{}' ({what})", fault.at),
            Problem::Said(words) => words.clone(),
        };
        json!({"error": {"code": fault.status.as_u16(), "message": message, "status": status}})
    }

    fn error_headers(&self, _: StatusCode) -> Vec<(&'static str, &'static str)> {
        vec![("server", "scaffolding on HTTPServer2")]
    }

    fn counted(&self, tokens: u64) -> Value {
        json!({"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]})
    }

    fn embed(&self, body: &Value, model: &str, many: bool) -> Checked<(Value, u64)> {
        let body = &names::in_camel_case(body);
        let one = |request: &Value, at: &str| {
            let own = [
                may("model", Is::Text),
                must("content", Is::Object),
                may("taskType", Is::Text),
                may("title", Is::Text),
                may("outputDimensionality", Is::Whole),
            ];
            let fields = object(request, at, &own)?;
            if fields.get("model").is_some_and(|named| named != format!("models/{model}").as_str()) {
                return Err(Fault::said(
                    "",
                    "* BatchEmbedContentsRequest.model: model is required to match the request's",
                ));
            }
            let said = ask::texts(&fields["content"]["parts"]);
            let size = fields.get("outputDimensionality").and_then(Value::as_u64).unwrap_or(8);
            Ok((json!({"values": embedding(&said, size)}), tokens::count(&said)))
        };
        if !many {
            let (vector, price) = one(body, "")?;
            return Ok((json!({"embedding": vector}), price));
        }
        let fields = object(body, "", &[must("requests", Is::List)])?;
        let all = fields["requests"].as_array().into_iter().flatten().enumerate();
        let all: Vec<(Value, u64)> =
            all.map(|(index, request)| one(request, &format!("requests[{index}]"))).collect::<Checked<_>>()?;
        let price = all.iter().map(|(_, price)| price).sum();
        Ok((json!({"embeddings": all.into_iter().map(|(vector, _)| vector).collect::<Vec<_>>()}), price))
    }
}

/// A path's segment with `%xx` resolved.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match code.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
