//! An upstream's answer, from its first bytes to its last.
//!
//! An [`AnswerFilter`] follows it: it takes the upstream's frames and gives the client's, and picks usage, finish reason and errors out of
//! them. On the way lie the [`scanner`] of each format, the [`framer`] that keeps events whole, and [`redact`], which takes
//! out what a client must not see; [`first_content`] tells when a stream has begun to say something. An [`Answer`] is one that has
//! begun, a [`CommittedAnswer`] one that the client is to get.

pub(crate) mod filter;
pub(crate) mod first_content;
mod framer;
mod kind;
mod redact;
mod scanner;
mod translation_mode;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, response};
use omniroute_providers::Failure;
use omniroute_wire::{
    codec::{OpenAiErrorFields, UpstreamError},
    ir::StreamError,
};

pub(crate) use self::{filter::AnswerFilter, kind::AnswerKind, translation_mode::TranslationMode};
use crate::{
    accounting::RequestAccounting, request::TimeLimits, translate::Translation, upstream_client::UpstreamBody,
};

/// The beginning of an answer.
pub(crate) struct Answer {
    pub(crate) head: response::Parts,
    /// What follows the first bytes.
    pub(crate) body: UpstreamBody,
    /// Has seen the first bytes.
    pub(crate) filter: AnswerFilter,
    /// What the client gets of them.
    pub(crate) ready: Vec<Bytes>,
    /// It has said nothing yet, and is not waited for any longer before the client is told that it has begun.
    pub(crate) is_quiet: bool,
    /// Set where the answer did not come in the shape that was asked for.
    pub(crate) reshaped: Option<Box<Translation>>,
}

/// An answer that has begun.
pub(crate) struct CommittedAnswer {
    pub(crate) answer: Answer,
    pub(crate) accounting: Box<RequestAccounting>,
    /// The limits of the connection that answers.
    pub(crate) times: TimeLimits,
    /// How the answer was read.
    pub(crate) mode: TranslationMode,
}

/// What an error inside a stream with this head says of the connection.
pub(crate) fn failure_of(error: &StreamError, head: &HeaderMap) -> Failure {
    let status = StatusCode::from_u16(error.class.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let known = UpstreamError {
        class: error.class,
        message: error.message.clone(),
        code: Some(error.code.to_owned()),
        named: OpenAiErrorFields::default(),
        retry_after: error.retry_after,
    };
    Failure::of_answer(status, head, &[], known)
}
