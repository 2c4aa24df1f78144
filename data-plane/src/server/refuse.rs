//! Sending an error while the client may still be sending its request.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::Body;
use http_body_util::BodyExt;
use omniroute_wire::translate::Dialect;
use tokio::sync::Semaphore;

use crate::{
    reply::{
        Reply,
        refusal::{Refusal, error_response},
    },
    request::RequestId,
};

/// A client that is refused in the middle of its body may finish sending, up to so much and for so long. Closing at
/// once would make its system throw our answer away.
const LINGER_BYTES: u64 = 64 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(5);
/// Clients that may do so at the same time.
static LINGERING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(256));

/// Logs the refusal once and renders it. `body` is what the client is still sending; `None` when it waits for a word
/// before it sends.
pub(super) fn refuse<B>(
    refusal: &Refusal,
    dialect: &Dialect,
    request_id: &RequestId,
    body: Option<B>,
) -> Response<Reply>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    refusal.log(request_id);
    let mut response = error_response(&refusal.error, dialect, request_id);
    let unread = body.filter(|body| !body.is_end_stream());
    if unread.is_some() || refusal.error.code == "draining" {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(body) = unread {
        discard(body);
    }
    response
}

/// Reads on for a while and throws away what comes.
fn discard<B>(mut body: B)
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    let Ok(place) = LINGERING.try_acquire() else {
        return;
    };
    tokio::spawn(async move {
        let reading = async {
            let mut left = LINGER_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                let read = frame.data_ref().map_or(0, |data| data.len() as u64);
                left = left.saturating_sub(read);
                if left == 0 {
                    return;
                }
            }
        };
        // Whether it came to an end or not, it has had its time.
        let _ = tokio::time::timeout(LINGER, reading).await;
        drop(place);
    });
}
