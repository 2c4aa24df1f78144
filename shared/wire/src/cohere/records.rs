//! The stream as records, whichever way they are framed: server-sent events, or one JSON object a line.
//!
//! Cohere's own hosts send events; clouds that host its models send lines. The first character tells which.

use memchr::memchr;

use crate::event_stream::{EventReader, MAX_EVENT_BYTES, TooLong};

/// Splits a stream into JSON texts.
#[derive(Debug, Default)]
pub(super) struct RecordReader {
    framing: Framing,
}

#[derive(Debug, Default)]
enum Framing {
    /// Only white space and a byte-order mark so far.
    #[default]
    Unknown,
    Events(Box<EventReader>),
    /// Holds the start of a line whose end has not come yet.
    Lines(Vec<u8>),
}

// === impl RecordReader ===

impl RecordReader {
    /// Hands out every record that the bytes complete.
    ///
    /// # Errors
    /// When one is too long. The reader must not be used after that.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8])) -> Result<(), TooLong> {
        if let Framing::Unknown = self.framing {
            let blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0xef | 0xbb | 0xbf);
            let Some(start) = bytes.iter().position(|byte| !blank(byte)) else { return Ok(()) };
            bytes = &bytes[start..];
            self.framing = if bytes[0] == b'{' { Framing::Lines(Vec::new()) } else { Framing::Events(Box::default()) };
        }
        match &mut self.framing {
            Framing::Events(reader) => reader.feed(bytes, |event| emit(event.data)),
            Framing::Lines(partial) => feed_lines(partial, bytes, &mut emit),
            Framing::Unknown => Ok(()),
        }
    }

    /// The stream is over: a last record without its line end still counts.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub(super) fn end(&mut self, mut emit: impl FnMut(&[u8])) -> Result<(), TooLong> {
        match &mut self.framing {
            Framing::Events(reader) => reader.end(|event| emit(event.data)),
            Framing::Lines(partial) => {
                emit_line(partial, &mut emit);
                partial.clear();
                Ok(())
            }
            Framing::Unknown => Ok(()),
        }
    }
}

fn feed_lines(partial: &mut Vec<u8>, mut bytes: &[u8], emit: &mut impl FnMut(&[u8])) -> Result<(), TooLong> {
    while let Some(end) = memchr(b'\n', bytes) {
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        bytes = rest;
        if partial.is_empty() {
            emit_line(line, emit);
        } else {
            keep(partial, line)?;
            emit_line(partial, emit);
            partial.clear();
        }
    }
    keep(partial, bytes)
}

fn keep(partial: &mut Vec<u8>, bytes: &[u8]) -> Result<(), TooLong> {
    if partial.len() + bytes.len() > MAX_EVENT_BYTES {
        return Err(TooLong);
    }
    partial.extend_from_slice(bytes);
    Ok(())
}

fn emit_line(line: &[u8], emit: &mut impl FnMut(&[u8])) {
    let line = line.trim_ascii();
    if !line.is_empty() {
        emit(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(stream: &[u8], split: usize) -> Vec<String> {
        let mut reader = RecordReader::default();
        let mut all = Vec::new();
        for piece in stream.chunks(split) {
            reader.feed(piece, |record| all.push(String::from_utf8_lossy(record).into_owned())).expect("short");
        }
        reader.end(|record| all.push(String::from_utf8_lossy(record).into_owned())).expect("short");
        all
    }

    #[test]
    fn events_and_lines_give_the_same_records_however_they_are_split() {
        let lines = "\u{feff}\n{\"a\":\"h\u{e9}\"}\r\n\n{\"b\":2}";
        let events = "\u{feff}event: x\ndata: {\"a\":\"h\u{e9}\"}\n\ndata: {\"b\":2}";
        for split in 1..40 {
            for stream in [lines, events] {
                assert_eq!(records(stream.as_bytes(), split), ["{\"a\":\"h\u{e9}\"}", "{\"b\":2}"], "{split}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut reader = RecordReader::default();
        reader.feed(b"{", |_| {}).expect("short");
        let piece = vec![b'x'; 1024 * 1024];
        assert_eq!((0..17).try_for_each(|_| reader.feed(&piece, |_| {})), Err(TooLong));
    }
}
