//! The one HTTP client that asks providers: to test a connection, to list models. It goes only where the address
//! policy allows, follows no redirect, waits no longer and reads no more than stated. Through the connection's outbound proxy,
//! where it has one.

use std::{
    error::Error as _,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use omniroute_core::address::{AddressError, AddressPolicy};
use omniroute_credentials::{Web, WebError};
use omniroute_egress::{CallLimits, Caller, EgressError, OutboundProxy};
use omniroute_providers::{GrantError, sanitise};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// There are two connections to be made, and up to two handshakes besides.
const THROUGH_TIMEOUT: Duration = Duration::from_secs(10);
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("omniroute/", env!("CARGO_PKG_VERSION")));
/// For the whole answer: somebody waits in front of a page for it.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(20);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest model lists are a few MiB.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// Asks providers.
#[derive(Clone)]
pub struct UpstreamClient {
    http: reqwest::Client,
    through: Caller,
    policy: PolicyInForce,
}

/// Tells which addresses may be used now.
type PolicyInForce = Arc<dyn Fn() -> AddressPolicy + Send + Sync>;

/// What a provider answered.
#[derive(Debug)]
pub struct UpstreamResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer. The texts are for the operator: they name no address and quote nothing.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("the address may not be used: {0}")]
    Address(AddressError),
    #[error("the host name does not resolve")]
    Resolve,
    #[error("the connection was refused or broke off")]
    Connect,
    #[error(
        "the TLS handshake failed: the certificate is not trusted or belongs to another name; \
             for a certificate of your own, name the file of its CA in UPSTREAM_TLS_CA"
    )]
    Tls,
    #[error("no answer in time")]
    Timeout,
    #[error("the answer is larger than {} MiB", MAX_BODY / 1024 / 1024)]
    TooLarge,
    #[error("the answer broke off or is no HTTP")]
    Broken,
    #[error("the request cannot be signed with this credential")]
    Sign,
    #[error(transparent)]
    Egress(EgressError),
    /// The connection is not to be called as things stand.
    #[error("{0}")]
    NoWay(String),
    #[error("{}", told(.0))]
    Token(GrantError),
}

/// What is said of a token that is not to be had; it may quote who issues it.
fn told(error: &GrantError) -> String {
    sanitise(&error.to_string(), "")
}

/// Resolves names and drops every address that the policy forbids, so that a name cannot lead where an address could
/// not. The connection goes to the very addresses that were judged.
struct GuardedResolver(PolicyInForce);

// === impl UpstreamClient ===

