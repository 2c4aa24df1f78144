//! The adapter for Anthropic's Messages API and for hosts that speak it.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{anthropic, ir};

use crate::{Adapter, Auth, Failure, Format, OfferedModel, OpenAiCompatible, Operation, ParseModelsError};

#[derive(Clone, Copy, Debug)]
pub struct Anthropic;

impl Adapter for Anthropic {
    fn id(&self) -> &'static str {
        "anthropic"
    }

    fn format(&self, operation: Operation) -> Option<Format> {
        match operation {
            Operation::Chat => Some(Format::Chat(ir::Format::Anthropic)),
            Operation::Embeddings | Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, _: &str, _: bool) -> Cow<'static, str> {
        Cow::Borrowed(match operation {
            Operation::Chat | Operation::Embeddings => "/messages",
            Operation::Models => "/models?limit=1000",
        })
    }

    fn path_varies(&self, _: Operation) -> bool {
        false
    }

    fn count_path(&self, _: &str) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed("/messages/count_tokens"))
    }

    fn auth(&self) -> Auth {
        Auth::XApiKey
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        Failure::of_answer(status, headers, body, anthropic::decode_error(status.as_u16(), body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<Vec<OfferedModel>, ParseModelsError> {
        // OpenAI's shape, with its own names inside.
        OpenAiCompatible::Chat.parse_models(body)
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}
