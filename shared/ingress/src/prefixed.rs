//! A stream, and bytes of it that somebody has read already.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use crate::read_hook::{Hooked, ReadHook};

/// Gives the bytes out first.
pub type Prefixed<S> = Hooked<S, Prefix>;

/// What has been read already.
#[derive(Debug)]
pub struct Prefix(Bytes);

// === impl Prefixed ===

impl<S> Prefixed<S> {
    pub fn new(prefix: Bytes, stream: S) -> Self {
        Self::with(Prefix(prefix), stream)
    }
}

// === impl Prefix ===

impl ReadHook for Prefix {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self(prefix) = self;
        if prefix.is_empty() {
            return Pin::new(stream).poll_read(cx, buffer);
        }
        let length = prefix.len().min(buffer.remaining());
        buffer.put_slice(&prefix[..length]);
        prefix.advance(length);
        if prefix.is_empty() {
            // Its memory is not needed any more.
            *prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}
