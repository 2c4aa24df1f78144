//! Heads that cannot be read, answered in words.
//!
//! hyper answers a malformed head by itself, with a status and nothing else, and one that does not come to its end not at all.
//! [`BadHeadIo`] lies beneath it: it remembers how the present head begins, which tells the dialect, and where hyper writes its
//! bare status, it writes an error that the client's library can read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, StatusCode};
use omniroute_core::error::{ErrorClass, GatewayError};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::{head_timeout::Counted, route::dialect_of_path, write_timeout::StreamActivity};
use crate::{metrics, reply::refusal::Refusal, request::RequestId};

/// How much of a head is remembered: method and the beginning of the path.
const REMEMBERED: usize = 64;
/// The longest head that hyper writes by itself.
const BARE: usize = 256;

/// A client's HTTP/1 stream.
pub(super) struct BadHeadIo {
    stream: Counted,
    activity: Arc<StreamActivity>,
    beginning: [u8; REMEMBERED],
    length: usize,
    /// The number of requests that had come when the head began.
    since: u64,
    /// What is written instead of hyper's words, and goes before anything else.
    owed: Bytes,
}

// === impl BadHeadIo ===

impl BadHeadIo {
    pub(super) fn new(stream: Counted, activity: Arc<StreamActivity>) -> Self {
        Self { stream, activity, beginning: [0; REMEMBERED], length: 0, since: 0, owed: Bytes::new() }
    }

    /// Tells a client whose head did not come to its end in time. One that sent nothing has nothing to be told.
    pub(super) async fn refuse_slow_head(mut self, limit: Duration) {
        if self.length == 0 || self.since != self.activity.requests() {
            return;
        }
        let answer = self.refusal(StatusCode::REQUEST_TIMEOUT);
        let writing = async {
            self.stream.write_all(&answer).await?;
            self.stream.shutdown().await
        };
        // Whether the client still reads is its own affair.
        let _ = tokio::time::timeout(limit, writing).await;
    }

    fn remember(&mut self, bytes: &[u8]) {
        if !self.activity.is_idle() {
            return;
        }
        let requests = self.activity.requests();
        if self.since != requests {
            (self.since, self.length) = (requests, 0);
        }
        let room = &mut self.beginning[self.length..];
        let length = room.len().min(bytes.len());
        room[..length].copy_from_slice(&bytes[..length]);
        self.length += length;
    }

    /// Puts words in the place of a bare status of hyper's. Whether that is one.
    fn takes_the_place_of(&mut self, bytes: &[u8]) -> bool {
        let status = if self.activity.is_idle() { bare_status(bytes) } else { None };
        if let Some(status) = status {
            self.owed = self.refusal(status);
        }
        status.is_some()
    }

    fn refusal(&self, status: StatusCode) -> Bytes {
        let known = self.since == self.activity.requests();
        let path = if known { path(&self.beginning[..self.length]) } else { "" };
        let request_id = RequestId::of(&HeaderMap::new());
        let error = error(status);
        metrics::refused(error.code);
        let refusal = Refusal { error, connection: None };
        refusal.log(&request_id);
        let (_, body) = dialect_of_path(path).encode_error(&refusal.error, request_id.as_str());
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\
             x-request-id: {}\r\n\r\n",
            body.len(),
            request_id.as_str(),
        );
        [head.as_bytes(), &body[..]].concat().into()
    }

    fn poll_owed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.owed.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.owed))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.owed.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

fn error(status: StatusCode) -> GatewayError {
    match status {
        StatusCode::REQUEST_TIMEOUT => GatewayError::new(
            ErrorClass::RequestTimeout,
            "request_timeout",
            "the head of the request did not come to its end in time",
        ),
        StatusCode::URI_TOO_LONG => GatewayError::bad_request("uri_too_long", "the address of the request is too long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            GatewayError::bad_request("headers_too_large", "the headers of the request are too large, or too many")
        }
        _ => GatewayError::bad_request("malformed_request", "the head of the request is not HTTP"),
    }
}

/// The status, if this is an answer that hyper wrote by itself: a head with nothing in it, of which all of ours have more.
fn bare_status(bytes: &[u8]) -> Option<StatusCode> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 4").filter(|_| bytes.len() <= BARE)?;
    let text = std::str::from_utf8(rest).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let status = match lines.next()?.get(..2)? {
        "00" => StatusCode::BAD_REQUEST,
        "14" => StatusCode::URI_TOO_LONG,
        "31" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => return None,
    };
    let is_bare = lines.all(|line| {
        let name = line.split(':').next().unwrap_or_default();
        ["content-length", "connection", "date"].iter().any(|known| name.eq_ignore_ascii_case(known))
    });
    is_bare.then_some(status)
}

/// The path in the beginning of a head; empty when there is none.
fn path(beginning: &[u8]) -> &str {
    let mut words = beginning.split(|byte| *byte == b' ').skip(1);
    words
        .next()
        .and_then(|path| std::str::from_utf8(path).ok())
        .filter(|path| path.starts_with('/'))
        .unwrap_or_default()
}

impl AsyncRead for BadHeadIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            this.remember(read);
        }
        polled
    }
}

impl AsyncWrite for BadHeadIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_owed(cx))?;
        if self.takes_the_place_of(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_owed(cx))?;
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.takes_the_place_of(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_owed(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_owed(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_words_are_replaced() {
        let bare = |status: &str| {
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n")
        };
        for (status, expected) in [
            ("400 Bad Request", Some(400)),
            ("414 URI Too Long", Some(414)),
            ("431 Request Header Fields Too Large", Some(431)),
            ("404 Not Found", None),
            ("200 OK", None),
        ] {
            assert_eq!(bare_status(bare(status).as_bytes()).map(|status| status.as_u16()), expected, "{status}");
        }
        let ours = "HTTP/1.1 400 Bad Request\r\nx-request-id: r\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(bare_status(ours.as_bytes()), None);
        let followed = format!("{}{{}}", bare("400 Bad Request"));
        assert_eq!(bare_status(followed.as_bytes()), None);
    }

    #[test]
    fn the_path_is_known_as_soon_as_it_is_there() {
        for (beginning, expected) in [
            (&b"POST /v1/messages HTTP/1.1\r\n"[..], "/v1/messages"),
            (b"POST /v1/mess", "/v1/mess"),
            (b"POST", ""),
            (b"\x16\x03\x01 /x", "/x"),
            (b"GET http://a/ HTTP/1.1", ""),
        ] {
            assert_eq!(path(beginning), expected);
        }
    }
}
