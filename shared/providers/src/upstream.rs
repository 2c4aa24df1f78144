//! A connection, ready to be used.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use omniroute_core::{
    address::{AddressError, AddressPolicy},
    id::{ConnectionId, ProviderId},
};
use url::Url;
use zeroize::Zeroizing;

use crate::{Adapter, Auth, Catalog, Format, Operation, adapter_of};

/// Headers that an operator may not set on a connection: they belong to the transport or to the credential.
const RESERVED: [&str; 14] = [
    "authorization",
    "host",
    "content-length",
    "content-type",
    "connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-authorization",
    "proxy-authenticate",
    "cookie",
    "accept-encoding",
];

/// What the operator stored.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSpec<'a> {
    pub id: &'a str,
    /// Id of a node (then `node` is set) or of a provider of the catalog.
    pub provider: &'a str,
    pub name: &'a str,
    pub auth_type: &'a str,
    pub secret: &'a str,
    /// Empty means the provider's own.
    pub base_url: &'a str,
    pub headers: &'a [(String, String)],
    pub timeouts: Timeouts,
    pub max_concurrent: u32,
    pub node: Option<NodeSpec<'a>>,
}

/// The endpoint behind a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeSpec<'a> {
    /// "openai-compatible" or "anthropic-compatible".
    pub kind: &'a str,
    pub api_type: &'a str,
    pub base_url: &'a str,
    /// Empty means the kind's own.
    pub chat_path: &'a str,
    pub models_path: &'a str,
}

/// Overrides of the gateway's timeouts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub idle: Option<Duration>,
    pub total: Option<Duration>,
}

/// Why a connection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("there is no provider `{0}`, neither in the catalog nor among the nodes")]
    UnknownProvider(String),
    #[error("no adapter speaks `{0}`")]
    UnknownFormat(String),
    #[error("base URL: {0}")]
    Address(#[from] AddressError),
    #[error("the path `{0}` does not make a valid URL")]
    Path(String),
    #[error("header `{0}` is not allowed or not valid")]
    Header(String),
    #[error("the credential has characters that no header can carry")]
    Secret,
    #[error("a credential is needed")]
    MissingSecret,
}

/// A connection compiled: URLs parsed, headers built. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

struct Inner {
    id: ConnectionId,
    provider: ProviderId,
    adapter: &'static dyn Adapter,
    base: Url,
    chat: Uri,
    embeddings: Uri,
    models: Uri,
    headers: HeaderMap,
    /// The operator named the path of chat; the adapter's own does not count.
    chat_path: bool,
    secret: Zeroizing<String>,
    timeouts: Timeouts,
    max_concurrent: u32,
}

// === impl Upstream ===

impl Upstream {
    /// Checks a connection and prepares everything about it that no request changes.
    ///
    /// # Errors
    /// With the reason, in words for the operator.
    pub fn compile(spec: &ConnectionSpec<'_>, policy: AddressPolicy) -> Result<Self, CompileError> {
        let catalog = Catalog::builtin().get(spec.provider);
        let (format, own_base, auth) = match (&spec.node, catalog) {
            (Some(node), _) if node.api_type == "responses" => ("openai-responses", node.base_url, None),
            (Some(node), _) => (node.kind, node.base_url, None),
            (None, Some(provider)) => (provider.format.as_str(), provider.base_url.as_str(), Some(provider.auth)),
            (None, None) => return Err(CompileError::UnknownProvider(spec.provider.to_owned())),
        };
        let adapter = adapter_of(format).ok_or_else(|| CompileError::UnknownFormat(format.to_owned()))?;
        let moved = !spec.base_url.is_empty();
        let base = policy.check_url(if moved { spec.base_url } else { own_base })?;
        let node_path = |path: fn(&NodeSpec<'_>) -> String, operation| {
            spec.node
                .as_ref()
                .map(path)
                .filter(|path| !path.is_empty())
                .unwrap_or_else(|| adapter.path(operation, "", false).into_owned())
        };
        let chat = join(&base, &node_path(|node| node.chat_path.to_owned(), Operation::Chat))?;
        let models = match catalog.and_then(|provider| provider.models_url.as_deref()) {
            // A connection that points elsewhere lists its models there.
            Some(url) if !moved && spec.node.is_none() => {
                url.parse().map_err(|_| CompileError::Path(url.to_owned()))?
            }
            _ => join(&base, &node_path(|node| node.models_path.to_owned(), Operation::Models))?,
        };
        let embeddings = join(&base, &adapter.path(Operation::Embeddings, "", false))?;
        let auth = auth.unwrap_or_else(|| adapter.auth());
        Ok(Self {
            inner: Arc::new(Inner {
                id: spec.id.into(),
                provider: spec.provider.into(),
                adapter,
                chat,
                embeddings,
                models,
                headers: headers(spec, auth, adapter.headers())?,
                chat_path: spec.node.as_ref().is_some_and(|node| !node.chat_path.is_empty()),
                base,
                secret: Zeroizing::new(spec.secret.to_owned()),
                timeouts: spec.timeouts,
                max_concurrent: spec.max_concurrent,
            }),
        })
    }

