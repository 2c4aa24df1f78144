//! Reading a request's body: bounded in size, in memory and in time.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_wire::byte_order_mark;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use crate::request::{BodyMemory, memory::Reservation};

/// A body has to come at least this fast on average, in bytes per second, once the silence that is allowed anyway has
/// passed. Otherwise one byte at a time would hold memory for hours.
pub(crate) const SLOWEST: u64 = 4 * 1024;
/// Memory is taken in steps of at least this size while a body comes in.
const STEP: u64 = 64 * 1024;

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: u64,
    /// Longest gap between two pieces.
    pub(crate) silence: Duration,
}

pin_project! {
    /// How long nothing has come. A body that is there at once needs no timer, and one that comes in pieces no more than one.
    struct Silence {
        // Set again only when it has rung.
        #[pin]
        timer: Option<Sleep>,
        // Since then; `None` until it is waited for.
        heard: Option<Instant>,
        limit: Duration,
    }
}

/// Why there is no body.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the request body is larger than {0} bytes")]
    TooLarge(u64),
    #[error("the request body came too slowly")]
    Slow,
    #[error("the request body ended early or was not framed correctly")]
    Broken,
    #[error("too many request bodies are held in memory right now")]
    NoMemory,
}

/// Reads the whole body. A body that comes in one piece is not copied. What `paid` covers is not taken again.
pub(crate) async fn read<B>(
    mut body: B,
    paid: Option<Reservation>,
    limits: BodyLimits,
    memory: &BodyMemory,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let max = limits.max_bytes;
    let declared = body.size_hint().exact();
    if body.size_hint().lower() > max {
        return Err(BodyError::TooLarge(max));
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut share = match paid {
        Some(paid) => paid,
        // A length that is only declared holds no memory that others could use.
        None => reserve(memory, declared.unwrap_or(max).min(STEP)).await?,
    };
    let mut timer = pin!(Silence::new(limits.silence));
    let Some(first) = next_piece(&mut body, timer.as_mut()).await? else {
        return Ok(Bytes::new());
    };
    if body.is_end_stream() && first.len() as u64 <= max {
        grow(&mut share, memory, first.len() as u64).await?;
        return Ok(unmarked(share.hold(first)));
    }

    let started = Instant::now();
    let mut whole = Vec::with_capacity(declared.map_or(first.len() * 2, |len| usize::try_from(len).unwrap_or(0)));
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        let received = whole.len() as u64 + bytes.len() as u64;
        if received > max {
            return Err(BodyError::TooLarge(max));
        }
        grow(&mut share, memory, received).await?;
        whole.extend_from_slice(&bytes);
        let now = Instant::now();
        timer.as_mut().broken(now);
        if now > started + limits.silence + Duration::from_secs(received / SLOWEST) {
            return Err(BodyError::Slow);
        }
        // Of a declared length nothing follows, so the end is not waited for.
        piece = if body.is_end_stream() { None } else { next_piece(&mut body, timer.as_mut()).await? };
    }
    Ok(unmarked(share.hold(whole.into())))
}

/// A body without the byte order mark that some programs put in front of it.
pub(super) fn unmarked(body: Bytes) -> Bytes {
    let mark = body.len() - byte_order_mark::without(&body).len();
    if mark == 0 { body } else { body.slice(mark..) }
}

async fn reserve(memory: &BodyMemory, bytes: u64) -> Result<Reservation, BodyError> {
    memory.reserve(bytes).await.map_err(|_| BodyError::NoMemory)
}

pub(super) async fn grow(share: &mut Reservation, memory: &BodyMemory, bytes: u64) -> Result<(), BodyError> {
    let covered = share.covers();
    if bytes > covered {
        share.merge(reserve(memory, (bytes - covered).max(covered)).await?);
    }
    Ok(())
}

/// The next piece that is not empty; `None` at the end.
async fn next_piece<B>(body: &mut B, mut silence: Pin<&mut Silence>) -> Result<Option<Bytes>, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    poll_fn(|cx| {
        loop {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Ok(Some(data))),
                    _ => {}
                },
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(BodyError::Broken)),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => return silence.as_mut().poll(cx).map(|()| Err(BodyError::Slow)),
            }
        }
    })
    .await
}

// === impl Silence ===

impl Silence {
    fn new(limit: Duration) -> Self {
        Self { timer: None, heard: None, limit }
    }

    /// Something has come.
    fn broken(self: Pin<&mut Self>, now: Instant) {
        *self.project().heard = Some(now);
    }
}

impl Future for Silence {
    type Output = ();

    /// Ready when it has lasted too long.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let due = *this.heard.get_or_insert_with(Instant::now) + *this.limit;
        if this.timer.is_none() {
            this.timer.set(Some(tokio::time::sleep_until(due)));
        }
        while let Some(mut timer) = this.timer.as_mut().as_pin_mut() {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                break;
            }
            timer.reset(due);
        }
        Poll::Ready(())
    }
}

