//! What one connection is sent, and how its answer is read: the client's own body where both sides speak the same
//! format, a translation elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    hash::Pepper,
    time::UnixMillis,
};
use omniroute_providers::{ChatApiSelector, Failure, Operation, Upstream};
use omniroute_wire::{
    anthropic,
    embeddings::EmbedDialect,
    gemini,
    ir::{Format, ThinkingStyle, ThoughtDemand},
    ollama,
    openai::{has_longer_ids, renamed_body, upstream_body},
    responses,
    scan::{RequestScan, scan},
    splice::Segments,
    translate::Dialect,
};

use super::thought_demands::ThoughtDemands;
use crate::{
    answer::{AnswerKind, TranslationMode},
    media::{FetchedMedia, MediaStore},
    request::{BodyMemory, Segmented, Target, is_strict},
    seal::{Cipher, SignatureSealer, has_sealed_signature},
    shared_store::Store,
    signatures::Signatures,
    translate::{Job, OldSignatures, SameFormat, Translation, translate},
};

/// The call that makes a conversation shorter, beside Responses.
pub(super) const COMPACT: &str = "compact";

/// A client's request, before it is known who answers it.
pub(crate) struct ClientRequest<'a> {
    pub(crate) operation: Operation,
    pub(crate) dialect: &'a Dialect,
    pub(crate) head: &'a Parts,
    pub(crate) body: Bytes,
    pub(crate) scan: &'a RequestScan<'a>,
    /// How embeddings are asked for.
    pub(crate) embed: EmbedDialect,
    pub(crate) stream: bool,
    pub(crate) at: UnixMillis,
    pub(crate) pepper: &'a Pepper,
    /// Whose request it is, for what is kept from one to the next.
    pub(crate) scope: &'a str,
    /// The stored answer that the body went on from.
    pub(crate) previous: Option<&'a str>,
    /// The answer will be stored, to go on from.
    pub(crate) is_kept: bool,
    /// A conversation that is to be made shorter, as the client sent it: an upstream that does that gets it instead of `body`,
    /// which asks for a summary.
    pub(crate) compacted: Option<&'a Bytes>,
}

/// What is sent.
pub(crate) struct UpstreamPayload {
    pub(crate) body: Segmented,
    /// Headers that the format demands for this request.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) mode: TranslationMode,
}

/// What it takes to write requests anew.
pub(crate) struct Translator {
    pub(crate) media: MediaStore,
    pub(crate) memory: BodyMemory,
    /// The signatures that are kept.
    pub(crate) signatures: Store,
    pub(crate) demands: ThoughtDemands,
}

// === impl ClientRequest ===

