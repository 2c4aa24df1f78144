//! A connection, ready to be used.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use omniroute_core::{
    address::AddressPolicy,
    id::{ConnectionId, ProviderId},
};
use omniroute_wire::{embeddings::EmbedFormat, ir};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    Adapter, Auth, AzureDeployments, AzureFoundry, Catalog, Category, ChatApis, ChatWish, CompileError, ConnectionSpec,
    Envelope, Grant, NextPage, OpenAiCompatible, Operation, OperationFormat, Provider, Quirks, Service, Signer,
    Timeouts,
    adapter::has_version,
    adapter_of,
    azure::Surface,
    credential::Credential,
    endpoint::{self, Endpoint},
    place::is_gateway,
    profile::profile,
};

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

/// A connection compiled: URLs parsed, headers built. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

struct Inner {
    id: ConnectionId,
    provider: ProviderId,
    /// Whose rules its models are under, where that is known.
    vendor: Option<&'static str>,
    /// Its entry in the catalog, when it is no node.
    listed: Option<&'static Provider>,
    quirks: Option<&'static Quirks>,
    adapter: &'static dyn Adapter,
    endpoint: Endpoint,
    headers: HeaderMap,
    /// Of connections whose credential signs instead of being sent.
    signer: Option<Signer>,
    /// Of connections whose credential is exchanged for tokens.
    grant: Option<Grant>,
    secret: Zeroizing<String>,
    /// The secret and the values of the operator's headers, a line each.
    hidden: Zeroizing<String>,
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
        let provider = Catalog::builtin().get(spec.provider);
        let (format, auth) = match (&spec.node, provider) {
            (Some(node), _) => (node.kind, None),
            (None, Some(provider)) => (provider.format, Some(provider.auth)),
            (None, None) => return Err(CompileError::UnknownProvider(spec.provider.to_owned())),
        };
        let provider = provider.filter(|_| spec.node.is_none());
        let (adapter, apis) = spoken(spec, format, provider)?;
        let credential = Credential::read(spec, auth.unwrap_or_else(|| adapter.auth()))?;
        let endpoint = Endpoint::new(spec, provider, adapter, apis, &credential, policy)?;
        let vendors =
            provider.into_iter().flat_map(|provider| provider.headers.iter().map(|(name, value)| (*name, *value)));
        let headers = headers(spec, &credential, adapter.headers().iter().copied().chain(vendors))?;
        let signer = credential.keys(spec).map(|keys| Signer::new(keys.clone(), endpoint.region.clone()));
        let grant = credential.grant(spec, format, &endpoint.region, &endpoint.base, policy)?;
        let vendor = vendor(endpoint.base.as_str()).or((format == "azure-openai").then_some("openai"));
        let ways = vendor.or(provider.map(|provider| provider.id)).and_then(|id| Catalog::builtin().get(id));
        Ok(Self {
            inner: Arc::new(Inner {
                id: spec.id.into(),
                provider: spec.provider.into(),
                vendor,
                listed: provider,
                quirks: ways.map(|provider| &provider.quirks).filter(|quirks| !quirks.is_empty()),
                adapter,
                endpoint,
                headers,
                signer,
                grant,
                secret: Zeroizing::new(spec.secret.to_owned()),
                hidden: Zeroizing::new(
                    std::iter::once(spec.secret)
                        .chain(spec.headers.iter().map(|(_, value)| value.as_str()))
                        .collect::<Vec<_>>()
                        .join("\n"),
                ),
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

    /// What one of its models can take, asked in this format.
    pub fn profile(&self, format: ir::Format, model: &str) -> ir::Profile {
        let mut profile = profile(self.inner.vendor.unwrap_or(self.inner.provider.as_str()), format, model);
        profile.media_urls &= self.inner.adapter.fetches_media(format);
        if let Some(quirks) = self.inner.quirks {
            quirks.apply(&mut profile);
        }
        profile
    }

    /// How its host departs from the API that it speaks.
    pub fn quirks(&self) -> Option<&'static Quirks> {
        self.inner.quirks
    }

    /// A chat body in the host's own words.
    pub fn in_its_words(&self, format: ir::Format, body: Bytes) -> Bytes {
        let quirks = self.inner.quirks.filter(|_| format == ir::Format::OpenAiChat);
        match quirks.and_then(|quirks| quirks.body_rules().apply(&body)) {
            Some(changed) => changed.into(),
            None => body,
        }
    }

    /// Its base URL with a version, where it has none and those of its API mostly do.
    pub fn base_with_version(&self) -> Option<String> {
        let mut url = self.base().clone();
        if self.inner.adapter.id() != "openai" || has_version(url.path()) {
            return None;
        }
        url.set_query(None);
        Some(format!("{}/v1", url.as_str().trim_end_matches('/')))
    }

    /// Whether it is known to list its models; a node is asked.
    pub fn lists_models(&self) -> bool {
        self.inner.listed.is_none_or(|provider| provider.lists_models)
    }

    /// The call that tests its credential, unsigned, where the catalog names one.
    pub fn check(&self) -> Option<http::Request<Vec<u8>>> {
        let uri = self.inner.endpoint.check()?;
        let body = self.inner.listed?.check?.body.map(|body| body.get().as_bytes().to_vec());
        let mut request = http::Request::new(body.clone().unwrap_or_default());
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = self.inner.headers.clone();
        if body.is_some() {
            *request.method_mut() = http::Method::POST;
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Some(request)
    }

    /// Where the catalog's provider takes a kind of call that is not chat.
    pub fn service_uri(&self, service: Service) -> Option<Uri> {
        self.inner.endpoint.service(self.inner.listed?, service)
    }

    /// Of providers that do not chat, only what their entry names is asked for. Those that chat, and nodes, are asked for
    /// whatever their format has.
    fn serves(&self, category: Category) -> bool {
        self.inner.listed.is_none_or(|provider| provider.serves(Category::Chat) || provider.serves(category))
    }

    pub fn adapter(&self) -> &'static dyn Adapter {
        self.inner.adapter
    }

    /// Where an operation's requests go.
    pub fn uri(&self, operation: Operation) -> &Uri {
        self.inner.endpoint.uri(operation)
    }

    /// Where one request goes, in formats whose paths hold the model too.
    ///
    /// # Errors
    /// When the model's name makes no path.
    pub fn uri_for(&self, operation: Operation, model: &str, stream: bool) -> Result<Uri, CompileError> {
        self.inner.endpoint.uri_for(self.inner.adapter, operation, model, stream)
    }

    /// Where a request is sent that is written in this format.
    ///
    /// # Errors
    /// As [`Self::uri_for`].
    pub fn chat_uri(&self, format: ir::Format, model: &str, stream: bool) -> Result<Uri, CompileError> {
        match self.inner.endpoint.responses() {
            Some(responses) if format == ir::Format::OpenAiResponses => Ok(responses.clone()),
            _ => self.uri_for(Operation::Chat, model, stream),
        }
    }

    /// The URL of a list's next page.
    ///
    /// # Errors
    /// When it makes no URL.
    pub fn next_page(&self, page: &Uri, next: &NextPage) -> Result<Uri, CompileError> {
        endpoint::next_page(page, next)
    }

    /// A call beside Responses, such as `compact`; `None` when the upstream has none, or answers at paths of the operator's own.
    pub fn responses_uri(&self, call: &str) -> Option<Uri> {
        let endpoint = &self.inner.endpoint;
        let is_its_own = || self.chat_format() == Some(ir::Format::OpenAiResponses) && !endpoint.has_own_chat_path();
        let responses = endpoint.responses().or_else(|| is_its_own().then(|| endpoint.uri(Operation::Chat)))?;
        endpoint::below(responses, call).ok()
    }

    /// Where the tokens of a request to `model` are counted; `None` when the upstream does not count, or answers at paths of the
    /// operator's own.
    pub fn count_uri(&self, model: &str) -> Option<Uri> {
        self.inner.endpoint.count_uri(self.inner.adapter, model)
    }

    /// The format in which a request to `model` is asked; `None` when it does not chat.
    pub fn chat_format_for(&self, model: &str, wish: &ChatWish<'_>) -> Option<ir::Format> {
        if !self.serves(Category::Chat) {
            return None;
        }
        match (self.inner.endpoint.responses(), self.inner.adapter.chat_format(model)) {
            (Some(_), Some(ir::Format::OpenAiChat)) => Some(wish.api_for(model)),
            (_, format) => format,
        }
    }

    /// What it wants of a body beside its format.
    pub fn envelope(&self, format: ir::Format, model: &str) -> Option<Envelope> {
        self.inner.adapter.envelope(format, model, &self.inner.endpoint.account)
    }

    /// The usual format of its chat; `None` when it does not chat. Of a host with two APIs, it takes the model and the request
    /// to know.
    pub fn chat_format(&self) -> Option<ir::Format> {
        match self.inner.adapter.format(Operation::Chat) {
            Some(OperationFormat::Chat(format)) if self.serves(Category::Chat) => Some(format),
            _ => None,
        }
    }

    /// The format of its embeddings; `None` when it makes none.
    pub fn embed_format(&self) -> Option<EmbedFormat> {
        match self.inner.adapter.format(Operation::Embeddings) {
            Some(OperationFormat::Embeddings(format)) if self.serves(Category::Embeddings) => Some(format),
            _ => None,
        }
    }

    /// Whether it makes images in OpenAI's form.
    pub fn makes_images(&self) -> bool {
        self.inner.adapter.format(Operation::Images) == Some(OperationFormat::OpenAiImages)
            && self.serves(Category::Images)
    }

    /// Name in the ledger of the format that it is asked in, for chat as [`Self::chat_format`] says.
    pub fn format_name(&self, operation: Operation) -> &'static str {
        match self.inner.adapter.format(operation) {
            Some(OperationFormat::Chat(format)) => format.as_str(),
            Some(OperationFormat::Embeddings(format)) => format.as_str(),
            Some(OperationFormat::OpenAiImages) => "openai",
            None => "",
        }
    }

    /// The base URL of its calls.
    pub fn base(&self) -> &Url {
        &self.inner.endpoint.base
    }

    /// Headers of every request: credential, vendor's, operator's. The credential is marked sensitive.
    pub fn headers(&self) -> &HeaderMap {
        &self.inner.headers
    }

    /// Signs a request that is otherwise ready to be sent; `None` where the credential is among [`Self::headers`].
    pub fn signer(&self) -> Option<&Signer> {
        self.inner.signer.as_ref()
    }

    /// How tokens are had for it, where the credential itself is not sent.
    pub fn grant(&self) -> Option<&Grant> {
        self.inner.grant.as_ref()
    }

    /// The region that its requests are signed for.
    pub fn region(&self) -> &str {
        &self.inner.endpoint.region
    }

    /// What [`crate::sanitise()`] takes out of the upstream's words: the secret and the operator's own header values.
    pub fn hidden(&self) -> &str {
        &self.inner.hidden
    }

    /// The credential as the operator stored it.
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
            .field("base", &self.inner.endpoint.base.as_str())
            .finish_non_exhaustive()
    }
}

/// Who speaks to the connection's host, and which of OpenAI's chat APIs that has.
fn spoken(
    spec: &ConnectionSpec<'_>,
    format: &str,
    provider: Option<&Provider>,
) -> Result<(&'static dyn Adapter, ChatApis), CompileError> {
    let catalogs = provider.map_or(ChatApis::Chat, |provider| provider.apis);
    if let Some(surface) = Surface::of(format, spec) {
        let own = ChatApis::parse(spec.api_type);
        let unknown = || CompileError::ApiType(spec.api_type.to_owned());
        let own = if spec.api_type.is_empty() { None } else { Some(own.ok_or_else(unknown)?) };
        let (adapter, apis): (&'static dyn Adapter, _) = match surface {
            Surface::V1 => (&OpenAiCompatible::Chat, ChatApis::Both),
            Surface::Foundry => (&AzureFoundry, ChatApis::Both),
            Surface::Deployments { has_responses: true } => (&AzureDeployments, ChatApis::Both),
            Surface::Deployments { has_responses: false } => (&AzureDeployments, ChatApis::Chat),
            Surface::Below => (&OpenAiCompatible::Chat, ChatApis::Chat),
        };
        return Ok((adapter, own.filter(|apis| *apis != ChatApis::Responses).unwrap_or(apis)));
    }
    if format == "watsonx" && is_gateway(spec) {
        return Ok((&OpenAiCompatible::Chat, ChatApis::Chat));
    }
    let is_openais = matches!(format, "openai" | "openai-compatible");
    let apis = if is_openais { chat_apis(spec, catalogs)? } else { ChatApis::Chat };
    let format = if is_openais && apis == ChatApis::Responses { "openai-responses" } else { format };
    let adapter = adapter_of(format).ok_or_else(|| CompileError::UnknownFormat(format.to_owned()))?;
    Ok((adapter, apis))
}

/// Which of OpenAI's chat APIs the host has, in the connection's words, else the node's, else the catalog's. What the catalog
/// says of a vendor holds at the vendor's own hosts: one that merely speaks like it most likely has Chat alone.
fn chat_apis(spec: &ConnectionSpec<'_>, catalogs: ChatApis) -> Result<ChatApis, CompileError> {
    /// Part of Azure's older URLs, below which there is Chat only.
    const DEPLOYMENTS: &str = "/deployments/";
    if !spec.api_type.is_empty() {
        return ChatApis::parse(spec.api_type).ok_or_else(|| CompileError::ApiType(spec.api_type.to_owned()));
    }
    Ok(match &spec.node {
        Some(node) => ChatApis::parse(node.api_type).unwrap_or_default(),
        None if spec.base_url.contains(DEPLOYMENTS) || !is_openais_own(spec.base_url) => ChatApis::Chat,
        None => catalogs,
    })
}

/// Whose host this is, whatever the connection is called: a node may point at a provider that the catalog knows.
fn vendor(base_url: &str) -> Option<&'static str> {
    if is_openais_own(base_url) {
        return Some("openai");
    }
    Catalog::builtin().at(base_url).map(|provider| provider.id)
}

