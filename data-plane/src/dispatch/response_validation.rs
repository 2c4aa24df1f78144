//! Whether what an upstream begins to send is an answer.
//!
//! Only what surely is the beginning of one counts. HTML, an error object behind a 200, an error in a stream's first events or
//! nothing at all is a [`FailedAttempt`], while another connection can still be tried.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::{header, response};
use http_body::Body as _;
use omniroute_wire::ir::Format;
use tokio::time::Instant;

use super::{
    attempt::{Attempt, LARGEST_DOCUMENT, TOO_LARGE, beginning, next, rest},
    outcome::FailedAttempt,
};
use crate::{
    answer::{
        Answer, AnswerFilter, AnswerKind,
        filter::{NotAnAnswer, Shape, is_error_object},
        first_content::FirstContent,
    },
    reply::{terminator_timeout::TerminatorTimeout, turn::Turn},
    translate::{DocumentError, Gathered, Streaming, Translation, from_document},
    upstream_client::UpstreamBody,
};

/// Fewer bytes do not tell what a document is.
const TELLING: usize = 32;
/// Up to this size a document is judged as a whole.
const SHORT: usize = 16 * 1024;
const HTML: &str = "the answer is an HTML page";
/// A stream that says nothing yet is held back this long, and up to this size, for an error to show.
pub(super) const HOLD: Duration = Duration::from_secs(5);
const MOST_HELD: usize = 256 * 1024;
/// A client that wants one document waits so much longer for its upstream to close the stream, so that the connection can be
/// used again.
const CLOSING: Duration = Duration::from_millis(100);

/// The beginning of an answer that goes on as it is.
pub(super) async fn pass(
    attempt: &Attempt<'_>,
    head: response::Parts,
    mut body: UpstreamBody,
    kind: AnswerKind,
    hide_usage: bool,
) -> Result<Answer, FailedAttempt> {
    let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let first = beginning(&mut body).await?;
    let shape = Shape::of(content_type, &first);
    if let AnswerKind::Chat(format) = kind
        && shape.is_stream().is_some_and(|streams| streams != attempt.request.stream)
    {
        // Rare, and a large future: kept out of this one.
        return Box::pin(reshaped(attempt, format, head, first, body)).await;
    }
    let streams = match shape {
        Shape::Events => true,
        Shape::Lines => kind == AnswerKind::Chat(Format::Ollama),
        Shape::Json => false,
        Shape::Html => return Err(FailedAttempt::malformed(HTML)),
        Shape::Unknown => return Err(FailedAttempt::malformed("the answer is neither JSON nor an event stream")),
    };
    if streams {
        // As large as the rest together, and once a stream.
        return Box::pin(events(attempt, head, first, body, (kind, hide_usage))).await;
    }
    if !body.is_end_stream() {
        return Box::pin(document(attempt, head, first, body, kind)).await;
    }
    let (mut filter, mut ready) = (AnswerFilter::json(kind), Vec::with_capacity(1));
    filter.feed(first.clone(), attempt.error_context(), &mut ready);
    checked(attempt, &filter, kind, &head, &first, true)?;
    Ok(Answer { head, body, filter, ready, is_quiet: false, reshaped: None })
}

/// The beginning of a document that comes in pieces. Whoever waits for one waits for all of it: a short one is judged as a
/// whole.
async fn document(
    attempt: &Attempt<'_>,
    head: response::Parts,
    first: Bytes,
    mut body: UpstreamBody,
    kind: AnswerKind,
) -> Result<Answer, FailedAttempt> {
    let (mut filter, mut ready, mut whole) = (AnswerFilter::json(kind), Vec::with_capacity(2), first.to_vec());
    filter.feed(first, attempt.error_context(), &mut ready);
    attempt.heard.store(true, Ordering::Relaxed);
    let until = Instant::now() + HOLD;
    let mut ended = false;
    while whole.len() < SHORT && !ended {
        let more = if whole.len() < TELLING {
            next(&mut body).await?
        } else {
            match tokio::time::timeout_at(until, next(&mut body)).await {
                Ok(more) => more?,
                Err(_) => break,
            }
        };
        match more {
            Some(more) => {
                whole.extend_from_slice(&more);
                filter.feed(more, attempt.error_context(), &mut ready);
                ended = body.is_end_stream();
            }
            None => ended = true,
        }
    }
    checked(attempt, &filter, kind, &head, &whole, ended)?;
    Ok(Answer { head, body, filter, ready, is_quiet: false, reshaped: None })
}

