//! The request as an upstream gets it: head and body.

use std::{collections::HashSet, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    time::{Clock, UnixMillis},
};
use omniroute_providers::{Signer, Token, Upstream};

use super::upstream_payload::{COMPACT, ClientRequest, UpstreamPayload};
use crate::{answer::TranslationMode, request::Segmented};

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("omniroute/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Frames are read on their way through; compressed ones could not be.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// Room beside the connection's own headers.
const OWN_HEADERS: usize = 8;

/// What proves who a request is from, beside the connection's own headers.
#[derive(Clone, Copy)]
pub(super) struct Proof<'a> {
    /// Of a connection whose credential is exchanged.
    pub(super) token: Option<&'a Token>,
    /// Signatures have a time.
    pub(super) clock: &'a dyn Clock,
}

/// The request for one connection: its own headers (they win), then what passes of the client's, then ours.
///
/// # Errors
/// When the model's name makes no path at this upstream.
pub(super) fn build(
    upstream: &Upstream,
    asked: &ClientRequest<'_>,
    payload: &UpstreamPayload,
    model: &str,
    proof: Proof<'_>,
) -> Result<Request<Segmented>, GatewayError> {
    build_with(upstream, asked, payload, &payload.body, model, proof)
}

fn build_with(
    upstream: &Upstream,
    asked: &ClientRequest<'_>,
    payload: &UpstreamPayload,
    body: &Segmented,
    model: &str,
    proof: Proof<'_>,
) -> Result<Request<Segmented>, GatewayError> {
    let template = upstream.headers();
    let mut headers = HeaderMap::with_capacity(template.len() + OWN_HEADERS);
    let passes = payload.mode.stays_in_family();
    for (name, value) in &asked.head.headers {
        // A vendor's own switches mean nothing to another vendor.
        if may_pass(name) && (passes || !is_vendors(name)) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::ACCEPT, if asked.stream { EVENT_STREAM } else { JSON });
    headers.insert(header::ACCEPT_ENCODING, IDENTITY);
    for (name, value) in template {
        headers.insert(name.clone(), value.clone());
    }
    for (name, value) in &payload.headers {
        // What the client switched on itself stays on.
        let given = headers.get_all(*name).iter().filter_map(|given| given.to_str().ok());
        let mut all: Vec<&str> =
            given.chain([value.as_str()]).flat_map(|list| list.split(',')).map(str::trim).collect();
        let mut seen = HashSet::new();
        all.retain(|one| seen.insert(*one));
        if let Ok(all) = HeaderValue::from_str(&all.join(",")) {
            headers.insert(*name, all);
        }
    }
    let envelope = payload.mode.format().and_then(|format| upstream.envelope(format, model));
    for (name, value) in envelope.iter().flat_map(|envelope| envelope.headers()) {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    if let Some(Token::Bearer(bearer)) = proof.token {
        headers.insert(header::AUTHORIZATION, bearer.clone());
    }
    let compacts = asked.compacted.is_some() && payload.mode.is_passthrough();
    let uri = match (compacts.then(|| upstream.responses_uri(COMPACT)).flatten(), payload.mode.format()) {
        (Some(compact), _) => Ok(compact),
        (None, Some(format)) => upstream.chat_uri(format, model, asked.stream),
        (None, None) => upstream.uri_for(asked.operation, model, asked.stream),
    };
    let uri = uri.map_err(|_| {
        GatewayError::bad_request("invalid_model", "the model's name cannot be used with this provider")
            .with_param("model")
    })?;
    let body = match envelope.and_then(|envelope| envelope.apply(&body.segments().concat())) {
        Some(body) => Segmented::new(vec![body.into()]).tracked(),
        None => body.tracked(),
    };
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let lent = match proof.token {
        Some(Token::Keys(keys)) => Some(Signer::new(keys.clone(), upstream.region().to_owned())),
        _ => None,
    };
    if let Some(signer) = lent.as_ref().or(upstream.signer()) {
        sign(signer, &mut request, proof.clock.now())?;
    }
    Ok(request)
}

/// The requests that are sent beside the first one, as [`build`] makes that.
///
/// # Errors
/// As [`build`].
pub(super) fn build_more(
    upstream: &Upstream,
    asked: &ClientRequest<'_>,
    payload: &UpstreamPayload,
    model: &str,
    proof: Proof<'_>,
) -> Result<Vec<Request<Segmented>>, GatewayError> {
    let TranslationMode::Embeddings(embedding) = &payload.mode else { return Ok(Vec::new()) };
    embedding.more.iter().map(|body| build_with(upstream, asked, payload, body, model, proof)).collect()
}

/// Signs what is ready to be sent. A signature is good for minutes, so every attempt gets its own.
fn sign(signer: &Signer, request: &mut Request<Segmented>, now: UnixMillis) -> Result<(), GatewayError> {
    let segments = Arc::clone(request.body().segments());
    signer.sign(request, segments.iter().map(|segment| &segment[..]), now).map_err(|error| {
        tracing::error!(%error, "a request could not be signed");
        GatewayError::new(ErrorClass::Internal, "signing_failed", "the request to the provider could not be signed")
    })
}

fn is_vendors(name: &HeaderName) -> bool {
    name.as_str().starts_with("anthropic-") || name.as_str().starts_with("openai-")
}

/// What of a client's head an upstream may see: beta switches, the idempotency key, an application's own name. Never
/// who the client is (credentials, cookies, addresses, organisation) nor what belongs to its connection.
fn may_pass(name: &HeaderName) -> bool {
    let text = name.as_str();
    match text.as_bytes()[0] {
        b'a' => text == "anthropic-beta" || text == "anthropic-version",
        b'h' => text == "http-referer",
        b'i' => text == "idempotency-key",
        b'o' => text.starts_with("openai-") && text != "openai-organization" && text != "openai-project",
        b'x' => text == "x-title",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use omniroute_core::{
        address::AddressPolicy,
        hash::Pepper,
        time::{SystemClock, UnixMillis},
    };
    use omniroute_providers::{CloudSpec, ConnectionSpec, Operation, Timeouts};
    use omniroute_wire::{embeddings::EmbedDialect, scan::scan, translate::Dialect};

    use super::*;

    fn upstream(headers: &[(String, String)]) -> Upstream {
        let spec = ConnectionSpec {
            id: "c1",
            provider: "openai",
            name: "main",
            auth_type: "apikey",
            secret: "sk-vendor",
            base_url: "",
            region: "",
            api_type: "",
            headers,
            timeouts: Timeouts::default(),
            max_concurrent: 0,
            node: None,
            cloud: CloudSpec::default(),
        };
        Upstream::compile(&spec, AddressPolicy::PublicOnly).expect("compiled")
    }

    fn built(upstream: &Upstream, operation: Operation, headers: &HeaderMap, stream: bool) -> Request<Segmented> {
        let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
        let read = body.clone();
        let (mut head, ()) = Request::new(()).into_parts();
        head.headers.clone_from(headers);
        let asked = ClientRequest {
            operation,
            dialect: &Dialect::Chat,
            head: &head,
            body,
            scan: &scan(&read).expect("scanned"),
            stream,
            embed: EmbedDialect::OpenAi,
            at: UnixMillis(0),
            pepper: &Pepper::new("p"),
            scope: "",
            previous: None,
            is_kept: false,
            compacted: None,
        };
        let Ok(payload) = asked.as_it_is(upstream, "m").expect("possible") else { panic!("the formats are the same") };
        build(upstream, &asked, &payload, "m", Proof { token: None, clock: &SystemClock }).expect("built")
    }

    #[test]
    fn the_clients_identity_and_connection_stay_here() {
        let mut client = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer sk-client"),
            ("x-api-key", "sk-client"),
            ("cookie", "a=b"),
            ("connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("host", "gateway"),
            ("content-length", "5"),
            ("accept-encoding", "gzip"),
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1"),
            ("x-stainless-os", "Linux"),
            ("user-agent", "OpenAI/Python"),
            ("openai-organization", "org-client"),
            ("openai-beta", "assistants=v2"),
            ("idempotency-key", "k1"),
        ] {
            client.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let request = built(&upstream(&[]), Operation::Chat, &client, true);
        let mut seen: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
        seen.sort_unstable();
        assert_eq!(
            seen,
            [
                ("accept", "text/event-stream"),
                ("accept-encoding", "identity"),
                ("authorization", "Bearer sk-vendor"),
                ("content-type", "application/json"),
                ("idempotency-key", "k1"),
                ("openai-beta", "assistants=v2"),
                ("user-agent", concat!("omniroute/", env!("CARGO_PKG_VERSION"))),
            ]
        );
        assert_eq!(request.uri(), "https://api.openai.com/v1/chat/completions");
    }

    #[test]
    fn the_operators_headers_win() {
        let own = [("user-agent".to_owned(), "ours".to_owned()), ("openai-beta".to_owned(), "x".to_owned())];
        let mut client = HeaderMap::new();
        client.insert("openai-beta", HeaderValue::from_static("y"));
        let request = built(&upstream(&own), Operation::Embeddings, &client, false);
        assert_eq!(request.headers()["user-agent"], "ours");
        assert_eq!(request.headers()["openai-beta"], "x");
        assert_eq!(request.headers()["accept"], "application/json");
    }
}
