//! How one kind of upstream is spoken to. An adapter knows paths, headers, errors and lists; the bodies are `wire`'s.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};

use crate::{Anthropic, Auth, Bedrock, Cohere, Failure, Format, Gemini, Ollama, OpenAiCompatible, Operation};

/// Speaks to one kind of upstream.
pub trait Adapter: Send + Sync + std::fmt::Debug {
    /// Its name in the catalog (`format`).
    fn id(&self) -> &'static str;

    /// The wire format that it speaks for an operation; `None` when it cannot do it.
    fn format(&self, operation: Operation) -> Option<Format>;

    /// Path below the base URL. Most do not depend on the model.
    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str>;

    /// Whether [`Self::path`] depends on model or stream, so that it cannot be prepared once.
    fn path_varies(&self, operation: Operation) -> bool;

    /// Where the credential goes when the catalog does not say.
    fn auth(&self) -> Auth;

    /// Headers that every request needs.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// What a failed answer means. `body` is its beginning.
    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure;

    /// Reads the answer to [`Operation::Models`].
    ///
    /// # Errors
    /// When it is no list of models.
    fn parse_models(&self, body: &[u8]) -> Result<Vec<OfferedModel>, ParseModelsError>;

    /// Path below the base URL at which it counts the tokens of a request; `None` when it has none.
    fn count_path(&self, _model: &str) -> Option<Cow<'static, str>> {
        None
    }

    /// The call that tests a credential without cost.
    fn probe(&self) -> Operation;
}

/// A model as the provider lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedModel {
    pub id: String,
    /// "chat", "embedding", "image"…, as far as the list or the name tells.
    pub kind: String,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    /// Unix seconds.
    pub created: Option<u64>,
    pub owned_by: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's answer is no list of models")]
pub struct ParseModelsError;

/// The adapter of a catalog format or a node type.
pub fn adapter_of(format: &str) -> Option<&'static dyn Adapter> {
    match format {
        "openai" | "openai-compatible" => Some(&OpenAiCompatible::Chat),
        "openai-responses" => Some(&OpenAiCompatible::Responses),
        "anthropic" | "anthropic-compatible" => Some(&Anthropic),
        "gemini" => Some(&Gemini),
        "ollama" => Some(&Ollama),
        "cohere" => Some(&Cohere),
        "bedrock" => Some(&Bedrock),
        _ => None,
    }
}

/// A model's name as one segment of a path: whatever it is called, it stays inside.
pub(crate) fn segment(model: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');
    match model {
        // A path of dots would climb.
        "." | ".." => model.replace('.', "%2E"),
        model => percent_encoding::utf8_percent_encode(model, KEPT).to_string(),
    }
}
