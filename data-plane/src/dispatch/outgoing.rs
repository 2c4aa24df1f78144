//! What one connection is sent, and how its answer is read: the client's own body where both sides speak the same
//! format, a translation elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    hash::Pepper,
    time::{Clock, UnixMillis},
};
use omniroute_providers::{BodyFormat, ChatWish, Failure, Operation, Upstream};
use omniroute_wire::{
    anthropic,
    embeddings::EmbedDialect,
    gemini,
    ir::{Format, ThinkingStyle, ThoughtDemand},
    ollama,
    openai::{renamed_body, upstream_body},
    responses,
    scan::{RequestScan, scan},
    splice::Segments,
    translate::Dialect,
};

use super::{embeddings::Embedding, request::Segmented};
use crate::{
    media::FetchedMedia,
    respond::lane::Kind,
    server::Gateway,
    state::{Vault, signatures::Signatures},
    translate::{FleetSealer, Job, OldSignatures, Translation, Within, has_token, translate},
};

/// Asks for a refusal instead of an answer to a request that had to be cut down for its upstream.
const X_OMNIROUTE_STRICT: HeaderName = HeaderName::from_static("x-omniroute-strict");

/// The call that makes a conversation shorter, beside Responses.
pub(super) const COMPACT: &str = "compact";

/// A client's request, before it is known who answers it.
pub(crate) struct Asked<'a> {
    pub(crate) operation: Operation,
    pub(crate) dialect: &'a Dialect,
    pub(crate) head: &'a Parts,
    pub(crate) body: Bytes,
    pub(crate) scan: &'a RequestScan<'a>,
    /// How embeddings are asked for.
    pub(crate) embed: EmbedDialect,
    pub(crate) stream: bool,
    pub(crate) at: UnixMillis,
    pub(crate) clock: &'a dyn Clock,
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

/// Whom a request is written for.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) upstream: &'a Upstream,
    /// The model as the upstream knows it, and as the client named it.
    pub(crate) model: &'a str,
    pub(crate) requested: &'a str,
    /// Media, for an upstream that cannot fetch them.
    pub(crate) fetched: &'a FetchedMedia,
}

/// How an answer is read.
pub(crate) enum Way {
    Pass {
        kind: Kind,
        /// The client did not ask for the usage chunk.
        hide_usage: bool,
    },
    Translate(Box<Translation>),
    Embed(Box<Embedding>),
}

/// What is sent.
pub(crate) struct Outgoing {
    pub(crate) body: Segmented,
    /// Headers that the format demands for this request.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) way: Way,
}

// === impl Asked ===

