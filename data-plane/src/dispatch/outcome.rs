//! What an attempt that brought no answer means: for its connection, and for what is tried next.

use http::{HeaderMap, StatusCode, response};
use omniroute_core::error::GatewayError;
use omniroute_providers::{Failure, FailureClass, GrantError, Token, Upstream};
use omniroute_wire::ir::StreamError;

use crate::{
    answer::{TranslationMode, failure_of},
    health::Health,
    meter::Meter,
    reply::refusal::Refusal,
    request::Target,
    upstream_client::{CallError, Stage},
};

/// Attempts at most, whatever the settings say.
const MAX_ATTEMPTS: u32 = 10;
/// A request that a provider has not begun with is sent anew this often: it costs nothing, and says nothing of the provider
/// but that it closes connections now and then.
const MAX_UNPROCESSED: u32 = 3;

/// An attempt that brought no answer.
pub(super) struct FailedAttempt {
    pub(super) failure: Failure,
    /// The connection died under the request, as one that was idle too long does.
    pub(super) broke: bool,
    /// The provider has surely not begun with the request.
    pub(super) is_unprocessed: bool,
}

/// What may still be tried for a request.
#[derive(Debug)]
pub(super) struct Retries {
    /// Attempts, each at another target, that are left; the one under way counts.
    attempts: u32,
    resent: u32,
    reconnected: bool,
    rewritten: bool,
}

/// What is done at the same target once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SameTarget {
    /// The request goes out again as it was: the provider did not begin with it. Nobody is blamed for that.
    Resend,
    /// The request goes out again as it was: most likely its connection had been idle too long.
    Reconnect,
}

// === impl Retries ===

impl Retries {
    pub(super) fn new(max_attempts: u32) -> Self {
        Self { attempts: max_attempts.clamp(1, MAX_ATTEMPTS), resent: 0, reconnected: false, rewritten: false }
    }

    /// Whether the same target gets the same request again. `has_time`: another attempt can be made.
    pub(super) fn same_target(&mut self, failed: &FailedAttempt, has_time: bool) -> Option<SameTarget> {
        if !has_time {
            return None;
        }
        if failed.is_unprocessed && self.resent < MAX_UNPROCESSED {
            self.resent += 1;
            return Some(SameTarget::Resend);
        }
        if failed.broke && !self.reconnected {
            self.reconnected = true;
            return Some(SameTarget::Reconnect);
        }
        None
    }

    /// Whether the same target gets the request written anew, because it did not take a signature or missed a thought. Once.
    pub(super) fn without_signatures(&mut self, failed: &FailedAttempt, has_time: bool) -> bool {
        let is_of_thoughts = failed.failure.names_signature() || failed.failure.misses_thought();
        is_of_thoughts && !std::mem::replace(&mut self.rewritten, true) && has_time
    }

    /// Whether another target gets the request.
    pub(super) fn fall_back(&mut self, failed: &FailedAttempt, has_time: bool) -> bool {
        self.attempts -= 1;
        failed.failure.retryable() && self.attempts > 0 && has_time
    }
}

// === impl FailedAttempt ===

impl FailedAttempt {
    pub(super) fn of(class: FailureClass, message: &'static str) -> Self {
        Self::from(Failure::without_answer(class, message))
    }

    pub(super) fn malformed(message: &'static str) -> Self {
        Self::from(Failure::malformed_answer(message))
    }

    /// The status says 200 and the body says otherwise: judged as the error that it is.
    pub(super) fn in_disguise(upstream: &Upstream, head: &response::Parts, body: &[u8]) -> Self {
        Self::from(upstream.adapter().classify(StatusCode::BAD_GATEWAY, &head.headers, error_text(body)))
    }

    /// A stream that began with an error.
    pub(super) fn of_stream_error(error: &StreamError, head: &HeaderMap) -> Self {
        Self::from(failure_of(error, head))
    }

    pub(super) fn of_call(error: &CallError) -> Self {
        let stage = error.stage;
        let class = match stage {
            Stage::Garbage => FailureClass::Server,
            _ => FailureClass::Connect,
        };
        let broke = matches!(stage, Stage::Broken | Stage::Connect);
        let failed = Self::of(class, stage.describe());
        Self { broke, is_unprocessed: error.is_unprocessed, ..failed }
    }

