//! Each format's way to find usage, finish reason and errors in an answer that passes as it is.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use omniroute_core::error::GatewayError;
use omniroute_wire::{
    anthropic, gemini, images,
    ir::{Format, StreamError},
    json_tail::{AnswerFacts, UsageTail},
    ollama, openai, responses,
};

use super::AnswerKind;
use crate::{
    reply::AnswerStats,
    translate::{broken, stream_error},
};

/// Bytes of text a token, about.
const BYTES_PER_TOKEN: u64 = 4;
/// Made once: that takes longer than a search.
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));

/// Follows a stream of events.
#[derive(Debug)]
pub(super) enum Scanner {
    Chat(openai::UsageScanner),
    Responses(responses::UsageScanner),
    Messages(anthropic::UsageScanner),
    Gemini(gemini::UsageScanner),
    Ollama(ollama::UsageScanner),
    Images(images::ImageScanner),
}

/// Follows a document.
#[derive(Debug)]
pub(crate) struct Document {
    kind: AnswerKind,
    tail: UsageTail,
    /// Set once all of it is there.
    ended: Option<AnswerStats>,
    /// The answer says that it failed. Of a short one that is seen before anything goes out.
    error: Option<Box<StreamError>>,
}

/// The same call on whichever scanner it is.
macro_rules! each {
    ($self:expr, $scanner:ident => $call:expr) => {
        match $self {
            Scanner::Chat($scanner) => $call,
            Scanner::Responses($scanner) => $call,
            Scanner::Messages($scanner) => $call,
            Scanner::Gemini($scanner) => $call,
            Scanner::Ollama($scanner) => $call,
            Scanner::Images($scanner) => $call,
        }
    };
}

// === impl Scanner ===

impl Scanner {
    pub(super) fn new(kind: AnswerKind, hide_usage: bool) -> Self {
        match kind {
            AnswerKind::Chat(Format::OpenAiResponses) => Self::Responses(responses::UsageScanner::new()),
            AnswerKind::Chat(Format::Anthropic) => Self::Messages(anthropic::UsageScanner::new()),
            AnswerKind::Chat(Format::Gemini) => Self::Gemini(gemini::UsageScanner::new()),
            AnswerKind::Images => Self::Images(images::ImageScanner::new()),
            AnswerKind::Chat(Format::Ollama) => Self::Ollama(ollama::UsageScanner::new()),
            _ => Self::Chat(openai::UsageScanner::new(hide_usage)),
        }
    }

    pub(super) fn feed(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        each!(self, scanner => scanner.feed(frame, out));
    }

    pub(super) fn end(&mut self, out: &mut Vec<Bytes>) {
        each!(self, scanner => scanner.end(out));
    }

    pub(super) fn done(&self) -> bool {
        each!(self, scanner => scanner.done())
    }

    pub(super) fn complete(&self) -> bool {
        each!(self, scanner => scanner.complete())
    }

    /// So many choices were asked for.
    pub(super) fn follow_choices(&mut self, asked: u64) {
        match self {
            Self::Chat(scanner) => scanner.follow_choices(asked),
            Self::Gemini(scanner) => scanner.follow_choices(asked),
            _ => {}
        }
    }

