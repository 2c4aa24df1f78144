//! An answer that somebody looks at on its way to the client.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{AnswerStats, CutShort, Reply, ReplyBody};

/// Work that an answer waits for.
pub(crate) type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Looks at an answer.
pub(crate) trait Observer: Send {
    /// The next bytes that the client gets, before it does. They wait for what is returned.
    fn see(&mut self, piece: &Bytes, is_last: bool) -> Option<Pause>;

    /// Nothing follows; the end waits for what is returned. `well`: the answer came to its own end.
    fn end(&mut self, well: bool) -> Option<Pause>;
}

/// A body and its observer. The observer is dropped without [`Observer::end`] when the client goes away.
pub(crate) struct Observed {
    inner: Reply,
    observer: Box<dyn Observer>,
    pause: Option<Pause>,
    /// Waits for the pause.
    held: Option<Frame<Bytes>>,
    over: bool,
}

// === impl Observed ===

impl Observed {
    pub(crate) fn new(inner: Reply, observer: Box<dyn Observer>) -> Self {
        Self { inner, observer, pause: None, held: None, over: false }
    }
}

impl ReplyBody for Observed {
    fn ended_well(&self) -> bool {
        self.inner.ended_well()
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.deadline()
    }

    fn cut(mut self: Pin<&mut Self>) {
        Pin::new(&mut self.inner).cut();
    }

    fn stats(&self) -> AnswerStats {
        self.inner.stats()
    }
}

impl Body for Observed {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            if let Some(frame) = this.held.take() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if this.over {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let is_last = this.inner.is_end_stream();
                    if let Some(piece) = frame.data_ref() {
                        this.pause = this.observer.see(piece, is_last);
                    }
                    if is_last {
                        this.over = true;
                        let end = this.observer.end(this.inner.ended_well());
                        this.pause = match (this.pause.take(), end) {
                            (Some(first), Some(then)) => Some(Box::pin(async move {
                                first.await;
                                then.await;
                            })),
                            (first, then) => first.or(then),
                        };
                    }
                    this.held = Some(frame);
                }
                Some(Err(cut)) => {
                    this.over = true;
                    this.pause = this.observer.end(false);
                    return Poll::Ready(Some(Err(cut)));
                }
                None => {
                    this.over = true;
                    this.pause = this.observer.end(this.inner.ended_well());
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.pause.is_none() && (self.over || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().and_then(Frame::data_ref).map_or(0, |piece| piece.len() as u64);
        self.inner.size_hint().exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + held))
    }
}
