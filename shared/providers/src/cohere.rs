//! The adapter for Cohere's v2 API.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{cohere, embeddings::EmbedFormat, ir};

use crate::{
    Adapter, Auth, BodyFormat, Failure, ModelPage, NextPage, OfferedModel, Operation, ParseModelsError,
    adapter::without_end,
};

#[derive(Clone, Copy, Debug)]
pub struct Cohere;

impl Adapter for Cohere {
    fn id(&self) -> &'static str {
        "cohere"
    }

    fn format(&self, operation: Operation) -> Option<BodyFormat> {
        match operation {
            Operation::Chat => Some(BodyFormat::Chat(ir::Format::Cohere)),
            Operation::Embeddings => Some(BodyFormat::Embeddings(EmbedFormat::Cohere)),
            Operation::Images | Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, _: &str, _: bool) -> Cow<'static, str> {
        Cow::Borrowed(match operation {
            Operation::Chat => "/v2/chat",
            Operation::Embeddings => "/v2/embed",
            Operation::Models => "/v1/models?page_size=1000",
            Operation::Images => "",
        })
    }

    fn path_varies(&self, _: Operation) -> bool {
        false
    }

    /// The calls have different versions, so the base URL has none.
    fn base_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        without_end(path, &["/compatibility/v1", "/v1", "/v2"])
    }

    fn auth(&self) -> Auth {
        Auth::Bearer
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        Failure::of_answer(status, headers, body, cohere::decode_error(status.as_u16(), body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
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
        let next =
            page.next_page_token.map(|token| NextPage { query: vec![("page_token", token)], ..NextPage::default() });
        Ok(ModelPage { models: offered.collect(), next })
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}