    pub fn id(&self) -> &ConnectionId {
        &self.inner.id
    }

    pub fn provider(&self) -> &ProviderId {
        &self.inner.provider
    }

    pub fn adapter(&self) -> &'static dyn Adapter {
        self.inner.adapter
    }

    /// Where an operation's requests go.
    pub fn uri(&self, operation: Operation) -> &Uri {
        match operation {
            Operation::Chat => &self.inner.chat,
            Operation::Embeddings => &self.inner.embeddings,
            Operation::Models => &self.inner.models,
        }
    }

    /// Where one request goes, in formats whose paths hold the model too.
    ///
    /// # Errors
    /// When the model's name makes no path.
    pub fn uri_for(&self, operation: Operation, model: &str, stream: bool) -> Result<Uri, CompileError> {
        let adapter = self.inner.adapter;
        if !adapter.path_varies(operation) || (operation == Operation::Chat && self.inner.chat_path) {
            return Ok(self.uri(operation).clone());
        }
        join(&self.inner.base, &adapter.path(operation, model, stream))
    }

    /// Where the tokens of a request to `model` are counted; `None` when the upstream does not count, or answers at paths of the
    /// operator's own.
    pub fn count_uri(&self, model: &str) -> Option<Uri> {
        if self.inner.chat_path {
            return None;
        }
        join(&self.inner.base, &self.inner.adapter.count_path(model)?).ok()
    }

    /// The format of its chat; `None` when it does not chat.
    pub fn chat_format(&self) -> Option<omniroute_wire::ir::Format> {
        match self.inner.adapter.format(Operation::Chat) {
            Some(Format::Chat(format)) => Some(format),
            _ => None,
        }
    }

    /// The base URL; for formats whose paths vary by model.
    pub fn base(&self) -> &Url {
        &self.inner.base
    }

    /// Headers of every request: credential, vendor's, operator's. The credential is marked sensitive.
    pub fn headers(&self) -> &HeaderMap {
        &self.inner.headers
    }

    /// The credential, to be removed from texts of the upstream.
    pub fn secret(&self) -> &str {
        &self.inner.secret
    }

    pub fn timeouts(&self) -> &Timeouts {
        &self.inner.timeouts
    }

    /// Requests in flight at once; 0 means no limit.
    pub fn max_concurrent(&self) -> u32 {
        self.inner.max_concurrent
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("id", &self.inner.id)
            .field("provider", &self.inner.provider)
            .field("adapter", &self.inner.adapter.id())
            .field("base", &self.inner.base.as_str())
            .finish_non_exhaustive()
    }
}

