//! Asks a provider whether it would take us: the test of a connection, the check of a credential before it is stored.

use std::{collections::BTreeMap, time::Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use omniroute_core::{address::AddressError, settings::Secret, time::UnixMillis};
use omniroute_providers::{
    ChatApis, CloudSpec, CompileError, ConnectionSpec, Failure, FailureClass, GrantError, NodeSpec, Signer, Timeouts,
    Token, Upstream, ping, sanitise,
};

use super::{
    super::{
        Providers,
        client::{UpstreamError, UpstreamResponse},
        connections::{ConnectionRecord, Provider, TestRecord, cloud_spec, rows::Connections},
        models::rows::Models,
        nodes::NodeRecord,
    },
    advice::{NO_LIST, advice, is_page},
};
use crate::{
    http::ApiError,
    store::{Command, records::Object},
};

/// A credential that may become a connection.
#[derive(Debug)]
pub struct Candidate {
    /// Id or alias of a provider of the catalog, or id of a node.
    pub provider: String,
    pub secret: Secret,
    pub base_url: Option<String>,
    /// Of providers that have regions.
    pub region: Option<String>,
    /// Which of OpenAI's chat APIs the host has.
    pub api_type: Option<String>,
    /// What clouds want to know beside, as `providerSpecificData` of a connection has it.
    pub specific: Object,
    /// Ask this model something instead of asking for the list of models.
    pub model: Option<String>,
}

/// An endpoint that may become a node.
#[derive(Debug)]
pub struct NodeCandidate {
    pub kind: String,
    pub api_type: String,
    pub base_url: String,
    pub secret: Secret,
    pub chat_path: Option<String>,
    pub models_path: Option<String>,
    pub model: Option<String>,
}

/// What a provider said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    pub valid: bool,
    pub error: Option<String>,
    pub warning: Option<String>,
    /// How it was asked: `models`, `chat`, or `check` by a call that its provider has for this.
    pub method: Option<&'static str>,
    pub diagnosis: Diagnosis,
    pub latency_ms: u64,
    pub status: Option<u16>,
    pub tested_at: UnixMillis,
}

/// What that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// `ok`, `upstream_auth_error`, `upstream_rate_limited`, `upstream_unavailable`, `upstream_error`,
    /// `network_error`, `blocked`, `unsupported` or `configuration`.
    pub kind: &'static str,
    /// `upstream` or `local`.
    pub source: &'static str,
    pub code: Option<String>,
}

/// One outcome before it is written down.
enum Finding {
    Passed { warning: Option<String> },
    Failed { kind: &'static str, source: &'static str, message: String, code: String },
}

/// Where a node stands and how it is spoken to, as `Upstream::compile` wants it.
fn node_spec(node: &NodeRecord) -> NodeSpec<'_> {
    NodeSpec {
        kind: &node.kind,
        api_type: node.api_type.as_deref().unwrap_or_default(),
        base_url: &node.base_url,
        chat_path: node.chat_path.as_deref().unwrap_or_default(),
        models_path: node.models_path.as_deref().unwrap_or_default(),
    }
}

// === impl Providers ===

impl Providers {
    /// Tests a connection and keeps what was found. A connection that works again leaves its cooldown.
    ///
    /// # Errors
    /// 404.
    pub async fn test_connection(&self, id: &str, model: Option<&str>) -> Result<CheckResult, ApiError> {
        let record = Connections::of(&self.store).get(id).await?;
        let provider = self.provider(record.provider.as_str()).await?;
        let result = match Connections::of(&self.store).secret(id).await {
            Ok(secret) => match compile(&record, &secret, &provider, self) {
                Ok(upstream) => {
                    let known = self.model_to_ask(&record).await?;
                    // Of a provider that lists no models, the connection names one to test with.
                    let kept = record.provider_data.get("validationModelId").and_then(|model| model.as_str());
                    let kept = kept.map(str::trim).filter(|model| !model.is_empty());
                    self.check(&upstream, model.or(kept), known.as_deref()).await
                }
                Err(error) => self.refused(&error),
            },
            Err(error) => self.result_of(
                Finding::failed("configuration", "local", error.to_string(), "secret_unreadable"),
                None,
                None,
                Instant::now(),
            ),
        };
        let test = TestRecord {
            status: if result.valid { "active" } else { "error" }.to_owned(),
            tested_at: Some(result.tested_at),
            latency_ms: Some(result.latency_ms),
            error: result.error.clone(),
            error_code: result.diagnosis.code.clone(),
        };
        Connections::of(&self.store).record_test(id, &test).await?;
        if result.valid {
            self.reset_cooldown(id).await;
        }
        Ok(result)
    }

