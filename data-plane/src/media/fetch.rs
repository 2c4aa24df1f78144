//! One fetch: guarded, bounded, and without a word to the client about what this machine can reach.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use omniroute_core::{
    address::{AddressError, AddressPolicy},
    error::{ErrorClass, GatewayError},
};
use omniroute_wire::ir::MediaKind;
use tokio::time::Instant;
use url::Url;

use super::{Fetched, kind};
use crate::{
    request::{BodyMemory, Segmented, memory::Reservation},
    upstream_client::{CallErrorKind, UpstreamBody, UpstreamClient},
};

/// All of a fetch, redirects included.
const TIME: Duration = Duration::from_secs(10);
pub(super) const CONNECT: Duration = Duration::from_secs(5);
const LARGEST: u64 = 20 * 1024 * 1024;
const REDIRECTS: u32 = 3;
/// More bytes than this are encoded off the runtime.
const MANY: usize = 1024 * 1024;
/// What is reserved of a body whose length is not told, until more of it has come.
const STEP: u64 = 64 * 1024;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("omniroute/", env!("CARGO_PKG_VERSION")));

/// What a fetch needs of the gateway.
#[derive(Clone, Copy)]
pub(super) struct Means<'g> {
    pub(super) client: &'g UpstreamClient<Segmented>,
    pub(super) memory: &'g BodyMemory,
    pub(super) policy: AddressPolicy,
}

/// Fetches what is behind `url`.
///
/// # Errors
/// 400 with the reason; 503 when there is no memory for it at the moment.
pub(super) async fn fetch(means: Means<'_>, url: &str, wanted: MediaKind) -> Result<Fetched, GatewayError> {
    match tokio::time::timeout(TIME, follow(means, url, wanted)).await {
        Ok(fetched) => fetched,
        Err(_) => Err(unreachable("its server took longer than 10 s")),
    }
}

async fn follow(means: Means<'_>, url: &str, wanted: MediaKind) -> Result<Fetched, GatewayError> {
    let mut url = check(means.policy, url)?;
    for _ in 0..=REDIRECTS {
        let response = get(means, &url).await?;
        if !response.status().is_redirection() {
            return read(means, response, wanted).await;
        }
        let location = response.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
        let next = location.and_then(|place| url.join(place).ok());
        let next = next.ok_or_else(|| unreachable("its server redirects to nowhere"))?;
        url = check(means.policy, next.as_str())?;
    }
    Err(unreachable("its server redirects too often"))
}

/// What can be judged before a connection: names are judged by what they resolve to, when it is opened.
fn check(policy: AddressPolicy, text: &str) -> Result<Url, GatewayError> {
    let url = policy.check_url(text).map_err(|error| match error {
        AddressError::NotAUrl | AddressError::NoHost => forbidden("it is no URL"),
        AddressError::Scheme => forbidden("only https URLs are fetched"),
        AddressError::Credentials => forbidden("it carries a user name or a password"),
        AddressError::Reserved | AddressError::Private => forbidden("its address is not public"),
    })?;
    match url.scheme() {
        "https" => Ok(url),
        // Machines of one's own seldom have certificates.
        _ if policy == AddressPolicy::AllowPrivate => Ok(url),
        _ => Err(forbidden("only https URLs are fetched")),
    }
}

async fn get(means: Means<'_>, url: &Url) -> Result<Response<UpstreamBody>, GatewayError> {
    let mut request = Request::new(Segmented::new(Vec::new()));
    *request.method_mut() = Method::GET;
    let mut bare = url.clone();
    bare.set_fragment(None);
    *request.uri_mut() = bare.as_str().parse().map_err(|_| forbidden("it is no URL"))?;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    means.client.send(request, CONNECT).await.map_err(|error| match error.kind {
        CallErrorKind::AddressRefused => forbidden("its address is not public"),
        CallErrorKind::Dns => unreachable("its host name does not resolve"),
        CallErrorKind::Tls => unreachable("the certificate of its server is not trusted, or belongs to another name"),
        CallErrorKind::ConnectTimeout
        | CallErrorKind::Connect
        | CallErrorKind::ConnectionLost
        | CallErrorKind::NotHttp
        | CallErrorKind::Egress(_) => unreachable("its server cannot be reached"),
    })
}

