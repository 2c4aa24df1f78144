//! Google's Vertex AI: models of several publishers behind one project and location.
//!
//! Google's own are asked as the Gemini API is, Anthropic's in their own format with the model in the path, Mistral's in OpenAI's
//! below their publisher, everybody else's at a host that speaks OpenAI's API.
//!
//! Sources: cloud.google.com/vertex-ai/generative-ai/docs/{model-reference/inference,partner-models/claude/use-claude,
//! partner-models/mistral,migrate/openai/overview,learn/locations}.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{anthropic, gemini, ir};
use serde::Deserialize;
use url::Url;

use crate::{
    Account, Adapter, Auth, CompileError, ConnectionSpec, Envelope, Failure, ModelPage, NextPage, OfferedModel,
    Operation, OperationFormat, ParseModelsError, azure::is_anthropics, openai_compatible::kind_of,
};

const HOST: &str = "aiplatform.googleapis.com";
/// Where requests go when nobody names a location: wherever Google has room.
pub(crate) const DEFAULT_LOCATION: &str = "global";
/// Locations that span a continent have hosts of another form.
const MULTI_REGIONS: [&str; 2] = ["us", "eu"];
/// What takes the place of the model's name in Anthropic's bodies.
const ANTHROPIC_VERSION: &str = "\"vertex-2023-10-16\"";

#[derive(Clone, Copy, Debug)]
pub struct Vertex;

/// Who publishes a model, and so how it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publisher {
    Google,
    Anthropic,
    Mistral,
    /// A tuned or deployed model of one's own: `endpoints/1234`.
    Endpoint,
    Others,
}

/// Where the calls go, and the list of models. `written`: the operator's base URL; `is_express`: an API key without a project.
pub(crate) fn place(
    spec: &ConnectionSpec<'_>,
    written: Option<&Url>,
    location: &str,
    project: &str,
    is_express: bool,
) -> Result<(Url, String), CompileError> {
    let host = match location {
        DEFAULT_LOCATION => HOST.to_owned(),
        location if MULTI_REGIONS.contains(&location) => format!("aiplatform.{location}.rep.googleapis.com"),
        location => format!("{location}-{HOST}"),
    };
    let mut base = match written {
        Some(written) => written.clone(),
        None => format!("https://{host}").parse().map_err(|_| CompileError::Region(spec.region.to_owned()))?,
    };
    let mut path = base.path().trim_end_matches('/').to_owned();
    if !path.contains("/projects/") {
        if path.is_empty() {
            path = "/v1".into();
        }
        if !is_express {
            path = format!("{path}/projects/{project}/locations/{location}");
        }
        base.set_path(&path);
    }
    let mut list = base.clone();
    list.set_path("/v1beta1/publishers/google/models");
    list.set_query(Some("pageSize=100"));
    Ok((base, list.into()))
}

// === impl Publisher ===

impl Publisher {
    fn of(model: &str) -> (Self, &str) {
        if let Some(id) = model.strip_prefix("endpoints/") {
            return (Self::Endpoint, id);
        }
        let full = model.strip_prefix("publishers/").and_then(|rest| rest.split_once("/models/"));
        let (publisher, name) = match full.or_else(|| model.split_once('/')) {
            Some((publisher, name)) => (Some(publisher), name),
            None => (None, model),
        };
        let starts = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
        match publisher {
            Some("google") | None if !starts(&["claude", "mistral-", "codestral", "ministral"]) => (Self::Google, name),
            Some("anthropic") => (Self::Anthropic, name),
            Some("mistralai") => (Self::Mistral, name),
            None if starts(&["claude"]) => (Self::Anthropic, name),
            None => (Self::Mistral, name),
            Some(_) => (Self::Others, model),
        }
    }
}

