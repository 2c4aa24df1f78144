//! Amazon's binary event stream (`application/vnd.amazon.eventstream`): frames out of bytes that may be split anywhere, and
//! frames into bytes for whoever plays the upstream.
//!
//! A frame is: total length and length of the headers (four bytes each, big-endian), a CRC-32 of those eight bytes, the
//! headers, the payload, and a CRC-32 of everything before it. Written by hand: Amazon's own crate for it brings two
//! versions of `http` along.

use crc32fast::hash;

/// Longest frame, in bytes. Amazon's own limit for the payload is 16 MiB.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024 + MAX_HEADER_BYTES + OVERHEAD;
/// Longest headers of a frame, in bytes: Amazon's own limit.
pub const MAX_HEADER_BYTES: usize = 128 * 1024;

const PRELUDE: usize = 12;
const OVERHEAD: usize = PRELUDE + 4;

/// Why a stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of the event stream is longer than 16 MiB")]
    TooLong,
    #[error("a frame of the event stream has lengths that contradict each other")]
    Lengths,
    #[error("a frame of the event stream has a wrong checksum")]
    Checksum,
    #[error("a frame of the event stream has malformed headers")]
    Headers,
    #[error("the event stream ended inside a frame")]
    Cut,
}

/// One frame. Its headers have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    headers: &'a [u8],
    pub payload: &'a [u8],
}

/// Splits a stream into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// The start of a frame whose end has not come yet.
    partial: Vec<u8>,
}

// === impl FrameReader ===

impl FrameReader {
    /// Takes the next bytes and hands out every frame that they complete.
    ///
    /// # Errors
    /// When they are no event stream, or a frame is too long. The reader must not be used after that.
    pub fn feed(&mut self, mut bytes: &[u8], mut emit: impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        // What is left of a frame that has begun: first its lengths, then as much as they say.
        while !self.partial.is_empty() {
            let wanted = frame_length(&self.partial)?.unwrap_or(PRELUDE);
            let missing = wanted - self.partial.len();
            let taken = missing.min(bytes.len());
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if taken < missing {
                return Ok(());
            }
            if frame_length(&self.partial)? == Some(self.partial.len()) {
                emit(Frame::read(&self.partial)?);
                // Its capacity serves the next split frame.
                self.partial.clear();
            }
        }
        while let Some(length) = frame_length(bytes)? {
            let Some(frame) = bytes.get(..length) else { break };
            emit(Frame::read(frame)?);
            bytes = &bytes[length..];
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// The stream is over.
    ///
    /// # Errors
    /// When it ended inside a frame.
    pub fn end(&self) -> Result<(), FrameError> {
        if self.partial.is_empty() { Ok(()) } else { Err(FrameError::Cut) }
    }
}

/// The length of the frame that begins here, once its prelude is there. The prelude has its own checksum, so that a
/// length that makes no sense is seen before anything is kept for it.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(prelude) = bytes.first_chunk::<PRELUDE>() else { return Ok(None) };
    let [total, headers, checksum] = [0, 4, 8].map(|at| word(prelude, at));
    if hash(&prelude[..8]) != checksum {
        return Err(FrameError::Checksum);
    }
    let (Ok(total), Ok(headers)) = (usize::try_from(total), usize::try_from(headers)) else {
        return Err(FrameError::TooLong);
    };
    if total > MAX_FRAME_BYTES || headers > MAX_HEADER_BYTES {
        return Err(FrameError::TooLong);
    }
    if total < OVERHEAD + headers {
        return Err(FrameError::Lengths);
    }
    Ok(Some(total))
}

/// Four bytes as a number; 0 where they are not.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// Reads a frame whose length is right.
    fn read(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let end = bytes.len() - 4;
        if hash(&bytes[..end]) != word(bytes, end) {
            return Err(FrameError::Checksum);
        }
        let headers_end = PRELUDE + usize::try_from(word(bytes, 4)).map_err(|_| FrameError::TooLong)?;
        let frame = Self { headers: &bytes[PRELUDE..headers_end], payload: &bytes[headers_end..end] };
        let mut rest = frame.headers;
        while !rest.is_empty() {
            rest = split_header(rest).ok_or(FrameError::Headers)?.1;
        }
        Ok(frame)
    }

    /// The value of a header, when it is a string.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.headers;
        while let Some((header, next)) = split_header(rest) {
            if header.name == name.as_bytes() {
                return header.text;
            }
            rest = next;
        }
        None
    }
}

struct Header<'a> {
    name: &'a [u8],
    text: Option<&'a str>,
}

/// The first header, and what follows it.
fn split_header(bytes: &[u8]) -> Option<(Header<'_>, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let (size, rest) = match kind {
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        6 | 7 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        9 => (16, rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(size)?;
    let text = if *kind == 7 { Some(std::str::from_utf8(value).ok()?) } else { None };
    Some((Header { name, text }, rest))
}

/// Appends a frame whose headers are strings. Names and values that are longer than the format allows are cut.
pub fn write_frame(headers: &[(&str, &str)], payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE]);
    for (name, value) in headers {
        let name = &name.as_bytes()[..name.len().min(usize::from(u8::MAX))];
        let value = &value.as_bytes()[..value.len().min(usize::from(u16::MAX))];
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name);
        out.push(7);
        out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(value);
    }
    let headers_length = out.len() - start - PRELUDE;
    out.extend_from_slice(payload);
    let total = out.len() - start + 4;
    for (at, length) in [(0, total), (4, headers_length)] {
        let bytes = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        out[start + at..start + at + 4].copy_from_slice(&bytes);
    }
    let prelude = hash(&out[start..start + 8]).to_be_bytes();
    out[start + 8..start + PRELUDE].copy_from_slice(&prelude);
    let checksum = hash(&out[start..]).to_be_bytes();
    out.extend_from_slice(&checksum);
}

