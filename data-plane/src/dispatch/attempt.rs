//! One try at one connection: send, wait for the first byte, and judge what comes.
//!
//! Only what surely is the beginning of an answer counts as one. An error status, HTML, an error object behind a 200 or
//! nothing at all is a [`Failure`], while another connection can still be tried.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header, response};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use omniroute_providers::{Failure, FailureClass, Operation, Upstream};
use tokio::time::Instant;

use super::{request::Segmented, times::Times};
use crate::{
    respond::lane::{Fault, Lane, Shape},
    upstream_client::{Stage, UpstreamClient},
};

/// Of an error's body this much is read, for this long.
const ERROR_BODY: usize = 64 * 1024;
const ERROR_BODY_WAIT: Duration = Duration::from_secs(5);
/// Fewer bytes do not tell what a document is.
const TELLING: usize = 32;

/// The beginning of an answer.
pub(crate) struct Answer {
    pub(crate) head: response::Parts,
    /// What follows the first bytes.
    pub(crate) body: Incoming,
    /// Has seen the first bytes.
    pub(crate) lane: Lane,
    /// What the client gets of them.
    pub(crate) ready: Vec<Bytes>,
}

/// A failed try. `broke`: the connection died under the request, as one that was idle too long does.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) broke: bool,
}

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Question {
    pub(super) operation: Operation,
    /// The client did not ask for the usage chunk.
    pub(super) hide_usage: bool,
}

/// Sends `request` and waits for the first bytes of an answer until `deadline`.
pub(super) async fn attempt(
    client: &UpstreamClient<Segmented>,
    upstream: &Upstream,
    request: Request<Segmented>,
    question: Question,
    times: &Times,
    deadline: Instant,
) -> Result<Answer, Failed> {
    let deadline = deadline.min(Instant::now() + times.first_byte);
    match tokio::time::timeout_at(deadline, exchange(client, upstream, request, question, times)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failed::of(FailureClass::FirstByteTimeout, "no first byte in time")),
    }
}

async fn exchange(
    client: &UpstreamClient<Segmented>,
    upstream: &Upstream,
    request: Request<Segmented>,
    question: Question,
    times: &Times,
) -> Result<Answer, Failed> {
    let response = client.send(request, times.connect).await.map_err(|error| Failed::of_call(error.stage))?;
    let (head, mut body) = response.into_parts();
    if !head.status.is_success() {
        let text = error_body(body).await;
        let failure = upstream.adapter().classify(head.status, &head.headers, &text);
        return Err(Failed { failure, broke: false });
    }
    if is_encoded(&head.headers) {
        return Err(Failed::malformed("the answer is compressed, though that was declined"));
    }
    let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let Some(mut first) = next(&mut body).await? else {
        return Err(Failed::malformed("the answer is empty"));
    };
    let mut lane = match Shape::of(content_type, &first) {
        Shape::Events => Lane::events(question.hide_usage),
        Shape::Json => Lane::json(),
        Shape::Html => return Err(Failed::malformed("the answer is an HTML page")),
        Shape::Unknown => return Err(Failed::malformed("the answer is neither JSON nor an event stream")),
    };
    let mut ready = Vec::with_capacity(4);
    let mut ended = body.is_end_stream();
    match lane {
        Lane::Json(_) => {
            while first.len() < TELLING && !ended {
                let Some(more) = next(&mut body).await? else {
                    ended = true;
                    break;
                };
                first = joined(&first, &more);
                ended = body.is_end_stream();
            }
            lane.feed(first.clone(), &mut ready);
        }
        Lane::Events(_) => {
            // Nothing goes out before the first event is whole, so that an error in it is still ours to handle.
            lane.feed(first.clone(), &mut ready);
            while ready.is_empty() && !ended {
                let Some(more) = next(&mut body).await? else {
                    ended = true;
                    break;
                };
                lane.feed(more, &mut ready);
                ended = body.is_end_stream();
            }
        }
    }
    match lane.check_first(question.operation, &first, ended) {
        Ok(()) => Ok(Answer { head, body, lane, ready }),
        Err(Fault::ErrorObject) => {
            // The status says 200 and the body says otherwise: judged as the error that it is.
            let failure = upstream.adapter().classify(StatusCode::BAD_GATEWAY, &head.headers, error_text(&first));
            Err(Failed { failure, broke: false })
        }
        Err(Fault::NoAnswer) => Err(Failed::malformed("the answer lacks what every answer of its kind has")),
    }
}

/// The next bytes; `None` at the end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Failed> {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Failed::of_call(Stage::Broken));
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

// === impl Failed ===

impl Failed {
    fn of(class: FailureClass, message: &'static str) -> Self {
        Self { failure: Failure::without_answer(class, message), broke: false }
    }

    fn malformed(message: &'static str) -> Self {
        Self { failure: Failure::malformed_answer(message), broke: false }
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
