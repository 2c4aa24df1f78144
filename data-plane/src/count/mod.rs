//! How long a prompt is, without an answer to it.
//!
//! The provider is asked where it counts itself ([`provider`]). Elsewhere, and when it does not answer in time, the count is made
//! here ([`crate::tokens`]). Counting costs nothing and
//! leaves no event in the ledger; permissions and names of models are those of a chat.

mod provider;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use omniroute_core::{error::GatewayError, hash::Pepper};
use omniroute_credentials::Keeper;
use omniroute_wire::{anthropic, gemini, responses, scan::RequestScan, translate::Dialect};

use crate::{
    health::Health,
    request::{Plan, Segmented},
    tokens::{Count, Counter, Source},
    upstream_client::UpstreamClient,
};

/// Counts prompts: by asking providers, or here.
pub(crate) struct Counting {
    client: UpstreamClient<Segmented>,
    keeper: Keeper,
    health: Arc<Health>,
    counter: Counter,
}

/// What is to be counted.
pub(crate) struct CountRequest<'a> {
    /// Anthropic's, Gemini's or Responses.
    pub(crate) dialect: &'a Dialect,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
    pub(crate) scan: &'a RequestScan<'a>,
    pub(crate) pepper: &'a Pepper,
}

// === impl Counting ===

impl Counting {
    pub(crate) fn new(client: UpstreamClient<Segmented>, keeper: Keeper, health: Arc<Health>) -> Self {
        Self { client, keeper, health, counter: Counter::new() }
    }

    /// Counts for the first target of the plan that can be used.
    ///
    /// # Errors
    /// When the request is wrong, in the provider's words or ours.
    pub(crate) async fn count(&self, plan: &Plan, request: CountRequest<'_>) -> Result<Count, GatewayError> {
        let usable = plan.targets().find(|target| self.health.cooling(&target.entry.id).is_none());
        if let Some(target) = usable
            && let Some(tokens) = provider::ask(&self.client, &self.keeper, target, &request).await?
        {
            return Ok(Count { tokens, source: Source::Provider });
        }
        self.counter.count(request.dialect, request.body, plan.model()).await
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