/// The base URL with a path appended; the base's query stays.
fn join(base: &Url, path: &str) -> Result<Uri, CompileError> {
    let fail = || CompileError::Path(path.to_owned());
    let mut url = base.clone();
    let (path_only, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let joined = format!("{}/{}", base.path().trim_end_matches('/'), path_only.trim_start_matches('/'));
    url.set_path(&joined);
    match (base.query(), query) {
        (Some(own), Some(more)) => url.set_query(Some(&format!("{own}&{more}"))),
        (None, Some(more)) => url.set_query(Some(more)),
        _ => {}
    }
    url.set_fragment(None);
    url.as_str().parse().map_err(|_| fail())
}

fn headers(
    spec: &ConnectionSpec<'_>,
    auth: Auth,
    vendors: &[(&'static str, &'static str)],
) -> Result<HeaderMap, CompileError> {
    let mut headers = HeaderMap::with_capacity(spec.headers.len() + 3);
    for (name, value) in vendors {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    for (name, value) in spec.headers {
        let bad = || CompileError::Header(name.clone());
        let parsed: HeaderName = name.to_ascii_lowercase().parse().map_err(|_| bad())?;
        if RESERVED.contains(&parsed.as_str()) {
            return Err(bad());
        }
        let mut value: HeaderValue = value.parse().map_err(|_| bad())?;
        // An operator's header may well be a credential of a proxy in between.
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    if spec.secret.is_empty() {
        let optional = auth == Auth::None || spec.auth_type == "none" || spec.node.is_some();
        return if optional { Ok(headers) } else { Err(CompileError::MissingSecret) };
    }
    let (name, value) = match auth {
        Auth::Bearer | Auth::None => (header::AUTHORIZATION, Zeroizing::new(format!("Bearer {}", spec.secret))),
        Auth::ApiKey => (HeaderName::from_static("api-key"), Zeroizing::new(spec.secret.to_owned())),
        Auth::XApiKey => (HeaderName::from_static("x-api-key"), Zeroizing::new(spec.secret.to_owned())),
        Auth::XGoogApiKey => (HeaderName::from_static("x-goog-api-key"), Zeroizing::new(spec.secret.to_owned())),
    };
    let mut value: HeaderValue = value.parse().map_err(|_| CompileError::Secret)?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec<'a>() -> ConnectionSpec<'a> {
        ConnectionSpec {
            id: "c1",
            provider: "openai",
            name: "main",
            auth_type: "apikey",
            secret: "sk-vendor",
            base_url: "",
            headers: &[],
            timeouts: Timeouts::default(),
            max_concurrent: 0,
            node: None,
        }
    }

    fn node<'a>(base_url: &'a str) -> NodeSpec<'a> {
        NodeSpec { kind: "openai-compatible", api_type: "chat", base_url, chat_path: "", models_path: "" }
    }

    #[test]
    fn a_provider_of_the_catalog_needs_a_secret_only() {
        let upstream = Upstream::compile(&spec(), AddressPolicy::PublicOnly).expect("compiled");
        assert_eq!(upstream.uri(Operation::Chat), "https://api.openai.com/v1/chat/completions");
        assert_eq!(upstream.headers()[header::AUTHORIZATION], "Bearer sk-vendor");
        assert!(upstream.headers()[header::AUTHORIZATION].is_sensitive());
        assert!(!format!("{upstream:?}").contains("sk-vendor"));
        let without = ConnectionSpec { secret: "", ..spec() };
        assert_eq!(Upstream::compile(&without, AddressPolicy::PublicOnly).err(), Some(CompileError::MissingSecret));
    }

    #[test]
    fn a_base_url_moves_any_provider_with_its_slashes_and_query() {
        for (base, chat) in [
            ("https://x.example/v1", "https://x.example/v1/chat/completions"),
            ("https://x.example/v1/", "https://x.example/v1/chat/completions"),
            ("https://x.example", "https://x.example/chat/completions"),
            ("https://x.example/o?api-version=3", "https://x.example/o/chat/completions?api-version=3"),
        ] {
            let moved = ConnectionSpec { base_url: base, ..spec() };
            let upstream = Upstream::compile(&moved, AddressPolicy::PublicOnly).expect(base);
            assert_eq!(upstream.uri(Operation::Chat).to_string(), chat);
        }
    }

    #[test]
    fn a_node_may_name_its_own_paths() {
        let node = NodeSpec { chat_path: "/custom/chat?x=1", models_path: "m", ..node("https://n.example/api") };
        let spec = ConnectionSpec { provider: "node-1", node: Some(node), ..spec() };
        let upstream = Upstream::compile(&spec, AddressPolicy::PublicOnly).expect("compiled");
        assert_eq!(upstream.uri(Operation::Chat), "https://n.example/api/custom/chat?x=1");
        assert_eq!(upstream.uri(Operation::Models), "https://n.example/api/m");
    }

    #[test]
    fn tokens_are_counted_where_the_vendor_counts_them() {
        let uri = |spec: &ConnectionSpec<'_>, model| {
            let upstream = Upstream::compile(spec, AddressPolicy::PublicOnly).expect("compiled");
            upstream.count_uri(model).map(|uri| uri.to_string())
        };
        let anthropic = ConnectionSpec { provider: "anthropic", ..spec() };
        assert_eq!(uri(&anthropic, "c").as_deref(), Some("https://api.anthropic.com/v1/messages/count_tokens"));
        let gemini = ConnectionSpec { provider: "gemini", ..spec() };
        assert!(uri(&gemini, "models/g/x").expect("counts").ends_with("/v1beta/models/g%2Fx:countTokens"));
        assert_eq!(uri(&spec(), "gpt-5"), None);
        let own = NodeSpec { kind: "anthropic-compatible", chat_path: "/own", ..node("https://n.example") };
        assert_eq!(uri(&ConnectionSpec { provider: "n", node: Some(own), ..spec() }, "m"), None);
    }

    #[test]
    fn private_addresses_unknown_providers_and_bad_headers_are_refused() {
        let policy = AddressPolicy::PublicOnly;
        let private = ConnectionSpec { base_url: "http://127.0.0.1:1/v1", ..spec() };
        assert_eq!(Upstream::compile(&private, policy).err(), Some(CompileError::Address(AddressError::Private)));
        assert!(Upstream::compile(&private, AddressPolicy::AllowPrivate).is_ok());
        let unknown = ConnectionSpec { provider: "nobody", ..spec() };
        assert_eq!(Upstream::compile(&unknown, policy).err(), Some(CompileError::UnknownProvider("nobody".into())));
        for (name, value) in [("Authorization", "x"), ("host", "x"), ("bad name", "x"), ("x-ok", "line\nbreak")] {
            let headers = [(name.to_owned(), value.to_owned())];
            let spec = ConnectionSpec { headers: &headers, ..spec() };
            assert_eq!(Upstream::compile(&spec, policy).err(), Some(CompileError::Header(name.to_owned())));
        }
        let secret = ConnectionSpec { secret: "line\nbreak", ..spec() };
        assert_eq!(Upstream::compile(&secret, policy).err(), Some(CompileError::Secret));
    }
}
