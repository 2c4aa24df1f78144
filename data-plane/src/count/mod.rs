//! How long a prompt is, without an answer to it.
//!
//! The provider is asked where it counts itself ([`provider`]). Elsewhere, and when it does not answer in time, the count is made
//! here: by the model's own tokenizer where that is public, by an estimate where it is not ([`local`]). Counting costs nothing and
//! leaves no event in the ledger; permissions and names of models are those of a chat.

mod local;
mod media;
mod provider;
mod tokenizer;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use omniroute_core::error::GatewayError;
use omniroute_wire::{
    anthropic,
    codec::{DecodeContext, WireError},
    gemini,
    ir::Request,
    responses,
    scan::RequestScan,
    translate::Dialect,
};

use crate::{resolve::Plan, server::Gateway};

pub(crate) use self::local::{Counter, guess};

/// What is to be counted.
pub(crate) struct Asked<'a> {
    /// Anthropic's, Gemini's or Responses.
    pub(crate) dialect: &'a Dialect,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
    pub(crate) scan: &'a RequestScan<'a>,
}

/// A count and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) tokens: u64,
    pub(crate) source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Provider,
    /// The model's own tokenizer; what vendors add around messages and tools is estimated.
    Tokenizer,
    Estimate,
}

/// Counts for the first connection of the plan that can be used.
///
/// # Errors
/// When the request is wrong, in the provider's words or ours.
pub(crate) async fn count(gateway: &Gateway, plan: &Plan, asked: Asked<'_>) -> Result<Count, GatewayError> {
    let mut candidates = plan.candidates();
    let usable = candidates.find(|entry| gateway.coordination.cooling(entry.id.as_str()).is_none());
    if let Some(entry) = usable
        && let Some(tokens) = provider::ask(gateway, &entry.upstream, plan.model(), &asked).await?
    {
        return Ok(Count { tokens, source: Source::Provider });
    }
    gateway.counter.count(asked.dialect, asked.body, plan.model()).await
}

/// Reads a request to count.
fn decode<'a>(dialect: &'a Dialect, body: &'a [u8], context: &DecodeContext<'_>) -> Result<Request<'a>, WireError> {
    match dialect {
        Dialect::Gemini { model, .. } => gemini::decode_count_request(body, model, context),
        Dialect::Responses => responses::decode_request(body, context),
        _ => anthropic::decode_count_tokens(body, context),
    }
}

// === impl Count ===

impl Count {
    /// The answer for a client.
    pub(crate) fn encode(self, dialect: &Dialect) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        match dialect {
            Dialect::Gemini { .. } => gemini::encode_count_response(self.tokens, &mut out),
            Dialect::Responses => responses::encode_count_response(self.tokens, &mut out),
            _ => anthropic::encode_count_tokens_response(self.tokens, &mut out),
        }
        out
    }
}

// === impl Source ===

impl Source {
    /// Value of `X-OmniRoute-Token-Count`.
    pub(crate) const fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Provider => "provider",
            Self::Tokenizer => "tokenizer",
            Self::Estimate => "estimate",
        })
    }
}
