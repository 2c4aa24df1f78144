//! The adapter for Amazon Bedrock's Converse API, with a Bedrock API key as the credential.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{bedrock, ir};
use serde::Deserialize;

use crate::{
    Adapter, Auth, Failure, Format, OfferedModel, Operation, ParseModelsError, adapter::segment,
    openai_compatible::kind_of,
};

#[derive(Clone, Copy, Debug)]
pub struct Bedrock;

impl Adapter for Bedrock {
    fn id(&self) -> &'static str {
        "bedrock"
    }

    fn format(&self, operation: Operation) -> Option<Format> {
        match operation {
            Operation::Chat => Some(Format::Chat(ir::Format::Bedrock)),
            Operation::Embeddings | Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str> {
        match operation {
            // The runtime's host lists none; the list of another host needs other rights.
            Operation::Models => Cow::Borrowed("/foundation-models"),
            Operation::Chat | Operation::Embeddings => {
                let call = if stream { "converse-stream" } else { "converse" };
                Cow::Owned(format!("/model/{}/{call}", segment(model)))
            }
        }
    }

    fn path_varies(&self, operation: Operation) -> bool {
        operation != Operation::Models
    }

    fn auth(&self) -> Auth {
        Auth::Bearer
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let kind = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
        Failure::of_answer(status, headers, body, bedrock::decode_error(status.as_u16(), kind, body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<Vec<OfferedModel>, ParseModelsError> {
        let list: List = serde_json::from_slice(body).map_err(|_| ParseModelsError)?;
        let offered = list.models.into_iter().map(|model| OfferedModel {
            kind: kind_of(None, &model.id).to_owned(),
            id: model.id,
            context_window: None,
            max_output_tokens: None,
            created: None,
            owned_by: model.provider,
        });
        Ok(offered.collect())
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

/// Answer of `ListFoundationModels`.
#[derive(Deserialize)]
struct List {
    #[serde(rename = "modelSummaries")]
    models: Vec<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    #[serde(rename = "modelId")]
    id: String,
    #[serde(rename = "providerName")]
    provider: Option<String>,
}
