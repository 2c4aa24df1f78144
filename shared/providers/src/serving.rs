//! Hosts that speak OpenAI's API and list their models in ways of their own: Databricks and Cloudflare's Workers AI.
//!
//! Sources: docs.databricks.com/api/workspace/servingendpoints/list, …/machine-learning/model-serving/query-chat-models;
//! developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility, …/api/resources/ai/subresources/models.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::{
    Adapter, Auth, Failure, ModelPage, OfferedModel, OpenAiCompatible, Operation, OperationFormat, ParseModelsError,
    openai_compatible::kind_of,
};

/// A workspace's serving endpoints: the name of an endpoint is the model's.
#[derive(Clone, Copy, Debug)]
pub struct Databricks;

/// Workers AI of one account.
#[derive(Clone, Copy, Debug)]
pub struct Cloudflare;

impl Adapter for Databricks {
    fn id(&self) -> &'static str {
        "databricks"
    }

    fn format(&self, operation: Operation) -> Option<OperationFormat> {
        OpenAiCompatible::Chat.format(operation).filter(|_| operation != Operation::Images)
    }

    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str> {
        OpenAiCompatible::Chat.path(operation, model, stream)
    }

    fn path_varies(&self, _: Operation) -> bool {
        false
    }

    /// People write the workspace's URL.
    fn base_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match path.trim_end_matches('/') {
            "" => Cow::Borrowed("/serving-endpoints"),
            path => Cow::Borrowed(path),
        }
    }

    fn auth(&self) -> Auth {
        Auth::Databricks
    }

    /// `{"error_code": "…", "message": "…"}`, or OpenAI's form from the models behind it.
    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        #[derive(Deserialize)]
        struct Error {
            error_code: String,
            message: String,
        }
        let written: Option<Error> = serde_json::from_slice(body).ok();
        match written {
            Some(error) => {
                let error = serde_json::json!({ "error": { "message": error.message, "code": error.error_code } });
                OpenAiCompatible::Chat.classify(status, headers, error.to_string().as_bytes())
            }
            None => OpenAiCompatible::Chat.classify(status, headers, body),
        }
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        let list: Endpoints = serde_json::from_slice(body).map_err(|_| ParseModelsError)?;
        // A workspace without endpoints answers an empty object.
        let models = list.endpoints.into_iter().filter_map(Endpoint::offered).collect();
        Ok(ModelPage { models, next: None })
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

impl Adapter for Cloudflare {
    fn id(&self) -> &'static str {
        "cloudflare"
    }

    fn format(&self, operation: Operation) -> Option<OperationFormat> {
        OpenAiCompatible::Chat.format(operation).filter(|_| operation != Operation::Images)
    }

    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str> {
        match operation {
            Operation::Models => Cow::Borrowed("/../models/search?per_page=1000"),
            _ => OpenAiCompatible::Chat.path(operation, model, stream),
        }
    }

    fn path_varies(&self, _: Operation) -> bool {
        false
    }

    fn auth(&self) -> Auth {
        Auth::Bearer
    }

    /// `{"success": false, "errors": [{"code", "message"}]}`, or OpenAI's form.
    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<One>,
        }
        #[derive(Deserialize)]
        struct One {
            message: String,
        }
        let written: Option<Errors> = serde_json::from_slice(body).ok();
        let first = written.and_then(|errors| errors.errors.into_iter().next());
        match first {
            Some(error) => {
                let body = serde_json::json!({ "error": { "message": error.message } }).to_string();
                OpenAiCompatible::Chat.classify(status, headers, body.as_bytes())
            }
            None => OpenAiCompatible::Chat.classify(status, headers, body),
        }
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        let found: Found = serde_json::from_slice(body).map_err(|_| ParseModelsError)?;
        let models = found.result.ok_or(ParseModelsError)?.into_iter().map(Model::offered).collect();
        Ok(ModelPage { models, next: None })
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

#[derive(Deserialize)]
struct Endpoints {
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    name: String,
    task: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    result: Option<Vec<Model>>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    task: Option<Task>,
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Deserialize)]
struct Task {
    name: String,
}

#[derive(Deserialize)]
struct Property {
    property_id: String,
    value: serde_json::Value,
}

// === impl Endpoint ===

impl Endpoint {
    /// Endpoints of other tasks are models of one's own that speak no such API.
    fn offered(self) -> Option<OfferedModel> {
        let kind = match self.task.as_deref() {
            Some("llm/v1/chat") => "chat",
            Some("llm/v1/embeddings") => "embedding",
            Some("llm/v1/completions") | None => kind_of(None, &self.name),
            Some(_) => return None,
        };
        Some(offered(kind, self.name, "databricks", None))
    }
}

// === impl Model ===

impl Model {
    fn offered(self) -> OfferedModel {
        let kind = match self.task.as_ref().map(|task| task.name.as_str()) {
            Some("Text Generation" | "Image-to-Text") => "chat",
            Some("Text Embeddings") => "embedding",
            Some("Text-to-Image") => "image",
            Some("Automatic Speech Recognition") => "transcription",
            Some("Text-to-Speech") => "speech",
            _ => kind_of(None, &self.name),
        };
        let window = self.properties.iter().find(|property| property.property_id == "context_window");
        let window =
            window.and_then(|property| property.value.as_u64().or_else(|| property.value.as_str()?.parse().ok()));
        offered(kind, self.name, "cloudflare", window)
    }
}

fn offered(kind: &str, id: String, owner: &str, context_window: Option<u64>) -> OfferedModel {
    OfferedModel {
        kind: kind.to_owned(),
        id,
        context_window,
        max_output_tokens: None,
        created: None,
        owned_by: Some(owner.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let body = br#"{"endpoints":[{"name":"databricks-claude-sonnet-4-5","task":"llm/v1/chat"},{"name":"bge","task":"llm/v1/embeddings"},{"name":"churn","task":"custom"}]}"#;
        let page = Databricks.parse_models(body).expect("a list");
        let known: Vec<_> = page.models.iter().map(|model| (model.id.as_str(), model.kind.as_str())).collect();
        assert_eq!(known, [("databricks-claude-sonnet-4-5", "chat"), ("bge", "embedding")]);
        assert_eq!(Databricks.parse_models(b"{}").expect("none").models, []);
        let body = br#"{"success":true,"result":[{"name":"@cf/meta/llama-3.3-70b","task":{"name":"Text Generation"},"properties":[{"property_id":"context_window","value":"24000"}]},
            {"name":"@cf/x/flux","task":{"name":"Text-to-Image"}}]}"#;
        let page = Cloudflare.parse_models(body).expect("a list");
        assert_eq!((page.models[0].context_window, page.models[1].kind.as_str()), (Some(24_000), "image"));
        assert!(Cloudflare.parse_models(br#"{"success":false,"result":null}"#).is_err());
    }

    #[test]
    fn errors_of_their_own_form_keep_their_words() {
        let body = br#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Endpoint x does not exist"}"#;
        let failure = Databricks.classify(StatusCode::NOT_FOUND, &HeaderMap::new(), body);
        assert_eq!(
            (failure.code(), failure.client_message("")),
            ("upstream_model_unknown", "Endpoint x does not exist".into())
        );
        let body = br#"{"result":null,"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}"#;
        let failure = Cloudflare.classify(StatusCode::UNAUTHORIZED, &HeaderMap::new(), body);
        assert_eq!((failure.code(), failure.client_message("")), ("upstream_auth", "Authentication error".into()));
    }
}
