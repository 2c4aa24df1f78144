//! Azure OpenAI and Azure AI Foundry.
//!
//! Azure has two surfaces. The newer one, `/openai/v1`, is OpenAI's API with a key header of its own. The dated one has the
//! deployment in the path and the version in the query, `/openai/deployments/{deployment}/chat/completions?api-version=…`, but for
//! Responses and lists, which stand beside the deployments. Foundry's hosts have the newer surface too, and Anthropic's API for
//! Anthropic's models.
//!
//! Sources: learn.microsoft.com/azure/ai-foundry/openai/{api-version-lifecycle,reference,latest}, …/foundry-models/how-to/use-foundry-models-claude.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{anthropic, ir};
use url::Url;

use crate::{
    Account, Adapter, Auth, ConnectionSpec, Envelope, Failure, ModelPage, OpenAiCompatible, Operation, OperationFormat,
    ParseModelsError, adapter::segment,
};

/// The first version of the dated surface that has Responses.
const FIRST_RESPONSES: &str = "2025-03-01";
/// Of Foundry's inference API when nobody names one.
const INFERENCE_VERSION: &str = "2024-05-01-preview";
/// Anthropic's own version header, which Foundry takes as Anthropic does.
const CLAUDE_HEADERS: [(&str, &str); 1] = [("anthropic-version", "2023-06-01")];

/// How a connection's URLs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// `/openai/v1`.
    V1,
    /// The deployment is in the path of every call.
    Deployments { has_responses: bool },
    /// The base URL names the deployment, or is another one that is complete: what is below it is OpenAI's.
    Below,
    /// Foundry: `/openai/v1`, and Anthropic's API beside it.
    Foundry,
}

/// The dated surface of Azure OpenAI.
#[derive(Clone, Copy, Debug)]
pub struct AzureDeployments;

/// A resource of Azure AI Foundry.
#[derive(Clone, Copy, Debug)]
pub struct AzureFoundry;

// === impl Surface ===

impl Surface {
    /// `None` for a provider that is not Azure's.
    pub(crate) fn of(format: &str, spec: &ConnectionSpec<'_>) -> Option<Self> {
        let is_foundry = match format {
            "azure-openai" => false,
            "azure-foundry" => true,
            _ => return None,
        };
        let url = Url::parse(spec.base_url).ok();
        let path = url.as_ref().map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        if path.contains("/deployments/") || path.ends_with("/models") {
            return Some(Self::Below);
        }
        let version = version(spec, url.as_ref());
        let is_dated = version.as_deref().is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()));
        Some(match (is_dated, is_foundry) {
            (true, _) => {
                let version = version.unwrap_or_default();
                let has_responses = version.get(..FIRST_RESPONSES.len()).is_some_and(|date| date >= FIRST_RESPONSES);
                Self::Deployments { has_responses }
            }
            (false, true) => Self::Foundry,
            (false, false) => Self::V1,
        })
    }

    /// The base URL as this surface's calls need it.
    pub(crate) fn base(self, written: &Url, spec: &ConnectionSpec<'_>) -> Url {
        let mut base = written.clone();
        let path = written.path().trim_end_matches('/').to_owned();
        let root =
            ["/openai/v1", "/openai", "/anthropic/v1", "/anthropic"].iter().find_map(|end| path.strip_suffix(end));
        let root = root.unwrap_or(&path);
        match self {
            Self::V1 => base.set_path(&format!("{root}/openai/v1")),
            Self::Deployments { .. } => base.set_path(&format!("{root}/openai")),
            Self::Foundry => base.set_path(root),
            Self::Below => {}
        }
        let own = version(spec, None);
        let is_inference = self == Self::Below && path.ends_with("/models");
        let named = written.query_pairs().any(|(name, _)| name == "api-version");
        let wanted = own.or_else(|| (is_inference && !named).then(|| INFERENCE_VERSION.to_owned()));
        if let Some(wanted) = wanted {
            let kept: Vec<(String, String)> =
                written.query_pairs().into_owned().filter(|(name, _)| name != "api-version").collect();
            base.query_pairs_mut().clear().extend_pairs(kept).append_pair("api-version", &wanted);
        }
        base
    }
}

/// The version that the connection or its URL names.
fn version(spec: &ConnectionSpec<'_>, url: Option<&Url>) -> Option<String> {
    let own = Some(spec.cloud.api_version).filter(|version| !version.is_empty()).map(str::to_owned);
    own.or_else(|| url?.query_pairs().find(|(name, _)| name == "api-version").map(|(_, value)| value.into_owned()))
}

impl Adapter for AzureDeployments {
    fn id(&self) -> &'static str {
        "azure-openai"
    }

    fn format(&self, operation: Operation) -> Option<OperationFormat> {
        OpenAiCompatible::Chat.format(operation)
    }

    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str> {
        let below = OpenAiCompatible::Chat.path(operation, model, stream);
        match operation {
            Operation::Models => below,
            _ => Cow::Owned(format!("/deployments/{}{below}", segment(model))),
        }
    }

    fn path_varies(&self, operation: Operation) -> bool {
        operation != Operation::Models
    }

    fn auth(&self) -> Auth {
        Auth::Azure
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        OpenAiCompatible::Chat.classify(status, headers, body)
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        OpenAiCompatible::Chat.parse_models(body)
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

impl Adapter for AzureFoundry {
    fn id(&self) -> &'static str {
        "azure-foundry"
    }

    fn format(&self, operation: Operation) -> Option<OperationFormat> {
        OpenAiCompatible::Chat.format(operation)
    }

    fn chat_format(&self, model: &str) -> Option<ir::Format> {
        Some(if is_claude(model) { ir::Format::Anthropic } else { ir::Format::OpenAiChat })
    }

    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str> {
        if operation == Operation::Chat && is_claude(model) {
            return Cow::Borrowed("/anthropic/v1/messages");
        }
        Cow::Owned(format!("/openai/v1{}", OpenAiCompatible::Chat.path(operation, model, stream)))
    }

    fn path_varies(&self, operation: Operation) -> bool {
        operation == Operation::Chat
    }

    fn responses_path(&self) -> &'static str {
        "/openai/v1/responses"
    }

    fn envelope(&self, format: ir::Format, _: &str, _: &Account) -> Option<Envelope> {
        (format == ir::Format::Anthropic).then(|| Envelope { headers: &CLAUDE_HEADERS, ..Envelope::default() })
    }

    fn count_path(&self, model: &str) -> Option<Cow<'static, str>> {
        is_claude(model).then_some(Cow::Borrowed("/anthropic/v1/messages/count_tokens"))
    }

    fn auth(&self) -> Auth {
        Auth::Azure
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        if is_anthropics(body) {
            return Failure::of_answer(status, headers, body, anthropic::decode_error(status.as_u16(), body));
        }
        OpenAiCompatible::Chat.classify(status, headers, body)
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        OpenAiCompatible::Chat.parse_models(body)
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

/// Deployments are called as their owner likes; who calls one of another model `claude` asks for trouble.
fn is_claude(model: &str) -> bool {
    model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase().starts_with("claude")
}

/// Whether an error is written as Anthropic writes its own.
pub(crate) fn is_anthropics(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Error {
        r#type: String,
    }
    serde_json::from_slice::<Error>(body).is_ok_and(|error| error.r#type == "error")
}
