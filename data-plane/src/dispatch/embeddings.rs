//! Embeddings between two formats: what the upstream is sent, and its answer, which is whole before anything goes on.

use bytes::Bytes;
use http::response;
use hyper::body::Incoming;
use omniroute_core::error::GatewayError;
use omniroute_providers::Upstream;
use omniroute_wire::{
    embeddings::{EmbedDialect, EmbedFormat, EmbedWay, encode_request},
    ir::Losses,
    openai::renamed_body,
    usage::Usage,
};

use super::{
    attempt::{Answer, EMPTY, Failed, next, rest},
    outgoing::{Asked, Outgoing, Way, unsupported},
    request::Segmented,
};
use crate::{
    respond::lane::{Kind, Lane, Tally, is_error_object},
    translate::nothing_lost,
};

/// Where some models' counts stand instead of in the body.
const TOKEN_COUNT: &str = "x-amzn-bedrock-input-token-count";

/// The way back of embeddings that are translated.
pub(crate) struct Embedding {
    way: EmbedWay,
    dropped: Option<String>,
}

// === impl Embedding ===

impl Embedding {
    /// Names of what did not cross.
    pub(crate) fn dropped(&self) -> Option<&str> {
        self.dropped.as_deref()
    }
}

// === impl Asked ===

impl Asked<'_> {
    /// # Errors
    /// When the upstream makes no embeddings, or not from what the client sent.
    pub(super) fn embeddings(
        &self,
        upstream: &Upstream,
        model: &str,
        requested: &str,
    ) -> Result<Outgoing, GatewayError> {
        let format =
            upstream.embed_format().ok_or_else(|| unsupported("the provider of this model makes no embeddings"))?;
        if format == EmbedFormat::OpenAi && matches!(self.embed, EmbedDialect::OpenAi) {
            let segments = renamed_body(self.body.clone(), self.scan, model);
            return Ok(Outgoing::passed(segments, Kind::Embeddings, false));
        }
        let mut losses = Losses::default();
        let (body, way) = encode_request(self.embed.clone(), format, &self.body, model, requested, &mut losses)?;
        if self.is_strict() {
            nothing_lost(&losses)?;
        }
        let embedding = Embedding { way, dropped: losses.header() };
        Ok(Outgoing {
            body: Segmented::new(vec![Bytes::from(body)]),
            headers: Vec::new(),
            way: Way::Embed(Box::new(embedding)),
        })
    }
}

/// Reads and translates an answer.
pub(super) async fn embedded(
    upstream: &Upstream,
    head: response::Parts,
    mut body: Incoming,
    embedding: &Embedding,
) -> Result<Answer, Failed> {
    let Some(first) = next(&mut body).await? else {
        return Err(Failed::malformed(EMPTY));
    };
    let whole = rest(&mut body, first).await?;
    if is_error_object(&whole) {
        return Err(Failed::in_disguise(upstream, &head, &whole));
    }
    let counted = head.headers.get(TOKEN_COUNT).and_then(|value| value.to_str().ok()?.parse().ok());
    match embedding.way.answer(&whole, counted) {
        Ok(answer) => {
            let usage = Usage { input: answer.tokens, ..Usage::default() };
            let tally = Tally { usage: Some(usage), ..Tally::default() };
            Ok(Answer { head, body, lane: Lane::Finished(tally), ready: vec![answer.body.into()] })
        }
        Err(error) => {
            tracing::debug!(%error, "embeddings could not be read");
            Err(Failed::malformed("the answer is not in the provider's own format"))
        }
    }
}
