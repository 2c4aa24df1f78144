//! One attempt at one target: send, and wait for the beginning of an answer, which [`super::response_validation`] judges.
//!
//! An error status or nothing at all is a [`FailedAttempt`], while another target can still be tried.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, header, response};
use http_body_util::BodyExt;
use omniroute_providers::{FailureClass, Upstream};
use omniroute_wire::byte_order_mark;
use tokio::time::Instant;

use super::{
    embeddings::embedded,
    first_byte_timeout::FirstByteTimeout,
    outcome::FailedAttempt,
    response_validation::{HOLD, pass, translated_from},
    upstream_payload::ClientRequest,
};
use crate::{
    accounting::{NOTE_AFTER, RequestAccounting},
    answer::{Answer, TranslationMode},
    reply::ErrorContext,
    request::{Segmented, Target, TimeLimits},
    snapshot::ConnectionEntry,
    upstream_client::{UpstreamBody, UpstreamClient},
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

/// Whom an attempt is made with, and for what.
pub(super) struct Attempt<'a> {
    pub(super) client: &'a UpstreamClient<Segmented>,
    pub(super) accounting: &'a RequestAccounting,
    pub(super) request: &'a ClientRequest<'a>,
    pub(super) target: Target<'a>,
    pub(super) mode: &'a TranslationMode,
    pub(super) times: &'a TimeLimits,
    pub(super) begun: Instant,
    /// The first bytes have come; whether they are an answer shows soon.
    pub(super) heard: AtomicBool,
}

// === impl Attempt ===

impl<'a> Attempt<'a> {
    /// Sends the request, and those beside it, and waits for the first bytes of an answer, as long as `timeout` lets it.
    pub(super) async fn run(
        &self,
        requests: Requests,
        timeout: &mut FirstByteTimeout<'_>,
    ) -> Result<Answer, FailedAttempt> {
        let upload = requests.0.body().upload().cloned();
        let mut exchange = pin!(self.exchange(requests));
        let mut note = Some(self.begun + NOTE_AFTER);
        let mut until = Some(timeout.until(self.times));
        while let Some(end) = until {
            let wake = note.map_or(end, |note| note.min(end));
            if let Ok(outcome) = tokio::time::timeout_at(wake, exchange.as_mut()).await {
                return outcome;
            }
            if wake < end {
                note = None;
                self.accounting.waits();
                continue;
            }
            until = match self.heard.swap(false, Ordering::Relaxed) {
                true => Some(Instant::now() + HOLD),
                false => timeout.longer(self.times, upload.as_deref()),
            };
        }
        Err(FailedAttempt::of(FailureClass::FirstByteTimeout, "no first byte in time"))
    }

    async fn exchange(&self, (request, more): Requests) -> Result<Answer, FailedAttempt> {
        let (head, body) = answered(self.client, self.target.entry, request, self.times).await?;
        match self.mode {
            TranslationMode::Passthrough { kind, hide_usage } => pass(self, head, body, *kind, *hide_usage).await,
            // Large futures that the other way does not pay for.
            TranslationMode::Translate(translation) => Box::pin(translated_from(self, head, body, translation)).await,
            TranslationMode::Embeddings(embedding) => {
                Box::pin(embedded(self.client, self.target.entry, (head, body), more, embedding, self.times)).await
            }
        }
    }

    pub(super) fn upstream(&self) -> &'a Upstream {
        &self.target.entry.upstream
    }

    pub(super) fn error_context(&self) -> ErrorContext<'a> {
        self.accounting.error_context()
    }
}

/// The head of a good answer.
pub(super) async fn answered(
    client: &UpstreamClient<Segmented>,
    entry: &ConnectionEntry,
    request: Box<Request<Segmented>>,
    times: &TimeLimits,
) -> Result<(response::Parts, UpstreamBody), FailedAttempt> {
    let sent = match &entry.outbound {
        None => client.send(*request, times.connect).await,
        // Few connections have one: what that takes has no room in this future.
        Some(proxy) => Box::pin(client.send_through(*request, proxy, times.connect)).await,
    };
    let response = sent.map_err(|error| FailedAttempt::of_call(&error))?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        let text = error_body(body).await;
        let failure = entry.upstream.adapter().classify(head.status, &head.headers, &text);
        return Err(FailedAttempt::from(failure));
    }
    if is_encoded(&head.headers) {
        return Err(FailedAttempt::malformed("the answer is compressed, though that was declined"));
    }
    Ok((head, body))
}

/// All of a body that must not be too long.
pub(super) async fn rest(body: &mut UpstreamBody, first: Bytes) -> Result<Bytes, FailedAttempt> {
    let mut whole = BytesMut::from(first);
    while let Some(more) = next(body).await? {
        if whole.len() + more.len() > LARGEST_DOCUMENT {
            return Err(FailedAttempt::malformed(TOO_LARGE));
        }
        whole.extend_from_slice(&more);
    }
    Ok(whole.freeze())
}

/// The first bytes. A byte order mark is none of them: clients lose a stream's first event behind one, and read no JSON.
pub(super) async fn beginning(body: &mut UpstreamBody) -> Result<Bytes, FailedAttempt> {
    let empty = || FailedAttempt::malformed(EMPTY);
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
pub(super) async fn next(body: &mut UpstreamBody) -> Result<Option<Bytes>, FailedAttempt> {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(FailedAttempt::malformed("the answer broke off"));
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

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
