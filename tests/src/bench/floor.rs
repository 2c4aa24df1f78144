//! The floor: a reverse proxy that does nothing but forward, built of the parts that the gateway is built of.
//!
//! hyper's server, hyper-util's pooled client, head and body as they come. What it costs is what nobody can save; what
//! the gateway costs beyond it is what the gateway does.

use std::{convert::Infallible, net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context as _;
use http::{Request, Response, StatusCode, Uri, header, uri};
use http_body_util::{Either, Empty};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::net::TcpListener;

type Upstream = Client<HttpsConnector<HttpConnector>, Incoming>;
type Reply = Either<Incoming, Empty<Bytes>>;

/// Serves at `LISTEN`, in front of `UPSTREAM`, for ever. With `UPSTREAM_TLS_CA`, a file with the CA that the upstream has its
/// certificate from, it speaks TLS with it, and HTTP/2 if the upstream does.
///
/// # Errors
/// When a variable is missing or the address cannot be opened.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind(address("LISTEN")?).await?;
    let upstream = uri::Authority::try_from(address("UPSTREAM")?.to_string())?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.enforce_http(false);
    let (scheme, roots) = match std::env::var_os("UPSTREAM_TLS_CA") {
        Some(file) => (uri::Scheme::HTTPS, roots(Path::new(&file))?),
        None => (uri::Scheme::HTTP, RootCertStore::empty()),
    };
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(connector);
    let client: Upstream = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, scheme, upstream) = (client.clone(), scheme.clone(), upstream.clone());
        let service = service_fn(move |request| forward(client.clone(), (scheme.clone(), upstream.clone()), request));
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new());
            // A client that leaves is no news.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        store.add(certificate?)?;
    }
    Ok(store)
}

fn address(variable: &str) -> anyhow::Result<SocketAddr> {
    let text = std::env::var(variable).with_context(|| format!("{variable} is not set"))?;
    text.parse().with_context(|| format!("{variable} is no address: `{text}`"))
}

async fn forward(
    client: Upstream,
    (scheme, upstream): (uri::Scheme, uri::Authority),
    mut request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    let is_secure = scheme == uri::Scheme::HTTPS;
    parts.scheme = Some(scheme);
    parts.authority = Some(upstream);
    let Ok(uri) = Uri::from_parts(parts) else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    *request.uri_mut() = uri;
    if is_secure {
        // HTTP/2 has it in the URI.
        request.headers_mut().remove(header::HOST);
    }
    Ok(match client.request(request).await {
        Ok(response) => response.map(Either::Left),
        Err(_) => empty(StatusCode::BAD_GATEWAY),
    })
}

fn empty(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    response
}