// === impl BodyError ===

impl From<BodyError> for GatewayError {
    fn from(error: BodyError) -> Self {
        let message = error.to_string();
        match error {
            BodyError::TooLarge(_) => Self::new(ErrorClass::TooLarge, "body_too_large", message)
                .with_hint("send less, or ask the operator for a larger limit"),
            BodyError::Slow => Self::new(ErrorClass::RequestTimeout, "request_timeout", message),
            BodyError::Broken => Self::bad_request("incomplete_body", message),
            BodyError::NoMemory => {
                Self::new(ErrorClass::Overloaded, "overloaded", message).with_retry_after(Duration::from_secs(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::StreamExt;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    const SILENCE: Duration = Duration::from_secs(30);

    fn limits(max_bytes: u64) -> BodyLimits {
        BodyLimits { max_bytes, silence: SILENCE }
    }

    /// Pieces of a body of unknown length, each after a pause.
    fn pieces(pieces: Vec<(Duration, &'static [u8])>) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let stream = futures_util::stream::iter(pieces).then(|(pause, bytes)| async move {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(Bytes::from_static(bytes)))
        });
        StreamBody::new(Box::pin(stream))
    }

    #[tokio::test]
    async fn one_piece_is_passed_on_without_a_copy() {
        let memory = BodyMemory::new(1 << 20);
        let sent = Bytes::from(vec![7; 5000]);
        let read = read(Full::new(sent.clone()), None, limits(5000), &memory).await.expect("a body");
        assert_eq!(read.as_ptr(), sent.as_ptr());
        assert!(memory.held() >= 5000);
        drop(read);
        assert_eq!(memory.held(), 0);
    }

    /// Declares a length and sends nothing.
    struct Promised(u64);

    impl Body for Promised {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(self.0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_declared_length_takes_no_memory_from_others() {
        let memory = BodyMemory::new(1 << 20);
        let promised = read(Promised(1 << 20), None, limits(1 << 20), &memory);
        let other = async {
            tokio::time::sleep(SILENCE / 2).await;
            read(Full::new(Bytes::from(vec![7; 500_000])), None, limits(1 << 20), &memory).await
        };
        let (promised, other) = tokio::join!(promised, other);
        assert_eq!((promised, other.expect("a body").len()), (Err(BodyError::Slow), 500_000));
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_are_joined_and_empty_bodies_are_empty() {
        let memory = BodyMemory::new(1 << 20);
        let pause = Duration::from_secs(1);
        let body = pieces(vec![(pause, b"ab"), (pause, b""), (pause, b"c")]);
        assert_eq!(read(body, None, limits(3), &memory).await.expect("a body"), "abc");
        assert_eq!(read(pieces(vec![]), None, limits(3), &memory).await.expect("a body"), "");
        assert_eq!(read(Full::default(), None, limits(3), &memory).await.expect("a body"), "");
    }

    #[tokio::test(start_paused = true)]
    async fn too_much_is_refused_by_its_declared_and_by_its_real_length() {
        let memory = BodyMemory::new(1 << 20);
        let declared = read(Full::new(Bytes::from_static(b"abcd")), None, limits(3), &memory).await;
        assert_eq!(declared, Err(BodyError::TooLarge(3)));
        let real = read(pieces(vec![(SILENCE / 2, b"ab"), (SILENCE / 8, b"cd")]), None, limits(3), &memory).await;
        assert_eq!(real, Err(BodyError::TooLarge(3)));
        let at_once = read(pieces(vec![(Duration::ZERO, b"abcd")]), None, limits(3), &memory).await;
        assert_eq!(at_once, Err(BodyError::TooLarge(3)));
        assert_eq!(memory.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_a_trickle_are_both_too_slow() {
        let memory = BodyMemory::new(1 << 20);
        let silent = read(pieces(vec![(SILENCE * 2, b"a")]), None, limits(99), &memory).await;
        assert_eq!(silent, Err(BodyError::Slow));
        let trickle = read(pieces(vec![(SILENCE / 2, b"a"); 10]), None, limits(99), &memory).await;
        assert_eq!(trickle, Err(BodyError::Slow));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_unknown_length_pays_for_what_it_holds() {
        let memory = BodyMemory::new(3 * STEP);
        let piece: &'static [u8] = &[b'x'; 60 * 1024];
        let body = pieces(vec![(Duration::ZERO, piece); 4]);
        let read = read(body, None, limits(1 << 20), &memory).await;
        assert_eq!(read, Err(BodyError::NoMemory), "240 KiB do not fit into 192 KiB in steps that double");
        assert_eq!(memory.held(), 0);
    }
}
