//! [`Event`]s → `chat.completion.chunk` events.

use super::{
    details::write_told,
    encode_response::{Span, count_chars, span_of, write_annotation},
    error::encode_stream_error,
    finish_word, reasoning_format, tier_word,
    usage::write_usage,
};
use crate::{
    codec::{ResponseContext, StreamEncoder, signature_for},
    custom_input::InputUnwrapper,
    ir::{Annotation, CallKind, Event, Family, PartKind},
    media,
    usage::Usage,
    write::Writer,
};

/// Writes the stream of a Chat client.
pub struct Encoder {
    exchange: ResponseContext,
    /// `{"id":…,"object":…,"created":…,"model":…`, the same in every chunk, and how it is served, once that is known.
    head: Vec<u8>,
    created: Option<u64>,
    tier: Option<&'static str>,
    fingerprint: Option<String>,
    /// Per choice: whether the role chunk went out, how many calls have begun.
    choices: Vec<ChoiceState>,
    usage: Usage,
    failed: bool,
}

#[derive(Default)]
struct ChoiceState {
    begun: bool,
    /// A refusal has been said.
    refused: bool,
    calls: u32,
    /// Characters of text so far, of all parts.
    said: u64,
    open: Vec<OpenPart>,
}

struct OpenPart {
    part: u32,
    kind: OpenKind,
}

enum OpenKind {
    Text {
        /// Characters of text before it.
        from: u64,
        /// Citations of the whole part, which are told at its end.
        waiting: Vec<Annotation<'static>>,
    },
    Refusal,
    Thinking,
    Call {
        index: u32,
    },
    /// Upstream a function with one string, for the client free text.
    Custom {
        index: u32,
        input: InputUnwrapper,
    },
    Silent,
}

// === impl Encoder ===

impl Encoder {
    pub fn new(exchange: ResponseContext) -> Self {
        Self {
            head: Vec::new(),
            created: None,
            tier: None,
            fingerprint: None,
            choices: Vec::new(),
            usage: Usage::default(),
            failed: false,
            exchange,
        }
    }

    fn set_head(&mut self) {
        let mut head = Vec::with_capacity(128);
        Writer::new(&mut head).object(|w| {
            w.field_str("id", &format!("chatcmpl-{}", self.exchange.id));
            w.field_str("object", "chat.completion.chunk");
            w.field("created", &self.created.unwrap_or(self.exchange.created));
            w.field_str("model", &self.exchange.model);
            w.field_str_opt("service_tier", self.tier);
            w.field_str_opt("system_fingerprint", self.fingerprint.as_deref());
        });
        head.pop();
        self.head = head;
    }

