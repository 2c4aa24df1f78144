//! Embeddings between two formats: what the upstream is sent, and its answer, which is whole before anything goes on.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, response};
use omniroute_core::error::GatewayError;
use omniroute_providers::Upstream;
use omniroute_wire::{
    embeddings::{EmbedDialect, EmbedFormat, encode_request},
    ir::Losses,
    openai::renamed_body,
    usage::Usage,
};

use super::{
    attempt::{EMPTY, LARGEST_DOCUMENT, answered, next, rest},
    outcome::FailedAttempt,
    upstream_payload::{ClientRequest, UpstreamPayload, unsupported},
};
use crate::{
    answer::{Answer, AnswerFilter, AnswerKind, TranslationMode, filter::is_error_object},
    reply::AnswerStats,
    request::{Segmented, TimeLimits},
    snapshot::ConnectionEntry,
    translate::{EmbeddingsTranslation, cpu_bound, nothing_lost},
    upstream_client::{UpstreamBody, UpstreamClient},
};

/// Where some models' counts stand instead of in the body.
const TOKEN_COUNT: &str = "x-amzn-bedrock-input-token-count";

/// Requests to one connection at the same time, where a model takes one text a request. One that has a limit on requests in
/// flight counts all of them as one, so that they follow each other.
const AT_ONCE: usize = 8;

// === impl ClientRequest ===

impl ClientRequest<'_> {
    /// # Errors
    /// When the upstream makes no embeddings, or not from what the client sent.
    pub(super) fn embeddings(
        &self,
        upstream: &Upstream,
        model: &str,
        requested: &str,
    ) -> Result<UpstreamPayload, GatewayError> {
        let format =
            upstream.embed_format().ok_or_else(|| unsupported("the provider of this model makes no embeddings"))?;
        if format == EmbedFormat::OpenAi && matches!(self.embed, EmbedDialect::OpenAi) {
            let segments = renamed_body(self.body.clone(), self.scan, model);
            return Ok(UpstreamPayload::passed(segments, AnswerKind::Embeddings, false));
        }
        let mut losses = Losses::default();
        let (bodies, context) = encode_request(self.embed.clone(), format, &self.body, model, requested, &mut losses)?;
        if self.is_strict() {
            nothing_lost(&losses)?;
        }
        let mut bodies = bodies.into_iter().map(|body| Segmented::new(vec![Bytes::from(body)]));
        let body = bodies.next().unwrap_or_else(|| Segmented::new(Vec::new()));
        let embedding = EmbeddingsTranslation { context, more: bodies.collect(), dropped: losses.header() };
        Ok(UpstreamPayload { body, headers: Vec::new(), mode: TranslationMode::Embeddings(Box::new(embedding)) })
    }
}

/// Reads and translates an answer, and those to the further requests, which are sent now that the first one went well.
pub(super) async fn embedded(
    client: &UpstreamClient<Segmented>,
    entry: &ConnectionEntry,
    (head, mut body): (response::Parts, UpstreamBody),
    more: Vec<Request<Segmented>>,
    embedding: &EmbeddingsTranslation,
    times: &TimeLimits,
) -> Result<Answer, FailedAttempt> {
    let upstream = &entry.upstream;
    let mut parts = vec![whole(upstream, &head, &mut body).await?];
    let at_once = if upstream.max_concurrent() == 0 { AT_ONCE } else { 1 };
    let asking = more.into_iter().map(|request| async {
        let (head, mut body) = answered(client, entry, Box::new(request), times).await?;
        whole(upstream, &head, &mut body).await
    });
    let mut others = stream::iter(asking).buffered(at_once);
    while let Some(part) = others.next().await {
        parts.push(part?);
        if parts.iter().map(|(body, _)| body.len()).sum::<usize>() > LARGEST_DOCUMENT {
            return Err(FailedAttempt::malformed("the answers are too large to be translated"));
        }
    }
    let parts: Vec<_> = parts.iter().map(|(body, counted)| (&body[..], *counted)).collect();
    let length = parts.iter().map(|(body, _)| body.len()).sum();
    match cpu_bound(length, || embedding.context.answer(&parts)).await {
        Ok(answer) => {
            let usage = Usage { input: answer.tokens, ..Usage::default() };
            let stats = AnswerStats { usage: Some(usage), ..AnswerStats::default() };
            Ok(Answer {
                head,
                body,
                filter: AnswerFilter::Finished(Box::new(stats)),
                ready: vec![answer.body.into()],
                is_quiet: false,
                reshaped: None,
            })
        }
        Err(error) => {
            tracing::debug!(%error, "embeddings could not be read");
            Err(FailedAttempt::malformed("the answer is not in the provider's own format"))
        }
    }
}

/// All of an answer, and the tokens that its head tells.
async fn whole(
    upstream: &Upstream,
    head: &response::Parts,
    body: &mut UpstreamBody,
) -> Result<(Bytes, Option<u64>), FailedAttempt> {
    let Some(first) = next(body).await? else {
        return Err(FailedAttempt::malformed(EMPTY));
    };
    let whole = rest(body, first).await?;
    if is_error_object(&whole) {
        return Err(FailedAttempt::in_disguise(upstream, head, &whole));
    }
    let counted = head.headers.get(TOKEN_COUNT).and_then(|value| value.to_str().ok()?.parse().ok());
    Ok((whole, counted))
}