impl Asked<'_> {
    /// What the target is sent.
    ///
    /// # Errors
    /// When it cannot do what is asked.
    pub(crate) async fn outgoing(&self, gateway: &Gateway, target: Target<'_>) -> Result<Outgoing, GatewayError> {
        let Target { upstream, model, requested, .. } = target;
        match self.operation {
            Operation::Embeddings => return self.embeddings(upstream, model, requested),
            Operation::Images => return self.images(upstream, model),
            _ => {}
        }
        match self.as_it_is(upstream, model)? {
            Ok(outgoing) => Ok(outgoing),
            // A large future that the other way does not pay for.
            Err(format) => Box::pin(self.translated(gateway, target, format, OldSignatures::PutBack)).await,
        }
    }

    /// The same again for an upstream that did not take a signature, without any that it would look at; or for one that
    /// missed a thought, with something in its place. `None`: that makes no difference.
    pub(crate) async fn unsigned(
        &self,
        gateway: &Gateway,
        target: Target<'_>,
        before: &Way,
        failure: &Failure,
    ) -> Option<Outgoing> {
        let format = before.format()?;
        let or_nothing = matches!(before, Way::Translate(translation) if !translation.signed_again);
        let old =
            if failure.misses_thought() { OldSignatures::StandIn } else { OldSignatures::LeaveOut { or_nothing } };
        // What cannot be written this way stays as it was refused.
        self.translated(gateway, target, format, old).await.ok()
    }

    /// The request for a summary, where the upstream turned out not to compact by itself. `None`: that was not asked.
    pub(crate) async fn summarized(&self, gateway: &Gateway, target: Target<'_>, before: &Way) -> Option<Outgoing> {
        let format = before.format().filter(|_| self.compacted.is_some() && before.is_passed())?;
        self.translated(gateway, target, format, OldSignatures::PutBack).await.ok()
    }

    /// The client's own bytes, or the format that they have to be translated into.
    ///
    /// # Errors
    /// When the upstream cannot do what is asked at all.
    pub(super) fn as_it_is(&self, upstream: &Upstream, model: &str) -> Result<Result<Outgoing, Format>, GatewayError> {
        let format = self.format_at(upstream, model);
        let format = format.ok_or_else(|| unsupported("the provider of this model does not chat"))?;
        Ok(self.passed(upstream, format, model).ok_or(format))
    }

    /// The chat format in which this upstream is asked; `None` when it does not chat.
    pub(super) fn format_at(&self, upstream: &Upstream, model: &str) -> Option<Format> {
        let wish = ChatWish {
            client: self.dialect.format(),
            has_tools: self.scan.has_tools,
            effort: self.scan.effort,
            many: self.scan.n.is_some_and(|n| n > 1),
        };
        upstream.chat_format_for(model, &wish)
    }

    /// Name in the ledger of the format in which this upstream is asked.
    pub(super) fn format_name_at(&self, upstream: &Upstream, model: &str) -> &'static str {
        match self.format_at(upstream, model).filter(|_| self.operation == Operation::Chat) {
            Some(format) => format.as_str(),
            None => upstream.format_name(self.operation),
        }
    }

    async fn translated(
        &self,
        gateway: &Gateway,
        Target { upstream, model, requested, fetched }: Target<'_>,
        format: Format,
        old: OldSignatures,
    ) -> Result<Outgoing, GatewayError> {
        let mut profile = upstream.profile(format, model);
        if old == OldSignatures::StandIn {
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
            sealer: Arc::new(FleetSealer::new(self.pepper)),
            media: &gateway.media,
            fetched,
            memory: &gateway.memory,
            previous: self.previous,
            signatures: Signatures::new(&gateway.state.signatures, Vault::new(self.pepper), self.scope),
            old,
        })
        .await?;
        Ok(Outgoing {
            body: Segmented::new(vec![translated.body]),
            headers: translated.headers,
            way: Way::Translate(Box::new(translated.translation)),
        })
    }

    /// How an answer in the client's own format is written anew, streamed or whole as the client asked.
    pub(super) fn reshaping(&self, format: Format, requested: &str) -> Translation {
        let options = self.scan.stream_options.as_ref();
        Translation::within(&Within {
            dialect: self.dialect,
            format,
            body: &self.body,
            requested,
            stream: self.stream,
            include_usage: options
                .is_some_and(|options| options.value.include_usage.as_ref().is_some_and(|asked| asked.value)),
            at: self.at,
            sealer: Arc::new(FleetSealer::new(self.pepper)),
            previous: self.previous,
        })
    }

    pub(super) fn is_strict(&self) -> bool {
        is_strict(&self.head.headers)
    }

    /// Images are made in OpenAI's form only. The answer may be large and passes as it comes, as a document or a stream.
    fn images(&self, upstream: &Upstream, model: &str) -> Result<Outgoing, GatewayError> {
        if upstream.adapter().format(Operation::Images) != Some(BodyFormat::OpenAiImages) {
            return Err(unsupported("the gateway makes no images with the provider of this model"));
        }
        Ok(Outgoing::passed(renamed_body(self.body.clone(), self.scan, model), Kind::Images, false))
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
    fn passed(&self, upstream: &Upstream, format: Format, model: &str) -> Option<Outgoing> {
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
        if is_signed && has_token(&self.body, format) {
            return None;
        }
        let mut hide_usage = false;
        if let Some(body) = self.compacted {
            upstream.responses_uri(COMPACT)?;
            let renamed = renamed_body(body.clone(), &scan(body).ok()?, model);
            return Some(Outgoing::passed(renamed, Kind::Chat(format), hide_usage));
        }
        let segments = match format {
            Format::OpenAiChat => {
                let upstream = upstream_body(self.body.clone(), self.scan, model);
                hide_usage = upstream.hide_usage;
                upstream.segments
            }
            Format::OpenAiResponses => {
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
        Some(Outgoing::passed(segments, Kind::Chat(format), hide_usage))
    }
}

// === impl Way ===

impl Way {
    /// Whether a streamed answer reaches the client as server-sent events, among which it takes some that it does not know.
    /// Google's clients do not.
    pub(crate) fn takes_events(&self) -> bool {
        match self {
            Self::Pass { kind, .. } => !matches!(kind, Kind::Chat(Format::Ollama | Format::Gemini)),
            Self::Translate(translation) => {
                !matches!(translation.dialect, Dialect::Gemini { .. } | Dialect::Ollama { .. })
            }
            Self::Embed(_) => false,
        }
    }

    /// Whether the client's own body went up.
    pub(crate) const fn is_passed(&self) -> bool {
        matches!(self, Self::Pass { .. })
    }

    /// Whether the upstream knows the client's own switches.
    pub(super) fn stays_in_family(&self) -> bool {
        match self {
            Self::Pass { .. } => true,
            Self::Translate(translation) => translation.dialect.format() == translation.upstream,
            Self::Embed(_) => false,
        }
    }

    /// The chat format in which the upstream is asked.
    pub(super) fn format(&self) -> Option<Format> {
        match self {
            Self::Pass { kind: Kind::Chat(format), .. } => Some(*format),
            Self::Translate(translation) => Some(translation.upstream),
            Self::Pass { .. } | Self::Embed(_) => None,
        }
    }

    /// Whether an answer in this format passes as it came.
    pub(crate) fn passes(&self, format: Format) -> bool {
        matches!(self, Self::Pass { kind: Kind::Chat(passed), .. } if *passed == format)
    }

    /// Whether the client speaks OpenAI's Chat dialect.
    pub(crate) fn is_chat(&self) -> bool {
        match self {
            Self::Pass { kind, .. } => *kind == Kind::Chat(Format::OpenAiChat),
            Self::Translate(translation) => matches!(translation.dialect, Dialect::Chat | Dialect::Completions),
            Self::Embed(_) => false,
        }
    }
}

// === impl Outgoing ===

impl Outgoing {
    pub(super) fn passed(segments: Segments, kind: Kind, hide_usage: bool) -> Self {
        Self { body: Segmented::new(segments), headers: Vec::new(), way: Way::Pass { kind, hide_usage } }
    }
}

/// Whether the client would rather be refused than lose something.
pub(crate) fn is_strict(headers: &HeaderMap) -> bool {
    headers.get(X_OMNIROUTE_STRICT).is_some_and(is_true)
}

/// How our own switches are written in a head.
pub(crate) fn is_true(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"true") || value.as_bytes() == b"1"
}

/// The provider has no such call, or the gateway none to it.
pub(super) fn unsupported(message: &'static str) -> GatewayError {
    GatewayError::new(ErrorClass::BadRequest, "unsupported_operation", message).with_param("model")
}
