//! How one kind of upstream is spoken to. An adapter knows paths, headers, errors and lists; the bodies are `wire`'s.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};

use omniroute_wire::ir;

use crate::{Auth, Envelope, Failure, Operation, OperationFormat};

/// Whose models are asked, of a cloud whose requests say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub project: String,
    /// Of watsonx, instead of a project.
    pub space: String,
}

/// Speaks to one kind of upstream.
pub trait Adapter: Send + Sync + std::fmt::Debug {
    /// Its name in the catalog (`format`).
    fn id(&self) -> &'static str;

    /// The wire format that it speaks for an operation; `None` when it cannot do it.
    fn format(&self, operation: Operation) -> Option<OperationFormat>;

    /// The wire format of chat with this model, where models of several families are offered.
    fn chat_format(&self, _model: &str) -> Option<ir::Format> {
        match self.format(Operation::Chat) {
            Some(OperationFormat::Chat(format)) => Some(format),
            _ => None,
        }
    }

    /// Path below the base URL of Responses, of a host that has them beside Chat.
    fn responses_path(&self) -> &'static str {
        "/responses"
    }

    /// Whether it fetches what URLs in a body of this format lead to, as far as the format's vendor does.
    fn fetches_media(&self, _format: ir::Format) -> bool {
        true
    }

    /// What it wants of a body beside its format.
    fn envelope(&self, _format: ir::Format, _model: &str, _account: &Account) -> Option<Envelope> {
        None
    }

    /// Path below the base URL; empty for what [`Self::format`] declines. Most do not depend on the model.
    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str>;

    /// Whether [`Self::path`] depends on model or stream, so that it cannot be prepared once.
    fn path_varies(&self, operation: Operation) -> bool;

    /// The path of a base URL, as its calls need it: people write it with and without the version, as their other programs
    /// want it.
    fn base_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        Cow::Borrowed(path)
    }

    /// Where the credential goes when the catalog does not say.
    fn auth(&self) -> Auth;

    /// Headers that every request needs.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// What a failed answer means. `body` is its beginning.
    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure;

    /// Reads an answer to [`Operation::Models`]: the list, or a page of it.
    ///
    /// # Errors
    /// When it is no list of models.
    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError>;

    /// Path below the base URL at which it counts the tokens of a request; `None` when it has none.
    fn count_path(&self, _model: &str) -> Option<Cow<'static, str>> {
        None
    }

    /// The call that tests a credential without cost.
    fn probe(&self) -> Operation;
}

/// A page of a provider's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelPage {
    pub models: Vec<OfferedModel>,
    pub next: Option<NextPage>,
}

/// Where a list goes on: the URL of the page before, with these changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextPage {
    /// Takes the place of the path's last segment.
    pub sibling: Option<&'static str>,
    /// Take the place of parameters of the same names; an empty value removes one.
    pub query: Vec<(&'static str, String)>,
    /// What it lists may be missing: it takes rights that calls do not need.
    pub is_optional: bool,
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

/// A model's name as one segment of a path: whatever it is called, it stays inside. A name of dots, which would climb,
/// never comes here.
pub(crate) fn segment(model: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(model, KEPT).to_string()
}

/// Whether a path ends with a version: `v1`, `v1beta`.
pub(crate) fn has_version(path: &str) -> bool {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let digits = last.strip_prefix('v').unwrap_or_default();
    digits.starts_with(|c: char| c.is_ascii_digit()) && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A path without one of these at its end.
pub(crate) fn without_end<'p>(path: &'p str, ends: &[&str]) -> Cow<'p, str> {
    let path = path.trim_end_matches('/');
    Cow::Borrowed(ends.iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path))
}