/// The beginning of a stream that goes on as it is. Errors often come behind a first event that says nothing yet: it
/// waits for the next, though not for long, so that another connection can still be tried.
async fn events(
    attempt: &Attempt<'_>,
    head: response::Parts,
    first: Bytes,
    mut body: UpstreamBody,
    (kind, hide_usage): (AnswerKind, bool),
) -> Result<Answer, FailedAttempt> {
    let choices = attempt.request.scan.n.unwrap_or(1);
    let (mut filter, mut content) =
        (AnswerFilter::events(kind, hide_usage).of_choices(choices), FirstContent::of(kind));
    let mut ready = Vec::with_capacity(4);
    let until = Instant::now() + HOLD;
    let mut ended = body.is_end_stream();
    content.see(&first);
    filter.feed(first.clone(), attempt.error_context(), &mut ready);
    attempt.heard.store(true, Ordering::Relaxed);
    let mut held = first.len();
    let mut is_quiet = false;
    while !ended && !filter.saw_error() && !filter.is_done() {
        // Nothing goes out before the first event is whole.
        let more = if ready.is_empty() {
            next(&mut body).await?
        } else if content.is_seen() || is_quiet || held > MOST_HELD {
            break;
        } else {
            match tokio::time::timeout_at(until, next(&mut body)).await {
                Ok(more) => more?,
                Err(_) => {
                    is_quiet = true;
                    continue;
                }
            }
        };
        match more {
            Some(more) => {
                held += more.len();
                content.see(&more);
                filter.feed(more, attempt.error_context(), &mut ready);
                ended = body.is_end_stream();
            }
            None => ended = true,
        }
    }
    // Whatever stands in front of it, nothing has gone out yet.
    if let Some(error) = filter.upstream_error() {
        return Err(FailedAttempt::of_stream_error(error, &head.headers));
    }
    checked(attempt, &filter, kind, &head, &first, ended)?;
    Ok(Answer { head, body, filter, ready, is_quiet, reshaped: None })
}

fn checked(
    attempt: &Attempt<'_>,
    filter: &AnswerFilter,
    kind: AnswerKind,
    head: &response::Parts,
    first: &[u8],
    ended: bool,
) -> Result<(), FailedAttempt> {
    match filter.check_first(kind, first, ended) {
        Ok(()) => Ok(()),
        Err(NotAnAnswer::ErrorObject) => Err(FailedAttempt::in_disguise(attempt.upstream(), head, first)),
        Err(NotAnAnswer::NoAnswer) => {
            Err(FailedAttempt::malformed("the answer lacks what every answer of its kind has"))
        }
    }
}

/// The beginning of an answer that came whole to a client that wants a stream, or the reverse: it is written anew in its
/// own format.
async fn reshaped(
    attempt: &Attempt<'_>,
    format: Format,
    head: response::Parts,
    first: Bytes,
    body: UpstreamBody,
) -> Result<Answer, FailedAttempt> {
    let translation = Box::new(attempt.request.reshaping(format, attempt.target.requested));
    let answer = translated(attempt, head, first, body, &translation).await?;
    Ok(Answer { reshaped: Some(translation), ..answer })
}

pub(super) async fn translated_from(
    attempt: &Attempt<'_>,
    head: response::Parts,
    mut body: UpstreamBody,
    translation: &Translation,
) -> Result<Answer, FailedAttempt> {
    let first = beginning(&mut body).await?;
    translated(attempt, head, first, body, translation).await
}