    /// The connection's credential brought no token.
    pub(super) fn without_token(error: &GrantError) -> Self {
        let class = match error {
            GrantError::Unavailable { .. } => FailureClass::Server,
            _ => FailureClass::Credential,
        };
        tracing::warn!(%error, "a connection has no token");
        Self::from(Failure::without_answer(class, error.to_string()))
    }

    /// Whether the upstream did not take this token. AWS says 403 of keys that have ended.
    pub(super) const fn refuses(&self, token: &Token) -> bool {
        match token {
            Token::Bearer(_) => matches!(self.failure.status, Some(401)),
            Token::Keys(_) => matches!(self.failure.status, Some(401 | 403)),
        }
    }

    /// Whether it was the first byte that did not come in time.
    pub(super) fn is_late(&self) -> bool {
        self.failure.class == FailureClass::FirstByteTimeout
    }

    /// Whether the upstream has no such call.
    pub(super) const fn has_no_call(&self) -> bool {
        matches!(self.failure.status, Some(404 | 405 | 501))
    }

    /// What it does to the connection.
    pub(super) async fn note(&self, health: &Health, target: &Target<'_>) {
        health.failed(target.entry, &self.failure).await;
    }

    /// Nothing else is tried: what the client is told, and the ledger.
    pub(super) fn give_up(&self, meter: &mut Meter, mode: &TranslationMode) -> Box<Refusal> {
        let mut error = self.failure.to_gateway_error(meter.entry().upstream.hidden());
        let is_clients = matches!(self.failure.class, FailureClass::Client | FailureClass::ContentFilter);
        if is_clients && !mode.is_passthrough() {
            // A path into a body that the client did not write.
            error.param = None;
        }
        refused(meter, error)
    }
}

impl From<Failure> for FailedAttempt {
    fn from(failure: Failure) -> Self {
        Self { failure, broke: false, is_unprocessed: false }
    }
}

/// Closes the event of a request that the gateway itself cannot go on with.
pub(super) fn refused(meter: &mut Meter, error: GatewayError) -> Box<Refusal> {
    meter.refuse(&error);
    Box::new(Refusal { error, connection: Some(meter.entry().id.clone()) })
}

/// The error object, without what an event stream puts in front of it.
fn error_text(first: &[u8]) -> &[u8] {
    let text = first.trim_ascii();
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data:"));
    line.unwrap_or(text).trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(class: FailureClass) -> FailedAttempt {
        FailedAttempt::of(class, "x")
    }

    #[test]
    fn a_request_that_nobody_began_with_is_sent_again_a_few_times_and_no_attempt_is_spent() {
        let mut retries = Retries::new(1);
        let unprocessed = FailedAttempt { is_unprocessed: true, ..failed(FailureClass::Connect) };
        for _ in 0..MAX_UNPROCESSED {
            assert_eq!(retries.same_target(&unprocessed, true), Some(SameTarget::Resend));
        }
        assert_eq!(retries.same_target(&unprocessed, true), None);
        assert!(!retries.fall_back(&unprocessed, true), "the one attempt is over");
    }

    #[test]
    fn a_broken_connection_is_opened_anew_once_for_a_request() {
        let mut retries = Retries::new(3);
        let broken = FailedAttempt { broke: true, ..failed(FailureClass::Connect) };
        assert_eq!(retries.same_target(&broken, false), None, "there is no time left");
        assert_eq!(retries.same_target(&broken, true), Some(SameTarget::Reconnect));
        assert_eq!(retries.same_target(&broken, true), None);
    }

    #[test]
    fn other_targets_are_tried_until_attempts_or_time_run_out_and_never_for_the_clients_own_fault() {
        let mut retries = Retries::new(3);
        let server = failed(FailureClass::Server);
        assert_eq!([(); 3].map(|()| retries.fall_back(&server, true)), [true, true, false]);
        assert!(!Retries::new(3).fall_back(&server, false));
        assert!(!Retries::new(3).fall_back(&failed(FailureClass::Client), true));
        let mut unlimited = Retries::new(u32::MAX);
        let fallbacks = (0..100).filter(|_| unlimited.attempts > 0 && unlimited.fall_back(&server, true)).count();
        assert_eq!(fallbacks, MAX_ATTEMPTS as usize - 1);
        assert!(!Retries::new(0).fall_back(&server, true), "the first attempt is always made");
    }
}
