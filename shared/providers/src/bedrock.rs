//! The adapter for Amazon Bedrock: Converse for chat, InvokeModel for embeddings.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{bedrock, embeddings::EmbedFormat, ir};
use serde::Deserialize;

use crate::{
    Adapter, Auth, BodyFormat, Failure, ModelPage, NextPage, OfferedModel, Operation, ParseModelsError,
    adapter::segment, openai_compatible::kind_of,
};

/// The second of the two lists: models that are called through a profile that spans regions (`us.anthropic.…`).
const PROFILES: &str = "inference-profiles";

#[derive(Clone, Copy, Debug)]
pub struct Bedrock;

impl Adapter for Bedrock {
    fn id(&self) -> &'static str {
        "bedrock"
    }

    fn format(&self, operation: Operation) -> Option<BodyFormat> {
        match operation {
            Operation::Chat => Some(BodyFormat::Chat(ir::Format::Bedrock)),
            Operation::Embeddings => Some(BodyFormat::Embeddings(EmbedFormat::Bedrock)),
            Operation::Images | Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str> {
        let call = match operation {
            Operation::Models => return Cow::Borrowed("/foundation-models"),
            Operation::Images => return Cow::Borrowed(""),
            Operation::Embeddings => "invoke",
            Operation::Chat if stream => "converse-stream",
            Operation::Chat => "converse",
        };
        Cow::Owned(format!("/model/{}/{call}", segment(model)))
    }

    fn path_varies(&self, operation: Operation) -> bool {
        operation != Operation::Models
    }

    fn auth(&self) -> Auth {
        Auth::Aws
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let kind = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
        Failure::of_answer(status, headers, body, bedrock::decode_error(status.as_u16(), kind, body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        let list: List = serde_json::from_slice(body).map_err(|_| ParseModelsError)?;
        match (list.foundation, list.profiles) {
            (Some(models), _) => Ok(ModelPage {
                models: models.into_iter().filter_map(Foundation::offered).collect(),
                next: Some(NextPage {
                    sibling: Some(PROFILES),
                    query: vec![("maxResults", "1000".to_owned()), ("typeEquals", "SYSTEM_DEFINED".to_owned())],
                    is_optional: true,
                }),
            }),
            (None, Some(profiles)) => Ok(ModelPage {
                models: profiles.into_iter().filter_map(Profile::offered).collect(),
                next: list.next_token.filter(|token| !token.is_empty()).map(|token| NextPage {
                    sibling: None,
                    query: vec![("nextToken", token)],
                    is_optional: true,
                }),
            }),
            (None, None) => Err(ParseModelsError),
        }
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

/// Answer of `ListFoundationModels` or of `ListInferenceProfiles`.
#[derive(Deserialize)]
struct List {
    #[serde(rename = "modelSummaries")]
    foundation: Option<Vec<Foundation>>,
    #[serde(rename = "inferenceProfileSummaries")]
    profiles: Option<Vec<Profile>>,
    #[serde(rename = "nextToken")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Foundation {
    model_id: String,
    provider_name: Option<String>,
    #[serde(default)]
    output_modalities: Vec<String>,
    #[serde(default)]
    inference_types_supported: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    inference_profile_id: String,
    status: Option<String>,
}

// === impl Foundation ===

impl Foundation {
    /// Models that cannot be called by this id, but through a profile only, are left to the other list.
    fn offered(self) -> Option<OfferedModel> {
        let types = &self.inference_types_supported;
        if !types.is_empty() && !types.iter().any(|kind| kind == "ON_DEMAND") {
            return None;
        }
        let makes = |modality: &str| self.output_modalities.iter().any(|own| own == modality);
        let kind = if makes("EMBEDDING") {
            "embedding"
        } else if makes("IMAGE") && !makes("TEXT") {
            "image"
        } else {
            kind_of(None, &self.model_id)
        };
        Some(offered(kind, self.model_id, self.provider_name))
    }
}

// === impl Profile ===

impl Profile {
    fn offered(self) -> Option<OfferedModel> {
        let is_active = self.status.as_deref().is_none_or(|status| status == "ACTIVE");
        is_active.then(|| offered(kind_of(None, &self.inference_profile_id), self.inference_profile_id, None))
    }
}

fn offered(kind: &str, id: String, owned_by: Option<String>) -> OfferedModel {
    OfferedModel { kind: kind.to_owned(), id, context_window: None, max_output_tokens: None, created: None, owned_by }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_read_and_what_cannot_be_called_is_left_out() {
        let foundation = br#"{"modelSummaries":[
            {"modelId":"amazon.nova-pro-v1:0","providerName":"Amazon","outputModalities":["TEXT"],"inferenceTypesSupported":["ON_DEMAND"]},
            {"modelId":"anthropic.claude-opus-4-6-v1","outputModalities":["TEXT"],"inferenceTypesSupported":["INFERENCE_PROFILE"]},
            {"modelId":"amazon.titan-embed-text-v2:0","outputModalities":["EMBEDDING"],"inferenceTypesSupported":["ON_DEMAND"]}]}"#;
        let page = Bedrock.parse_models(foundation).expect("a list");
        let known: Vec<_> = page.models.iter().map(|model| (model.id.as_str(), model.kind.as_str())).collect();
        assert_eq!(known, [("amazon.nova-pro-v1:0", "chat"), ("amazon.titan-embed-text-v2:0", "embedding")]);
        let next = page.next.expect("the other list");
        assert_eq!((next.sibling, next.is_optional), (Some(PROFILES), true));
        let profiles = br#"{"inferenceProfileSummaries":[{"inferenceProfileId":"us.anthropic.claude-opus-4-6-v1","status":"ACTIVE"},
            {"inferenceProfileId":"us.old","status":"LEGACY"}],"nextToken":"t"}"#;
        let page = Bedrock.parse_models(profiles).expect("a list");
        assert_eq!(page.models.len(), 1);
        assert_eq!(page.next.expect("more").query, [("nextToken", "t".to_owned())]);
        assert!(Bedrock.parse_models(b"{}").is_err());
    }

    #[test]
    fn a_model_is_one_segment_as_amazons_own_programs_write_it() {
        let arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.x";
        assert_eq!(
            Bedrock.path(Operation::Chat, arn, true),
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x/converse-stream"
        );
        assert_eq!(Bedrock.path(Operation::Chat, "a.b-v1:0", false), "/model/a.b-v1%3A0/converse");
        assert_eq!(Bedrock.path(Operation::Embeddings, "amazon.t", false), "/model/amazon.t/invoke");
    }
}