    /// Ends a connection's cooldown on every proxy. Without Redis each keeps its own, and those that back off count
    /// failures besides, so they are told; one that cannot be told finds out when the cooldown is over.
    async fn reset_cooldown(&self, id: &str) {
        self.coordination.warm(id).await;
        let proxies = match self.store.proxies().list().await {
            Ok(proxies) => proxies,
            Err(error) => {
                tracing::warn!(%error, connection = id, "proxies cannot be told that a connection works again");
                return;
            }
        };
        for proxy in proxies.iter().filter(|proxy| !proxy.lost) {
            let told = self.proxies.notify(&proxy.id, Command::ResetCooldown { connection: id.to_owned() }).await;
            if let Err(error) = told {
                tracing::warn!(%error, connection = id, proxy = proxy.id, "a proxy is not told that a connection works again");
            }
        }
    }

    /// Tries a credential that is not stored.
    ///
    /// # Errors
    /// 400 for a provider that does not exist or a URL that may not be used.
    pub async fn validate(&self, candidate: &Candidate) -> Result<CheckResult, ApiError> {
        let provider = self.provider(&candidate.provider).await?;
        let base_url = candidate.base_url.as_deref().unwrap_or_default();
        if !base_url.is_empty() {
            self.check_base_url("baseUrl", base_url)?;
        }
        let spec = ConnectionSpec {
            base_url,
            region: candidate.region.as_deref().unwrap_or_default(),
            api_type: candidate.api_type.as_deref().unwrap_or_default(),
            secret: candidate.secret.expose(),
            provider: provider.id(),
            node: provider.node().map(node_spec),
            cloud: cloud_spec(&candidate.specific),
            ..blank()
        };
        let known = provider.chat_model();
        let known = known.as_deref();
        match Upstream::compile(&spec, self.address_policy()) {
            Ok(upstream) => Ok(self.check(&upstream, candidate.model.as_deref(), known).await),
            Err(error) => Ok(self.refused(&error)),
        }
    }

    /// Tries an endpoint that is not stored.
    ///
    /// # Errors
    /// 400 for a URL that may not be used.
    pub async fn validate_node(&self, candidate: &NodeCandidate) -> Result<CheckResult, ApiError> {
        self.check_base_url("baseUrl", &candidate.base_url)?;
        let node = NodeSpec {
            kind: &candidate.kind,
            api_type: &candidate.api_type,
            base_url: &candidate.base_url,
            chat_path: candidate.chat_path.as_deref().unwrap_or_default(),
            models_path: candidate.models_path.as_deref().unwrap_or_default(),
        };
        let spec = ConnectionSpec { provider: "node", secret: candidate.secret.expose(), node: Some(node), ..blank() };
        match Upstream::compile(&spec, self.address_policy()) {
            Ok(upstream) => Ok(self.check(&upstream, candidate.model.as_deref(), None).await),
            Err(error) => Ok(self.refused(&error)),
        }
    }

