//! Asking the provider.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt;
use omniroute_core::error::GatewayError;
use omniroute_credentials::Keeper;
use omniroute_providers::{ChatApiSelector, Token, Upstream};
use omniroute_wire::{
    anthropic,
    codec::{DecodeContext, EncodeTarget, Encoded, WireError},
    gemini,
    ir::{Format, Losses},
    openai::renamed_body,
    responses,
    splice::Segments,
    translate::{Dialect, name_table},
};

use super::CountRequest;
use crate::{
    credentials,
    request::{self, Segmented},
    seal::{SignatureSealer, has_sealed_signature},
    snapshot::ConnectionEntry,
    tokens::decode,
    upstream_client::{UpstreamBody, UpstreamClient},
};

/// Clients count before every request, so the count must not take longer than the answer.
const TIME: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
/// A count is not longer.
const LARGEST: usize = 64 * 1024;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("omniroute/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Switches of Anthropic's clients that change what a prompt is.
const SWITCHES: [HeaderName; 2] =
    [HeaderName::from_static("anthropic-beta"), HeaderName::from_static("anthropic-version")];

/// The provider's count; `None` when it does not count, or not now.
///
/// # Errors
/// When the request cannot be written for the provider, or the provider says that it is wrong.
pub(super) async fn ask(
    client: &UpstreamClient<Segmented>,
    keeper: &Keeper,
    target: request::Target<'_>,
    asked: &CountRequest<'_>,
) -> Result<Option<u64>, GatewayError> {
    let (upstream, model) = (&target.entry.upstream, target.model);
    let selector = ChatApiSelector::plain(asked.dialect.format());
    let Some(format) = upstream.chat_format_for(model, &selector) else { return Ok(None) };
    let uri = match (format, asked.dialect) {
        (Format::OpenAiResponses, Dialect::Responses) if !has_sealed_signature(asked.body, format) => {
            upstream.responses_uri("input_tokens")
        }
        // What crosses to it from another dialect is counted here as well as there, and sooner.
        (Format::OpenAiResponses, _) => None,
        _ => upstream.count_uri(model),
    };
    let Some(uri) = uri else { return Ok(None) };
    let (body, headers) = write(upstream, format, model, asked)?;
    let mut request = Request::new(Segmented::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = head(upstream, asked, &headers);
    if let Some(grant) = upstream.grant() {
        let minting = credentials::token(keeper, grant, target.entry, client);
        let token = tokio::time::timeout(TIME, Box::pin(minting)).await;
        let Ok(Ok(Token::Bearer(bearer))) = token else { return Ok(None) };
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
    }
    for (name, value) in upstream.envelope(format, model).iter().flat_map(|envelope| envelope.headers()) {
        request.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    match tokio::time::timeout(TIME, exchange(client, target.entry, request)).await {
        Ok(Some((response, text))) => judge(upstream, format, &response, &text),
        Ok(None) | Err(_) => Ok(None),
    }
}

type Headers = Vec<(&'static str, String)>;

/// The body, and headers that it demands.
fn write(
    upstream: &Upstream,
    format: Format,
    model: &str,
    asked: &CountRequest<'_>,
) -> Result<(Segments, Headers), GatewayError> {
    if let (Dialect::Messages, Format::Anthropic) = (asked.dialect, format) {
        return Ok((anthropic::upstream_body(asked.body.clone(), asked.scan, model), Vec::new()));
    }
    if let (Dialect::Responses, Format::OpenAiResponses) = (asked.dialect, format) {
        return Ok((renamed_body(asked.body.clone(), asked.scan, model), Vec::new()));
    }
    let sealer = SignatureSealer::new(asked.pepper);
    let request = decode(asked.dialect, asked.body, &DecodeContext { sealer: &sealer, answer: "" })?;
    let profile = upstream.profile(format, model);
    let names = name_table(format, &request);
    let target = EncodeTarget { model, profile: &profile, names: &names, stream: false };
    let mut losses = Losses::default();
    let encoded: Result<Encoded, WireError> = match format {
        Format::Gemini => gemini::encode_count_request(&request, &target, &mut losses),
        _ => anthropic::encode_count_tokens(&request, &target, &mut losses),
    };
    let Encoded { body, headers, .. } = encoded?;
    Ok((vec![body.into()], headers))
}

fn head(upstream: &Upstream, asked: &CountRequest<'_>, own: &Headers) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(upstream.headers().len() + 6);
    if upstream.chat_format() == Some(asked.dialect.format()) {
        for name in SWITCHES {
            for value in asked.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
    }
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::ACCEPT, JSON);
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in upstream.headers() {
        headers.insert(name.clone(), value.clone());
    }
    for (name, value) in own {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(*name, value);
        }
    }
    headers
}

async fn exchange(
    client: &UpstreamClient<Segmented>,
    entry: &ConnectionEntry,
    request: Request<Segmented>,
) -> Option<(Response<()>, Bytes)> {
    let sent = match &entry.outbound {
        None => client.send(request, CONNECT).await,
        Some(proxy) => Box::pin(client.send_through(request, proxy, CONNECT)).await,
    };
    let response = sent.ok()?;
    let (head, mut body): (_, UpstreamBody) = response.into_parts();
    let mut text = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            let room = LARGEST - text.len();
            text.extend_from_slice(&data[..data.len().min(room)]);
        }
        if text.len() == LARGEST {
            break;
        }
    }
    Some((Response::from_parts(head, ()), text.freeze()))
}

fn judge(
    upstream: &Upstream,
    format: Format,
    response: &Response<()>,
    text: &Bytes,
) -> Result<Option<u64>, GatewayError> {
    if response.status().is_success() {
        let counted = match format {
            Format::Gemini => gemini::decode_count_response(text),
            Format::OpenAiResponses => responses::decode_count_response(text),
            _ => anthropic::decode_count_tokens_response(text),
        };
        return Ok(counted.ok());
    }
    let failure = upstream.adapter().classify(response.status(), response.headers(), text);
    let has_none = match response.status().as_u16() {
        // Of these hosts few count.
        404 | 501 => format == Format::OpenAiResponses,
        405 => true,
        _ => false,
    };
    if failure.retryable() || has_none {
        // A host without the endpoint, or one that has no time: the prompt can be counted here as well.
        tracing::debug!(connection = upstream.id().as_str(), code = failure.code(), "the provider does not count");
        return Ok(None);
    }
    Err(failure.to_gateway_error(upstream.hidden()))
}