async fn read(means: Means<'_>, response: Response<UpstreamBody>, wanted: MediaKind) -> Result<Fetched, GatewayError> {
    if response.status() != StatusCode::OK {
        return Err(unreachable("its server does not have it"));
    }
    let (head, mut body) = response.into_parts();
    let coding = head.headers.get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(unreachable("its server compresses it, though that was declined"));
    }
    let declared = body.size_hint();
    if declared.lower() > LARGEST {
        return Err(too_large());
    }
    // A length that is not told holds no memory that others could use.
    let expected = declared.exact().unwrap_or(STEP);
    let mut share = reserve(means, while_read(expected)).await?;
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| unreachable("its server broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = (bytes.len() + data.len()) as u64;
        if length > LARGEST {
            return Err(too_large());
        }
        let missing = while_read(length).saturating_sub(share.covers());
        if missing > 0 {
            share.merge(reserve(means, missing.max(share.covers())).await?);
        }
        bytes.extend_from_slice(&data);
    }
    let told = head.headers.get(header::CONTENT_TYPE).and_then(|told| told.to_str().ok()).unwrap_or_default();
    let media_type = kind::media_type(wanted, told, &bytes).ok_or_else(|| wrong_kind(wanted))?;
    let base64 = encode(bytes.into()).await?;
    // What is kept is the base64 alone.
    share.shrink_to(base64.len() as u64);
    Ok(Fetched { media_type, base64, at: Instant::now(), _share: share })
}

/// Bytes and base64 are both held for a moment.
const fn while_read(bytes: u64) -> u64 {
    bytes * 7 / 3
}

async fn reserve(means: Means<'_>, bytes: u64) -> Result<Reservation, GatewayError> {
    means.memory.reserve(bytes).await.map_err(|_| {
        GatewayError::new(
            ErrorClass::Overloaded,
            "overloaded",
            "there is no memory for the media of this request right now",
        )
        .with_retry_after(Duration::from_secs(1))
    })
}

async fn encode(bytes: Bytes) -> Result<String, GatewayError> {
    if bytes.len() < MANY {
        return Ok(STANDARD.encode(&bytes));
    }
    tokio::task::spawn_blocking(move || STANDARD.encode(&bytes)).await.map_err(|_| {
        GatewayError::new(ErrorClass::Internal, "internal", "the media of this request could not be encoded")
    })
}

fn refused(code: &'static str, why: &str) -> GatewayError {
    GatewayError::bad_request(
        code,
        format!("the provider of this model takes no URLs, and this gateway cannot use one: {why}"),
    )
    .with_hint("send the media themselves, as base64")
}

fn forbidden(why: &str) -> GatewayError {
    refused("media_url_forbidden", why)
}

/// The server behind the URL did not give what was asked for.
pub(super) fn unreachable(why: &str) -> GatewayError {
    refused("media_unreachable", why)
}

fn too_large() -> GatewayError {
    refused("media_too_large", "what is behind it is larger than 20 MiB")
}

fn wrong_kind(wanted: MediaKind) -> GatewayError {
    let what = match wanted {
        MediaKind::Image => "picture",
        MediaKind::Audio => "sound",
        MediaKind::Video => "film",
        MediaKind::Document => "document",
    };
    refused("media_type_unsupported", &format!("what is behind it is no {what} of a known kind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_fetched_is_public_unless_the_operator_says_otherwise() {
        let code = |policy, url: &str| check(policy, url).err().map(|error| error.code);
        let (public, private) = (AddressPolicy::PublicOnly, AddressPolicy::AllowPrivate);
        assert_eq!(code(public, "https://example.com/a.png?x=1#y"), None);
        for url in [
            "http://example.com/a.png",
            "https://127.0.0.1/",
            "https://localhost/",
            "https://[::1]/",
            "https://10.0.0.1/",
        ] {
            assert_eq!(code(public, url), Some("media_url_forbidden"), "{url}");
        }
        for url in ["http://example.com/a.png", "http://127.0.0.1:1/", "https://10.0.0.1/"] {
            assert_eq!(code(private, url), None, "{url}");
        }
        for url in
            ["http://169.254.169.254/", "file:///etc/passwd", "data:text/plain,x", "https://u:p@example.com/", "x"]
        {
            assert_eq!(code(private, url), Some("media_url_forbidden"), "{url}");
        }
    }
}
