//! `/api/settings/proxy/test`: whether a proxy works, and from which address calls through it come.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, extract::State};
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use omniroute_core::settings::Secret;
use omniroute_egress::{EgressError, OutboundProxy, ProxyKind, ProxySpec};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Egress,
    record::Credentials,
    rows::Proxies,
    rules::MASK,
    shapes::{MAX_ID, credential, kind, port},
};
use crate::http::{ApiError, ErrorBody, Fields, FromFields, extract};

/// Tells whoever calls it from where the call came.
const TARGET: &str = "https://api64.ipify.org/?format=json";
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("omniroute/", env!("CARGO_PKG_VERSION")));

/// Which proxy to try: one that is stored (`proxyId`), one that is not (`proxy`), or a stored one with other values.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct TryProxy {
    proxy: Option<TriedProxy>,
    /// A stored proxy. Its credentials are used at its own place only.
    proxy_id: Option<String>,
    /// What to call, instead of a public service that tells the address from which it was called.
    #[schema(max_length = 2000)]
    target_url: Option<String>,
}

#[derive(Default, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct TriedProxy {
    /// `http` (the default), `https` or `socks5`.
    #[schema(rename = "type", default = "http")]
    kind: Option<String>,
    #[schema(max_length = 255)]
    host: Option<String>,
    #[schema(minimum = 1, maximum = 65535)]
    port: Option<u16>,
    #[schema(value_type = Option<String>, max_length = 255)]
    username: Option<Secret>,
    #[schema(value_type = Option<String>, max_length = 255, format = "password")]
    password: Option<Secret>,
}

/// What was found.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct Tried {
    success: bool,
    /// From which address the call came, where the service that was called tells that.
    public_ip: Option<String>,
    latency_ms: u64,
    /// Without credentials.
    proxy_url: String,
    /// What is wrong, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    error: Option<String>,
    /// `proxy_unreachable`, `proxy_auth`, `proxy_tls`, `proxy_protocol`, `proxy_denied`, `timeout`…
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    code: Option<&'static str>,
}

