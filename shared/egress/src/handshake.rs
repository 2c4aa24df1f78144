//! What is said to a proxy before it passes bytes on: `CONNECT` (RFC 9110 §9.3.6) or SOCKS5 (RFC 1928, RFC 1929).

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_socks::{Error as SocksError, tcp::Socks5Stream};

use super::{
    error::EgressError,
    outbound_proxy::{OutboundProxy, ProxyKind},
    through::Target,
};

/// Of an answer to `CONNECT`, this much is read.
const LONGEST_HEAD: usize = 8 * 1024;
const MOST_HEADERS: usize = 64;

/// Has `proxy` at the other end of `stream` connect it to `target`.
///
/// # Errors
/// When it does not.
pub(super) async fn tunnel<S>(stream: S, proxy: &OutboundProxy, target: &Target<'_>) -> Result<S, EgressError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match proxy.kind() {
        ProxyKind::Http | ProxyKind::Https => connect(stream, proxy, target).await,
        ProxyKind::Socks5 => socks5(stream, proxy, target).await,
    }
}

async fn connect<S>(mut stream: S, proxy: &OutboundProxy, target: &Target<'_>) -> Result<S, EgressError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Target { host, port, .. } = target;
    let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(basic) = proxy.basic() {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(basic.expose().as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await.map_err(|_| EgressError::Closed)?;
    stream.flush().await.map_err(|_| EgressError::Closed)?;
    match answered(&mut stream).await? {
        200..=299 => Ok(stream),
        401 | 407 => Err(EgressError::Credentials),
        // As proxies say that they do not get any further (RFC 9110 §15.6).
        502 | 504 => Err(EgressError::TargetUnreachable),
        status => Err(EgressError::Denied(status)),
    }
}

/// Status of the answer. Nothing may come behind its head before we have spoken to the target.
async fn answered<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u16, EgressError> {
    let mut head = Vec::with_capacity(256);
    loop {
        if stream.read_buf(&mut head).await.map_err(|_| EgressError::Closed)? == 0 {
            return Err(if head.is_empty() { EgressError::Closed } else { EgressError::NoProxy });
        }
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&head) {
            Ok(httparse::Status::Complete(length)) => {
                let status = response.code.ok_or(EgressError::NoProxy)?;
                // A tunnel begins behind the head; the body of a refusal is not read.
                let is_open = (200..300).contains(&status);
                return if is_open && length < head.len() { Err(EgressError::NoProxy) } else { Ok(status) };
            }
            Ok(httparse::Status::Partial) if head.len() < LONGEST_HEAD => {}
            Ok(httparse::Status::Partial) | Err(_) => return Err(EgressError::NoProxy),
        }
    }
}

async fn socks5<S>(stream: S, proxy: &OutboundProxy, target: &Target<'_>) -> Result<S, EgressError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // An address in brackets is none to it.
    let host = target.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(target.host);
    let to = (host, target.port);
    let opened = match proxy.credentials() {
        Some((username, password)) => {
            Socks5Stream::connect_with_password_and_socket(stream, to, username, password).await
        }
        None => Socks5Stream::connect_with_socket(stream, to).await,
    };
    opened.map(Socks5Stream::into_inner).map_err(|error| match error {
        SocksError::NoAcceptableAuthMethods
        | SocksError::UnknownAuthMethod
        | SocksError::InvalidAuthValues(_)
        | SocksError::AuthorizationRequired
        | SocksError::PasswordAuthFailure(_) => EgressError::Credentials,
        SocksError::ConnectionNotAllowedByRuleset
        | SocksError::CommandNotSupported
        | SocksError::AddressTypeNotSupported => EgressError::NotAllowed,
        SocksError::GeneralSocksServerFailure
        | SocksError::NetworkUnreachable
        | SocksError::HostUnreachable
        | SocksError::ConnectionRefused
        | SocksError::TtlExpired
        | SocksError::InvalidTargetAddress(_) => EgressError::TargetUnreachable,
        SocksError::Io(_) | SocksError::ProxyServerUnreachable => EgressError::Closed,
        _ => EgressError::NoProxy,
    })
}