/// Whether OpenAI's models are served below this base URL by OpenAI itself, in any region, or by Azure.
fn is_openais_own(base_url: &str) -> bool {
    const DOMAINS: [&str; 4] =
        ["api.openai.com", "openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com"];
    if base_url.is_empty() {
        return true;
    }
    let url = Url::parse(base_url).ok();
    url.as_ref().and_then(Url::host_str).is_some_and(|host| {
        let is_below = |domain: &str| host.strip_suffix(domain).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
        DOMAINS.into_iter().any(is_below)
    })
}

fn headers(
    spec: &ConnectionSpec<'_>,
    credential: &Credential,
    vendors: impl Iterator<Item = (&'static str, &'static str)>,
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
    let Credential::Header(auth) = credential else {
        return Ok(headers);
    };
    let (name, value) = match auth {
        Auth::Bearer | Auth::Aws | Auth::Ibm | Auth::Databricks | Auth::None => {
            (header::AUTHORIZATION, Zeroizing::new(format!("Bearer {}", spec.secret)))
        }
        Auth::ApiKey | Auth::Azure => (HeaderName::from_static("api-key"), Zeroizing::new(spec.secret.to_owned())),
        Auth::XApiKey => (HeaderName::from_static("x-api-key"), Zeroizing::new(spec.secret.to_owned())),
        Auth::Header(name) => (HeaderName::from_static(name), Zeroizing::new(spec.secret.to_owned())),
        Auth::Scheme(scheme) => (header::AUTHORIZATION, Zeroizing::new(format!("{scheme} {}", spec.secret))),
        Auth::XGoogApiKey | Auth::Google => {
            (HeaderName::from_static("x-goog-api-key"), Zeroizing::new(spec.secret.to_owned()))
        }
    };
    let mut value: HeaderValue = value.parse().map_err(|_| CompileError::Secret)?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(headers)
}

