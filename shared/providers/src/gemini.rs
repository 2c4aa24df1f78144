//! The adapter for Google's Gemini API: the model and the action stand in the path.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{embeddings::EmbedFormat, gemini, ir};

use crate::{
    Adapter, Auth, BodyFormat, Failure, ModelPage, NextPage, OfferedModel, Operation, ParseModelsError,
    adapter::{has_version, segment},
    openai_compatible::kind_of,
};

#[derive(Clone, Copy, Debug)]
pub struct Gemini;

impl Adapter for Gemini {
    fn id(&self) -> &'static str {
        "gemini"
    }

    fn format(&self, operation: Operation) -> Option<BodyFormat> {
        match operation {
            Operation::Chat => Some(BodyFormat::Chat(ir::Format::Gemini)),
            Operation::Embeddings => Some(BodyFormat::Embeddings(EmbedFormat::Gemini)),
            Operation::Images | Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str> {
        let action = match operation {
            Operation::Models => return Cow::Borrowed("/models?pageSize=1000"),
            Operation::Images => return Cow::Borrowed(""),
            Operation::Embeddings => "batchEmbedContents",
            Operation::Chat if stream => "streamGenerateContent?alt=sse",
            Operation::Chat => "generateContent",
        };
        Cow::Owned(format!("{}:{action}", model_path(model)))
    }

    fn path_varies(&self, operation: Operation) -> bool {
        operation != Operation::Models
    }

    fn count_path(&self, model: &str) -> Option<Cow<'static, str>> {
        Some(Cow::Owned(format!("{}:countTokens", model_path(model))))
    }

    fn base_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        if has_version(path) {
            Cow::Borrowed(path)
        } else {
            Cow::Owned(format!("{}/v1beta", path.trim_end_matches('/')))
        }
    }

    fn auth(&self) -> Auth {
        Auth::XGoogApiKey
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        Failure::of_answer(status, headers, body, gemini::decode_error(status.as_u16(), body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        let (models, next) = gemini::decode_models(body).map_err(|_| ParseModelsError)?;
        let next = next.map(|token| NextPage { query: vec![("pageToken", token)], ..NextPage::default() });
        Ok(ModelPage { models: models.into_iter().map(offered).collect(), next })
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

fn model_path(model: &str) -> String {
    let (collection, name) = match model.split_once('/') {
        Some((collection @ ("models" | "tunedModels"), name)) => (collection, name),
        _ => ("models", model),
    };
    format!("/{collection}/{}", segment(name))
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