impl ClientRequest<'_> {
    /// What the target is sent.
    ///
    /// # Errors
    /// When it cannot do what is asked.
    pub(super) async fn payload(
        &self,
        translator: &Translator,
        target: Target<'_>,
        fetched: &FetchedMedia,
    ) -> Result<UpstreamPayload, GatewayError> {
        let Target { model, requested, .. } = target;
        let upstream = &target.entry.upstream;
        match self.operation {
            Operation::Embeddings => return self.embeddings(upstream, model, requested),
            Operation::Images => return self.images(upstream, model),
            _ => {}
        }
        // Large futures that the first way does not pay for.
        match self.as_it_is(upstream, model)? {
            Ok(payload) if translator.demands.has(target.entry, model) => {
                Ok(Box::pin(self.stood_in(translator, target, fetched, &payload.mode)).await.unwrap_or(payload))
            }
            Ok(payload) => Ok(payload),
            Err(format) => Box::pin(self.translated(translator, target, format, OldSignatures::PutBack, fetched)).await,
        }
    }

    /// The same with something in place of thoughts that are gone, for an upstream that would refuse it without. `None`: none is
    /// missing, or that cannot be written.
    async fn stood_in(
        &self,
        translator: &Translator,
        target: Target<'_>,
        fetched: &FetchedMedia,
        before: &TranslationMode,
    ) -> Option<UpstreamPayload> {
        self.translated(translator, target, before.format()?, OldSignatures::StandIn, fetched).await.ok()
    }

    /// The same again for an upstream that did not take a signature, without any that it would look at; or for one that
    /// missed a thought, with something in its place. `None`: that makes no difference.
    pub(super) async fn unsigned(
        &self,
        translator: &Translator,
        target: Target<'_>,
        fetched: &FetchedMedia,
        before: &TranslationMode,
        failure: &Failure,
    ) -> Option<UpstreamPayload> {
        if failure.misses_thought() {
            return self.stood_in(translator, target, fetched, before).await;
        }
        let format = before.format()?;
        let or_nothing = matches!(before, TranslationMode::Translate(translation) if !translation.signed_again);
        let old = OldSignatures::LeaveOut { or_nothing };
        // What cannot be written this way stays as it was refused.
        self.translated(translator, target, format, old, fetched).await.ok()
    }

    /// The request for a summary, where the upstream turned out not to compact by itself. `None`: that was not asked.
    pub(super) async fn summarized(
        &self,
        translator: &Translator,
        target: Target<'_>,
        fetched: &FetchedMedia,
        before: &TranslationMode,
    ) -> Option<UpstreamPayload> {
        let format = before.format().filter(|_| self.compacted.is_some() && before.is_passthrough())?;
        self.translated(translator, target, format, OldSignatures::PutBack, fetched).await.ok()
    }

    /// The client's own bytes, or the format that they have to be translated into.
    ///
    /// # Errors
    /// When the upstream cannot do what is asked at all.
    pub(super) fn as_it_is(
        &self,
        upstream: &Upstream,
        model: &str,
    ) -> Result<Result<UpstreamPayload, Format>, GatewayError> {
        let format = self.format_at(upstream, model);
        let format = format.ok_or_else(|| unsupported("the provider of this model does not chat"))?;
        Ok(self.passed(upstream, format, model).ok_or(format))
    }

    /// The chat format in which this upstream is asked; `None` when it does not chat.
    pub(super) fn format_at(&self, upstream: &Upstream, model: &str) -> Option<Format> {
        let selector = ChatApiSelector {
            client: self.dialect.format(),
            has_tools: self.scan.has_tools,
            effort: self.scan.effort,
            many: self.scan.n.is_some_and(|n| n > 1),
        };
        upstream.chat_format_for(model, &selector)
    }

    /// Name in the ledger of the format in which this upstream is asked.
    pub(super) fn format_name_at(&self, upstream: &Upstream, model: &str) -> &'static str {
        match self.format_at(upstream, model).filter(|_| self.operation == Operation::Chat) {
            Some(format) => format.as_str(),
            None => upstream.format_name(self.operation),
        }
    }

    /// Whether what is sent to one target is what the other would be sent.
    pub(super) fn is_written_alike(&self, one: &Target<'_>, other: &Target<'_>) -> bool {
        one.entry.upstream.provider() == other.entry.upstream.provider()
            && one.model == other.model
            && self.format_at(&one.entry.upstream, one.model) == self.format_at(&other.entry.upstream, other.model)
    }

    async fn translated(
        &self,
        translator: &Translator,
        Target { entry, model, requested, .. }: Target<'_>,
        format: Format,
        old: OldSignatures,
        fetched: &FetchedMedia,
    ) -> Result<UpstreamPayload, GatewayError> {
        let mut profile = entry.upstream.profile(format, model);
        if old == OldSignatures::StandIn || translator.demands.has(entry, model) {
            // The upstream said so itself, whatever its name, though not of which answers.
            profile.reasoning_content_demanded = ThoughtDemand::Tools;
        }
        profile.reasoning_content_back |= profile.reasoning_content_demanded != ThoughtDemand::None;
        let translated = translate(&Job {
            dialect: self.dialect,
            body: &self.body,
            headers: &self.head.headers,
            upstream: format,
            model,
            requested,
            profile: &profile,
            stream: self.stream,
            strict: self.is_strict(),
            at: self.at,
            sealer: Arc::new(SignatureSealer::new(self.pepper)),
            media: &translator.media,
            fetched,
            memory: &translator.memory,
            previous: self.previous,
            signatures: Signatures::new(&translator.signatures, Cipher::new(self.pepper), self.scope),
            old,
        })
        .await?;
        Ok(UpstreamPayload {
            body: Segmented::new(vec![entry.upstream.in_its_words(format, translated.body)]),
            headers: translated.headers,
            mode: TranslationMode::Translate(Box::new(translated.translation)),
        })
    }

    /// How an answer in the client's own format is written anew, streamed or whole as the client asked.
    pub(super) fn reshaping(&self, format: Format, requested: &str) -> Translation {
        let options = self.scan.stream_options.as_ref();
        Translation::same_format(&SameFormat {
            dialect: self.dialect,
            format,
            body: &self.body,
            requested,
            stream: self.stream,
            include_usage: options
                .is_some_and(|options| options.value.include_usage.as_ref().is_some_and(|asked| asked.value)),
            choices: self.scan.n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            at: self.at,
            sealer: Arc::new(SignatureSealer::new(self.pepper)),
            previous: self.previous,
        })
    }

    pub(super) fn is_strict(&self) -> bool {
        is_strict(&self.head.headers)
    }

    /// Images are made in OpenAI's form only. The answer may be large and passes as it comes, as a document or a stream.
    fn images(&self, upstream: &Upstream, model: &str) -> Result<UpstreamPayload, GatewayError> {
        if !upstream.makes_images() {
            return Err(unsupported("the gateway makes no images with the provider of this model"));
        }
        Ok(UpstreamPayload::passed(renamed_body(self.body.clone(), self.scan, model), AnswerKind::Images, false))
    }

    /// Whether the upstream speaks the client's format.
    pub(super) fn passes(&self, format: Format) -> bool {
        match (self.dialect, format) {
            (Dialect::Chat, Format::OpenAiChat)
            | (Dialect::Responses, Format::OpenAiResponses)
            | (Dialect::Messages, Format::Anthropic)
            // Its other API, `/api/generate`, has no path at an upstream here.
            | (Dialect::Ollama { shape: ollama::Shape::Chat, .. }, Format::Ollama) => true,
            // A stream is always asked for as events.
            (Dialect::Gemini { stream, framing, .. }, Format::Gemini) => {
                !*stream || *framing == gemini::Framing::Sse
            }
            _ => false,
        }
    }

    /// The client's own bytes, where that is so.
    fn passed(&self, upstream: &Upstream, format: Format, model: &str) -> Option<UpstreamPayload> {
        if !self.passes(format) {
            return None;
        }
        // Thoughts of another family, as the client got them from us: who signed its own would refuse the request.
        let is_signed = match format {
            Format::Anthropic | Format::Gemini | Format::OpenAiResponses => true,
            // Calls carry Google's signatures here.
            Format::OpenAiChat => model.contains("gemini"),
            Format::Ollama | Format::Cohere | Format::Bedrock => false,
        };
        if is_signed && has_sealed_signature(&self.body, format) {
            return None;
        }
        let mut hide_usage = false;
        if let Some(body) = self.compacted {
            upstream.responses_uri(COMPACT)?;
            let renamed = renamed_body(body.clone(), &scan(body).ok()?, model);
            return Some(UpstreamPayload::passed(renamed, AnswerKind::Chat(format), hide_usage));
        }
        let segments = match format {
            Format::OpenAiChat => match upstream.quirks() {
                None => {
                    let upstream = upstream_body(self.body.clone(), self.scan, model);
                    hide_usage = upstream.hide_usage;
                    upstream.segments
                }
                // The ids have to be exchanged.
                Some(quirks) if quirks.nine_character_ids && has_longer_ids(&self.body) => return None,
                Some(quirks) => {
                    let body = upstream.in_its_words(format, self.body.clone());
                    let scan = scan(&body).ok()?;
                    if quirks.body_rules().takes("stream_options") {
                        let upstream = upstream_body(body.clone(), &scan, model);
                        hide_usage = upstream.hide_usage;
                        upstream.segments
                    } else {
                        // It tells the usage of a stream unasked.
                        renamed_body(body.clone(), &scan, model)
                    }
                }
            },
            Format::OpenAiResponses => {
                if responses::has_trigger(&self.body) && !upstream.profile(format, model).compaction_trigger {
                    return None;
                }
                let keeps_thoughts = self.is_kept && {
                    let profile = upstream.profile(format, model);
                    profile.thinking != ThinkingStyle::None && profile.fixed_sampling
                };
                responses::upstream_body(self.body.clone(), self.scan, model, keeps_thoughts)
            }
            Format::Anthropic => anthropic::upstream_body(self.body.clone(), self.scan, model),
            // The model is in the path.
            Format::Gemini => vec![self.body.clone()],
            Format::Ollama | Format::Cohere | Format::Bedrock => renamed_body(self.body.clone(), self.scan, model),
        };
        Some(UpstreamPayload::passed(segments, AnswerKind::Chat(format), hide_usage))
    }
}

// === impl UpstreamPayload ===

impl UpstreamPayload {
    pub(super) fn passed(segments: Segments, kind: AnswerKind, hide_usage: bool) -> Self {
        Self {
            body: Segmented::new(segments),
            headers: Vec::new(),
            mode: TranslationMode::Passthrough { kind, hide_usage },
        }
    }
}

/// The provider has no such call, or the gateway none to it.
pub(super) fn unsupported(message: &'static str) -> GatewayError {
    GatewayError::new(ErrorClass::BadRequest, "unsupported_operation", message).with_param("model")
}