    /// Whether proxies will be able to use the connection. A format that this build does not speak is stored all the
    /// same: proxies then reject the connection by name, and its test says why.
    pub(in super::super) fn check_compiles(
        &self,
        record: &ConnectionRecord,
        secret: &Secret,
        provider: &Provider,
    ) -> Result<(), ApiError> {
        let (field, error) = match compile(record, secret, provider, self) {
            Ok(_) | Err(CompileError::UnknownFormat(_)) => return Ok(()),
            Err(
                error @ (CompileError::Secret
                | CompileError::MissingSecret
                | CompileError::SecretForm(_)
                | CompileError::IncompleteKeys(_)),
            ) => ("apiKey", error),
            Err(error @ CompileError::Region(_)) => ("providerSpecificData.region", error),
            Err(error @ CompileError::ApiType(_)) => ("providerSpecificData.apiType", error),
            Err(error @ CompileError::UnknownProvider(_)) => ("provider", error),
            Err(error @ CompileError::Header(_)) => ("providerSpecificData.customHeaders", error),
            Err(error @ (CompileError::Address(_) | CompileError::Path(_) | CompileError::NeedsBaseUrl(_))) => {
                ("providerSpecificData.baseUrl", error)
            }
            Err(error @ CompileError::Identity(_)) => ("providerSpecificData.identity", error),
            Err(CompileError::Field(field, why)) => {
                return Err(ApiError::invalid_field(format!("providerSpecificData.{field}"), why));
            }
        };
        Err(ApiError::invalid_field(field, error.to_string()))
    }

    /// A model that the connection can be asked for when it has no list of models.
    async fn model_to_ask(&self, record: &ConnectionRecord) -> Result<Option<String>, ApiError> {
        let models = Models::of(&self.store).of_provider(record.provider.as_str()).await?;
        let stored = models.into_iter().find(|model| model.kind == "chat").map(|model| model.model);
        Ok(stored.or_else(|| {
            let catalog = omniroute_providers::Catalog::builtin().get(record.provider.as_str());
            catalog
                .and_then(|provider| provider.known_models().find(|model| model.kind == "chat"))
                .map(|model| model.id)
        }))
    }

    /// Asks for the list of models, which costs nothing; or asks `model` for one token. Endpoints without a list are
    /// asked for a token of a `known` model.
    async fn check(&self, upstream: &Upstream, model: Option<&str>, known: Option<&str>) -> CheckResult {
        let begun = Instant::now();
        if let Some(model) = model {
            return self.check_chat(upstream, model, begun).await;
        }
        if let Some(question) = upstream.check() {
            return self.check_call(upstream, question.map(Bytes::from), begun).await;
        }
        if !upstream.lists_models() {
            if let Some(model) = known.filter(|_| upstream.chat_format().is_some()) {
                return self.check_chat(upstream, model, begun).await;
            }
            let message = match upstream.chat_format() {
                Some(_) => "the provider lists no models: name a model to test with",
                None => "the provider has no call that tests a key; the first request will tell",
            };
            let finding = Finding::failed("unsupported", "local", message.to_owned(), "unsupported");
            return self.result_of(finding, None, None, begun);
        }
        let answer = match self.list_page(upstream, upstream.uri(upstream.adapter().probe())).await {
            Ok(answer) => answer,
            Err(error) => return self.result_of(Finding::no_answer(&error), Some("models"), None, begun),
        };
        let has_no_list = matches!(
            answer.status,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
        );
        if has_no_list && let Some(model) = known {
            return self.check_chat(upstream, model, begun).await;
        }
        let finding = if answer.status.is_success() {
            match upstream.adapter().parse_models(&answer.body) {
                Ok(_) => Finding::Passed { warning: None },
                Err(error) => {
                    let message = advice(upstream, answer.status, &answer.body).unwrap_or_else(|| error.to_string());
                    Finding::failed("upstream_error", "upstream", message, "malformed_answer")
                }
            }
        } else if has_no_list {
            let message = advice(upstream, answer.status, &answer.body);
            let message = message.unwrap_or_else(|| NO_LIST.to_owned());
            Finding::failed("unsupported", "upstream", message, answer.status.as_str())
        } else {
            Finding::of_failure(upstream, answer.status, &answer.headers, &answer.body)
        };
        self.result_of(finding, Some("models"), Some(answer.status.as_u16()), begun)
    }

    /// Makes the call that the catalog names for this.
    async fn check_call(&self, upstream: &Upstream, question: Request<Bytes>, begun: Instant) -> CheckResult {
        let answer = match self.ask(upstream, question).await {
            Ok(answer) => answer,
            Err(error) => return self.result_of(Finding::no_answer(&error), Some("check"), None, begun),
        };
        let finding = match advice(upstream, answer.status, &answer.body) {
            _ if answer.status.is_success() && !is_page(&answer.body) => Finding::Passed { warning: None },
            Some(message) => Finding::failed("upstream_error", "upstream", message, answer.status.as_str()),
            None => Finding::of_failure(upstream, answer.status, &answer.headers, &answer.body),
        };
        self.result_of(finding, Some("check"), Some(answer.status.as_u16()), begun)
    }