/// Try a proxy.
///
/// Calls a public service through it, or `targetUrl`.
#[utoipa::path(
    post,
    path = "/api/settings/proxy/test",
    tag = "Outbound proxies",
    request_body = TryProxy,
    responses(
        (status = 200, body = Tried),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn test(
    State(egress): State<Arc<Egress>>,
    extract::Json(body): extract::Json<TryProxy>,
) -> Result<Json<Tried>, ApiError> {
    let target = body.target_url.clone();
    let stored = body.proxy_id.clone();
    let (proxy, is_as_stored) = egress.tried(body).await?;
    let target = egress.target(target.as_deref())?;
    let begun = Instant::now();
    let called = egress.call(&proxy, target).await;
    let took = begun.elapsed();
    if let Some(id) = stored.filter(|_| is_as_stored) {
        egress.note(&id, called.as_ref().err().copied(), took).await;
    }
    Ok(Json(Tried::new(&proxy, called, took)))
}

// === impl Egress ===

impl Egress {
    /// The proxy to try, and whether it is one that is stored, as it is.
    async fn tried(&self, body: TryProxy) -> Result<(OutboundProxy, bool), ApiError> {
        let given = body.proxy.unwrap_or_default();
        let proxies = Proxies::of(&self.store);
        let (held, stored) = match &body.proxy_id {
            Some(id) => (Some(self.get(id).await?), Some(proxies.credentials(id).await)),
            None => (None, None),
        };
        let kind = given.kind.or(held.as_ref().map(|held| held.kind.clone()));
        let kind = kind.unwrap_or_else(|| ProxyKind::Http.as_str().to_owned());
        let host = given.host.map(|host| host.trim().to_owned()).filter(|host| !host.is_empty());
        let host = host.or(held.as_ref().map(|held| held.host.clone()));
        let host = host.ok_or_else(|| ApiError::invalid_field("proxy.host", "is required without a proxyId"))?;
        let port = given.port.or(held.as_ref().map(|held| held.port));
        let port = port.ok_or_else(|| ApiError::invalid_field("proxy.port", "is required without a proxyId"))?;
        let is_there = held.as_ref().is_some_and(|held| held.is_at(&kind, &host, port));
        let named = |secret: Option<Secret>| secret.filter(|secret| secret.expose() != MASK);
        let (username, password) = (named(given.username), named(given.password));
        let is_as_stored = is_there && username.is_none() && password.is_none();
        // Stored credentials go nowhere else than where they were stored for.
        let stored = match stored.filter(|_| is_there) {
            Some(stored) => stored.map_err(|error| ApiError::invalid_field("proxyId", error.to_string()))?,
            None => Credentials::default(),
        };
        let username = username.unwrap_or(stored.username);
        let password = password.unwrap_or(stored.password);
        let spec = ProxySpec {
            kind: &kind,
            host: &host,
            port: port.into(),
            username: username.expose(),
            password: password.expose(),
            family: held.as_ref().filter(|_| is_there).map_or("", |held| &held.family),
        };
        let proxy = OutboundProxy::compile("candidate", &spec, self.address_policy(), Arc::default())
            .map_err(|error| ApiError::invalid_field(format!("proxy.{}", error.field()), error.to_string()))?;
        Ok((proxy, is_as_stored))
    }

    fn target(&self, url: Option<&str>) -> Result<http::Uri, ApiError> {
        let wrong = |why: String| ApiError::invalid_field("targetUrl", why);
        let mut url =
            self.address_policy().check_url(url.unwrap_or(TARGET)).map_err(|error| wrong(error.to_string()))?;
        url.set_fragment(None);
        url.as_str().parse().map_err(|_| wrong("is no URL that can be called".to_owned()))
    }

    async fn call(&self, proxy: &OutboundProxy, target: http::Uri) -> Result<Bytes, EgressError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = target;
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json, text/plain"));
        Ok(self.caller.call(proxy, request).await?.into_body())
    }
}

// === impl Tried ===

impl Tried {
    fn new(proxy: &OutboundProxy, called: Result<Bytes, EgressError>, took: Duration) -> Self {
        let error = called.as_ref().err().copied();
        Self {
            success: error.is_none(),
            public_ip: called.ok().and_then(|body| address_in(&body)),
            latency_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            proxy_url: format!("{}://{}:{}", proxy.kind().as_str(), proxy.host(), proxy.port()),
            error: error.map(|error| error.to_string()),
            code: error.map(EgressError::code),
        }
    }
}

/// `{"ip": …}`, or the address alone.
fn address_in(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let told = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => object.get("ip").and_then(Value::as_str).map(str::to_owned),
        Ok(Value::String(text)) => Some(text),
        _ => Some(text.trim().to_owned()),
    };
    // Whatever else the target answers is not for show.
    told.filter(|text| text.parse::<IpAddr>().is_ok())
}

// === impl TryProxy ===

impl FromFields for TryProxy {
    fn read(fields: &mut Fields) -> Self {
        let body = Self {
            proxy: fields.nested("proxy", TriedProxy::read),
            proxy_id: fields.nullable_text("proxyId", 0..=MAX_ID).set().filter(|id| !id.trim().is_empty()),
            target_url: fields.nullable_text("targetUrl", 1..=2000).set(),
        };
        if body.proxy.is_none() && body.proxy_id.is_none() {
            fields.refuse_unless_noted("proxy", "is required without a proxyId");
        }
        body
    }
}

// === impl TriedProxy ===

impl FromFields for TriedProxy {
    fn read(fields: &mut Fields) -> Self {
        Self {
            kind: kind(fields),
            host: fields.nullable_text("host", 0..=255).set(),
            port: port(fields),
            username: credential(fields, "username"),
            password: credential(fields, "password"),
        }
    }
}