    fn chunk(&self, out: &mut Vec<u8>, rest: impl FnOnce(&mut Writer<'_>)) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.head);
        out.push(b',');
        rest(&mut Writer::new(out));
        out.extend_from_slice(b"}\n\n");
    }

    fn delta(&self, choice: u32, out: &mut Vec<u8>, delta: impl FnOnce(&mut Writer<'_>)) {
        self.chunk(out, |w| {
            w.key("choices").array(|w| {
                w.object(|w| {
                    w.field("index", &choice);
                    w.key("delta").object(delta);
                    w.field_null("finish_reason");
                });
            });
        });
    }

    fn choice(&mut self, choice: u32) -> &mut ChoiceState {
        let at = choice as usize;
        while self.choices.len() <= at {
            self.choices.push(ChoiceState::default());
        }
        &mut self.choices[at]
    }

    /// The role chunk, once per choice and before anything else of it.
    fn begin(&mut self, choice: u32, out: &mut Vec<u8>) {
        if self.head.is_empty() {
            self.set_head();
        }
        if !std::mem::replace(&mut self.choice(choice).begun, true) {
            self.delta(choice, out, |w| {
                w.field_str("role", "assistant");
                w.field_str("content", "");
            });
        }
    }

    fn part_start(&mut self, choice: u32, part: u32, kind: &PartKind<'_>, out: &mut Vec<u8>) {
        self.begin(choice, out);
        let open = match kind {
            PartKind::Text => OpenKind::Text { from: self.choice(choice).said, waiting: Vec::new() },
            PartKind::Refusal => {
                self.choice(choice).refused = true;
                OpenKind::Refusal
            }
            PartKind::Thinking => OpenKind::Thinking,
            PartKind::ToolCall { id, name, kind } => self.call_start(choice, id, name, *kind, out),
            PartKind::RedactedThinking { data } => {
                if self.exchange.show_thinking {
                    self.delta(choice, out, |w| {
                        w.key("reasoning_details").array(|w| {
                            if data.family == Family::OpenRouter {
                                return write_told(w, &data.payload, "");
                            }
                            w.object(|w| {
                                w.field_str("type", "reasoning.encrypted");
                                w.field_str("data", &data.payload);
                                w.field_str("format", reasoning_format(data.family));
                                w.field("index", &part);
                            });
                        });
                    });
                }
                OpenKind::Silent
            }
            PartKind::Media { media_type, data } => {
                self.media(choice, media_type, data, out);
                OpenKind::Silent
            }
            PartKind::ServerTool { .. } => OpenKind::Silent,
        };
        self.choice(choice).open.push(OpenPart { part, kind: open });
    }

    fn call_start(&mut self, choice: u32, id: &str, name: &str, kind: CallKind, out: &mut Vec<u8>) -> OpenKind {
        let state = self.choice(choice);
        let index = state.calls;
        state.calls += 1;
        let tool = self.exchange.names.client(name);
        let unwrap = kind == CallKind::Function && tool.is_some_and(|tool| tool.kind == CallKind::Custom);
        let custom = kind == CallKind::Custom || unwrap;
        let name = self.exchange.names.client_name(name);
        self.delta(choice, out, |w| {
            w.key("tool_calls").array(|w| {
                w.object(|w| {
                    w.field("index", &index);
                    w.field_str("id", id);
                    w.field_str("type", if custom { "custom" } else { "function" });
                    w.key(if custom { "custom" } else { "function" }).object(|w| {
                        w.field_str("name", name);
                        w.field_str(if custom { "input" } else { "arguments" }, "");
                    });
                });
            });
        });
        if unwrap { OpenKind::Custom { index, input: InputUnwrapper::default() } } else { OpenKind::Call { index } }
    }

    fn media(&self, choice: u32, media_type: &str, data: &str, out: &mut Vec<u8>) {
        self.delta(choice, out, |w| {
            if media_type.starts_with("audio/") {
                w.key("audio").object(|w| {
                    w.field_str("id", &format!("audio_{}", self.exchange.id));
                    w.field_str("data", data);
                });
            } else {
                w.key("images").array(|w| {
                    w.object(|w| {
                        w.field_str("type", "image_url");
                        w.key("image_url").object(|w| w.field_str("url", &media::data_url(media_type, data)));
                    });
                });
            }
        });
    }

    fn text(&mut self, choice: u32, part: u32, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let field = match self.open(choice, part) {
            Some(OpenKind::Refusal) => "refusal",
            _ => {
                self.choice(choice).said += count_chars(text);
                "content"
            }
        };
        self.delta(choice, out, |w| w.field_str(field, text));
    }

    fn arguments(&mut self, choice: u32, part: u32, text: &str, out: &mut Vec<u8>) {
        let at = choice as usize;
        let Some(state) = self.choices.get_mut(at) else { return };
        let Some(open) = state.open.iter_mut().find(|open| open.part == part) else { return };
        let (index, piece, field) = match &mut open.kind {
            OpenKind::Call { index } => (*index, text.into(), "function"),
            OpenKind::Custom { index, input } => (*index, std::borrow::Cow::Owned(input.feed(text)), "custom"),
            _ => return,
        };
        self.argument_delta(choice, index, field, &piece, out);
    }

    fn argument_delta(&self, choice: u32, index: u32, field: &str, piece: &str, out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        self.delta(choice, out, |w| {
            w.key("tool_calls").array(|w| {
                w.object(|w| {
                    w.field("index", &index);
                    w.key(field).object(|w| {
                        w.field_str(if field == "custom" { "input" } else { "arguments" }, piece);
                    });
                });
            });
        });
    }

    fn open(&self, choice: u32, part: u32) -> Option<&OpenKind> {
        let state = self.choices.get(choice as usize)?;
        state.open.iter().find(|open| open.part == part).map(|open| &open.kind)
    }

    fn signature(&self, choice: u32, part: u32, signature: &crate::ir::Signature<'_>, out: &mut Vec<u8>) {
        match self.open(choice, part) {
            Some(kind @ (OpenKind::Call { index } | OpenKind::Custom { index, .. })) => self.delta(choice, out, |w| {
                w.key("tool_calls").array(|w| {
                    w.object(|w| {
                        w.field("index", index);
                        // OpenAI's SDK takes no piece of a call without its input.
                        match kind {
                            OpenKind::Custom { .. } => w.key("custom").object(|w| w.field_str("input", "")),
                            _ => w.key("function").object(|w| w.field_str("arguments", "")),
                        }
                        w.key("extra_content").object(|w| {
                            w.key("google").object(|w| {
                                let payload = signature_for(signature, Family::Gemini, &self.exchange);
                                w.field_str("thought_signature", &payload);
                            });
                        });
                    });
                });
            }),
            Some(OpenKind::Thinking) if self.exchange.show_thinking => self.delta(choice, out, |w| {
                w.key("reasoning_details").array(|w| {
                    if signature.family == Family::OpenRouter {
                        return write_told(w, &signature.payload, "");
                    }
                    w.object(|w| {
                        w.field_str("type", "reasoning.text");
                        w.field_str("signature", &signature.payload);
                        w.field_str("format", reasoning_format(signature.family));
                        w.field("index", &part);
                    });
                });
            }),
            _ => {}
        }
    }

    fn annotation(&mut self, choice: u32, part: u32, annotation: &Annotation<'_>, out: &mut Vec<u8>) {
        let state = self.choice(choice);
        let said = state.said;
        let Some(OpenPart { kind: OpenKind::Text { from, waiting }, .. }) =
            state.open.iter_mut().find(|open| open.part == part)
        else {
            return;
        };
        if annotation.start.is_none() || annotation.end.is_none() {
            waiting.push(annotation.clone().into_owned());
            return;
        }
        let span = span_of(annotation, *from, said);
        self.write_annotation(choice, annotation, span, out);
    }

    fn write_annotation(&self, choice: u32, annotation: &Annotation<'_>, span: Span, out: &mut Vec<u8>) {
        self.delta(choice, out, |w| w.key("annotations").array(|w| write_annotation(w, annotation, span)));
    }

    fn part_stop(&mut self, choice: u32, part: u32, out: &mut Vec<u8>) {
        let state = self.choice(choice);
        let said = state.said;
        let Some(at) = state.open.iter().position(|open| open.part == part) else { return };
        match state.open.remove(at).kind {
            OpenKind::Text { from, waiting } => {
                for annotation in waiting {
                    self.write_annotation(choice, &annotation, (from, said), out);
                }
            }
            OpenKind::Custom { index, mut input } => {
                let rest = input.finish();
                self.argument_delta(choice, index, "custom", &rest, out);
            }
            _ => {}
        }
    }

    fn thinking(&self, choice: u32, part: u32, text: &str, out: &mut Vec<u8>) {
        if !self.exchange.show_thinking || text.is_empty() {
            return;
        }
        self.delta(choice, out, |w| {
            w.field_str("reasoning_content", text);
            w.key("reasoning_details").array(|w| {
                w.object(|w| {
                    w.field_str("type", "reasoning.text");
                    w.field_str("text", text);
                    w.field("index", &part);
                });
            });
        });
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { created, .. } => {
                self.created = *created;
                self.set_head();
                self.begin(0, out);
            }
            Event::Served { service_tier, system_fingerprint } => {
                self.tier = service_tier.as_deref().and_then(tier_word).or(self.tier);
                if let Some(fingerprint) = system_fingerprint {
                    self.fingerprint = Some(fingerprint.clone().into_owned());
                }
                self.set_head();
            }
            Event::PartStart { choice, part, kind } => self.part_start(*choice, *part, kind, out),
            Event::TextDelta { choice, part, text } => self.text(*choice, *part, text, out),
            Event::ThinkingDelta { choice, part, text } => self.thinking(*choice, *part, text, out),
            Event::SignatureDelta { choice, part, signature } => self.signature(*choice, *part, signature, out),
            Event::ArgsDelta { choice, part, text } => self.arguments(*choice, *part, text, out),
            Event::Annotation { choice, part, annotation } => self.annotation(*choice, *part, annotation, out),
            Event::Logprobs { choice, raw } => self.chunk(out, |w| {
                w.key("choices").array(|w| {
                    w.object(|w| {
                        w.field("index", choice);
                        w.key("delta").object(|_| {});
                        w.field_raw("logprobs", raw.as_str());
                        w.field_null("finish_reason");
                    });
                });
            }),
            Event::PartStop { choice, part } => {
                self.part_stop(*choice, *part, out);
            }
            Event::Usage(usage) => self.usage = *usage,
            Event::Finish { choice, reason, .. } => {
                self.begin(*choice, out);
                if *reason == super::FinishReason::Refusal && !self.choice(*choice).refused {
                    self.delta(*choice, out, |w| w.field_str("refusal", super::REFUSED));
                }
                self.chunk(out, |w| {
                    w.key("choices").array(|w| {
                        w.object(|w| {
                            w.field("index", choice);
                            w.key("delta").object(|_| {});
                            w.field_str("finish_reason", finish_word(*reason));
                        });
                    });
                });
            }
            Event::Error(error) => {
                self.failed = true;
                encode_stream_error(error, out);
            }
            Event::Ping => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        if self.exchange.include_usage {
            self.chunk(out, |w| {
                w.key("choices").array(|_| {});
                write_usage(w.key("usage"), &self.usage);
            });
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn keepalive(&self) -> Option<&'static [u8]> {
        Some(b": keep-alive\n\n")
    }
}
