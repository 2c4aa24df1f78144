//! What a client gets.
//!
//! [`Reply`] is the body of every answer: what this proxy wrote itself, what the router gave, or a [`ReplyBody`], which is
//! an upstream's answer on its way through with whatever is done to it. [`observed`] lets somebody look at an answer as it goes
//! out, a [`refusal`] is what a client gets instead of one. A [`turn`] is what one answer may do before others go on.

mod error_context;
pub(crate) mod headers;
pub(crate) mod observed;
pub(crate) mod refusal;
mod stats;
pub(crate) mod terminator_timeout;
pub(crate) mod turn;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use self::observed::{Observed, Observer};
pub(crate) use self::{error_context::ErrorContext, stats::AnswerStats};

/// The body of an answer.
pub(crate) struct Reply(Content);

enum Content {
    /// Something this proxy wrote itself.
    Whole(Bytes),
    /// An answer of the router.
    Routed(axum::body::Body),
    /// What comes from an upstream.
    Streamed(Pin<Box<dyn ReplyBody>>),
}

/// An answer that goes on while the client has its beginning.
pub(crate) trait ReplyBody: Body<Data = Bytes, Error = CutShort> + Send {
    /// Whether it was a whole answer and no error, once it has ended.
    fn ended_well(&self) -> bool;

    /// When it has to be over, where it is an upstream's.
    fn deadline(&self) -> Option<Instant>;

    /// Whether it is known who answers: what has not begun may get another deadline then.
    fn has_begun(&self) -> bool {
        true
    }

    /// Ends it where it is, because the deadline of a drain has come.
    fn cut(self: Pin<&mut Self>);

    /// What has come so far.
    fn stats(&self) -> AnswerStats;
}

/// The answer cannot be finished; the connection is cut so that the client does not take it for whole.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CutShort(pub(crate) &'static str);

// === impl Reply ===

impl Reply {
    pub(crate) fn empty() -> Self {
        Self(Content::Whole(Bytes::new()))
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Content::Whole(bytes.into()))
    }

    pub(crate) fn routed(body: axum::body::Body) -> Self {
        Self(Content::Routed(body))
    }

    pub(crate) fn streamed(body: impl ReplyBody + 'static) -> Self {
        Self(Content::Streamed(Box::pin(body)))
    }

    /// The same, seen by `observer` as it goes out.
    pub(crate) fn observed(self, observer: Box<dyn Observer>) -> Self {
        Self::streamed(Observed::new(self, observer))
    }
}

impl ReplyBody for Reply {
    fn ended_well(&self) -> bool {
        match &self.0 {
            Content::Whole(_) | Content::Routed(_) => true,
            Content::Streamed(body) => body.ended_well(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.0 {
            Content::Whole(_) | Content::Routed(_) => None,
            Content::Streamed(body) => body.deadline(),
        }
    }

    fn has_begun(&self) -> bool {
        match &self.0 {
            Content::Whole(_) | Content::Routed(_) => true,
            Content::Streamed(body) => body.has_begun(),
        }
    }

    fn cut(mut self: Pin<&mut Self>) {
        if let Content::Streamed(body) = &mut self.0 {
            body.as_mut().cut();
        }
    }

    fn stats(&self) -> AnswerStats {
        match &self.0 {
            Content::Whole(_) | Content::Routed(_) => AnswerStats::default(),
            Content::Streamed(body) => body.stats(),
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match &mut self.0 {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Routed(body) => {
                Pin::new(body).poll_frame(cx).map_err(|_| CutShort("the answer broke off on its way through"))
            }
            Content::Streamed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Routed(body) => body.is_end_stream(),
            Content::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Routed(body) => body.size_hint(),
            Content::Streamed(body) => body.size_hint(),
        }
    }
}
