//! The body of an answer, whichever protocol brings it.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{error::BodyError, http1, http2};

/// What follows the head of a provider's answer. Dropping it before its end cancels the request.
pub struct UpstreamBody(Kind);

// Boxed: answers are handed from stage to stage, and each keeps room for one.
enum Kind {
    Http1(Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>),
    Http2(Box<http2::Received>),
}

// === impl UpstreamBody ===

impl UpstreamBody {
    pub(super) fn http1<B: Send + 'static>(body: http1::Received<B>) -> Self {
        Self(Kind::Http1(Box::pin(body)))
    }

    pub(super) fn http2(body: http2::Received) -> Self {
        Self(Kind::Http2(Box::new(body)))
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.0 {
            Kind::Http1(_) => "Http1",
            Kind::Http2(_) => "Http2",
        };
        f.debug_tuple("UpstreamBody").field(&protocol).finish()
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Http1(body) => body.as_mut().poll_frame(cx),
            Kind::Http2(body) => body.poll_frame(cx),
        }
    }

    /// True once all bytes of a declared length have come, even if the end of the stream comes in a frame of its own.
    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Http1(body) => body.is_end_stream(),
            Kind::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Http1(body) => body.size_hint(),
            Kind::Http2(body) => body.size_hint(),
        }
    }
}
