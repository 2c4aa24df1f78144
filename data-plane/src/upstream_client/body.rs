//! The body of an answer, whichever protocol brings it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{error::BodyError, http2};

/// What follows the head of a provider's answer. Dropping it before its end cancels the request.
#[derive(Debug)]
pub struct UpstreamBody(Kind);

// Boxed: answers are handed from stage to stage, and each keeps room for one.
#[derive(Debug)]
enum Kind {
    Http1(Box<Incoming>),
    Http2(Box<http2::Received>),
}

// === impl UpstreamBody ===

impl UpstreamBody {
    pub(super) fn http1(body: Incoming) -> Self {
        Self(Kind::Http1(Box::new(body)))
    }

    pub(super) fn http2(body: http2::Received) -> Self {
        Self(Kind::Http2(Box::new(body)))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Http1(body) => Pin::new(&mut **body).poll_frame(cx).map_err(|_| BodyError),
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
