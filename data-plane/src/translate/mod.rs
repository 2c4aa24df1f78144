//! Translation: a client that speaks one format, an upstream that speaks another.
//!
//! [`translate`] turns a request's body into the upstream's and remembers in a [`Translation`] what its answer needs.
//! [`document`] turns an answer in one piece, [`Streaming`] one that is streamed. What lies between is `wire`'s; a
//! [`SignatureSealer`] lets other families' signatures travel through the client.

mod cpu_bound;
mod document;
mod embeddings;
mod streaming;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    time::UnixMillis,
};
use omniroute_wire::{
    anthropic,
    codec::{DecodeContext, EncodeTarget, NameTable, ResponseContext, WireError},
    ir::{Format, Json, Losses, Profile, Request, StreamError},
    ollama::Timing,
    openai::unwrap_details,
    translate::{Dialect, encode_request, name_table},
};

pub(crate) use self::{
    cpu_bound::cpu_bound,
    document::{DocumentError, Gathered, from_document},
    embeddings::EmbeddingsTranslation,
    streaming::Streaming,
};
use crate::{
    media::{self, FetchedMedia, MediaStore},
    request::{BodyMemory, would_be_lost},
    seal::SignatureSealer,
    signatures::{self, Restored, SignatureCapture, Signatures, WantedThoughts},
};

/// Switches of Anthropic's clients.
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// Bytes of a prompt per token, about.
const BYTES_PER_TOKEN: u64 = 4;

/// What is to be translated, and for whom.
pub(crate) struct Job<'a> {
    pub(crate) dialect: &'a Dialect,
    pub(crate) body: &'a [u8],
    pub(crate) headers: &'a HeaderMap,
    pub(crate) upstream: Format,
    /// The upstream's own id of the model, and the client's.
    pub(crate) model: &'a str,
    pub(crate) requested: &'a str,
    pub(crate) profile: &'a Profile,
    pub(crate) stream: bool,
    /// Whether the client would rather be refused than lose something.
    pub(crate) strict: bool,
    pub(crate) at: UnixMillis,
    pub(crate) sealer: Arc<SignatureSealer>,
    pub(crate) media: &'a MediaStore,
    pub(crate) memory: &'a BodyMemory,
    /// Media that have been fetched before.
    pub(crate) fetched: &'a FetchedMedia,
    /// The stored answer that the body went on from, which the client's own body named.
    pub(crate) previous: Option<&'a str>,
    pub(crate) signatures: Signatures,
    pub(crate) old: OldSignatures,
}

/// What becomes of signatures of earlier turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldSignatures {
    /// Those that the client dropped are put back.
    PutBack,
    /// All that the upstream would look at are left out. `or_nothing`: where there is none, nothing is translated.
    LeaveOut { or_nothing: bool },
    /// Those that were dropped are put back, and where a thought is gone something stands in for it. Where none was
    /// missing, nothing is translated.
    StandIn,
}

/// A request in the upstream's format.
pub(crate) struct Translated {
    pub(crate) body: Bytes,
    /// Headers that the format demands for this request.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) translation: Translation,
}

/// What the way back has to know.
#[derive(Clone)]
pub(crate) struct Translation {
    pub(crate) dialect: Dialect,
    pub(crate) upstream: Format,
    /// Whether the client wants a stream.
    pub(crate) stream: bool,
    pub(crate) exchange: ResponseContext,
    /// Names of what did not cross.
    pub(crate) dropped: Option<String>,
    /// Signatures that the client dropped were put back.
    pub(crate) signed_again: bool,
    /// Keeps what the answer is signed with.
    pub(crate) capture: Option<Arc<SignatureCapture>>,
    /// Choices that the upstream is asked for.
    pub(crate) choices: u32,
}

/// What an answer is written anew for that stays in its format.
pub(crate) struct SameFormat<'a> {
    pub(crate) dialect: &'a Dialect,
    pub(crate) format: Format,
    pub(crate) body: &'a [u8],
    pub(crate) requested: &'a str,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) choices: u32,
    pub(crate) at: UnixMillis,
    pub(crate) sealer: Arc<SignatureSealer>,
    pub(crate) previous: Option<&'a str>,
}

// === impl Translation ===

impl Translation {
    /// Between a stream and a document of one format: nothing of the request was changed.
    pub(crate) fn same_format(same_format: &SameFormat<'_>) -> Self {
        let SameFormat { dialect, body, requested, .. } = *same_format;
        let exchange = ResponseContext {
            id: new_id(),
            created: same_format.at.0 / 1000,
            model: requested.to_owned(),
            include_usage: same_format.include_usage,
            show_thinking: true,
            estimated_input: body.len() as u64 / BYTES_PER_TOKEN,
            answer_tool: false,
            echo: echo(dialect, body, same_format.previous),
            sealer: Arc::clone(&same_format.sealer) as _,
            names: NameTable::default(),
            compacts: false,
        };
        Self {
            dialect: dialect.clone(),
            upstream: same_format.format,
            stream: same_format.stream,
            exchange,
            dropped: None,
            signed_again: false,
            // The client's own format has a place for every signature.
            capture: None,
            choices: same_format.choices,
        }
    }

    /// Where the client's dialect tells how long things took.
    fn timing(&self) -> Option<Timing> {
        match &self.dialect {
            Dialect::Ollama { timing, .. } => Some(timing.clone()),
            _ => None,
        }
    }
}