    /// Whether the answer is whole, if nothing more is said. Of pictures only the stream's end shows that all are there.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Images(_) => false,
            Self::Chat(scanner) => scanner.is_whole(),
            Self::Gemini(scanner) => scanner.is_whole(),
            other => other.complete(),
        }
    }

    /// As [`Self::is_whole`], though choices may be missing that were asked for.
    pub(super) fn is_complete(&self) -> bool {
        !matches!(self, Self::Images(_)) && self.complete()
    }

    /// What the answer cost has been told.
    pub(super) fn is_counted(&self) -> bool {
        each!(self, scanner => scanner.usage().is_some())
    }

    /// Grows with what is said.
    pub(super) fn said(&self) -> u64 {
        match self {
            Self::Chat(scanner) => scanner.said(),
            Self::Gemini(scanner) => scanner.said(),
            other => each!(other, scanner => scanner.estimated_output()),
        }
    }

    pub(super) fn saw_error(&self) -> bool {
        each!(self, scanner => scanner.saw_error())
    }

    pub(super) const fn is_chat(&self) -> bool {
        matches!(self, Self::Chat(_))
    }

    pub(super) const fn is_anthropic(&self) -> bool {
        matches!(self, Self::Messages(_))
    }

    pub(super) const fn is_gemini(&self) -> bool {
        matches!(self, Self::Gemini(_))
    }

    pub(super) fn stats(&self) -> AnswerStats {
        each!(self, scanner => AnswerStats {
            usage: scanner.usage().copied(),
            finish_reason: scanner.finish_reason().map(str::to_owned),
            output_guess: scanner.estimated_output(),
        })
    }

    /// Lines of JSON instead of events.
    pub(super) const fn is_lines(&self) -> bool {
        matches!(self, Self::Ollama(_))
    }

    /// An error in the middle of the stream.
    pub(super) fn encode_error(&self, error: &GatewayError, request_id: &str) -> Vec<u8> {
        let error = stream_error(error, request_id);
        let mut out = Vec::with_capacity(256);
        match self {
            Self::Chat(_) | Self::Images(_) => openai::encode_stream_error(&error, &mut out),
            Self::Responses(scanner) => responses::encode_stream_error(scanner.begun(), &error, &mut out),
            Self::Messages(_) => anthropic::encode_stream_error(&error, &mut out),
            Self::Gemini(_) => gemini::encode_stream_error(&error, &mut out),
            Self::Ollama(_) => ollama::encode_stream_error(&error, &mut out),
        }
        out
    }
}

// === impl Document ===

impl Document {
    pub(super) fn new(kind: AnswerKind) -> Self {
        Self { kind, tail: UsageTail::default(), ended: None, error: None }
    }

    pub(super) fn feed(&mut self, frame: &Bytes) {
        self.tail.feed(frame);
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) {
        let stats = self.stats();
        if self.says_failure(&stats) {
            self.error = Some(Box::new(broken("the upstream ended its answer with an error")));
        }
        self.ended = Some(stats);
    }

    /// What it turned out to be that has ended, if not an answer.
    pub(super) fn error(&self) -> Option<&StreamError> {
        self.error.as_deref()
    }

    /// Whether it is an answer that says that it failed. `whole`: all of it.
    pub(super) fn has_failed(&self, whole: &[u8]) -> bool {
        // Nearly every answer lacks the word.
        (self.kind != AnswerKind::Chat(Format::OpenAiChat) || ERROR.find(whole).is_some())
            && self.says_failure(&self.stats())
    }

    fn says_failure(&self, stats: &AnswerStats) -> bool {
        let word = match self.kind {
            AnswerKind::Chat(Format::OpenAiResponses) => "failed",
            // OpenRouter's.
            AnswerKind::Chat(Format::OpenAiChat) => "error",
            _ => return false,
        };
        stats.finish_reason.as_deref() == Some(word)
    }

    pub(super) fn stats(&self) -> AnswerStats {
        if let Some(stats) = &self.ended {
            return stats.clone();
        }
        let AnswerFacts { usage, finish_reason } = match self.kind {
            // Images are counted in the words of the newer API.
            AnswerKind::Chat(Format::OpenAiResponses) | AnswerKind::Images => responses::answer_facts(&self.tail),
            AnswerKind::Chat(Format::Anthropic) => anthropic::answer_facts(&self.tail),
            AnswerKind::Chat(Format::Gemini) => self.tail.facts_by(gemini::answer_facts),
            AnswerKind::Chat(Format::Ollama) => self.tail.facts_by(ollama::answer_facts),
            _ => openai::answer_facts(&self.tail),
        };
        AnswerStats { usage, finish_reason, output_guess: self.tail.total() / BYTES_PER_TOKEN }
    }
}
