//! [`Event`]s → `text_completion` chunks.

use super::{echoed, encode_response::write_head, finish_word, logprobs::write_logprobs};
use crate::{
    codec::{ResponseContext, StreamEncoder},
    ir::{Event, FinishReason, Json, PartKind},
    openai::{REFUSED, encode_stream_error, write_usage},
    usage::Usage,
    write::Writer,
};

/// Writes the stream of a Completions client.
pub struct Encoder {
    exchange: ResponseContext,
    /// `{"id":…,"object":…,"created":…,"model":…`, the same in every chunk.
    head: Vec<u8>,
    echo: String,
    /// Per choice: characters of its text that log probabilities have covered; `None` before it begins.
    offsets: Vec<Option<usize>>,
    usage: Usage,
    failed: bool,
    /// A refusal has been said.
    refused: bool,
    has_fingerprint: bool,
}

// === impl Encoder ===

impl Encoder {
    pub fn new(exchange: ResponseContext) -> Self {
        let echo = echoed(&exchange);
        Self {
            exchange,
            head: Vec::new(),
            echo,
            offsets: Vec::new(),
            usage: Usage::default(),
            failed: false,
            refused: false,
            has_fingerprint: false,
        }
    }

    fn set_head(&mut self, created: Option<u64>) {
        self.head.clear();
        Writer::new(&mut self.head).object(|w| write_head(w, created, &self.exchange));
        self.head.pop();
    }

    fn chunk(&mut self, out: &mut Vec<u8>, rest: impl FnOnce(&mut Writer<'_>)) {
        if self.head.is_empty() {
            self.set_head(None);
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.head);
        out.push(b',');
        rest(&mut Writer::new(out));
        out.extend_from_slice(b"}\n\n");
    }

    fn choice(&mut self, index: u32, text: &str, finish: Option<&str>, out: &mut Vec<u8>) {
        self.chunk(out, |w| {
            w.key("choices").array(|w| {
                w.object(|w| {
                    w.field_str("text", text);
                    w.field("index", &index);
                    w.field_null("logprobs");
                    match finish {
                        Some(word) => w.field_str("finish_reason", word),
                        None => w.field_null("finish_reason"),
                    }
                });
            });
        });
    }

    /// The prompt, once per choice and before anything else of it.
    fn begin(&mut self, index: u32, out: &mut Vec<u8>) {
        let at = index as usize;
        while self.offsets.len() <= at {
            self.offsets.push(None);
        }
        if self.offsets[at].is_none() {
            self.offsets[at] = Some(self.echo.chars().count());
            if !self.echo.is_empty() {
                let echo = std::mem::take(&mut self.echo);
                self.choice(index, &echo, None, out);
                self.echo = echo;
            }
        }
    }

    fn logprobs(&mut self, index: u32, raw: &Json<'_>, out: &mut Vec<u8>) {
        let at = index as usize;
        let mut offset = self.offsets[at].unwrap_or_default();
        self.chunk(out, |w| {
            w.key("choices").array(|w| {
                w.object(|w| {
                    w.field_str("text", "");
                    w.field("index", &index);
                    write_logprobs(w.key("logprobs"), raw, &mut offset);
                    w.field_null("finish_reason");
                });
            });
        });
        self.offsets[at] = Some(offset);
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        match event {
            Event::Start { created, .. } => self.set_head(*created),
            Event::Served { system_fingerprint: Some(fingerprint), .. } if !self.has_fingerprint => {
                self.has_fingerprint = true;
                if self.head.is_empty() {
                    self.set_head(None);
                }
                self.head.push(b',');
                let mut w = Writer::new(&mut self.head);
                w.key("system_fingerprint").str(fingerprint);
            }
            Event::PartStart { kind: PartKind::Refusal, .. } => self.refused = true,
            Event::TextDelta { choice, text, .. } if !text.is_empty() => {
                self.begin(*choice, out);
                self.choice(*choice, text, None, out);
            }
            Event::Logprobs { choice, raw } => {
                self.begin(*choice, out);
                self.logprobs(*choice, raw, out);
            }
            Event::Usage(usage) => self.usage = *usage,
            Event::Finish { choice, reason, .. } => {
                self.begin(*choice, out);
                let words = if *reason == FinishReason::Refusal && !self.refused { REFUSED } else { "" };
                self.choice(*choice, words, Some(finish_word(*reason)), out);
            }
            Event::Error(error) => {
                self.failed = true;
                encode_stream_error(error, out);
            }
            // Thoughts, calls and media have no place in a text.
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        if self.exchange.include_usage {
            let usage = self.usage;
            self.chunk(out, |w| {
                w.key("choices").array(|_| {});
                write_usage(w.key("usage"), &usage);
            });
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn keepalive(&self) -> Option<&'static [u8]> {
        Some(b": keep-alive\n\n")
    }
}