/// Writes a request anew for its upstream.
///
/// # Errors
/// When the client's body is wrong, or asks for what the upstream's format cannot say.
pub(crate) async fn translate(job: &Job<'_>) -> Result<Translated, GatewayError> {
    let context = DecodeContext { sealer: &*job.sealer, answer: "" };
    // Lives longer than the request, which borrows from it.
    let fetched = OnceLock::new();
    let wanted = WantedThoughts::by(job.upstream, job.model, job.profile);
    let read = cpu_bound(job.body.len(), || {
        let request = job.dialect.decode_request(job.body, &context)?;
        let wanted = wanted.with(&request);
        Ok::<_, WireError>((wanted, wanted.places(&request), request))
    });
    let (wanted, places, mut request) = read.await?;
    // Nearly all of it is there already; see `dispatch::media`.
    let missing = media::missing(&request, job.upstream, job.profile, job.fetched)?;
    let media = job.media.fetch(job.memory, missing).await?;
    media::put_in(&mut request, job.fetched);
    media::put_in(&mut request, fetched.get_or_init(|| media));
    if !job.profile.reasoning_details_back {
        unwrap_details(&mut request);
    }
    let restored = match job.old {
        OldSignatures::PutBack | OldSignatures::StandIn => {
            job.signatures.restore(&mut request, &places, wanted, job.model).await
        }
        OldSignatures::LeaveOut { or_nothing } => {
            // Details may be signed by anyone.
            let family = (!job.profile.reasoning_details_back).then(|| job.upstream.family());
            if !signatures::strip(&mut request, family) && or_nothing {
                return Err(GatewayError::bad_request("no_signatures", "the request has no signature to leave out"));
            }
            Restored::default()
        }
    };
    let stands_in = signatures::stand_in(&mut request, job.profile.reasoning_content_demanded);
    if job.old == OldSignatures::StandIn && !stands_in && !restored.any {
        return Err(GatewayError::bad_request("no_thoughts", "no answer in the request is without a thought"));
    }
    if matches!(job.dialect, Dialect::Messages) && job.upstream != Format::Anthropic {
        let given = job.headers.get_all(ANTHROPIC_BETA).iter();
        anthropic::keep_switches(&mut request, given.filter_map(|value| value.to_str().ok()));
    }
    request.stream = job.stream;
    let names = name_table(job.upstream, &request);
    if job.upstream != Format::Anthropic {
        anthropic::name_references(&mut request, &names);
    }
    let target = EncodeTarget { model: job.model, profile: job.profile, names: &names, stream: job.stream };
    let mut losses = Losses::default();
    let written = cpu_bound(job.body.len(), || encode_request(job.upstream, &request, &target, &mut losses));
    let encoded = written.await?;
    if job.strict {
        nothing_lost(&losses)?;
    }
    let exchange = ResponseContext {
        id: new_id(),
        created: job.at.0 / 1000,
        model: job.requested.to_owned(),
        include_usage: request.include_usage,
        show_thinking: shows_thinking(job.dialect, &request),
        estimated_input: job.body.len() as u64 / BYTES_PER_TOKEN,
        answer_tool: encoded.answer_tool,
        echo: echo(job.dialect, job.body, job.previous),
        sealer: Arc::clone(&job.sealer) as _,
        names,
        compacts: request.compacts,
    };
    let capture =
        SignatureCapture::new(job.signatures.clone(), request.format, &places, wanted, job.model, &exchange.names);
    let translation = Translation {
        dialect: job.dialect.clone(),
        upstream: job.upstream,
        stream: job.stream,
        exchange,
        dropped: losses.header(),
        signed_again: restored.signed,
        capture: Some(Arc::new(capture)),
        choices: match job.upstream {
            Format::OpenAiChat | Format::Gemini => request.sampling.n.unwrap_or(1),
            _ => 1,
        },
    };
    Ok(Translated { body: encoded.body.into(), headers: encoded.headers, translation })
}

/// What of the client's own body the answer repeats.
fn echo(dialect: &Dialect, body: &[u8], previous: Option<&str>) -> Vec<(&'static str, Json<'static>)> {
    let mut echo = dialect.echo(body);
    if let Some(id) = previous.and_then(|id| Json::from_value(&id.into())) {
        echo.push(("previous_response_id", id));
    }
    echo
}

/// For clients that would rather be refused than lose something.
///
/// # Errors
/// With the names of what would be lost.
pub(crate) fn nothing_lost(losses: &Losses) -> Result<(), GatewayError> {
    losses.header().map_or(Ok(()), |lost| Err(would_be_lost(&lost)))
}

/// Anthropic's clients expect thoughts only when they asked for some; elsewhere a field that is not asked for does no
/// harm.
fn shows_thinking(dialect: &Dialect, request: &Request<'_>) -> bool {
    let visible = request.reasoning.and_then(|reasoning| reasoning.visible);
    visible.unwrap_or(!matches!(dialect, Dialect::Messages) || request.reasoning.is_some())
}

fn new_id() -> String {
    hex(&rand::random::<[u8; 12]>())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// An error as an event of a stream.
pub(crate) fn stream_error(error: &GatewayError, request_id: &str) -> StreamError {
    StreamError {
        class: error.class,
        code: error.code,
        message: error.message.clone(),
        retry_after: error.retry_after,
        request_id: Some(request_id.into()),
    }
}

/// An upstream that breaks its own format.
pub(crate) fn broken(message: &str) -> StreamError {
    StreamError {
        class: ErrorClass::Upstream,
        code: "upstream_error",
        message: message.to_owned(),
        retry_after: None,
        request_id: None,
    }
}