    async fn check_chat(&self, upstream: &Upstream, model: &str, begun: Instant) -> CheckResult {
        let question = match ping(upstream, model) {
            Ok(question) => question.map(Bytes::from),
            Err(error) => {
                let finding = Finding::failed("unsupported", "local", error.to_string(), "unsupported");
                return self.result_of(finding, Some("chat"), None, begun);
            }
        };
        let answer = match self.ask(upstream, question).await {
            Ok(answer) => answer,
            Err(error) => return self.result_of(Finding::no_answer(&error), Some("chat"), None, begun),
        };
        let finding = if answer.status.is_success() {
            let is_object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&answer.body).is_ok();
            match is_object {
                true => Finding::Passed { warning: None },
                false => {
                    let message = advice(upstream, answer.status, &answer.body);
                    let message = message.unwrap_or_else(|| "the upstream's answer is no JSON object".to_owned());
                    Finding::failed("upstream_error", "upstream", message, "malformed_answer")
                }
            }
        } else {
            Finding::of_failure(upstream, answer.status, &answer.headers, &answer.body)
        };
        self.result_of(finding, Some("chat"), Some(answer.status.as_u16()), begun)
    }

    /// A page of a connection's list.
    pub(in super::super) async fn list_page(
        &self,
        upstream: &Upstream,
        uri: &http::Uri,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = upstream.headers().clone();
        self.ask(upstream, request).await
    }

    /// Sends a request, with a token where the connection's credential is exchanged for one, signed where it signs.
    async fn ask(&self, upstream: &Upstream, mut request: Request<Bytes>) -> Result<UpstreamResponse, UpstreamError> {
        let token = match upstream.grant() {
            Some(grant) => Some(self.keeper.token(grant).await.map_err(UpstreamError::Token)?),
            None => None,
        };
        let lent = match token {
            Some(Token::Bearer(bearer)) => {
                request.headers_mut().insert(http::header::AUTHORIZATION, bearer);
                None
            }
            Some(Token::Keys(keys)) => Some(Signer::new(keys, upstream.region().to_owned())),
            None => None,
        };
        if let Some(signer) = lent.as_ref().or(upstream.signer()) {
            let body = request.body().clone();
            signer.sign(&mut request, std::iter::once(&body[..]), self.clock.now()).map_err(|_| UpstreamError::Sign)?;
        }
        let (head, body) = request.into_parts();
        self.client.call(head.method, &head.uri, &head.headers, Some(body).filter(|body| !body.is_empty())).await
    }

    fn refused(&self, error: &CompileError) -> CheckResult {
        let kind = match error {
            CompileError::UnknownFormat(_) => "unsupported",
            CompileError::Address(AddressError::Private | AddressError::Reserved) => "blocked",
            _ => "configuration",
        };
        self.result_of(Finding::failed(kind, "local", error.to_string(), kind), None, None, Instant::now())
    }

    fn result_of(
        &self,
        finding: Finding,
        method: Option<&'static str>,
        status: Option<u16>,
        begun: Instant,
    ) -> CheckResult {
        let latency_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let tested_at = self.clock.now();
        match finding {
            Finding::Passed { warning } => CheckResult {
                valid: true,
                error: None,
                warning,
                method,
                diagnosis: Diagnosis { kind: "ok", source: "upstream", code: None },
                latency_ms,
                status,
                tested_at,
            },
            Finding::Failed { kind, source, message, code } => CheckResult {
                valid: false,
                error: Some(message),
                warning: None,
                method,
                diagnosis: Diagnosis { kind, source, code: Some(code) },
                latency_ms,
                status,
                tested_at,
            },
        }
    }
}

// === impl Finding ===

impl Finding {
    fn failed(kind: &'static str, source: &'static str, message: String, code: &str) -> Self {
        Self::Failed { kind, source, message, code: code.to_owned() }
    }

