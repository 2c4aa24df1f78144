//! Keeps server-sent events, or lines of JSON, whole: a piece of an event waits for its rest, so that whatever this proxy adds (a comment,
//! an error) never lands inside one.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// A larger event goes on in pieces: holding it back would cost more than it is worth.
const MAX_HELD: usize = 256 * 1024;
/// How an event can end; CRLF twice ends with the second.
const BLANK_LINES: [&[u8]; 3] = [b"\n\n", b"\n\r\n", b"\r\r"];

/// Cuts a stream at the ends of its events.
#[derive(Debug)]
pub(super) struct EventFramer {
    /// Each line counts as an event.
    lines: bool,
    held: BytesMut,
    /// Nothing of an unfinished event has been let through.
    between: bool,
}

// === impl EventFramer ===

impl EventFramer {
    pub(super) fn events() -> Self {
        Self { lines: false, held: BytesMut::new(), between: true }
    }

    pub(super) fn lines() -> Self {
        Self { lines: true, ..Self::events() }
    }

    /// Whether what was let through so far ends with a whole event.
    pub(super) fn is_between(&self) -> bool {
        self.between
    }

    /// Takes the next piece and gives what may go on. A piece that ends with its event, as nearly all do, is passed
    /// as it is.
    pub(super) fn feed(&mut self, piece: Bytes) -> Option<Bytes> {
        if self.held.is_empty() && self.between && self.ends_event(&piece) {
            return Some(piece);
        }
        // The end of an event may be split between the two pieces, so they are looked at together.
        self.held.extend_from_slice(&piece);
        let end = if self.ends_event(&self.held) { self.held.len() } else { self.last_end(&self.held) };
        if end > 0 {
            self.between = true;
            return Some(self.held.split_to(end).freeze());
        }
        if self.held.len() > MAX_HELD || !self.between {
            // The last bytes stay: they may be the first half of a blank line.
            self.between = false;
            let keep = self.held.len().saturating_sub(3);
            return (keep > 0).then(|| self.held.split_to(keep).freeze());
        }
        None
    }

    /// As [`Self::feed`], for everything in `out` from `from` on.
    pub(super) fn filter(&mut self, out: &mut Vec<Bytes>, from: usize) {
        if let Some([piece]) = out.get(from..)
            && self.held.is_empty()
            && self.between
            && self.ends_event(piece)
        {
            return;
        }
        for piece in out.split_off(from) {
            out.extend(self.feed(piece));
        }
    }

    fn ends_event(&self, bytes: &[u8]) -> bool {
        match self.lines {
            true => bytes.ends_with(b"\n"),
            false => BLANK_LINES.iter().any(|blank| bytes.ends_with(blank)),
        }
    }

    /// Where the last whole event ends; 0 when there is none.
    fn last_end(&self, bytes: &[u8]) -> usize {
        let end_of = |blank: &[u8]| memmem::rfind(bytes, blank).map(|at| at + blank.len());
        match self.lines {
            true => end_of(b"\n").unwrap_or(0),
            false => BLANK_LINES.into_iter().filter_map(end_of).max().unwrap_or(0),
        }
    }

    /// The stream is over: the last event counts without its blank line, too.
    pub(super) fn end(&mut self) -> Option<Bytes> {
        let rest = std::mem::take(&mut self.held);
        (!rest.is_empty()).then(|| rest.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pieces: &[&[u8]]) -> (Vec<Bytes>, Vec<bool>) {
        let mut whole = EventFramer::events();
        let mut out = Vec::new();
        let mut between = Vec::new();
        for piece in pieces {
            out.extend(whole.feed(Bytes::copy_from_slice(piece)));
            between.push(whole.is_between());
        }
        out.extend(whole.end());
        (out, between)
    }

    #[test]
    fn a_whole_event_is_not_copied() {
        let mut whole = EventFramer::events();
        let piece = Bytes::from_static(b"data: 1\n\n");
        assert_eq!(whole.feed(piece.clone()).expect("passed").as_ptr(), piece.as_ptr());
    }

    #[test]
    fn wherever_a_stream_is_split_only_whole_events_go_on() {
        for stream in [&b"data: 1\n\n: c\n\ndata: 22\n\n"[..], b"data: 1\r\n\r\n: c\r\n\r\ndata: 22\r\n\r\n"] {
            for first in 1..stream.len() {
                for second in first..stream.len() {
                    let (out, between) = through(&[&stream[..first], &stream[first..second], &stream[second..]]);
                    assert_eq!(out.concat(), stream, "{first} {second}");
                    assert!(out.iter().all(|piece| EventFramer::events().ends_event(piece)), "{out:?}");
                    assert!(between.iter().all(|between| *between));
                }
            }
        }
    }

    #[test]
    fn a_last_event_without_a_blank_line_still_comes() {
        assert_eq!(through(&[b"data: 1\n\ndata: [DONE]"]).0, [&b"data: 1\n\n"[..], b"data: [DONE]"]);
    }

    #[test]
    fn a_huge_event_goes_on_in_pieces_and_its_end_is_noticed() {
        let mut whole = EventFramer::events();
        let huge = vec![b'x'; MAX_HELD + 10];
        let mut sent = whole.feed(Bytes::from(huge.clone())).expect("too large to hold").to_vec();
        assert!(!whole.is_between());
        sent.extend(whole.feed(Bytes::from_static(b"yz\n")).expect("goes on"));
        assert!(!whole.is_between());
        sent.extend(whole.feed(Bytes::from_static(b"\n")).expect("the end"));
        assert!(whole.is_between());
        assert_eq!(sent, [&huge[..], b"yz\n\n"].concat());
    }

    #[test]
    fn lines_are_kept_whole_too() {
        let stream = b"{\"a\":1}\n{\"b\":2}\n{\"c\"";
        for split in 1..stream.len() {
            let mut whole = EventFramer::lines();
            let mut out = Vec::new();
            for piece in [&stream[..split], &stream[split..]] {
                out.extend(whole.feed(Bytes::copy_from_slice(piece)));
                assert!(whole.is_between());
            }
            assert!(out.iter().all(|piece| piece.ends_with(b"\n")), "{out:?}");
            out.extend(whole.end());
            assert_eq!(out.concat(), stream);
        }
    }
}
