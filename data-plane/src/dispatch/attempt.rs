//! One try at one connection: send, wait for the first byte, and judge what comes.
//!
//! Only what surely is the beginning of an answer counts as one. An error status, HTML, an error object behind a 200 or
//! nothing at all is a [`Failure`], while another connection can still be tried.

use std::{pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header, response};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use omniroute_providers::{Failure, FailureClass, Upstream};
use omniroute_wire::{
    codec::{Named, UpstreamError},
    ir::{Format, StreamError},
};
use tokio::time::Instant;

use super::{
    embeddings::embedded,
    outgoing::{Asked, Way},
    patience::Patience,
    request::Segmented,
    times::Times,
};
use crate::{
    resolve::Plan,
    respond::{
        lane::{Fault, Kind, Lane, Shape, Teller, is_error_object},
        meter::Meter,
    },
    server::Gateway,
    translate::{Streaming, Translation, WholeError, from_document, from_stream},
    upstream_client::{Stage, UpstreamClient},
};

/// Of an error's body this much is read, for this long.
const ERROR_BODY: usize = 64 * 1024;
const ERROR_BODY_WAIT: Duration = Duration::from_secs(5);
/// Fewer bytes do not tell what a document is.
const TELLING: usize = 32;
pub(super) const EMPTY: &str = "the answer is empty";
const HTML: &str = "the answer is an HTML page";
/// Largest answer that is translated in one piece.
pub(super) const LARGEST_DOCUMENT: usize = 64 * 1024 * 1024;

/// The beginning of an answer.
pub(crate) struct Answer {
    pub(crate) head: response::Parts,
    /// What follows the first bytes.
    pub(crate) body: Incoming,
    /// Has seen the first bytes.
    pub(crate) lane: Lane,
    /// What the client gets of them.
    pub(crate) ready: Vec<Bytes>,
    /// Set where the answer did not come in the shape that was asked for.
    pub(crate) reshaped: Option<Box<Translation>>,
}

/// Whom a try is made with, and for what.
pub(super) struct Trial<'a> {
    /// Knows the connection.
    pub(super) meter: &'a Meter,
    pub(super) asked: &'a Asked<'a>,
    pub(super) plan: &'a Plan,
    pub(super) way: &'a Way,
    pub(super) times: &'a Times,
    pub(super) begun: Instant,
}

/// A failed try. `broke`: the connection died under the request, as one that was idle too long does.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) broke: bool,
}

/// Sends `request`, and those beside it, and waits for the first bytes of an answer, as long as there is patience.
pub(super) async fn attempt(
    trial: &Trial<'_>,
    requests: (Request<Segmented>, Vec<Request<Segmented>>),
    patience: &mut Patience<'_>,
) -> Result<Answer, Failed> {
    let mut exchange = pin!(exchange(trial, requests));
    let mut until = Some(patience.until(trial.times));
    while let Some(end) = until {
        if let Ok(outcome) = tokio::time::timeout_at(end, exchange.as_mut()).await {
            return outcome;
        }
        until = patience.longer(trial.times, trial.begun);
    }
    Err(Failed::of(FailureClass::FirstByteTimeout, "no first byte in time"))
}

async fn exchange(
    trial: &Trial<'_>,
    (request, more): (Request<Segmented>, Vec<Request<Segmented>>),
) -> Result<Answer, Failed> {
    let (head, body) = answered(&trial.gateway().upstream, trial.upstream(), request, trial.times).await?;
    match trial.way {
        Way::Pass { kind, hide_usage } => pass(trial, head, body, *kind, *hide_usage).await,
        // Large futures that the other way does not pay for.
        Way::Translate(translation) => Box::pin(translated_from(trial, head, body, translation)).await,
        Way::Embed(embedding) => {
            let client = &trial.gateway().upstream;
            Box::pin(embedded(client, trial.upstream(), (head, body), more, embedding, trial.times)).await
        }
    }
}

/// The head of a good answer.
pub(super) async fn answered(
    client: &UpstreamClient<Segmented>,
    upstream: &Upstream,
    request: Request<Segmented>,
    times: &Times,
) -> Result<(response::Parts, Incoming), Failed> {
    let response = client.send(request, times.connect).await.map_err(|error| Failed::of_call(error.stage))?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        let text = error_body(body).await;
        let failure = upstream.adapter().classify(head.status, &head.headers, &text);
        return Err(Failed { failure, broke: false });
    }
    if is_encoded(&head.headers) {
        return Err(Failed::malformed("the answer is compressed, though that was declined"));
    }
    Ok((head, body))
}

