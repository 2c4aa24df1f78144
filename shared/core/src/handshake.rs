//! How the two planes prove to each other that they hold the same join token, without sending it.
//!
//! The proxy sends a nonce, a time and `HMAC(token, "proxy" ‖ path ‖ nonce ‖ time)`; the control plane answers with
//! `HMAC(token, "control-plane" ‖ path ‖ nonce)`. Somebody who took the port of the other side learns nothing that
//! opens a stream elsewhere.

use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::{
    hash::{derive_key, mac},
    time::UnixMillis,
};

/// Clocks of the planes may differ by this much.
pub const MAX_SKEW: Duration = Duration::from_mins(10);

/// Request metadata in which a proxy sends its proof, and response metadata in which the control plane answers.
pub const PROXY_HEADER: &str = "x-omniroute-join";
pub const CONTROL_PLANE_HEADER: &str = "x-omniroute-join-proof";

/// The shared secret of a fleet.
#[derive(Clone)]
pub struct JoinSecret([u8; 32]);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HandshakeError {
    #[error("the join proof is missing or malformed")]
    Malformed,
    #[error("the clocks of the planes differ by more than ten minutes")]
    Skew,
    #[error("the join tokens differ")]
    Mismatch,
}

// === impl JoinSecret ===

impl JoinSecret {
    pub fn new(token: &str) -> Self {
        Self(derive_key(token.as_bytes(), "omniroute join v1"))
    }

    /// A key for the proxy's copy of its snapshot on disk.
    pub fn snapshot_key(&self) -> [u8; 32] {
        derive_key(&self.0, "omniroute snapshot v1")
    }

    /// What the proxy sends in [`PROXY_HEADER`].
    pub fn proxy_proof(&self, path: &str, nonce: [u8; 16], now: UnixMillis) -> String {
        let tag = self.proxy_tag(path, &nonce, now);
        format!("{}.{}.{}", hex::encode(nonce), now.0, hex::encode(tag))
    }

    /// Checks a proxy's proof and returns the answer for [`CONTROL_PLANE_HEADER`].
    ///
    /// # Errors
    /// When the proof is malformed, too old or made with another token.
    pub fn answer(&self, path: &str, proof: &str, now: UnixMillis) -> Result<String, HandshakeError> {
        let mut parts = proof.splitn(3, '.');
        let (Some(nonce), Some(at), Some(tag)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(HandshakeError::Malformed);
        };
        let mut nonce_bytes = [0; 16];
        hex::decode_to_slice(nonce, &mut nonce_bytes).map_err(|_| HandshakeError::Malformed)?;
        let at = UnixMillis(at.parse().map_err(|_| HandshakeError::Malformed)?);
        let tag = hex::decode(tag).map_err(|_| HandshakeError::Malformed)?;
        let expected = self.proxy_tag(path, &nonce_bytes, at);
        if !bool::from(expected.ct_eq(tag.as_slice())) {
            return Err(HandshakeError::Mismatch);
        }
        if now.saturating_since(at) > MAX_SKEW || at.saturating_since(now) > MAX_SKEW {
            return Err(HandshakeError::Skew);
        }
        Ok(hex::encode(self.control_plane_tag(path, &nonce_bytes)))
    }

    /// Checks the control plane's answer to the nonce that was sent.
    ///
    /// # Errors
    /// When it was made with another token.
    pub fn verify_answer(&self, path: &str, nonce: [u8; 16], answer: &str) -> Result<(), HandshakeError> {
        let answer = hex::decode(answer).map_err(|_| HandshakeError::Malformed)?;
        let expected = self.control_plane_tag(path, &nonce);
        if bool::from(expected.ct_eq(answer.as_slice())) { Ok(()) } else { Err(HandshakeError::Mismatch) }
    }

    fn proxy_tag(&self, path: &str, nonce: &[u8; 16], at: UnixMillis) -> [u8; 32] {
        mac(&self.0, &[b"proxy", path.as_bytes(), nonce, &at.0.to_be_bytes()])
    }

    fn control_plane_tag(&self, path: &str, nonce: &[u8; 16]) -> [u8; 32] {
        mac(&self.0, &[b"control-plane", path.as_bytes(), nonce])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/omniroute.v1.ConfigStream/Subscribe";
    const NONCE: [u8; 16] = [7; 16];
    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    #[test]
    fn both_sides_prove_the_token() {
        let secret = JoinSecret::new("token");
        let proof = secret.proxy_proof(PATH, NONCE, NOW);
        let answer = secret.answer(PATH, &proof, NOW).expect("accepted");
        assert_eq!(secret.verify_answer(PATH, NONCE, &answer), Ok(()));
        assert!(!proof.contains("token"));
    }

    #[test]
    fn another_token_path_or_time_is_refused() {
        let secret = JoinSecret::new("token");
        let proof = secret.proxy_proof(PATH, NONCE, NOW);
        assert_eq!(JoinSecret::new("other").answer(PATH, &proof, NOW), Err(HandshakeError::Mismatch));
        assert_eq!(secret.answer("/other", &proof, NOW), Err(HandshakeError::Mismatch));
        let later = NOW.saturating_add(MAX_SKEW + Duration::from_secs(1));
        assert_eq!(secret.answer(PATH, &proof, later), Err(HandshakeError::Skew));
        assert_eq!(secret.answer(PATH, "nonsense", NOW), Err(HandshakeError::Malformed));
    }

    #[test]
    fn an_answer_for_another_nonce_does_not_count() {
        let secret = JoinSecret::new("token");
        let proof = secret.proxy_proof(PATH, NONCE, NOW);
        let answer = secret.answer(PATH, &proof, NOW).expect("accepted");
        assert_eq!(secret.verify_answer(PATH, [8; 16], &answer), Err(HandshakeError::Mismatch));
    }
}