#[cfg(test)]
mod every_provider;

#[cfg(test)]
pub(crate) mod tests {
    use omniroute_core::address::AddressError;

    use super::*;
    use crate::{CloudSpec, NodeSpec};

    pub(crate) fn spec<'a>() -> ConnectionSpec<'a> {
        ConnectionSpec {
            id: "c1",
            provider: "openai",
            name: "main",
            auth_type: "apikey",
            secret: "sk-vendor",
            base_url: "",
            region: "",
            api_type: "",
            headers: &[],
            timeouts: Timeouts::default(),
            max_concurrent: 0,
            node: None,
            cloud: CloudSpec::default(),
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
    fn openai_is_asked_in_the_api_that_the_model_wants_and_hosts_in_the_one_that_they_have() {
        use ir::Format::{OpenAiChat as Chat, OpenAiResponses as Responses};
        let asked = |spec: &ConnectionSpec<'_>, model: &str, client| {
            let upstream = Upstream::compile(spec, AddressPolicy::PublicOnly).expect("compiled");
            let format = upstream.chat_format_for(model, &ChatWish::plain(client)).expect("it chats");
            (format, upstream.chat_uri(format, model, false).expect("a URL").to_string())
        };
        let chat = |base: &str| (Chat, format!("{base}/chat/completions"));
        let responses = |base: &str| (Responses, format!("{base}/responses"));
        let own = "https://api.openai.com/v1";
        assert_eq!(asked(&spec(), "gpt-4o", Chat), chat(own));
        assert_eq!(asked(&spec(), "gpt-4o", Responses), responses(own));
        assert_eq!(asked(&spec(), "gpt-5-codex", Chat), responses(own));
        let one = |api_type| ConnectionSpec { api_type, ..spec() };
        assert_eq!(asked(&one("chat"), "gpt-5-codex", Responses), chat(own));
        assert_eq!(asked(&one("responses"), "gpt-4o", Chat), responses(own));
        assert_eq!(asked(&one("both"), "gpt-5-codex", Chat), responses(own));

        let azure = "https://x.openai.azure.com/openai/v1";
        let moved = ConnectionSpec { base_url: azure, ..spec() };
        assert_eq!(asked(&moved, "gpt-5-codex", Chat), responses(azure));
        let deployment = "https://x.openai.azure.com/openai/deployments/d";
        let moved = ConnectionSpec { base_url: deployment, ..spec() };
        assert_eq!(asked(&moved, "gpt-5-codex", Responses), chat(deployment));

        let regional = "https://eu.api.openai.com/v1";
        assert_eq!(asked(&ConnectionSpec { base_url: regional, ..spec() }, "gpt-4o", Responses), responses(regional));
        for foreign in
            ["https://proxy.example/v1", "https://api.openai.com.evil.example/v1", "https://notapi.openai.com/v1"]
        {
            let moved = ConnectionSpec { base_url: foreign, ..spec() };
            assert_eq!(asked(&moved, "gpt-5", ir::Format::Anthropic), chat(foreign));
            let both = ConnectionSpec { api_type: "both", ..moved };
            assert_eq!(asked(&both, "gpt-5", ir::Format::Anthropic), responses(foreign));
        }

        let groq = ConnectionSpec { provider: "groq", ..spec() };
        assert_eq!(asked(&groq, "openai/gpt-oss-120b", Responses).0, Chat);
        let node = node("https://n.example/v1");
        let at_node =
            |api_type| ConnectionSpec { provider: "node-1", node: Some(NodeSpec { api_type, ..node }), ..spec() };
        assert_eq!(asked(&at_node("chat"), "gpt-5-codex", Responses), chat("https://n.example/v1"));
        assert_eq!(asked(&at_node(""), "gpt-5-codex", Responses), chat("https://n.example/v1"));
        assert_eq!(asked(&at_node("responses"), "gpt-4o", Chat), responses("https://n.example/v1"));
        assert_eq!(asked(&at_node("both"), "gpt-4o", Responses), responses("https://n.example/v1"));
        let anthropic = ConnectionSpec { provider: "anthropic", api_type: "both", ..spec() };
        assert_eq!(asked(&anthropic, "claude-opus-5", Chat).0, ir::Format::Anthropic);
        let misspelt = Upstream::compile(&one("reponses"), AddressPolicy::PublicOnly).err();
        assert_eq!(misspelt, Some(CompileError::ApiType("reponses".into())));
    }

    #[test]
    fn whose_models_they_are_is_told_by_the_host() {
        let profile_at = |spec: &ConnectionSpec<'_>, model: &str| {
            let upstream = Upstream::compile(spec, AddressPolicy::PublicOnly).expect("compiled");
            upstream.profile(ir::Format::OpenAiChat, model)
        };
        let at_node = |base_url| ConnectionSpec { provider: "node-1", node: Some(node(base_url)), ..spec() };
        let model = "google/gemini-3-pro-preview";
        let openrouter = ConnectionSpec { provider: "openrouter", ..spec() };
        assert!(profile_at(&openrouter, model).reasoning_details_back);
        assert_eq!(profile_at(&at_node("https://openrouter.ai/api/v1"), model), profile_at(&openrouter, model));
        assert!(!profile_at(&at_node("https://n.example/v1"), model).reasoning_details_back);
        let moved = ConnectionSpec { base_url: "https://openrouter.ai/api/v1", ..spec() };
        assert_eq!(profile_at(&moved, model), profile_at(&openrouter, model));
        let azure = at_node("https://x.openai.azure.com/openai/v1");
        assert!(!profile_at(&azure, "my-deployment").alternatives_at_top);
        assert!(profile_at(&at_node("https://n.example/v1"), "my-deployment").alternatives_at_top);
        // A relay of a vendor's models is under the vendor's rules as ever.
        let relay = ConnectionSpec { base_url: "https://relay.example/v1", ..openrouter };
        assert_eq!(profile_at(&relay, model), profile_at(&openrouter, model));
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
    fn calls_beside_responses_are_below_their_path() {
        let uri = |spec: &ConnectionSpec<'_>| {
            let upstream = Upstream::compile(spec, AddressPolicy::PublicOnly).expect("compiled");
            upstream.responses_uri("compact").map(|uri| uri.to_string())
        };
        assert_eq!(uri(&spec()).as_deref(), Some("https://api.openai.com/v1/responses/compact"));
        let moved = ConnectionSpec { base_url: "https://x.example/o?api-version=3", api_type: "both", ..spec() };
        assert_eq!(uri(&moved).as_deref(), Some("https://x.example/o/responses/compact?api-version=3"));
        assert_eq!(uri(&ConnectionSpec { api_type: "chat", ..spec() }), None);
        assert_eq!(uri(&ConnectionSpec { provider: "anthropic", ..spec() }), None);
        let node = NodeSpec { api_type: "responses", ..node("https://n.example/v1") };
        let at = |node| ConnectionSpec { provider: "n", node: Some(node), ..spec() };
        assert_eq!(uri(&at(node)).as_deref(), Some("https://n.example/v1/responses/compact"));
        assert_eq!(uri(&at(NodeSpec { chat_path: "/own", ..node })), None);
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
