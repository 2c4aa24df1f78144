//! An answer in one piece on its way from the upstream's format to the client's.

use std::time::Instant;

use bytes::Bytes;
use omniroute_wire::{
    codec::{StreamDecoder, WireError},
    ir::{Collector, Event, FinishReason, Response, StreamError, replay},
    responses::misses_summary,
    translate::{answer_decoder, decode_answer, failure_in},
    usage::{Service, Usage},
};

use super::{
    BYTES_PER_TOKEN, Translation, broken,
    streaming::{finish_word, says},
};
use crate::reply::{AnswerStats, terminator_timeout::FinishState};

/// Why an answer could not be translated.
#[derive(Debug)]
pub(crate) enum DocumentError {
    /// The upstream said that it failed.
    Upstream(StreamError),
    /// It is no answer of its format.
    Malformed(WireError),
}

/// A stream on its way to a client that wants one document.
pub(crate) struct Gathered {
    decoder: Box<dyn StreamDecoder>,
    seen: Seen,
}

/// What has come of it.
#[derive(Default)]
struct Seen {
    collector: Collector,
    is_counted: bool,
    said: u64,
}

/// From one document.
///
/// # Errors
/// When it is no answer.
pub(crate) fn from_document(body: &[u8], translation: &Translation) -> Result<(Bytes, AnswerStats), DocumentError> {
    let response = decode_answer(translation.upstream, body, &translation.exchange).map_err(|error| {
        failure_in(translation.upstream, body, &error).map_or(DocumentError::Malformed(error), DocumentError::Upstream)
    })?;
    write(&response, translation)
}

// === impl Gathered ===

impl Gathered {
    pub(crate) fn new(translation: &Translation) -> Self {
        Self { decoder: answer_decoder(translation.upstream, &translation.exchange), seen: Seen::default() }
    }

    /// Takes the next bytes of the upstream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let Self { decoder, seen } = self;
        decoder.feed(bytes, &mut |event| seen.push(&event));
    }

    /// Nothing that the upstream may still send is part of the answer.
    pub(crate) fn is_done(&self) -> bool {
        self.decoder.done()
    }

    /// Where the answer stands, if it is whole as it is.
    pub(crate) fn finish_state(&self) -> Option<FinishState> {
        let Seen { is_counted, said, .. } = self.seen;
        self.decoder.complete().then_some(FinishState { is_counted, said })
    }

    /// The document, now that the stream is over.
    ///
    /// # Errors
    /// When the stream ended with an error, or too early.
    pub(crate) fn written(self, translation: &Translation) -> Result<(Bytes, AnswerStats), DocumentError> {
        let Self { mut decoder, mut seen } = self;
        decoder.end(&mut |event| seen.push(&event));
        let response = seen.collector.finish().map_err(DocumentError::Upstream)?;
        write(&response, translation)
    }
}

// === impl Seen ===

impl Seen {
    fn push(&mut self, event: &Event<'_>) {
        self.is_counted |= matches!(event, Event::Usage(_));
        self.said += u64::from(says(event));
        self.collector.push(event);
    }
}

fn write(response: &Response<'_>, translation: &Translation) -> Result<(Bytes, AnswerStats), DocumentError> {
    let finish = response.choices.first().and_then(|choice| choice.finish);
    if finish == Some(FinishReason::MalformedCall) {
        return Err(DocumentError::Upstream(broken("the model made a tool call that cannot be read")));
    }
    if translation.exchange.compacts && misses_summary(response) {
        return Err(DocumentError::Upstream(broken("the model gave no summary")));
    }
    if let Some(timing) = translation.timing() {
        timing.finished(Instant::now());
    }
    if let Some(capture) = &translation.capture {
        let mut signed = capture.collector();
        replay(response, &mut |event| signed.see(&event));
        capture.keep(signed);
    }
    let mut out = Vec::with_capacity(1024);
    if translation.stream {
        let mut encoder = translation.dialect.encoder(translation.exchange.clone());
        replay(response, &mut |event| encoder.event(&event, &mut out));
        encoder.end(&mut out);
    } else {
        translation.dialect.encode_response(response, &translation.exchange, &mut out);
    }
    let service = response.service_tier.as_deref().and_then(Service::parse).or(response.usage.service);
    let stats = AnswerStats {
        usage: (!response.usage.is_unknown()).then_some(Usage { service, ..response.usage }),
        finish_reason: finish.map(|reason| finish_word(reason).to_owned()),
        output_guess: out.len() as u64 / BYTES_PER_TOKEN,
    };
    Ok((out.into(), stats))
}