/// Appends an event of Converse's stream, as the service frames it (`contentBlockDelta` and so on).
pub fn write_event(event: &str, payload: &[u8], out: &mut Vec<u8>) {
    let headers = [(":event-type", event), (":content-type", "application/json"), (":message-type", "event")];
    write_frame(&headers, payload, out);
}

/// Appends an exception in mid-stream (`throttlingException` and so on).
pub fn write_exception(exception: &str, payload: &[u8], out: &mut Vec<u8>) {
    let headers =
        [(":exception-type", exception), (":content-type", "application/json"), (":message-type", "exception")];
    write_frame(&headers, payload, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        write_event("messageStart", br#"{"role":"assistant"}"#, &mut out);
        write_frame(&[], b"", &mut out);
        write_exception("throttlingException", br#"{"message":"slow"}"#, &mut out);
        out
    }

    type Read = (Option<String>, Vec<u8>);

    fn read(pieces: &[&[u8]]) -> Result<Vec<Read>, FrameError> {
        let mut reader = FrameReader::default();
        let mut all = Vec::new();
        for piece in pieces {
            reader.feed(piece, |frame| {
                all.push((frame.header(":message-type").map(str::to_owned), frame.payload.to_vec()));
            })?;
        }
        reader.end().map(|()| all)
    }

    #[test]
    fn a_known_frame_is_written_and_read_to_the_byte() {
        // From Amazon's description of the format: no headers, payload `{'foo':'bar'}`.
        let known: [u8; 29] = [
            0x00, 0x00, 0x00, 0x1d, 0x00, 0x00, 0x00, 0x00, 0xfd, 0x52, 0x8c, 0x5a, 0x7b, 0x27, 0x66, 0x6f, 0x6f, 0x27,
            0x3a, 0x27, 0x62, 0x61, 0x72, 0x27, 0x7d, 0xc3, 0x65, 0x39, 0x36,
        ];
        let mut out = Vec::new();
        write_frame(&[], b"{'foo':'bar'}", &mut out);
        assert_eq!(out, known);
        assert_eq!(read(&[&known]), Ok(vec![(None, b"{'foo':'bar'}".to_vec())]));
    }

    #[test]
    fn a_split_at_any_two_bytes_changes_nothing() {
        let sample = sample();
        let whole = read(&[&sample]).expect("frames");
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[2].0.as_deref(), Some("exception"));
        for first in 0..sample.len() {
            for second in first..sample.len() {
                let pieces = [&sample[..first], &sample[first..second], &sample[second..]];
                assert_eq!(read(&pieces).as_ref(), Ok(&whole), "{first} {second}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let sample = sample();
        for at in 0..sample.len() {
            for bit in 0..8 {
                let mut bad = sample.clone();
                bad[at] ^= 1 << bit;
                assert!(read(&[&bad]).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_stream_cut_inside_a_frame_is_seen() {
        let sample = sample();
        let mut whole = 0;
        for end in 0..=sample.len() {
            match read(&[&sample[..end]]) {
                Ok(frames) => {
                    assert_eq!(frames.len(), whole);
                    whole += 1;
                }
                Err(error) => assert_eq!(error, FrameError::Cut, "{end}"),
            }
        }
        assert_eq!(whole, 4, "only between frames");
    }

    #[test]
    fn a_length_without_sense_is_refused_before_memory_is_taken() {
        let prelude = |total: u32, headers: u32| {
            let mut bytes = [total.to_be_bytes(), headers.to_be_bytes()].concat();
            let checksum = hash(&bytes).to_be_bytes();
            bytes.extend_from_slice(&checksum);
            bytes
        };
        assert_eq!(read(&[&prelude(u32::MAX, 0)]), Err(FrameError::TooLong));
        assert_eq!(read(&[&prelude(1000, 200_000)]), Err(FrameError::TooLong));
        assert_eq!(read(&[&prelude(15, 0)]), Err(FrameError::Lengths));
        assert_eq!(read(&[&prelude(100, 90)]), Err(FrameError::Lengths));
    }

    #[test]
    fn headers_of_every_type_are_skipped_and_broken_ones_refused() {
        let framed = |headers: &[u8]| {
            let mut out = Vec::new();
            write_frame(&[], headers, &mut out);
            // The payload of that frame is the headers of this one.
            out[4..8].copy_from_slice(&u32::try_from(headers.len()).expect("short").to_be_bytes());
            let prelude = hash(&out[..8]).to_be_bytes();
            out[8..12].copy_from_slice(&prelude);
            let end = out.len() - 4;
            let checksum = hash(&out[..end]).to_be_bytes();
            out[end..].copy_from_slice(&checksum);
            out
        };
        let mut headers = Vec::new();
        for (kind, size) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            headers.extend_from_slice(&[1, b'x', kind]);
            headers.resize(headers.len() + size, 0);
        }
        headers.extend_from_slice(b"\x01b\x06\x00\x02\xff\xff");
        headers.extend_from_slice(b"\x0d:message-type\x07\x00\x05event");
        assert_eq!(read(&[&framed(&headers)]).expect("frames")[0].0.as_deref(), Some("event"));
        for broken in
            [&b"\x01"[..], b"\x01x", b"\x01x\x0a", b"\x01x\x05\x00", b"\x01x\x07\x00\x02a", b"\x01x\x07\x00\x01\xff"]
        {
            assert_eq!(read(&[&framed(broken)]), Err(FrameError::Headers), "{broken:?}");
        }
    }
}