/// The beginning of an answer that goes on as it is.
async fn pass(
    trial: &Trial<'_>,
    head: response::Parts,
    mut body: Incoming,
    kind: Kind,
    hide_usage: bool,
) -> Result<Answer, Failed> {
    let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let mut first = beginning(&mut body).await?;
    let shape = Shape::of(content_type, &first);
    if let Kind::Chat(format) = kind
        && shape.is_stream().is_some_and(|streams| streams != trial.asked.stream)
    {
        // Rare, and a large future: kept out of this one.
        return Box::pin(reshaped(trial, format, head, first, body)).await;
    }
    let mut lane = match shape {
        Shape::Events => Lane::events(kind, hide_usage),
        Shape::Lines if kind == Kind::Chat(Format::Ollama) => Lane::events(kind, hide_usage),
        Shape::Json | Shape::Lines => Lane::json(kind),
        Shape::Html => return Err(Failed::malformed(HTML)),
        Shape::Unknown => return Err(Failed::malformed("the answer is neither JSON nor an event stream")),
    };
    let mut ready = Vec::with_capacity(4);
    let mut ended = body.is_end_stream();
    if matches!(lane, Lane::Json(_)) {
        while first.len() < TELLING && !ended {
            let Some(more) = next(&mut body).await? else {
                ended = true;
                break;
            };
            first = joined(&first, &more);
            ended = body.is_end_stream();
        }
        lane.feed(first.clone(), trial.teller(), &mut ready);
    } else {
        // Nothing goes out before the first event is whole, so that an error in it is still ours to handle.
        lane.feed(first.clone(), trial.teller(), &mut ready);
        while ready.is_empty() && !ended {
            let Some(more) = next(&mut body).await? else {
                ended = true;
                break;
            };
            lane.feed(more, trial.teller(), &mut ready);
            ended = body.is_end_stream();
        }
    }
    match lane.check_first(kind, &first, ended) {
        Ok(()) => Ok(Answer { head, body, lane, ready, reshaped: None }),
        Err(Fault::ErrorObject) => Err(Failed::in_disguise(trial.upstream(), &head, &first)),
        Err(Fault::NoAnswer) => Err(Failed::malformed("the answer lacks what every answer of its kind has")),
    }
}

/// The beginning of an answer that came whole to a client that wants a stream, or the reverse: it is written anew in its
/// own format.
async fn reshaped(
    trial: &Trial<'_>,
    format: Format,
    head: response::Parts,
    first: Bytes,
    body: Incoming,
) -> Result<Answer, Failed> {
    let translation = Box::new(trial.asked.reshaping(format, trial.plan.requested()));
    let answer = translated(trial, head, first, body, &translation).await?;
    Ok(Answer { reshaped: Some(translation), ..answer })
}

async fn translated_from(
    trial: &Trial<'_>,
    head: response::Parts,
    mut body: Incoming,
    translation: &Translation,
) -> Result<Answer, Failed> {
    let first = beginning(&mut body).await?;
    translated(trial, head, first, body, translation).await
}

/// The beginning of an answer in another format. One that is whole, or that the client wants whole, is translated here,
/// while another connection can still be tried.
async fn translated(
    trial: &Trial<'_>,
    head: response::Parts,
    first: Bytes,
    mut body: Incoming,
    translation: &Translation,
) -> Result<Answer, Failed> {
    let upstream = trial.upstream();
    let teller = trial.teller();
    let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let shape = Shape::of(content_type, &first);
    // Some hosts send events under another type.
    let streams = content_type.is_some_and(is_stream_type) || shape == Shape::Events;
    if shape == Shape::Html {
        return Err(Failed::malformed(HTML));
    }
    if !streams || !translation.stream {
        let whole = rest(&mut body, first).await?;
        if !streams && is_error_object(&whole) {
            return Err(Failed::in_disguise(upstream, &head, &whole));
        }
        let written = if streams { from_stream(&whole, translation) } else { from_document(&whole, translation) };
        return match written {
            Ok((bytes, tally)) => {
                Ok(Answer { head, body, lane: Lane::Finished(tally), ready: vec![bytes], reshaped: None })
            }
            Err(WholeError::Upstream(error)) => Err(Failed::of_stream_error(&error)),
            Err(WholeError::Malformed(error)) => {
                tracing::debug!(%error, "an answer could not be read");
                Err(Failed::malformed("the answer is not in the provider's own format"))
            }
        };
    }
    let mut streaming = Streaming::new(translation);
    let mut ready = Vec::with_capacity(4);
    streaming.feed(&first, teller, &mut ready);
    // Nothing goes out before something of the answer is there, so that an error before it is still ours to handle.
    while !streaming.has_substance() && streaming.error().is_none() {
        let Some(more) = next(&mut body).await? else {
            streaming.end(teller, &mut ready);
            break;
        };
        streaming.feed(&more, teller, &mut ready);
    }
    if let Some(error) = streaming.error().filter(|_| !streaming.has_substance()) {
        return Err(Failed::of_stream_error(error));
    }
    Ok(Answer { head, body, lane: Lane::Translated(Box::new(streaming)), ready, reshaped: None })
}

