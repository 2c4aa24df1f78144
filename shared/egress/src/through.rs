//! From a connection to a proxy to one with the provider behind it.

use std::sync::Arc;

use http::Uri;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{
    error::EgressError,
    handshake::tunnel,
    outbound_proxy::{OutboundProxy, ProxyKind},
};

/// A connection with a provider, TLS included where there is any. What it is made of does not show in its type: it depends
/// on the proxy.
pub struct Tunnel {
    stream: Box<dyn Duplex>,
    is_http2: bool,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Where a tunnel leads.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// As it stands in a URL: an IPv6 address in brackets.
    pub host: &'a str,
    pub port: u16,
    /// With TLS.
    pub is_secure: bool,
}

/// How TLS is spoken.
#[derive(Clone)]
pub struct TlsSettings {
    /// With proxies.
    pub proxy: Arc<ClientConfig>,
    /// With providers: its ALPN says which versions of HTTP are offered.
    pub target: Arc<ClientConfig>,
}

// === impl Target ===

impl<'a> Target<'a> {
    /// The origin of a URL; `None` where it has no host.
    pub fn of(uri: &'a Uri) -> Option<Self> {
        let is_secure = uri.scheme_str()? == "https";
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Some(Self { host: uri.host().filter(|host| !host.is_empty())?, port, is_secure })
    }

    /// Without brackets.
    pub(crate) fn bare_host(&self) -> &'a str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(self.host)
    }
}

/// Makes of a connection to `proxy` one with `target`. Whoever calls limits its time.
///
/// # Errors
/// With who is at fault.
pub async fn connect_through<S>(
    stream: S,
    proxy: &OutboundProxy,
    target: &Target<'_>,
    tls: &TlsSettings,
) -> Result<Tunnel, EgressError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match proxy.kind() {
        ProxyKind::Https => {
            let connector = TlsConnector::from(Arc::clone(&tls.proxy));
            let name = server_name(&proxy.host()).ok_or(EgressError::ProxyTls)?;
            let stream = connector.connect(name, stream).await.map_err(|_| EgressError::ProxyTls)?;
            secured(tunnel(stream, proxy, target).await?, target, tls).await
        }
        ProxyKind::Http | ProxyKind::Socks5 => secured(tunnel(stream, proxy, target).await?, target, tls).await,
    }
}

async fn secured<S>(stream: S, target: &Target<'_>, tls: &TlsSettings) -> Result<Tunnel, EgressError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if !target.is_secure {
        return Ok(Tunnel { stream: Box::new(stream), is_http2: false });
    }
    let connector = TlsConnector::from(Arc::clone(&tls.target));
    let name = server_name(target.host).ok_or(EgressError::TargetTls)?;
    let stream = connector.connect(name, stream).await.map_err(|error| match error.get_ref() {
        Some(inner) if inner.is::<rustls::Error>() => EgressError::TargetTls,
        _ => EgressError::TargetUnreachable,
    })?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Tunnel { stream: Box::new(stream), is_http2 })
}

fn server_name(host: &str) -> Option<ServerName<'static>> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned()).ok()
}

// === impl Tunnel ===

impl Tunnel {
    /// The TLS handshake with the provider chose HTTP/2.
    pub const fn is_http2(&self) -> bool {
        self.is_http2
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").field("is_http2", &self.is_http2).finish_non_exhaustive()
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut *self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut *self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