impl UpstreamClient {
    /// `policy` is asked at each call. `extra_ca`: a file of CA certificates that are trusted beside the public ones; empty means none.
    ///
    /// # Errors
    /// When TLS cannot be set up, or the file holds no certificates.
    pub fn new(policy: impl Fn() -> AddressPolicy + Send + Sync + 'static, extra_ca: &Path) -> anyhow::Result<Self> {
        let policy: PolicyInForce = Arc::new(policy);
        let tls = upstream_tls(extra_ca)?;
        let limits = CallLimits { connect: THROUGH_TIMEOUT, total: TOTAL_TIMEOUT, body: MAX_BODY };
        let through = Caller::new(Arc::clone(&policy), Arc::new(tls.clone()), limits);
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(GuardedResolver(Arc::clone(&policy)))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(2)
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self { http, through, policy })
    }

    /// One call. `body` is JSON.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn call(
        &self,
        method: Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<UpstreamResponse, UpstreamError> {
        // Literal addresses never reach the resolver.
        let url = (self.policy)().check_url(&uri.to_string()).map_err(UpstreamError::Address)?;
        let mut request = self.http.request(method, url).headers(headers.clone());
        if let Some(body) = body {
            if !headers.contains_key(http::header::CONTENT_TYPE) {
                request = request.header(http::header::CONTENT_TYPE, "application/json");
            }
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(|error| classify(&error))?;
        if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
            return Err(UpstreamError::TooLarge);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(UpstreamError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(UpstreamResponse { status: response.status(), headers: response.headers().clone(), body: body.freeze() })
    }
}

impl UpstreamClient {
    /// Calls that go through an outbound proxy.
    pub(super) fn way_through(&self, proxy: Arc<OutboundProxy>) -> Through {
        Through { client: self.clone(), proxy }
    }

    /// As [`Self::call`], through an outbound proxy.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_through(
        &self,
        proxy: &OutboundProxy,
        method: Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<UpstreamResponse, UpstreamError> {
        (self.policy)().check_url(&uri.to_string()).map_err(UpstreamError::Address)?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        request.headers_mut().clone_from(headers);
        request.headers_mut().entry(header::USER_AGENT).or_insert(USER_AGENT);
        if let Some(body) = body {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().entry(header::CONTENT_TYPE).or_insert(json);
            *request.body_mut() = body;
        }
        let (head, body) = self.through.call(proxy, request).await.map_err(UpstreamError::Egress)?.into_parts();
        Ok(UpstreamResponse { status: head.status, headers: head.headers, body })
    }
}

/// The way through an outbound proxy, for the tokens of connections that have one.
pub(super) struct Through {
    client: UpstreamClient,
    proxy: Arc<OutboundProxy>,
}

// === impl Through ===

#[async_trait]
impl Web for Through {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, WebError> {
        let (head, body) = request.into_parts();
        let answer = self.client.call_through(&self.proxy, head.method, &head.uri, &head.headers, Some(body)).await;
        answered(answer)
    }
}

fn answered(answer: Result<UpstreamResponse, UpstreamError>) -> Result<http::Response<Bytes>, WebError> {
    let UpstreamResponse { status, headers, body } = answer.map_err(|error| WebError(error.to_string()))?;
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

#[async_trait]
impl Web for UpstreamClient {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, WebError> {
        let (head, body) = request.into_parts();
        answered(self.call(head.method, &head.uri, &head.headers, Some(body)).await)
    }
}

impl std::fmt::Debug for UpstreamClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamClient").field("policy", &(self.policy)()).finish_non_exhaustive()
    }
}

/// How TLS is spoken with providers. `extra_ca`: a file of CA certificates that are trusted beside the public ones; empty
/// means none.
///
/// # Errors
/// When TLS cannot be set up, or the file holds no certificates.
pub fn upstream_tls(extra_ca: &Path) -> anyhow::Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if !extra_ca.as_os_str().is_empty() {
        trust(&mut roots, extra_ca).with_context(|| format!("UPSTREAM_TLS_CA ({})", extra_ca.display()))?;
    }
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Adds the certificates of a PEM file.
fn trust(roots: &mut rustls::RootCertStore, file: &Path) -> anyhow::Result<()> {
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    anyhow::ensure!(roots.len() > before, "there is no certificate in it");
    Ok(())
}

/// Finds out what went wrong from the chain of causes.
fn classify(error: &reqwest::Error) -> UpstreamError {
    if error.is_timeout() {
        return UpstreamError::Timeout;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(Refused(address)) = inner.downcast_ref() {
            return UpstreamError::Address(match address {
                AddressError::Private => AddressError::Private,
                _ => AddressError::Reserved,
            });
        }
        if inner.downcast_ref::<Unresolved>().is_some() {
            return UpstreamError::Resolve;
        }
        if inner.downcast_ref::<rustls::Error>().is_some() {
            return UpstreamError::Tls;
        }
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
        {
            return UpstreamError::Tls;
        }
        cause = inner.source();
    }
    if error.is_connect() { UpstreamError::Connect } else { UpstreamError::Broken }
}

// === impl GuardedResolver ===

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(AddressError);

