//! The adapter for Ollama's own API.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{embeddings::EmbedFormat, ir, ollama};

use crate::{
    Adapter, Auth, BodyFormat, Failure, ModelPage, OfferedModel, Operation, ParseModelsError, adapter::without_end,
    openai_compatible::kind_of,
};

#[derive(Clone, Copy, Debug)]
pub struct Ollama;

impl Adapter for Ollama {
    fn id(&self) -> &'static str {
        "ollama"
    }

    fn format(&self, operation: Operation) -> Option<BodyFormat> {
        match operation {
            Operation::Chat => Some(BodyFormat::Chat(ir::Format::Ollama)),
            Operation::Embeddings => Some(BodyFormat::Embeddings(EmbedFormat::Ollama)),
            Operation::Images | Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, _: &str, _: bool) -> Cow<'static, str> {
        Cow::Borrowed(match operation {
            Operation::Chat => "/api/chat",
            Operation::Embeddings => "/api/embed",
            Operation::Models => "/api/tags",
            Operation::Images => "",
        })
    }

    fn path_varies(&self, _: Operation) -> bool {
        false
    }

    /// The server's root, also where the URL is that of its OpenAI-compatible side.
    fn base_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        without_end(path, &["/v1", "/api"])
    }

    fn auth(&self) -> Auth {
        Auth::None
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        Failure::of_answer(status, headers, body, ollama::decode_error(status.as_u16(), body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        let models = ollama::decode_tags(body).map_err(|_| ParseModelsError)?;
        let offered = models.into_iter().map(|model| OfferedModel {
            kind: kind_of(None, &model.name).to_owned(),
            id: model.name.to_string(),
            context_window: None,
            max_output_tokens: None,
            created: None,
            owned_by: None,
        });
        Ok(ModelPage { models: offered.collect(), next: None })
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}
