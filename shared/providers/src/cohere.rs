//! The adapter for Cohere's v2 API.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{cohere, ir};

use crate::{Adapter, Auth, Failure, Format, OfferedModel, Operation, ParseModelsError};

#[derive(Clone, Copy, Debug)]
pub struct Cohere;

impl Adapter for Cohere {
    fn id(&self) -> &'static str {
        "cohere"
    }

    fn format(&self, operation: Operation) -> Option<Format> {
        match operation {
            Operation::Chat => Some(Format::Chat(ir::Format::Cohere)),
            Operation::Embeddings | Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, _: &str, _: bool) -> Cow<'static, str> {
        Cow::Borrowed(match operation {
            Operation::Chat => "/v2/chat",
            Operation::Embeddings => "/v2/embed",
            Operation::Models => "/v1/models?page_size=1000",
        })
    }

    fn path_varies(&self, _: Operation) -> bool {
        false
    }

    fn auth(&self) -> Auth {
        Auth::Bearer
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        Failure::of_answer(status, headers, body, cohere::decode_error(status.as_u16(), body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<Vec<OfferedModel>, ParseModelsError> {
        let page = cohere::decode_models(body).map_err(|_| ParseModelsError)?;
        let offered = page.models.into_iter().map(|model| {
            let kind = ["chat", "embed", "rerank"].into_iter().find(|endpoint| model.serves(endpoint));
            OfferedModel {
                kind: if kind == Some("embed") { "embedding" } else { kind.unwrap_or("chat") }.to_owned(),
                context_window: model.context_length,
                max_output_tokens: None,
                created: None,
                owned_by: None,
                id: model.name,
            }
        });
        Ok(offered.collect())
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}
