//! The id under which a request is found again in logs, in the ledger and at the client.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LEN: usize = 128;
const PREFIX: &[u8; 4] = b"req_";

/// Printable ASCII of at most 128 bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

// === impl RequestId ===

impl RequestId {
    /// The client's `X-Request-Id` when it is sane, else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(X_REQUEST_ID) {
            Some(value) if is_sane(value.as_bytes()) => Self(value.clone()),
            _ => Self::generate(),
        }
    }

    /// In the order of time: the ledger has an index of these ids, and one that grows everywhere, not at its end, triples what
    /// an event costs there.
    pub(crate) fn generate() -> Self {
        let mut text = [0; PREFIX.len() + 32];
        let (prefix, digits) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        for (pair, byte) in digits.chunks_exact_mut(2).zip(Uuid::now_v7().into_bytes()) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 0xf)];
        }
        let value = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text));
        // Hexadecimal digits are always a legal header value.
        Self(value.unwrap_or(HeaderValue::from_static("req_unknown")))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Nothing that could break a log line, a header or a query.
fn is_sane(id: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    !id.is_empty() && id.len() <= MAX_LEN && id.iter().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(id: &[u8]) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(id).expect("a header value"));
        RequestId::of(&headers)
    }

    #[test]
    fn a_sane_id_of_the_client_is_kept() {
        assert_eq!(given(b"4b1f-abc:7").as_str(), "4b1f-abc:7");
    }

    #[test]
    fn anything_else_is_replaced() {
        let long = vec![b'a'; MAX_LEN + 1];
        for id in [&b""[..], b"two words", b"\xff\xfe", b"<script>", b"a\"b", &long] {
            let kept = given(id);
            assert!(kept.as_str().starts_with("req_"), "{kept}");
            assert_eq!(kept.as_str().len(), 36);
        }
    }

    #[test]
    fn generated_ids_differ_and_are_in_the_order_of_time() {
        let ids: Vec<RequestId> = (0..1_000).map(|_| RequestId::generate()).collect();
        assert!(ids.is_sorted_by(|earlier, later| earlier.as_str() < later.as_str()));
    }
}
