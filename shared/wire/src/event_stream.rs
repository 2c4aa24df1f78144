//! Server-sent events out of bytes that may be split anywhere.
//!
//! Understands what is seen in the wild: CR, LF and CRLF line ends, comments, a byte-order mark, `data:` with and without a
//! space, several `data:` lines per event, events that have a name and no data, and a last event without its blank line.

use memchr::memchr2;

/// Longest line and longest event, in bytes.
pub const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerEvent<'a> {
    /// Empty when the event has no name.
    pub name: &'a [u8],
    pub data: &'a [u8],
}

/// The stream is not one that a reader with bounded memory can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than 16 MiB")]
pub struct TooLong;

/// Splits a stream into events.
#[derive(Debug, Default)]
pub struct EventReader {
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: an LF right after it belongs to it.
    after_cr: bool,
    started: bool,
}

// === impl EventReader ===

impl EventReader {
    /// Takes the next bytes and hands out every event that they complete.
    ///
    /// # Errors
    /// When a line or an event is too long. The reader must not be used after that.
    pub fn feed(&mut self, mut bytes: &[u8], mut emit: impl FnMut(ServerEvent<'_>)) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if bytes[0] == b'\n' {
                    bytes = &bytes[1..];
                    continue;
                }
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                return self.keep(bytes);
            };
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            self.after_cr = bytes[end] == b'\r';
            bytes = rest;
            if self.partial.is_empty() {
                self.line(line, &mut emit)?;
            } else {
                self.keep(line)?;
                let whole = std::mem::take(&mut self.partial);
                self.line(&whole, &mut emit)?;
                // Its capacity serves the next split line.
                self.partial = whole;
                self.partial.clear();
            }
        }
        Ok(())
    }

    /// The stream is over: an event without its blank line still counts.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn end(&mut self, mut emit: impl FnMut(ServerEvent<'_>)) -> Result<(), TooLong> {
        if !self.partial.is_empty() {
            let whole = std::mem::take(&mut self.partial);
            self.line(&whole, &mut emit)?;
        }
        self.dispatch(&mut emit);
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.partial.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(TooLong);
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, line: &[u8], emit: &mut impl FnMut(ServerEvent<'_>)) -> Result<(), TooLong> {
        let line = if self.started { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        self.started = true;
        if line.is_empty() {
            self.dispatch(emit);
            return Ok(());
        }
        if let Some(value) = field(line, b"data") {
            if self.data.len() + value.len() > MAX_EVENT_BYTES {
                return Err(TooLong);
            }
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            self.has_data = true;
        } else if let Some(value) = field(line, b"event") {
            self.name.clear();
            self.name.extend_from_slice(value);
        }
        Ok(())
    }

    fn dispatch(&mut self, emit: &mut impl FnMut(ServerEvent<'_>)) {
        // Some hosts send empty ones to keep the stream alive.
        if self.has_data && !self.data.trim_ascii().is_empty() {
            emit(ServerEvent { name: &self.name, data: &self.data });
        }
        self.name.clear();
        self.data.clear();
        self.has_data = false;
    }
}

/// The value of a field, without the one space that may follow the colon. A line that starts with a colon is a comment.
fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let rest = line.strip_prefix(name)?;
    match rest {
        [] => Some(rest),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] =
        b"\xef\xbb\xbf: hello\r\nevent: ping\r\n\r\ndata: {\"a\":1}\r\n\r\ndata:x\ndata: y\nid: 3\n\nevent: e\rdata: \xf0\x9f\xa6\x80\r\rdata: last";

    fn events(pieces: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut reader = EventReader::default();
        let mut all = Vec::new();
        let mut emit = |event: ServerEvent<'_>| all.push((event.name.to_vec(), event.data.to_vec()));
        for piece in pieces {
            reader.feed(piece, &mut emit).expect("short");
        }
        reader.end(&mut emit).expect("short");
        all
    }

    #[test]
    fn everything_seen_in_the_wild_is_understood() {
        let expected: Vec<(Vec<u8>, Vec<u8>)> = vec![
            (b"".to_vec(), b"{\"a\":1}".to_vec()),
            (b"".to_vec(), b"x\ny".to_vec()),
            (b"e".to_vec(), "\u{1F980}".as_bytes().to_vec()),
            (b"".to_vec(), b"last".to_vec()),
        ];
        assert_eq!(events(&[SAMPLE]), expected);
    }

    #[test]
    fn a_split_at_any_two_bytes_changes_nothing() {
        let whole = events(&[SAMPLE]);
        for first in 0..SAMPLE.len() {
            for second in first..SAMPLE.len() {
                assert_eq!(
                    events(&[&SAMPLE[..first], &SAMPLE[first..second], &SAMPLE[second..]]),
                    whole,
                    "{first} {second}"
                );
            }
        }
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut reader = EventReader::default();
        let piece = vec![b'x'; 1024 * 1024];
        let result = (0..17).try_for_each(|_| reader.feed(&piece, |_| {}));
        assert_eq!(result, Err(TooLong));
    }
}