fn is_stream_type(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    [
        &b"text/event-stream"[..],
        b"application/x-ndjson",
        b"application/stream+json",
        b"application/vnd.amazon.eventstream",
    ]
    .iter()
    .any(|known| kind.eq_ignore_ascii_case(known))
}

/// All of a body that must not be too long.
pub(super) async fn rest(body: &mut Incoming, first: Bytes) -> Result<Bytes, Failed> {
    let mut whole = BytesMut::from(first);
    while let Some(more) = next(body).await? {
        if whole.len() + more.len() > LARGEST_DOCUMENT {
            return Err(Failed::malformed("the answer is too large to be translated"));
        }
        whole.extend_from_slice(&more);
    }
    Ok(whole.freeze())
}

/// The first bytes.
async fn beginning(body: &mut Incoming) -> Result<Bytes, Failed> {
    next(body).await?.ok_or_else(|| Failed::malformed(EMPTY))
}

/// The next bytes; `None` at the end. Behind a head, nothing is tried again at the same place: the answer was under way,
/// and is paid for.
pub(super) async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Failed> {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Failed::malformed("the answer broke off"));
        };
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn joined(first: &Bytes, more: &Bytes) -> Bytes {
    let mut both = BytesMut::with_capacity(first.len() + more.len());
    both.extend_from_slice(first);
    both.extend_from_slice(more);
    both.freeze()
}

/// The beginning of an error's body, as far as it comes.
async fn error_body(mut body: Incoming) -> BytesMut {
    let mut text = BytesMut::new();
    let reading = async {
        while let Ok(Some(piece)) = next(&mut body).await {
            let room = ERROR_BODY - text.len();
            text.extend_from_slice(&piece[..piece.len().min(room)]);
            if text.len() == ERROR_BODY {
                break;
            }
        }
    };
    // What has come until then has to do.
    let _ = tokio::time::timeout(ERROR_BODY_WAIT, reading).await;
    text
}

/// The error object, without what an event stream puts in front of it.
fn error_text(first: &[u8]) -> &[u8] {
    let text = first.trim_ascii();
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data:"));
    line.unwrap_or(text).trim_ascii()
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

// === impl Trial ===

impl<'a> Trial<'a> {
    fn gateway(&self) -> &'a Gateway {
        self.meter.gateway()
    }

    fn upstream(&self) -> &'a Upstream {
        &self.meter.entry().upstream
    }

    fn teller(&self) -> Teller<'a> {
        self.meter.teller()
    }
}

// === impl Failed ===

impl Failed {
    fn of(class: FailureClass, message: &'static str) -> Self {
        Self { failure: Failure::without_answer(class, message), broke: false }
    }

    pub(super) fn malformed(message: &'static str) -> Self {
        Self { failure: Failure::malformed_answer(message), broke: false }
    }

    /// The status says 200 and the body says otherwise: judged as the error that it is.
    pub(super) fn in_disguise(upstream: &Upstream, head: &response::Parts, body: &[u8]) -> Self {
        let failure = upstream.adapter().classify(StatusCode::BAD_GATEWAY, &head.headers, error_text(body));
        Self { failure, broke: false }
    }

    /// A stream that began with an error.
    fn of_stream_error(error: &StreamError) -> Self {
        let status = StatusCode::from_u16(error.class.status()).unwrap_or(StatusCode::BAD_GATEWAY);
        let known = UpstreamError {
            class: error.class,
            message: error.message.clone(),
            code: Some(error.code.to_owned()),
            named: Named::default(),
            retry_after: error.retry_after,
        };
        Self { failure: Failure::of_answer(status, &HeaderMap::new(), &[], known), broke: false }
    }

    fn of_call(stage: Stage) -> Self {
        let class = match stage {
            Stage::Garbage => FailureClass::Server,
            _ => FailureClass::Connect,
        };
        let broke = matches!(stage, Stage::Broken | Stage::Connect);
        Self { failure: Failure::without_answer(class, stage.describe()), broke }
    }
}
