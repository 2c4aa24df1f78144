//! The answer that a Responses answer goes on from, in an answer that passes as it came.
//!
//! The gateway keeps conversations itself and sends the upstream the whole of one, so that the upstream answers as if it went on
//! from nothing: `"previous_response_id":null`, once in a document, in each of a stream's events that hold the response. The
//! client gets the id that it sent. No document is parsed for that: a key in quotes cannot lie in a text, where its quotes
//! would be escaped, and what else has the key (a schema, say) does not have it with the value `null`.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use memchr::memmem;
use tokio::time::Instant;

use crate::reply::{AnswerStats, CutShort, ReplyBody};

const KEY: &[u8] = b"\"previous_response_id\"";
const NULL: &[u8] = b"null";
/// White space between key and value that is followed.
const LONGEST_GAP: usize = 64;

/// An answer with that id in it.
pub(super) struct WithPreviousResponse<R> {
    answer: Pin<Box<R>>,
    filler: Filler,
    ended: bool,
}

/// Fills the id in.
struct Filler {
    /// As JSON.
    id: Vec<u8>,
    /// What may be the beginning of key and value.
    held: BytesMut,
}

/// What stands at the beginning of some bytes.
enum Found {
    /// Key and value, of this length up to the value.
    Null(usize),
    Other,
    /// It cannot be told yet.
    Cut,
}

// === impl WithPreviousResponse ===

impl<R> WithPreviousResponse<R> {
    pub(super) fn new(answer: Pin<Box<R>>, previous: &str) -> Self {
        let id = serde_json::Value::from(previous).to_string().into_bytes();
        Self { answer, filler: Filler { id, held: BytesMut::new() }, ended: false }
    }
}

impl<R: ReplyBody> ReplyBody for WithPreviousResponse<R> {
    fn ended_well(&self) -> bool {
        self.answer.ended_well()
    }

    fn deadline(&self) -> Option<Instant> {
        self.answer.deadline()
    }

    fn cut(mut self: Pin<&mut Self>) {
        self.answer.as_mut().cut();
    }

    fn stats(&self) -> AnswerStats {
        self.answer.stats()
    }
}

impl<R> Body for WithPreviousResponse<R>
where
    R: Body<Data = Bytes, Error = CutShort>,
{
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = &mut *self;
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            match std::task::ready!(this.answer.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => {
                        let is_last = this.answer.is_end_stream();
                        let mut out = this.filler.feed(piece);
                        if is_last {
                            this.ended = true;
                            out = this.filler.end(out);
                        }
                        if !out.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(out))));
                        }
                    }
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Some(Err(cut)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(cut)));
                }
                None => {
                    this.ended = true;
                    let rest = this.filler.end(Bytes::new());
                    if !rest.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.filler.held.is_empty() && self.answer.is_end_stream())
    }
}

// === impl Filler ===

impl Filler {
    fn feed(&mut self, piece: Bytes) -> Bytes {
        let piece = if self.held.is_empty() {
            piece
        } else {
            self.held.extend_from_slice(&piece);
            self.held.split().freeze()
        };
        let mut out = BytesMut::new();
        // Up to where nothing has been handed out, and up to where nothing is left to look for.
        let (mut done, mut at) = (0, 0);
        while let Some(found) = memmem::find(&piece[at..], KEY) {
            let start = at + found;
            match value_behind(&piece[start + KEY.len()..]) {
                Found::Null(length) => {
                    let value = start + KEY.len() + length;
                    out.extend_from_slice(&piece[done..value]);
                    out.extend_from_slice(&self.id);
                    done = value + NULL.len();
                    at = done;
                }
                Found::Other => at = start + KEY.len(),
                Found::Cut => return self.hold(&piece, done, start, out),
            }
        }
        let tail = (1..KEY.len()).rev().find(|length| piece.ends_with(&KEY[..*length])).unwrap_or(0);
        let end = piece.len() - tail;
        self.hold(&piece, done, end.max(done), out)
    }

    /// Hands out what lies before `end` and keeps the rest.
    fn hold(&mut self, piece: &Bytes, done: usize, end: usize, mut out: BytesMut) -> Bytes {
        self.held.extend_from_slice(&piece[end..]);
        if done == 0 && out.is_empty() {
            return piece.slice(..end);
        }
        out.extend_from_slice(&piece[done..end]);
        out.freeze()
    }

    /// Nothing follows.
    fn end(&mut self, out: Bytes) -> Bytes {
        if self.held.is_empty() {
            return out;
        }
        [&out[..], &self.held.split()[..]].concat().into()
    }
}

/// The value behind a key, and its colon.
fn value_behind(rest: &[u8]) -> Found {
    let gap = |from: usize| {
        let length = rest[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        (length <= LONGEST_GAP).then_some(from + length)
    };
    let Some(colon) = gap(0) else { return Found::Other };
    match rest.get(colon) {
        Some(b':') => {}
        Some(_) => return Found::Other,
        None => return Found::Cut,
    }
    let Some(value) = gap(colon + 1) else { return Found::Other };
    let there = &rest[value..];
    if there.starts_with(NULL) {
        Found::Null(value)
    } else if NULL.starts_with(there) {
        Found::Cut
    } else {
        Found::Other
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    async fn through(pieces: Vec<&[u8]>) -> Vec<u8> {
        let frames: Vec<_> = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let answer = StreamBody::new(futures_util::stream::iter(frames));
        WithPreviousResponse::new(Box::pin(answer), "resp_\"1").collect().await.expect("whole").to_bytes().to_vec()
    }

    #[tokio::test]
    async fn wherever_an_answer_is_cut_the_id_is_filled_in() {
        let answer = "data: {\"response\":{\"text\":\"\\\"previous_response_id\\\":null\",\"previous_response_id\" : null,\"x\":\"previous_response_id\"}}\n\ndata: {\"previous_response_id\":null}\n\ndata: {\"previous_response_id\":\"resp_own\",\"prev";
        let filled = answer
            .replace("\"previous_response_id\" : null", "\"previous_response_id\" : \"resp_\\\"1\"")
            .replace("{\"previous_response_id\":null}", "{\"previous_response_id\":\"resp_\\\"1\"}");
        for first in 0..answer.len() {
            for second in [first, (first + 3).min(answer.len()), (first + 25).min(answer.len())] {
                let bytes = answer.as_bytes();
                let out = through(vec![&bytes[..first], &bytes[first..second], &bytes[second..]]).await;
                assert_eq!(String::from_utf8(out).expect("text"), filled, "{first} {second}");
            }
        }
    }

    #[test]
    fn what_has_no_such_key_is_not_copied() {
        let mut filler = Filler { id: Vec::new(), held: BytesMut::new() };
        let piece = Bytes::from_static(b"data: {\"type\":\"response.output_text.delta\"}\n\n");
        assert_eq!(filler.feed(piece.clone()).as_ptr(), piece.as_ptr());
    }

    #[tokio::test]
    async fn endless_white_space_is_not_kept() {
        let gap = " ".repeat(1000);
        let answer = format!("{{\"previous_response_id\"{gap}:null}}");
        assert_eq!(through(vec![answer.as_bytes()]).await, answer.as_bytes());
    }
}
