//! The adapter for Ollama's own API.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{ir, ollama};

use crate::{Adapter, Auth, Failure, Format, OfferedModel, Operation, ParseModelsError, openai_compatible::kind_of};

#[derive(Clone, Copy, Debug)]
pub struct Ollama;

impl Adapter for Ollama {
    fn id(&self) -> &'static str {
        "ollama"
    }

    fn format(&self, operation: Operation) -> Option<Format> {
        match operation {
            Operation::Chat => Some(Format::Chat(ir::Format::Ollama)),
            Operation::Embeddings | Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, _: &str, _: bool) -> Cow<'static, str> {
        Cow::Borrowed(match operation {
            Operation::Chat => "/api/chat",
            Operation::Embeddings => "/api/embed",
            Operation::Models => "/api/tags",
        })
    }

    fn path_varies(&self, _: Operation) -> bool {
        false
    }

    fn auth(&self) -> Auth {
        Auth::None
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        Failure::of_answer(status, headers, body, ollama::decode_error(status.as_u16(), body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<Vec<OfferedModel>, ParseModelsError> {
        let models = ollama::decode_tags(body).map_err(|_| ParseModelsError)?;
        let offered = models.into_iter().map(|model| OfferedModel {
            kind: kind_of(None, &model.name).to_owned(),
            id: model.name.to_string(),
            context_window: None,
            max_output_tokens: None,
            created: None,
            owned_by: None,
        });
        Ok(offered.collect())
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}
