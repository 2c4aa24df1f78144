//! Everything that belongs to the control plane, handed on so that one origin serves the whole product.
//!
//! `/api/*`, `/dashboard/*`, `/a2a` and the agent card go to `CONTROL_PLANE_FORWARD_URL`, bodies streamed both ways.
//! The connection's own headers stay here; who called is told in `X-Forwarded-For`.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{self},
    uri::{Authority, PathAndQuery, Scheme},
};
use omniroute_core::{
    address::AddressPolicy,
    client_address::Hops,
    error::{ErrorClass, GatewayError},
};

use crate::upstream_client::{ClientOptions, ExtraRoots, TlsError, UpstreamClient};

/// The control plane is near: a connection that takes longer will not come.
const CONNECT: Duration = Duration::from_secs(2);
/// Its slowest answers wait for a provider (a connection's test).
const ANSWER: Duration = Duration::from_secs(180);
const IDLE_CONNECTIONS: usize = 32;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers that belong to one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Hands requests on to one control plane.
#[derive(Clone)]
pub struct ControlPlaneProxy {
    client: UpstreamClient<Body>,
    scheme: Scheme,
    authority: Authority,
}

/// Why forwarding cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneProxyError {
    #[error("CONTROL_PLANE_FORWARD_URL must be http://host:port or https://host:port without a path")]
    Url,
    #[error(transparent)]
    Tls(#[from] TlsError),
}

// === impl ControlPlaneProxy ===

impl ControlPlaneProxy {
    /// To the control plane at `url`; `None` when it is empty.
    ///
    /// # Errors
    /// When the URL has no host, or a path.
    pub fn new(url: &str) -> Result<Option<Self>, ControlPlaneProxyError> {
        if url.is_empty() {
            return Ok(None);
        }
        let parts = url.parse::<Uri>().map_err(|_| ControlPlaneProxyError::Url)?.into_parts();
        let is_bare = parts.path_and_query.as_ref().is_none_or(|path| path == "/");
        let (Some(scheme), Some(authority), true) = (parts.scheme, parts.authority, is_bare) else {
            return Err(ControlPlaneProxyError::Url);
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(ControlPlaneProxyError::Url);
        }
        let options = ClientOptions {
            idle_per_host: IDLE_CONNECTIONS,
            // The operator named this address in the process's own configuration.
            policy: Arc::new(|| AddressPolicy::AllowPrivate),
            extra_roots: ExtraRoots::default(),
        };
        Ok(Some(Self { client: UpstreamClient::new(options)?, scheme, authority }))
    }

    /// Sends `request`, which came from `peer`, and returns the answer as it is.
    ///
    /// # Errors
    /// When the control plane is away or does not answer.
    pub async fn forward(&self, request: Request<Body>, peer: IpAddr) -> Result<Response<Body>, GatewayError> {
        let request = self.rewrite(request, peer).map_err(|_| unavailable())?;
        let answer = tokio::time::timeout(ANSWER, self.client.send(request, CONNECT)).await;
        let Ok(Ok(mut answer)) = answer else {
            return Err(unavailable());
        };
        strip_hop_by_hop(answer.headers_mut());
        Ok(answer.map(Body::new))
    }

    fn rewrite(&self, mut request: Request<Body>, peer: IpAddr) -> Result<Request<Body>, http::Error> {
        let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let client_host = request.uri().authority().map(|authority| authority.as_str().to_owned());
        *request.uri_mut() = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()?;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        strip_hop_by_hop(headers);
        // Kept, so that the control plane can tell its own origin from a foreign one. HTTP/2 has it in the URI.
        if let Some(host) = client_host.and_then(|host| HeaderValue::try_from(host).ok()) {
            headers.insert(header::HOST, host);
        }
        if let Some(host) = headers.get(header::HOST).cloned() {
            headers.insert(X_FORWARDED_HOST, host);
        }
        if !headers.contains_key(X_FORWARDED_PROTO) {
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        }
        // All that the request says of its way here, with the peer behind it. The control plane decides what of that counts, and
        // trusts a caller for being local only if every entry is. Two headers that contradict each other are one odd entry.
        let hops = Hops::of(headers).and(peer);
        headers.remove(header::FORWARDED);
        headers.insert(X_FORWARDED_FOR, HeaderValue::try_from(hops)?);
        Ok(request)
    }
}

