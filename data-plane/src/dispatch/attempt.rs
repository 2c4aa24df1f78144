//! One try at one connection: send, and wait for the beginning of an answer, which [`super::opening`] judges.
//!
//! An error status or nothing at all is a [`Failure`], while another connection can still be tried.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header, response};
use http_body_util::BodyExt;
use omniroute_providers::{Failure, FailureClass, Upstream};
use omniroute_wire::{
    byte_order_mark,
    codec::{Named, UpstreamError},
    ir::StreamError,
};
use tokio::time::Instant;

use super::{
    embeddings::embedded,
    opening::{Answer, HELD, pass, translated_from},
    outgoing::{Asked, Way},
    patience::Patience,
    request::Segmented,
    times::Times,
};
use crate::{
    resolve::Plan,
    respond::{
        lane::Teller,
        meter::{Meter, NOTE_AFTER},
    },
    server::Gateway,
    upstream_client::{CallError, Stage, UpstreamBody, UpstreamClient},
};

/// Of an error's body this much is read, for this long.
const ERROR_BODY: usize = 64 * 1024;
const ERROR_BODY_WAIT: Duration = Duration::from_secs(5);
pub(super) const EMPTY: &str = "the answer is empty";
/// Largest answer that is translated in one piece.
pub(super) const LARGEST_DOCUMENT: usize = 64 * 1024 * 1024;
pub(super) const TOO_LARGE: &str = "the answer is too large to be translated";

/// The request, boxed because it is handed on through futures that keep room for it, and those that are sent beside it.
pub(super) type Requests = (Box<Request<Segmented>>, Vec<Request<Segmented>>);

/// Whom a try is made with, and for what.
pub(super) struct Trial<'a> {
    /// Knows the connection.
    pub(super) meter: &'a Meter,
    pub(super) asked: &'a Asked<'a>,
    pub(super) plan: &'a Plan,
    pub(super) way: &'a Way,
    pub(super) times: &'a Times,
    pub(super) begun: Instant,
    /// The first bytes have come; whether they are an answer shows soon.
    pub(super) heard: AtomicBool,
}

/// A failed try.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// The connection died under the request, as one that was idle too long does.
    pub(super) broke: bool,
    /// The provider has surely not begun with the request.
    pub(super) is_unprocessed: bool,
}

/// Sends `request`, and those beside it, and waits for the first bytes of an answer, as long as there is patience.
pub(super) async fn attempt(
    trial: &Trial<'_>,
    requests: Requests,
    patience: &mut Patience<'_>,
) -> Result<Answer, Failed> {
    let upload = requests.0.body().upload().cloned();
    let mut exchange = pin!(exchange(trial, requests));
    let mut note = Some(trial.begun + NOTE_AFTER);
    let mut until = Some(patience.until(trial.times));
    while let Some(end) = until {
        let wake = note.map_or(end, |note| note.min(end));
        if let Ok(outcome) = tokio::time::timeout_at(wake, exchange.as_mut()).await {
            return outcome;
        }
        if wake < end {
            note = None;
            trial.meter.waits();
            continue;
        }
        until = match trial.heard.swap(false, Ordering::Relaxed) {
            true => Some(Instant::now() + HELD),
            false => patience.longer(trial.times, upload.as_deref()),
        };
    }
    Err(Failed::of(FailureClass::FirstByteTimeout, "no first byte in time"))
}

async fn exchange(trial: &Trial<'_>, (request, more): Requests) -> Result<Answer, Failed> {
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
    request: Box<Request<Segmented>>,
    times: &Times,
) -> Result<(response::Parts, UpstreamBody), Failed> {
    let response = client.send(*request, times.connect).await.map_err(|error| Failed::of_call(&error))?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        let text = error_body(body).await;
        let failure = upstream.adapter().classify(head.status, &head.headers, &text);
        return Err(Failed::from(failure));
    }
    if is_encoded(&head.headers) {
        return Err(Failed::malformed("the answer is compressed, though that was declined"));
    }
    Ok((head, body))
}

/// All of a body that must not be too long.
pub(super) async fn rest(body: &mut UpstreamBody, first: Bytes) -> Result<Bytes, Failed> {
    let mut whole = BytesMut::from(first);
    while let Some(more) = next(body).await? {
        if whole.len() + more.len() > LARGEST_DOCUMENT {
            return Err(Failed::malformed(TOO_LARGE));
        }
        whole.extend_from_slice(&more);
    }
    Ok(whole.freeze())
}

/// The first bytes. A byte order mark is none of them: clients lose a stream's first event behind one, and read no JSON.
pub(super) async fn beginning(body: &mut UpstreamBody) -> Result<Bytes, Failed> {
    let empty = || Failed::malformed(EMPTY);
    let mut first = next(body).await?.ok_or_else(empty)?;
    while byte_order_mark::is_begun(&first) {
        let Some(more) = next(body).await? else { break };
        first = [first, more].concat().into();
    }
    match byte_order_mark::without(&first) {
        [] => next(body).await?.ok_or_else(empty),
        rest => Ok(first.slice_ref(rest)),
    }
}

/// The next bytes; `None` at the end. Behind a head, nothing is tried again at the same place: the answer was under way,
/// and is paid for.
pub(super) async fn next(body: &mut UpstreamBody) -> Result<Option<Bytes>, Failed> {
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

/// The beginning of an error's body, as far as it comes.
async fn error_body(mut body: UpstreamBody) -> BytesMut {
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

/// What an error inside a stream with this head says of the connection.
pub(crate) fn failure_of(error: &StreamError, head: &HeaderMap) -> Failure {
    let status = StatusCode::from_u16(error.class.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let known = UpstreamError {
        class: error.class,
        message: error.message.clone(),
        code: Some(error.code.to_owned()),
        named: Named::default(),
        retry_after: error.retry_after,
    };
    Failure::of_answer(status, head, &[], known)
}

// === impl Trial ===

impl<'a> Trial<'a> {
    pub(super) fn gateway(&self) -> &'a Gateway {
        self.meter.gateway()
    }

    pub(super) fn upstream(&self) -> &'a Upstream {
        &self.meter.entry().upstream
    }

    pub(super) fn teller(&self) -> Teller<'a> {
        self.meter.teller()
    }
}

// === impl Failed ===

impl Failed {
    fn of(class: FailureClass, message: &'static str) -> Self {
        Self::from(Failure::without_answer(class, message))
    }

    pub(super) fn malformed(message: &'static str) -> Self {
        Self::from(Failure::malformed_answer(message))
    }

    /// The status says 200 and the body says otherwise: judged as the error that it is.
    pub(super) fn in_disguise(upstream: &Upstream, head: &response::Parts, body: &[u8]) -> Self {
        Self::from(upstream.adapter().classify(StatusCode::BAD_GATEWAY, &head.headers, error_text(body)))
    }

    /// A stream that began with an error.
    pub(super) fn of_stream_error(error: &StreamError, head: &HeaderMap) -> Self {
        Self::from(failure_of(error, head))
    }

    fn of_call(error: &CallError) -> Self {
        let stage = error.stage;
        let class = match stage {
            Stage::Garbage => FailureClass::Server,
            _ => FailureClass::Connect,
        };
        let broke = matches!(stage, Stage::Broken | Stage::Connect);
        let failed = Self::of(class, stage.describe());
        Self { broke, is_unprocessed: error.is_unprocessed, ..failed }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, broke: false, is_unprocessed: false }
    }
}
