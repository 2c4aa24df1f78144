//! An answer that somebody looks at on its way to the client.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::respond::{CutShort, Reply};

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
pub(crate) struct Watched {
    inner: Reply,
    observer: Box<dyn Observer>,
    pause: Option<Pause>,
    /// Waits for the pause.
    held: Option<Frame<Bytes>>,
    over: bool,
}

// === impl Watched ===

impl Watched {
    pub(crate) fn new(inner: Reply, observer: Box<dyn Observer>) -> Self {
        Self { inner, observer, pause: None, held: None, over: false }
    }

    pub(crate) fn inner(&self) -> &Reply {
        &self.inner
    }

    pub(crate) fn inner_mut(&mut self) -> &mut Reply {
        &mut self.inner
    }

    pub(crate) fn ended_well(&self) -> bool {
        self.inner.ended_well()
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if let Some(frame) = self.held.take() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.over {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let is_last = self.inner.is_end_stream();
                    if let Some(piece) = frame.data_ref() {
                        self.pause = self.observer.see(piece, is_last);
                    }
                    if is_last {
                        self.over = true;
                        let end = self.observer.end(self.inner.ended_well());
                        self.pause = match (self.pause.take(), end) {
                            (Some(first), Some(then)) => Some(Box::pin(async move {
                                first.await;
                                then.await;
                            })),
                            (first, then) => first.or(then),
                        };
                    }
                    self.held = Some(frame);
                }
                Some(Err(cut)) => {
                    self.over = true;
                    self.pause = self.observer.end(false);
                    return Poll::Ready(Some(Err(cut)));
                }
                None => {
                    self.over = true;
                    self.pause = self.observer.end(self.inner.ended_well());
                }
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.pause.is_none() && (self.over || self.inner.is_end_stream())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().and_then(Frame::data_ref).map_or(0, |piece| piece.len() as u64);
        self.inner.size_hint().exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + held))
    }
}
