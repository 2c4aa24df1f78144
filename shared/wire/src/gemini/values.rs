//! JSON objects out of bytes that may be split anywhere: the elements of a streamed array, one after another.
//!
//! Whatever stands between objects (`[`, `,`, line ends, `data:`) is passed over, so the same walk follows a stream of
//! server-sent events whose data are objects.

use memchr::{memchr, memchr2, memchr3};

use crate::event_stream::{MAX_EVENT_BYTES, TooLong};

/// Splits a stream into its objects.
#[derive(Debug, Default)]
pub(super) struct ValueReader {
    /// The object that has begun and has not ended.
    partial: Vec<u8>,
    depth: u32,
    in_string: bool,
    /// The last byte was a backslash inside a string.
    escaped: bool,
}

// === impl ValueReader ===

impl ValueReader {
    /// Takes the next bytes and hands out every object that they complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8])) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if self.depth == 0 {
                let Some(start) = memchr(b'{', bytes) else { return Ok(()) };
                bytes = &bytes[start..];
            }
            let end = self.scan(bytes);
            let (head, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.partial.len() + head.len() > MAX_EVENT_BYTES {
                return Err(TooLong);
            }
            bytes = rest;
            match (end.is_some(), self.partial.is_empty()) {
                (true, true) => emit(head),
                (true, false) => {
                    self.partial.extend_from_slice(head);
                    emit(&self.partial);
                    self.partial.clear();
                }
                (false, _) => self.partial.extend_from_slice(head),
            }
        }
        Ok(())
    }

    /// Whether the stream stands between two objects.
    pub(super) const fn is_between(&self) -> bool {
        self.depth == 0
    }

    /// Walks on to the end of the object; `None` when it is not in these bytes.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.escaped {
                self.escaped = false;
                at += 1;
                continue;
            }
            if self.in_string {
                at += memchr2(b'"', b'\\', &bytes[at..])?;
                self.escaped = bytes[at] == b'\\';
                self.in_string = self.escaped;
            } else {
                at += memchr3(b'"', b'{', b'}', &bytes[at..])?;
                match bytes[at] {
                    b'"' => self.in_string = true,
                    b'{' => self.depth += 1,
                    _ => self.depth -= 1,
                }
            }
            at += 1;
            if self.depth == 0 {
                return Some(at);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_however_the_stream_is_split() {
        let objects = [r#"{"a":"}{\"\\"}"#, r#"{"b":{"c":[{}]}}"#, "{}", "{\"é\":\"\u{1F980}\"}"];
        let array = format!("[{}\r\n]", objects.join(",\r\n"));
        let events: String = objects.iter().map(|object| format!(": hi\ndata: {object}\r\n\r\n")).collect();
        for stream in [array, events] {
            for split in 1..=stream.len() {
                let mut reader = ValueReader::default();
                let mut found = Vec::new();
                for piece in stream.as_bytes().chunks(split) {
                    reader
                        .feed(piece, |object| found.push(String::from_utf8(object.to_vec()).expect("text")))
                        .expect("short");
                }
                assert_eq!(found, objects, "pieces of {split}");
                assert!(reader.is_between());
            }
        }
    }

    #[test]
    fn an_endless_object_is_refused() {
        let mut reader = ValueReader::default();
        reader.feed(b"{\"a\":\"", |_| {}).expect("short");
        let piece = vec![b'x'; 1024 * 1024];
        assert!((0..20).any(|_| reader.feed(&piece, |_| {}).is_err()));
        assert!(reader.partial.len() <= MAX_EVENT_BYTES);
    }
}
