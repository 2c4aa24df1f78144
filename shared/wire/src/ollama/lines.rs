//! Lines of JSON: out of bytes that may be split anywhere, and where they end.

use memchr::{memchr, memchr2, memchr2_iter};

use crate::event_stream::{MAX_EVENT_BYTES, TooLong};

/// Splits a stream into lines. Blank ones, a byte-order mark and the CR of a CRLF are not handed out.
#[derive(Debug, Default)]
pub struct LineReader {
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    started: bool,
}

// === impl LineReader ===

impl LineReader {
    /// Takes the next bytes and hands out every line that they complete.
    ///
    /// # Errors
    /// When a line is too long. The reader must not be used after that.
    pub fn feed(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8])) -> Result<(), TooLong> {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.partial.is_empty() {
                self.line(line, &mut emit);
            } else {
                self.keep(line)?;
                let whole = std::mem::take(&mut self.partial);
                self.line(&whole, &mut emit);
                // Its capacity serves the next split line.
                self.partial = whole;
                self.partial.clear();
            }
        }
        self.keep(bytes)
    }

    /// The stream is over: a line without its end still counts.
    pub fn end(&mut self, mut emit: impl FnMut(&[u8])) {
        let whole = std::mem::take(&mut self.partial);
        self.line(&whole, &mut emit);
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.partial.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(TooLong);
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, line: &[u8], emit: &mut impl FnMut(&[u8])) {
        let line = if self.started { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        self.started = true;
        let line = line.trim_ascii();
        if !line.is_empty() {
            emit(line);
        }
    }
}

/// Ends the line that began at `start`, and makes sure that it is one: line breaks between the tokens of raw JSON become
/// spaces, and the separators at which Python's `splitlines` breaks too (U+0085, U+2028, U+2029) are escaped.
pub(super) fn end_line(out: &mut Vec<u8>, start: usize) {
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    if memchr2(0xe2, 0xc2, &out[start..]).is_some() && separators(&out[start..]).next().is_some() {
        let line = out.split_off(start);
        let mut done = 0;
        for (at, length, escape) in separators(&line) {
            out.extend_from_slice(&line[done..at]);
            out.extend_from_slice(escape);
            done = at + length;
        }
        out.extend_from_slice(&line[done..]);
    }
    out.push(b'\n');
}

/// Where they stand, how long they are, and how JSON writes them.
fn separators(line: &[u8]) -> impl Iterator<Item = (usize, usize, &'static [u8])> {
    memchr2_iter(0xe2, 0xc2, line).filter_map(|at| match line[at..] {
        [0xe2, 0x80, 0xa8, ..] => Some((at, 3, &b"\\u2028"[..])),
        [0xe2, 0x80, 0xa9, ..] => Some((at, 3, &b"\\u2029"[..])),
        [0xc2, 0x85, ..] => Some((at, 2, &b"\\u0085"[..])),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{\"b\":\"\xf0\x9f\xa6\x80\"}\n{\"last\":1}";

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut reader = LineReader::default();
        let mut all = Vec::new();
        for piece in pieces {
            reader.feed(piece, |line| all.push(line.to_vec())).expect("short");
        }
        reader.end(|line| all.push(line.to_vec()));
        all
    }

    #[test]
    fn a_split_at_any_two_bytes_changes_nothing() {
        let whole = lines(&[SAMPLE]);
        assert_eq!(whole.len(), 3);
        for first in 0..SAMPLE.len() {
            for second in first..SAMPLE.len() {
                assert_eq!(lines(&[&SAMPLE[..first], &SAMPLE[first..second], &SAMPLE[second..]]), whole);
            }
        }
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut reader = LineReader::default();
        let piece = vec![b'x'; 1024 * 1024];
        assert_eq!((0..17).try_for_each(|_| reader.feed(&piece, |_| {})), Err(TooLong));
    }
}