    fn no_answer(error: &UpstreamError) -> Self {
        let (kind, code) = match error {
            UpstreamError::Address(_) => ("blocked", "blocked"),
            UpstreamError::TooLarge | UpstreamError::Broken => ("upstream_error", "malformed_answer"),
            UpstreamError::Sign => ("configuration", "signing_failed"),
            UpstreamError::Token(GrantError::Machine(_)) => ("configuration", "no_identity"),
            UpstreamError::Token(GrantError::Unavailable { .. }) => ("upstream_unavailable", "no_token"),
            UpstreamError::Token(_) => ("upstream_auth_error", "token_refused"),
            UpstreamError::Timeout => ("network_error", "timeout"),
            UpstreamError::Resolve | UpstreamError::Connect | UpstreamError::Tls => ("network_error", "network_error"),
        };
        Self::failed(kind, "upstream", error.to_string(), code)
    }

    fn of_failure(upstream: &Upstream, status: StatusCode, headers: &http::HeaderMap, body: &[u8]) -> Self {
        if status.is_redirection() {
            let message = "the provider redirects to another URL; use that one".to_owned();
            return Self::failed("upstream_error", "upstream", message, status.as_str());
        }
        let failure: Failure = upstream.adapter().classify(status, headers, body);
        let message = sanitise(&failure.client_message(upstream.hidden()), upstream.hidden());
        let code = status.as_str();
        match failure.class {
            FailureClass::Credential => {
                Self::failed("upstream_auth_error", "upstream", format!("the credential was refused: {message}"), code)
            }
            // Only a credential that counts is limited.
            FailureClass::RateLimited => {
                Self::Passed { warning: Some(format!("the provider's rate limit is reached: {message}")) }
            }
            FailureClass::Quota => {
                Self::failed("upstream_rate_limited", "upstream", format!("the quota is used up: {message}"), code)
            }
            FailureClass::Connect
            | FailureClass::Server
            | FailureClass::Overloaded
            | FailureClass::FirstByteTimeout => {
                Self::failed("upstream_unavailable", "upstream", format!("the provider failed: {message}"), code)
            }
            FailureClass::ModelUnknown
            | FailureClass::ContextTooLong
            | FailureClass::ContentFilter
            | FailureClass::Client => Self::failed("upstream_error", "upstream", message, code),
        }
    }
}

// === impl Provider ===

impl Provider {
    fn node(&self) -> Option<&NodeRecord> {
        match self {
            Self::Node(node) => Some(node),
            Self::Catalog(_) => None,
        }
    }

    fn chat_model(&self) -> Option<String> {
        match self {
            Self::Node(_) => None,
            Self::Catalog(provider) => provider.known_models().find(|model| model.kind == "chat").map(|model| model.id),
        }
    }
}

pub(in super::super) fn compile(
    record: &ConnectionRecord,
    secret: &Secret,
    provider: &Provider,
    providers: &Providers,
) -> Result<Upstream, CompileError> {
    let headers = pairs(&record.headers);
    let api_type = record.provider_data.get("apiType").and_then(|word| word.as_str());
    let spec = ConnectionSpec {
        id: record.id.as_str(),
        provider: record.provider.as_str(),
        name: &record.name,
        auth_type: &record.auth_type,
        secret: secret.expose(),
        base_url: record.base_url.as_deref().unwrap_or_default(),
        region: record.provider_data.get("region").and_then(|region| region.as_str()).unwrap_or_default(),
        api_type: api_type.filter(|word| ChatApis::parse(word).is_some()).unwrap_or_default(),
        headers: &headers,
        node: provider.node().map(node_spec),
        cloud: cloud_spec(&record.provider_data),
        ..blank()
    };
    Upstream::compile(&spec, providers.address_policy())
}

fn pairs(headers: &BTreeMap<String, String>) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A connection of which nothing is known. Timeouts and limits of requests do not apply to checks.
pub(super) fn blank<'a>() -> ConnectionSpec<'a> {
    ConnectionSpec {
        id: "candidate",
        provider: "",
        name: "candidate",
        auth_type: "apikey",
        secret: "",
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
