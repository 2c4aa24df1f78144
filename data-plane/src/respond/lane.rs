//! How an answer is followed while it passes: as an event stream, or as one JSON document.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use omniroute_providers::Operation;
use omniroute_wire::{json_tail::UsageTail, usage::Usage, usage_scanner::UsageScanner};

use super::events::Whole;

/// What has been seen of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// The provider's own count.
    pub(crate) usage: Option<Usage>,
    pub(crate) finish_reason: Option<String>,
    /// A guess at the tokens that came out, for when the provider does not tell.
    pub(crate) output_guess: u64,
}

/// Follows one answer.
#[derive(Debug)]
pub(crate) enum Lane {
    Events(Events),
    Json(UsageTail),
}

/// An event stream.
#[derive(Debug)]
pub(crate) struct Events {
    scanner: UsageScanner,
    whole: Whole,
}

/// What an answer is, judged by its head and, where that does not tell, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Events,
    Json,
    Html,
    Unknown,
}

/// The first bytes are no answer of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An error object in an answer that says 200.
    ErrorObject,
    /// A document that is whole and lacks what makes it an answer.
    NoAnswer,
}

/// Made once: that takes longer than a search.
static CHOICES: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"choices\""));
static DATA: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"data\""));

/// Bytes of text a token, about.
const BYTES_PER_TOKEN: u64 = 4;

// === impl Shape ===

impl Shape {
    pub(crate) fn of(content_type: Option<&[u8]>, first: &[u8]) -> Self {
        let kind = content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if kind.eq_ignore_ascii_case(b"text/event-stream") {
            return Self::Events;
        }
        if kind.eq_ignore_ascii_case(b"text/html") {
            return Self::Html;
        }
        let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
        match first {
            [b'{', ..] => Self::Json,
            [b':', ..] => Self::Events,
            [b'<', ..] => Self::Html,
            _ if first.starts_with(b"data:") || first.starts_with(b"event:") => Self::Events,
            // White space only: the type is all there is to go by.
            [] if kind.ends_with(b"json") => Self::Json,
            _ => Self::Unknown,
        }
    }
}

// === impl Lane ===

impl Lane {
    pub(crate) fn events(hide_usage: bool) -> Self {
        Self::Events(Events { scanner: UsageScanner::new(hide_usage), whole: Whole::new() })
    }

    pub(crate) fn json() -> Self {
        Self::Json(UsageTail::default())
    }

    /// Takes the next frame and appends to `out` what the client gets of it.
    pub(crate) fn feed(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        match self {
            Self::Events(events) => {
                let from = out.len();
                events.scanner.feed(frame, out);
                events.whole.filter(out, from);
            }
            Self::Json(tail) => {
                tail.feed(&frame);
                out.push(frame);
            }
        }
    }

    /// The upstream has ended: gives out what was held back.
    pub(crate) fn flush(&mut self, out: &mut Vec<Bytes>) {
        if let Self::Events(events) = self {
            let from = out.len();
            events.scanner.end(out);
            events.whole.filter(out, from);
            out.extend(events.whole.end());
        }
    }

    /// Whether the first frame, which has been fed, is the beginning of an answer. `is_all`: nothing follows it.
    pub(crate) fn check_first(&self, operation: Operation, first: &[u8], is_all: bool) -> Result<(), Fault> {
        match self {
            Self::Events(events) if events.scanner.saw_error() => Err(Fault::ErrorObject),
            Self::Events(events) if is_all && !events.scanner.complete() => Err(Fault::NoAnswer),
            Self::Events(_) => Ok(()),
            Self::Json(_) if is_error_object(first) => Err(Fault::ErrorObject),
            Self::Json(_) if is_all && !has_substance(operation, first) => Err(Fault::NoAnswer),
            Self::Json(_) => Ok(()),
        }
    }

    /// The terminator of a stream has come.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Events(events) if events.scanner.done())
    }

    /// The answer has come to its own end: the stream has said why it finished, the document is all there.
    pub(crate) fn has_finished(&self) -> bool {
        match self {
            Self::Events(events) => events.scanner.complete(),
            Self::Json(_) => true,
        }
    }

    /// The upstream sent an error in its stream.
    pub(crate) fn saw_error(&self) -> bool {
        matches!(self, Self::Events(events) if events.scanner.saw_error())
    }

    /// Whether what has been given out ends with a whole event.
    pub(crate) fn is_between_events(&self) -> bool {
        matches!(self, Self::Events(events) if events.whole.is_between())
    }

    pub(crate) fn tally(&self) -> Tally {
        match self {
            Self::Events(events) => Tally {
                usage: events.scanner.usage().copied(),
                finish_reason: events.scanner.finish_reason().map(str::to_owned),
                output_guess: events.scanner.estimated_output(),
            },
            Self::Json(tail) => {
                let facts = tail.facts();
                Tally {
                    usage: facts.usage,
                    finish_reason: facts.finish_reason,
                    output_guess: tail.total() / BYTES_PER_TOKEN,
                }
            }
        }
    }
}

/// `{"error": …}` at the very start, where every host puts it.
fn is_error_object(first: &[u8]) -> bool {
    let inside = |bytes: &'_ [u8]| -> Option<bool> {
        let behind_brace = bytes.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
        let value = behind_brace.strip_prefix(b"\"error\"")?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        Some(!value.starts_with(b"null"))
    };
    inside(first).unwrap_or(false)
}

/// Whether a whole document can be an answer: it has the field that every answer of the kind has.
fn has_substance(operation: Operation, document: &[u8]) -> bool {
    let field = if operation == Operation::Chat { &CHOICES } else { &DATA };
    field.find(document).is_some()
}
