//! A streamed answer on its way from the upstream's format to the client's.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use omniroute_providers::sanitise;
use omniroute_wire::{
    codec::{StreamDecoder, StreamEncoder},
    ir::{Event, FinishReason, StreamError},
    ollama::Timing,
    translate::answer_decoder,
    usage::{Service, Usage},
};

use super::{BYTES_PER_TOKEN, Translation};
use crate::{
    reply::{AnswerStats, ErrorContext, terminator_timeout::FinishState},
    signatures::{SignatureCapture, SignatureCollector},
};

/// Room for the client's bytes of one upstream frame.
const FRAME: usize = 1024;

/// Translates one stream.
pub(crate) struct Streaming {
    decoder: Box<dyn StreamDecoder>,
    encoder: Box<dyn StreamEncoder>,
    seen: Seen,
    out: Vec<u8>,
    /// Where the client's dialect tells how long things took.
    timing: Option<Timing>,
    ended: bool,
}

/// What has gone by.
struct Seen {
    usage: Option<Usage>,
    /// Where the answer says so apart from its count.
    service: Option<Service>,
    finish: Option<FinishReason>,
    output_bytes: u64,
    /// Events that said something.
    said: u64,
    /// Something that a client would show: from here on no other connection can take over.
    substance: bool,
    error: Option<StreamError>,
    signed: SignatureCollector,
    capture: Option<Arc<SignatureCapture>>,
}

// === impl Streaming ===

impl Streaming {
    pub(crate) fn new(translation: &Translation) -> Self {
        Self {
            decoder: answer_decoder(translation.upstream, &translation.exchange),
            encoder: translation.dialect.encoder(translation.exchange.clone()),
            seen: Seen::new(translation.capture.clone()),
            out: Vec::new(),
            timing: translation.timing(),
            ended: false,
        }
    }

    /// Takes the next bytes of the upstream and appends to `out` what the client gets of them.
    pub(crate) fn feed(&mut self, frame: &[u8], error_context: ErrorContext<'_>, out: &mut Vec<Bytes>) {
        let Self { decoder, encoder, seen, out: buffer, timing, .. } = self;
        if buffer.capacity() == 0 {
            buffer.reserve(FRAME);
        }
        let begun = seen.substance;
        decoder.feed(frame, &mut |event| seen.pass(event, error_context, &mut **encoder, buffer));
        if !begun
            && seen.substance
            && let Some(timing) = timing
        {
            timing.first_output(Instant::now());
        }
        if decoder.done() {
            return self.end(error_context, out);
        }
        self.give(out);
    }

    /// The upstream closed its end, or need not: its terminator has come. Only the first call counts.
    pub(crate) fn end(&mut self, error_context: ErrorContext<'_>, out: &mut Vec<Bytes>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Self { decoder, encoder, seen, out: buffer, timing, .. } = self;
        decoder.end(&mut |event| seen.pass(event, error_context, &mut **encoder, buffer));
        if let Some(timing) = timing {
            timing.finished(Instant::now());
        }
        encoder.end(buffer);
        self.give(out);
    }

    /// The answer cannot be finished: tells the client so, in its own words.
    pub(crate) fn fail(&mut self, error: StreamError, out: &mut Vec<Bytes>) {
        let Self { encoder, seen, out: buffer, .. } = self;
        seen.show(&Event::Error(error), &mut **encoder, buffer);
        encoder.end(buffer);
        self.give(out);
    }

    fn give(&mut self, out: &mut Vec<Bytes>) {
        if !self.out.is_empty() {
            out.push(std::mem::take(&mut self.out).into());
        }
    }

    pub(crate) fn has_substance(&self) -> bool {
        self.seen.substance
    }

    /// Nothing that the upstream may still send is part of the answer: its terminator has come, or an error.
    pub(crate) fn is_done(&self) -> bool {
        self.decoder.done()
    }

    pub(crate) fn finish_state(&self) -> Option<FinishState> {
        let is_whole = self.decoder.complete() && self.seen.error.is_none();
        is_whole.then(|| FinishState { is_counted: self.seen.usage.is_some(), said: self.seen.said })
    }

    pub(crate) fn has_finished(&self) -> bool {
        self.seen.finish.is_some() && self.seen.error.is_none()
    }

    /// The error that the client was told of.
    pub(crate) fn error(&self) -> Option<&StreamError> {
        self.seen.error.as_ref()
    }

    pub(crate) fn keepalive(&self) -> Option<&'static [u8]> {
        self.encoder.keepalive()
    }

    pub(crate) fn stats(&self) -> AnswerStats {
        AnswerStats {
            usage: self.seen.usage.map(|usage| Usage { service: self.seen.service.or(usage.service), ..usage }),
            finish_reason: self.seen.finish.map(|reason| finish_word(reason).to_owned()),
            output_guess: self.seen.output_bytes / BYTES_PER_TOKEN,
        }
    }
}

// === impl Seen ===

impl Seen {
    fn new(capture: Option<Arc<SignatureCapture>>) -> Self {
        Self {
            usage: None,
            service: None,
            finish: None,
            output_bytes: 0,
            said: 0,
            substance: false,
            error: None,
            signed: capture.as_ref().map_or_else(SignatureCollector::default, |capture| capture.collector()),
            capture,
        }
    }

    fn pass(
        &mut self,
        event: Event<'_>,
        error_context: ErrorContext<'_>,
        encoder: &mut dyn StreamEncoder,
        out: &mut Vec<u8>,
    ) {
        match event {
            Event::Error(mut error) => {
                error.message = sanitise(&error.message, error_context.hidden);
                error.request_id = Some(error_context.request_id.into());
                self.show(&Event::Error(error), encoder, out);
            }
            event => self.show(&event, encoder, out),
        }
    }

    fn show(&mut self, event: &Event<'_>, encoder: &mut dyn StreamEncoder, out: &mut Vec<u8>) {
        if self.error.is_some() {
            return;
        }
        if self.capture.is_some() {
            self.signed.see(event);
        }
        self.said += u64::from(says(event));
        match event {
            Event::TextDelta { text, .. } | Event::ThinkingDelta { text, .. } | Event::ArgsDelta { text, .. } => {
                self.output_bytes += text.len() as u64;
            }
            Event::PartStart { .. } => self.substance = true,
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Served { service_tier: Some(word), .. } => self.service = Service::parse(word),
            Event::Finish { reason, .. } => {
                // Before the client knows that it is its turn.
                if let Some(capture) = &self.capture {
                    capture.keep(std::mem::take(&mut self.signed));
                }
                self.substance = true;
                self.finish = Some(*reason);
            }
            Event::Error(error) => self.error = Some(error.clone()),
            _ => {}
        }
        encoder.event(event, out);
    }
}

/// Whether an event is part of what the model says, and does not only tell of it.
pub(super) const fn says(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::PartStart { .. } | Event::TextDelta { .. } | Event::ThinkingDelta { .. } | Event::ArgsDelta { .. }
    )
}

/// The ledger's words for why an answer ended: OpenAI's, whatever the upstream spoke.
pub(super) const fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::End | FinishReason::Pause => "stop",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::MaxTokens | FinishReason::ContextWindow => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Refusal => "refusal",
        FinishReason::MalformedCall => "malformed_call",
    }
}
