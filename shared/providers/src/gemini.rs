//! The adapter for Google's Gemini API: the model and the action stand in the path.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{gemini, ir};

use crate::{
    Adapter, Auth, Failure, Format, OfferedModel, Operation, ParseModelsError, adapter::segment,
    openai_compatible::kind_of,
};

#[derive(Clone, Copy, Debug)]
pub struct Gemini;

impl Adapter for Gemini {
    fn id(&self) -> &'static str {
        "gemini"
    }

    fn format(&self, operation: Operation) -> Option<Format> {
        match operation {
            Operation::Chat => Some(Format::Chat(ir::Format::Gemini)),
            Operation::Embeddings | Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str> {
        match operation {
            Operation::Models => Cow::Borrowed("/models?pageSize=1000"),
            Operation::Chat | Operation::Embeddings => {
                let model = segment(model.strip_prefix("models/").unwrap_or(model));
                let action = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                Cow::Owned(format!("/models/{model}:{action}"))
            }
        }
    }

    fn path_varies(&self, operation: Operation) -> bool {
        operation != Operation::Models
    }

    fn count_path(&self, model: &str) -> Option<Cow<'static, str>> {
        let model = segment(model.strip_prefix("models/").unwrap_or(model));
        Some(Cow::Owned(format!("/models/{model}:countTokens")))
    }

    fn auth(&self) -> Auth {
        Auth::XGoogApiKey
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        Failure::of_answer(status, headers, body, gemini::decode_error(status.as_u16(), body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<Vec<OfferedModel>, ParseModelsError> {
        let (models, _) = gemini::decode_models(body).map_err(|_| ParseModelsError)?;
        Ok(models.into_iter().map(offered).collect())
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

fn offered(model: gemini::Model) -> OfferedModel {
    let kind = if model.embeds && !model.generates { "embedding" } else { kind_of(None, &model.id) };
    OfferedModel {
        kind: kind.to_owned(),
        context_window: model.input_limit,
        max_output_tokens: model.output_limit,
        created: None,
        owned_by: None,
        id: model.id,
    }
}