impl Adapter for Vertex {
    fn id(&self) -> &'static str {
        "vertex"
    }

    fn format(&self, operation: Operation) -> Option<OperationFormat> {
        (operation == Operation::Chat).then_some(OperationFormat::Chat(ir::Format::Gemini))
    }

    fn chat_format(&self, model: &str) -> Option<ir::Format> {
        Some(match Publisher::of(model).0 {
            Publisher::Google | Publisher::Endpoint => ir::Format::Gemini,
            Publisher::Anthropic => ir::Format::Anthropic,
            Publisher::Mistral | Publisher::Others => ir::Format::OpenAiChat,
        })
    }

    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str> {
        if operation != Operation::Chat {
            return Cow::Borrowed("");
        }
        let (publisher, name) = Publisher::of(model);
        let name = segment(name);
        let generate = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
        let raw = if stream { "streamRawPredict" } else { "rawPredict" };
        Cow::Owned(match publisher {
            Publisher::Google => format!("/publishers/google/models/{name}:{generate}"),
            Publisher::Endpoint => format!("/endpoints/{name}:{generate}"),
            Publisher::Anthropic => format!("/publishers/anthropic/models/{name}:{raw}"),
            Publisher::Mistral => format!("/publishers/mistralai/models/{name}:{raw}"),
            Publisher::Others => "/endpoints/openapi/chat/completions".to_owned(),
        })
    }

    fn path_varies(&self, operation: Operation) -> bool {
        operation == Operation::Chat
    }

    fn envelope(&self, format: ir::Format, _: &str, _: &Account) -> Option<Envelope> {
        (format == ir::Format::Anthropic).then(|| Envelope {
            without: &["model"],
            with: vec![("anthropic_version", ANTHROPIC_VERSION.to_owned())],
            ..Envelope::default()
        })
    }

    /// Anthropic's models take no URLs here (docs.claude.com on vision: "URL sources").
    fn fetches_media(&self, format: ir::Format) -> bool {
        format != ir::Format::Anthropic
    }

    fn auth(&self) -> Auth {
        Auth::Google
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        if is_anthropics(body) {
            return Failure::of_answer(status, headers, body, anthropic::decode_error(status.as_u16(), body));
        }
        // OpenAI-compatible endpoints put the same object into a list.
        let body = body.trim_ascii_start().strip_prefix(b"[").unwrap_or(body);
        let body = body.trim_ascii_end().strip_suffix(b"]").unwrap_or(body);
        Failure::of_answer(status, headers, body, gemini::decode_error(status.as_u16(), body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        let list: List = serde_json::from_slice(body).map_err(|_| ParseModelsError)?;
        let models = list.models.ok_or(ParseModelsError)?.into_iter().map(|model| {
            let id = model.name.rsplit('/').next().unwrap_or(&model.name).to_owned();
            OfferedModel {
                kind: kind_of(None, &id).to_owned(),
                id,
                context_window: None,
                max_output_tokens: None,
                created: None,
                owned_by: Some("google".into()),
            }
        });
        let next = list.next.filter(|token| !token.is_empty());
        Ok(ModelPage {
            models: models.collect(),
            next: next.map(|token| NextPage { query: vec![("pageToken", token)], ..NextPage::default() }),
        })
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

#[derive(Deserialize)]
struct List {
    #[serde(rename = "publisherModels")]
    models: Option<Vec<Listed>>,
    #[serde(rename = "nextPageToken")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
}

/// As [`crate::adapter::segment`]; versions of Anthropic's models stand behind an `@`, which Google's programs write as it is.
fn segment(model: &str) -> String {
    crate::adapter::segment(model).replace("%40", "@")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_publisher_has_its_own_way() {
        for (model, format, path) in [
            ("gemini-2.5-pro", "gemini", "/publishers/google/models/gemini-2.5-pro:generateContent"),
            ("google/gemini-2.5-pro", "gemini", "/publishers/google/models/gemini-2.5-pro:generateContent"),
            ("publishers/google/models/gemma-3", "gemini", "/publishers/google/models/gemma-3:generateContent"),
            ("endpoints/123", "gemini", "/endpoints/123:generateContent"),
            (
                "claude-sonnet-4-5@20250929",
                "anthropic",
                "/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
            ),
            ("anthropic/claude-opus-4-6", "anthropic", "/publishers/anthropic/models/claude-opus-4-6:rawPredict"),
            ("mistral-medium-3", "openai", "/publishers/mistralai/models/mistral-medium-3:rawPredict"),
            ("meta/llama-4-maverick-17b-128e-instruct-maas", "openai", "/endpoints/openapi/chat/completions"),
            ("a/../../b?c", "openai", "/endpoints/openapi/chat/completions"),
            ("x?y/../z#", "openai", "/endpoints/openapi/chat/completions"),
        ] {
            assert_eq!(Vertex.chat_format(model).expect("chats").as_str(), format, "{model}");
            assert_eq!(Vertex.path(Operation::Chat, model, false), path, "{model}");
        }
        let streamed = Vertex.path(Operation::Chat, "gemini-2.5-pro", true);
        assert_eq!(streamed, "/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse");
        assert!(Vertex.path(Operation::Chat, "claude-x", true).ends_with(":streamRawPredict"));
        assert_eq!(
            Vertex.path(Operation::Chat, "..%2f#?", false),
            "/publishers/google/models/..%252f%23%3F:generateContent"
        );
    }

    #[test]
    fn both_kinds_of_errors_are_read() {
        let class = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            Vertex.classify(status, &HeaderMap::new(), body.as_bytes()).code()
        };
        let google = r#"{"error":{"code":429,"message":"Resource exhausted","status":"RESOURCE_EXHAUSTED"}}"#;
        assert_eq!(class(429, google), "upstream_rate_limited");
        assert_eq!(class(429, &format!("[{google}]")), "upstream_rate_limited");
        let denied = r#"{"error":{"code":403,"message":"Permission denied","status":"PERMISSION_DENIED"}}"#;
        assert_eq!(class(403, denied), "upstream_auth");
        let claude = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        assert_eq!(class(529, claude), "upstream_error");
        let long = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#;
        assert_eq!(class(400, long), "context_length_exceeded");
    }
}
