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
    cpu_bound::cpu_bound,
    streaming::{finish_word, said_bytes, says},
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
    /// Choices that were asked for.
    asked: u32,
    /// Bytes that came.
    length: usize,
}

/// What has come of it.
#[derive(Default)]
struct Seen {
    collector: Collector,
    is_counted: bool,
    said: u64,
    /// Choices that have begun, by their highest number.
    begun: u32,
}

/// From one document.
///
/// # Errors
/// When it is no answer.
pub(crate) async fn from_document(
    body: &[u8],
    translation: &Translation,
) -> Result<(Bytes, AnswerStats), DocumentError> {
    let work = || {
        let response = decode_answer(translation.upstream, body, &translation.exchange).map_err(|error| {
            let failure = failure_in(translation.upstream, body, &error);
            failure.map_or(DocumentError::Malformed(error), DocumentError::Upstream)
        })?;
        write(&response, translation)
    };
    cpu_bound(body.len(), work).await
}

// === impl Gathered ===

impl Gathered {
    pub(crate) fn new(translation: &Translation) -> Self {
        let decoder = answer_decoder(translation.upstream, &translation.exchange);
        Self { decoder, seen: Seen::default(), asked: translation.choices, length: 0 }
    }

    /// Takes the next bytes of the upstream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let Self { decoder, seen, length, .. } = self;
        *length += bytes.len();
        decoder.feed(bytes, &mut |event| seen.push(&event));
    }

    /// Nothing that the upstream may still send is part of the answer.
    pub(crate) fn is_done(&self) -> bool {
        self.decoder.done()
    }

    /// Where the answer stands, if it is whole as it is.
    pub(crate) fn finish_state(&self) -> Option<FinishState> {
        let Seen { is_counted, said, begun, .. } = self.seen;
        let is_whole = self.decoder.complete() && (self.asked <= 1 || begun >= self.asked);
        is_whole.then_some(FinishState { is_counted, said })
    }

    /// The document, now that the stream is over.
    ///
    /// # Errors
    /// When the stream ended with an error, or too early.
    pub(crate) async fn written(self, translation: &Translation) -> Result<(Bytes, AnswerStats), DocumentError> {
        let Self { mut decoder, mut seen, length, .. } = self;
        let work = move || {
            decoder.end(&mut |event| seen.push(&event));
            let response = seen.collector.finish().map_err(DocumentError::Upstream)?;
            write(&response, translation)
        };
        cpu_bound(length, work).await
    }
}

// === impl Seen ===

impl Seen {
    fn push(&mut self, event: &Event<'_>) {
        self.is_counted |= matches!(event, Event::Usage(_));
        self.said += u64::from(says(event));
        if let Event::PartStart { choice, .. } = event {
            self.begun = self.begun.max(choice + 1);
        }
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
        output_guess: generated_bytes(response) / BYTES_PER_TOKEN,
    };
    Ok((out.into(), stats))
}

/// Of what the model said. The client's document may repeat half of the request beside it.
fn generated_bytes(response: &Response<'_>) -> u64 {
    let mut bytes = 0;
    replay(response, &mut |event| bytes += said_bytes(&event));
    bytes
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::Arc};

    use futures_util::{FutureExt as _, poll};
    use omniroute_core::{hash::Pepper, time::UnixMillis};
    use omniroute_wire::{ir::Format, translate::Dialect};

    use super::{super::cpu_bound, *};
    use crate::{seal::SignatureSealer, translate::SameFormat};

    /// From Chat to a client of Responses, whose answers repeat the instructions.
    fn translation(instructions: &str) -> Translation {
        let body = serde_json::json!({"model": "m", "instructions": instructions, "input": "hi"}).to_string();
        Translation::same_format(&SameFormat {
            dialect: &Dialect::Responses,
            format: Format::OpenAiChat,
            body: body.as_bytes(),
            requested: "p/m",
            stream: false,
            include_usage: false,
            choices: 1,
            at: UnixMillis(0),
            sealer: Arc::new(SignatureSealer::new(&Pepper::new("p"))),
            previous: None,
        })
    }

    fn document(text: &str) -> Vec<u8> {
        let message = serde_json::json!({"role": "assistant", "content": text});
        let choice = serde_json::json!({"index": 0, "message": message, "finish_reason": "stop"});
        serde_json::json!({"id": "c", "model": "m", "choices": [choice]}).to_string().into_bytes()
    }

    fn stream(text: &str) -> Vec<u8> {
        let choice = serde_json::json!({"index": 0, "delta": {"content": text}, "finish_reason": "stop"});
        let chunk = serde_json::json!({"id": "c", "model": "m", "choices": [choice]});
        format!("data: {chunk}\n\ndata: [DONE]\n\n").into_bytes()
    }

    #[tokio::test]
    async fn what_was_not_counted_is_estimated_by_what_the_model_said() {
        let translation = translation(&"Rules. ".repeat(1_000));
        let mut gathered = Gathered::new(&translation);
        gathered.feed(&stream("12345678"));
        for (told, stats) in [
            from_document(&document("12345678"), &translation).await.expect("an answer"),
            gathered.written(&translation).await.expect("an answer"),
        ] {
            assert!(told.len() > 7_000, "it repeats the instructions");
            assert_eq!((stats.usage, stats.output_guess), (None, 2));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_large_answer_waits_for_a_place_beside_the_threads_that_serve() {
        let translation = translation("");
        let large = "x".repeat(cpu_bound::LARGE);
        let occupied = cpu_bound::occupied().await;
        assert!(from_document(&document("x"), &translation).now_or_never().is_some(), "a small one does not");
        let document = document(&large);
        let mut whole = pin!(from_document(&document, &translation));
        let mut gathered = Gathered::new(&translation);
        gathered.feed(&stream(&large));
        let mut streamed = pin!(gathered.written(&translation));
        assert!(poll!(whole.as_mut()).is_pending() && poll!(streamed.as_mut()).is_pending());
        drop(occupied);
        for answer in [whole.await, streamed.await] {
            let (told, _) = answer.expect("an answer");
            assert!(told.len() > large.len());
        }
    }
}