fn unavailable() -> GatewayError {
    GatewayError::new(ErrorClass::Overloaded, "control_plane_unavailable", "the control plane does not answer")
        .with_hint("models keep being served; see the control plane's log")
        .with_retry_after(Duration::from_secs(5))
}

/// Removes what belongs to the connection, and what `Connection` names as such.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    /// Answers one request with `answer` and gives back what it read.
    async fn control_plane(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let reading = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut read = Vec::new();
            while !read.ends_with(b"end") {
                assert_ne!(stream.read_buf(&mut read).await.expect("read"), 0);
            }
            stream.write_all(answer.as_bytes()).await.expect("written");
            String::from_utf8_lossy(&read).into_owned()
        });
        (url, reading)
    }

    #[tokio::test]
    async fn a_request_arrives_without_the_connections_headers_and_with_the_callers_address() {
        let (url, seen) =
            control_plane("HTTP/1.1 201 Created\r\nset-cookie: a=b\r\nkeep-alive: x\r\ncontent-length: 2\r\n\r\n{}")
                .await;
        let control_plane_proxy = ControlPlaneProxy::new(&url).expect("a URL").expect("configured");
        let request = Request::post("/api/keys?x=1")
            .header("host", "gateway.example:20128")
            .header("connection", "close, x-private")
            .header("x-private", "1")
            .header("x-forwarded-for", "127.0.0.1")
            .header("x-forwarded-for", HeaderValue::from_bytes(b"\xff").expect("a value"))
            .header("x-forwarded-for", "198.51.100.9")
            .header("cookie", "auth_token=t")
            .body(Body::from("the end"))
            .expect("a request");
        let answer = control_plane_proxy.forward(request, PEER).await.expect("an answer");
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers().get("set-cookie").expect("kept"), "a=b");
        assert!(!answer.headers().contains_key("keep-alive"));
        assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "{}");

        let seen = seen.await.expect("no panic");
        assert!(seen.starts_with("POST /api/keys?x=1 HTTP/1.1\r\n"), "{seen}");
        for line in [
            "host: gateway.example:20128",
            "cookie: auth_token=t",
            "x-forwarded-for: 127.0.0.1, unknown, 198.51.100.9, 192.0.2.7",
            "x-forwarded-host: gateway.example:20128",
        ] {
            assert!(seen.contains(&format!("{line}\r\n")), "{line} in {seen}");
        }
        assert!(!seen.contains("x-private"), "{seen}");
    }

    #[tokio::test]
    async fn a_control_plane_that_is_away_is_a_503_without_its_address() {
        let url = {
            let unused = TcpListener::bind("127.0.0.1:0").await.expect("bound");
            format!("http://{}", unused.local_addr().expect("an address"))
        };
        let control_plane_proxy = ControlPlaneProxy::new(&url).expect("a URL").expect("configured");
        let request = Request::get("/api/keys").body(Body::empty()).expect("a request");
        let error = control_plane_proxy.forward(request, PEER).await.expect_err("away");
        assert_eq!((error.class.status(), error.code), (503, "control_plane_unavailable"));
        assert!(!error.to_string().contains("127.0.0.1"));
    }

    #[test]
    fn only_an_origin_is_a_target() {
        assert!(ControlPlaneProxy::new("").expect("fine").is_none());
        for url in ["localhost:20129", "ftp://x", "http://x/api", "/"] {
            assert!(ControlPlaneProxy::new(url).is_err(), "{url}");
        }
    }
}