#[derive(Debug, thiserror::Error)]
#[error("the host name does not resolve")]
struct Unresolved;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = (self.0)();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| Unresolved)?;
            let addresses = allowed(policy, found.map(|address| address.ip()))?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn allowed(
    policy: AddressPolicy,
    found: impl Iterator<Item = IpAddr>,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let mut allowed = Vec::new();
    let mut refused = None;
    for address in found {
        match policy.check(address) {
            Ok(()) => allowed.push(SocketAddr::new(address, 0)),
            Err(reason) => refused = Some(reason),
        }
    }
    match (allowed.is_empty(), refused) {
        (true, Some(reason)) => Err(Box::new(Refused(reason))),
        (true, None) => Err(Box::new(Unresolved)),
        (false, _) => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, response::Redirect, routing::get};

    use super::*;

    async fn serve(router: Router) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    async fn get_from(policy: AddressPolicy, url: &str) -> Result<UpstreamResponse, UpstreamError> {
        let client = UpstreamClient::new(move || policy, Path::new("")).expect("a client");
        client.call(Method::GET, &url.parse().expect("a URL"), &HeaderMap::new(), None).await
    }

    #[tokio::test]
    async fn names_and_literals_that_lead_to_this_machine_need_the_operator() {
        let address = serve(Router::new().route("/", get(|| async { "hello" }))).await;
        for host in ["localhost", "127.0.0.1"] {
            let url = format!("http://{host}:{}/", address.port());
            let refused = get_from(AddressPolicy::PublicOnly, &url).await;
            assert!(matches!(refused, Err(UpstreamError::Address(AddressError::Private))), "{host}: {refused:?}");
            let answer = get_from(AddressPolicy::AllowPrivate, &url).await.expect("an answer");
            assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"hello"[..]));
        }
    }

    #[test]
    fn a_name_with_one_allowed_address_leads_there_only() {
        let found = ["10.0.0.1", "1.1.1.1", "169.254.169.254"].map(|text| text.parse().expect("an address"));
        let addresses = allowed(AddressPolicy::PublicOnly, found.into_iter()).expect("one is left");
        assert_eq!(addresses, ["1.1.1.1:0".parse().expect("an address")]);
        assert!(allowed(AddressPolicy::AllowPrivate, found[2..].iter().copied()).is_err());
    }

    #[tokio::test]
    async fn redirects_are_answers_and_large_bodies_are_refused() {
        let large = vec![b'x'; MAX_BODY + 1];
        let router = Router::new()
            .route("/moved", get(|| async { Redirect::temporary("http://169.254.169.254/") }))
            .route("/large", get(move || async { large }));
        let address = serve(router).await;
        let moved = get_from(AddressPolicy::AllowPrivate, &format!("http://{address}/moved")).await.expect("an answer");
        assert_eq!(moved.status, StatusCode::TEMPORARY_REDIRECT);
        let large = get_from(AddressPolicy::AllowPrivate, &format!("http://{address}/large")).await;
        assert!(matches!(large, Err(UpstreamError::TooLarge)), "{large:?}");
    }

    #[tokio::test]
    async fn what_went_wrong_is_told_apart() {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = closed.local_addr().expect("an address");
        drop(closed);
        let refused = get_from(AddressPolicy::AllowPrivate, &format!("http://{address}/")).await;
        assert!(matches!(refused, Err(UpstreamError::Connect)), "{refused:?}");
        let unknown = get_from(AddressPolicy::AllowPrivate, "http://no-such-host.invalid/").await;
        assert!(matches!(unknown, Err(UpstreamError::Resolve)), "{unknown:?}");
        let address = serve(Router::new()).await;
        let plain = get_from(AddressPolicy::AllowPrivate, &format!("https://{address}/")).await;
        assert!(matches!(plain, Err(UpstreamError::Tls | UpstreamError::Connect)), "{plain:?}");
    }

    #[test]
    fn a_file_without_certificates_is_no_ca() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca.pem");
        for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).expect("written");
            let Err(error) = UpstreamClient::new(|| AddressPolicy::PublicOnly, &file) else {
                panic!("{text:?} was taken")
            };
            assert!(format!("{error:#}").contains("UPSTREAM_TLS_CA"), "{error:#}");
        }
        assert!(UpstreamClient::new(|| AddressPolicy::PublicOnly, &directory.path().join("none")).is_err());
    }
}
