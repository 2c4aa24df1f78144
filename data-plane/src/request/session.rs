//! The session that a client says its request belongs to: requests of one session go to one connection where they can.

use http::{HeaderMap, HeaderName, HeaderValue};
use omniroute_core::{error::GatewayError, hash::mac};

const X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
/// For clients and reverse proxies that have no dashes in header names.
const X_SESSION_ID_UNDERSCORED: HeaderName = HeaderName::from_static("x_session_id");
pub(crate) const X_OMNIROUTE_SESSION_ID: HeaderName = HeaderName::from_static("x-omniroute-session-id");

const MAX_LEN: usize = 256;

/// Printable ASCII of at most 256 bytes.
#[derive(Clone, Debug)]
pub(crate) struct SessionId(HeaderValue);

// === impl SessionId ===

impl SessionId {
    /// The session that a request names, if it does.
    ///
    /// # Errors
    /// When the name is too long, or has something in it that is not printable ASCII.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, GatewayError> {
        let named = headers.get(X_SESSION_ID).or_else(|| headers.get(X_SESSION_ID_UNDERSCORED));
        let Some(id) = named.filter(|id| !id.is_empty()) else { return Ok(None) };
        if id.len() > MAX_LEN || !id.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Err(GatewayError::bad_request(
                "invalid_session_id",
                format!("`X-Session-Id` must be printable ASCII of at most {MAX_LEN} bytes"),
            ));
        }
        Ok(Some(Self(id.clone())))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// How much the session is drawn to `connection`: the same at every proxy, and when a connection comes or goes, only
    /// the sessions that it takes or leaves move.
    pub(crate) fn draw(&self, connection: &str) -> u64 {
        let hash = mac(b"omniroute session", &[self.0.as_bytes(), connection.as_bytes()]);
        u64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &'static str) -> Result<Option<SessionId>, GatewayError> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        SessionId::of(&headers)
    }

    #[test]
    fn either_header_names_the_session() {
        for name in ["x-session-id", "x_session_id"] {
            let session = of(name, "chat 7").expect("fine").expect("a session");
            assert_eq!(session.header(), "chat 7");
        }
        assert!(of("x-session-id", "").expect("fine").is_none());
        assert!(of("x-other", "a").expect("fine").is_none());
        assert_eq!(of("x-session-id", "a\tb").expect_err("refused").code, "invalid_session_id");
    }

    #[test]
    fn sessions_spread_and_stay() {
        let all = ["c1", "c2", "c3", "c4"];
        let chosen = |session: &SessionId, among: &[&'static str]| {
            among.iter().copied().max_by_key(|connection| session.draw(connection)).expect("one")
        };
        let mut counts = [0; 4];
        for n in 0..400 {
            let session = SessionId(HeaderValue::from_str(&format!("session {n}")).expect("a value"));
            let first = chosen(&session, &all);
            counts[all.iter().position(|own| *own == first).expect("one of them")] += 1;
            // Without another connection nothing changes for this session.
            let others: Vec<_> = all.into_iter().filter(|own| *own == first || *own != "c4").collect();
            assert_eq!(chosen(&session, &others), first);
        }
        assert!(counts.iter().all(|count| *count > 60), "{counts:?}");
    }
}
