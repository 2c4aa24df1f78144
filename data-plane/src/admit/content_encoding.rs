//! Bodies that come compressed: some clients do that to long prompts.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use omniroute_core::error::{ErrorClass, GatewayError};

use super::body::{BodyError, grow, unmarked};
use crate::request::BodyMemory;

/// A body is unpacked in steps of this size, between which others have their turn.
const STEP: usize = 64 * 1024;

/// Whether it takes [`unpacked`] to read a body.
pub(crate) fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The body that was compressed, of `max` bytes at most. What it holds is paid for like any body.
///
/// # Errors
/// `unsupported_encoding`, `invalid_encoding`, or as for a body that comes as it is.
pub(crate) async fn unpacked(
    headers: &HeaderMap,
    body: Bytes,
    max: u64,
    memory: &BodyMemory,
) -> Result<Bytes, GatewayError> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let only = codings.next().filter(|_| codings.next().is_none()).map(|coding| coding.as_bytes().to_ascii_lowercase());
    let fed = Fed { body: &body, budget: STEP };
    let mut reader = match only.as_deref() {
        Some(b"gzip" | b"x-gzip") => Reader::Gzip(GzDecoder::new(fed)),
        Some(b"deflate") => Reader::Zlib(ZlibDecoder::new(fed)),
        _ => {
            return Err(GatewayError::new(
                ErrorClass::UnsupportedMedia,
                "unsupported_encoding",
                "the request body has a content encoding that this gateway does not read",
            )
            .with_hint("send it as it is, or with `Content-Encoding: gzip` or `deflate`"));
        }
    };
    let mut share = memory.reserve(STEP as u64).await.map_err(|_| BodyError::NoMemory)?;
    let mut whole = Vec::new();
    let mut step = vec![0; STEP];
    loop {
        match reader.read(&mut step) {
            Ok(0) => break,
            Ok(read) => {
                let length = (whole.len() + read) as u64;
                if length > max {
                    return Err(BodyError::TooLarge(max).into());
                }
                grow(&mut share, memory, length).await?;
                whole.extend_from_slice(&step[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => reader.fed().budget = STEP,
            Err(_) => return Err(wrong_encoding()),
        }
        tokio::task::yield_now().await;
    }
    // What is left may be padding, but nothing that was meant to be read.
    if reader.fed().body.iter().any(|byte| *byte != 0) {
        return Err(wrong_encoding());
    }
    Ok(unmarked(share.hold(whole.into())))
}

fn wrong_encoding() -> GatewayError {
    GatewayError::bad_request("invalid_encoding", "the request body is not in the content encoding that it names")
}

/// One compressed text: of several behind each other, which might say nothing for megabytes, no client makes use.
enum Reader<'b> {
    Gzip(GzDecoder<Fed<'b>>),
    Zlib(ZlibDecoder<Fed<'b>>),
}

/// A body that is read as far as its budget goes, and then blocks: what gives nothing out must have an end as well.
struct Fed<'b> {
    body: &'b [u8],
    budget: usize,
}

// === impl Reader ===

impl<'b> Reader<'b> {
    fn read(&mut self, step: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(reader) => reader.read(step),
            Self::Zlib(reader) => reader.read(step),
        }
    }

    fn fed(&mut self) -> &mut Fed<'b> {
        match self {
            Self::Gzip(reader) => reader.get_mut(),
            Self::Zlib(reader) => reader.get_mut(),
        }
    }
}

// === impl Fed ===

impl Read for Fed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Fed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.budget == 0 && !self.body.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.body[..self.body.len().min(self.budget)])
    }

    fn consume(&mut self, bytes: usize) {
        self.body = &self.body[bytes..];
        self.budget -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn headers(coding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, http::HeaderValue::from_static(coding))])
    }

    fn gzip(text: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).expect("written");
        encoder.finish().expect("finished").into()
    }

    #[tokio::test]
    async fn what_was_packed_comes_out_and_is_paid_for() {
        let text = vec![b'x'; 200_000];
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).expect("written");
        for (coding, packed) in
            [("gzip", gzip(&text)), ("GZIP", gzip(&text)), ("deflate", zlib.finish().expect("finished").into())]
        {
            let memory = BodyMemory::new(1 << 20);
            let body = unpacked(&headers(coding), packed, 200_000, &memory).await.expect("unpacked");
            assert!(body == text && memory.held() >= 200_000, "{coding}");
            drop(body);
            assert_eq!(memory.held(), 0);
        }
    }

    #[tokio::test]
    async fn what_is_too_large_cut_or_unknown_is_refused() {
        let packed = gzip(&vec![0; 10 << 20]);
        assert!(packed.len() < 20_000);
        let cut = packed.slice(..packed.len() / 2);
        for (coding, body, max, room, code) in [
            ("gzip", packed.clone(), 1 << 20, 64 << 20, "body_too_large"),
            ("gzip", packed.clone(), 64 << 20, 1 << 20, "overloaded"),
            ("gzip", cut, 64 << 20, 64 << 20, "invalid_encoding"),
            ("gzip", Bytes::from_static(b"{}"), 64 << 20, 64 << 20, "invalid_encoding"),
            ("br", packed.clone(), 64 << 20, 64 << 20, "unsupported_encoding"),
            ("gzip", [packed.clone(), packed.clone()].concat().into(), 64 << 20, 64 << 20, "invalid_encoding"),
            ("gzip", gzip(b"").repeat(10_000).into(), 64 << 20, 64 << 20, "invalid_encoding"),
            ("gzip, gzip", packed, 64 << 20, 64 << 20, "unsupported_encoding"),
        ] {
            let memory = BodyMemory::new(room);
            let error = unpacked(&headers(coding), body, max, &memory).await.expect_err(code);
            assert_eq!((error.code, memory.held()), (code, 0), "{coding}");
        }
    }

    #[test]
    fn only_what_is_packed_takes_the_detour() {
        assert!(is_compressed(&headers("gzip")) && is_compressed(&headers("br")));
        assert!(!is_compressed(&headers("identity")) && !is_compressed(&HeaderMap::new()));
    }
}