/// The beginning of an answer in another format. One that is whole, or that the client wants whole, is translated here,
/// while another connection can still be tried.
async fn translated(
    attempt: &Attempt<'_>,
    head: response::Parts,
    first: Bytes,
    mut body: UpstreamBody,
    translation: &Translation,
) -> Result<Answer, FailedAttempt> {
    let upstream = attempt.upstream();
    let error_context = attempt.error_context();
    let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let shape = Shape::of(content_type, &first);
    // Some hosts send events under another type.
    let streams = content_type.is_some_and(is_stream_type) || shape == Shape::Events;
    if shape == Shape::Html {
        return Err(FailedAttempt::malformed(HTML));
    }
    if !streams || !translation.stream {
        let written = if streams {
            gathered(&mut body, first, translation, attempt.times.idle).await?.written(translation).await
        } else {
            let whole = rest(&mut body, first).await?;
            if is_error_object(&whole) {
                return Err(FailedAttempt::in_disguise(upstream, &head, &whole));
            }
            from_document(&whole, translation).await
        };
        return match written {
            Ok((bytes, stats)) => Ok(Answer {
                head,
                body,
                filter: AnswerFilter::Finished(Box::new(stats)),
                ready: vec![bytes],
                is_quiet: false,
                reshaped: None,
            }),
            Err(DocumentError::Upstream(error)) => Err(FailedAttempt::of_stream_error(&error, &head.headers)),
            Err(DocumentError::Malformed(error)) => {
                tracing::debug!(%error, "an answer could not be read");
                Err(FailedAttempt::malformed("the answer is not in the provider's own format"))
            }
        };
    }
    let mut streaming = Streaming::new(translation);
    let mut ready = Vec::with_capacity(4);
    streaming.feed(&first, error_context, &mut ready);
    attempt.heard.store(true, Ordering::Relaxed);
    // Nothing goes out before something of the answer is there, so that an error before it is still ours to handle; but not
    // for long: who waits for a model that thinks wants a sign of life.
    let until = Instant::now() + HOLD;
    let mut is_quiet = false;
    let mut turn = Turn::default();
    while !streaming.has_substance() && streaming.error().is_none() {
        turn.pass().await;
        let Ok(more) = tokio::time::timeout_at(until, next(&mut body)).await else {
            is_quiet = true;
            break;
        };
        let Some(more) = more? else {
            streaming.end(error_context, &mut ready);
            break;
        };
        turn.took(more.len());
        streaming.feed(&more, error_context, &mut ready);
    }
    if let Some(error) = streaming.error().filter(|_| !streaming.has_substance()) {
        return Err(FailedAttempt::of_stream_error(error, &head.headers));
    }
    Ok(Answer { head, body, filter: AnswerFilter::Translated(Box::new(streaming)), ready, is_quiet, reshaped: None })
}

/// A stream for a client that wants one document, up to the answer's end, whether the upstream closes there or not.
async fn gathered(
    body: &mut UpstreamBody,
    first: Bytes,
    translation: &Translation,
    idle: Duration,
) -> Result<Gathered, FailedAttempt> {
    let (mut gathered, mut terminator, mut length) =
        (Gathered::new(translation), TerminatorTimeout::default(), first.len());
    let mut turn = Turn::default();
    gathered.feed(&first);
    while !gathered.is_done() {
        turn.pass().await;
        let finish_state = gathered.finish_state();
        terminator.see(finish_state, Instant::now());
        let more = match terminator.limit(idle) {
            Some(limit) => match tokio::time::timeout_at(limit, next(body)).await {
                Ok(more) => more,
                Err(_) => return Ok(gathered),
            },
            None => next(body).await,
        };
        match more {
            Ok(Some(more)) => {
                length += more.len();
                if length > LARGEST_DOCUMENT {
                    return Err(FailedAttempt::malformed(TOO_LARGE));
                }
                turn.took(more.len());
                gathered.feed(&more);
            }
            Ok(None) => return Ok(gathered),
            // Whatever becomes of the connection, the answer is there.
            Err(_) if finish_state.is_some() => return Ok(gathered),
            Err(failed) => return Err(failed),
        }
    }
    let closing = async { while let Ok(Some(_)) = next(body).await {} };
    // One that is not closed by then is given up.
    let _ = tokio::time::timeout(CLOSING, closing).await;
    Ok(gathered)
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
