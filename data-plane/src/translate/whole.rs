//! An answer in one piece on its way from the upstream's format to the client's.

use std::time::Instant;

use bytes::Bytes;
use omniroute_wire::{
    codec::{DecodeContext, WireError},
    ir::{Collector, FinishReason, Response, StreamError, replay},
    responses::misses_summary,
    translate::{decode_response, decoder, failure_in},
};

use super::{BYTES_PER_TOKEN, Translation, broken, streaming::finish_word};
use crate::respond::lane::Tally;

/// Why an answer could not be translated.
#[derive(Debug)]
pub(crate) enum WholeError {
    /// The upstream said that it failed.
    Upstream(StreamError),
    /// It is no answer of its format.
    Malformed(WireError),
}

/// From one document.
///
/// # Errors
/// When it is no answer.
pub(crate) fn from_document(body: &[u8], translation: &Translation) -> Result<(Bytes, Tally), WholeError> {
    let context = DecodeContext { sealer: &*translation.exchange.sealer, answer: &translation.exchange.id };
    let response = decode_response(translation.upstream, body, &context).map_err(|error| {
        failure_in(translation.upstream, body, &error).map_or(WholeError::Malformed(error), WholeError::Upstream)
    })?;
    write(&response, translation)
}

/// From a whole stream, for a client that wants one document.
///
/// # Errors
/// When the stream ended with an error, or too early.
pub(crate) fn from_stream(body: &[u8], translation: &Translation) -> Result<(Bytes, Tally), WholeError> {
    let mut decoder = decoder(translation.upstream);
    decoder.of_answer(&translation.exchange.id);
    let mut collector = Collector::default();
    decoder.feed(body, &mut |event| collector.push(&event));
    decoder.end(&mut |event| collector.push(&event));
    let response = collector.finish().map_err(WholeError::Upstream)?;
    write(&response, translation)
}

fn write(response: &Response<'_>, translation: &Translation) -> Result<(Bytes, Tally), WholeError> {
    let finish = response.choices.first().and_then(|choice| choice.finish);
    if finish == Some(FinishReason::MalformedCall) {
        return Err(WholeError::Upstream(broken("the model made a tool call that cannot be read")));
    }
    if translation.exchange.compacts && misses_summary(response) {
        return Err(WholeError::Upstream(broken("the model gave no summary")));
    }
    if let Some(timing) = translation.timing() {
        timing.finished(Instant::now());
    }
    if let Some(keeper) = &translation.keeper {
        let mut signed = keeper.gatherer();
        replay(response, &mut |event| signed.see(&event));
        keeper.keep(signed);
    }
    let mut out = Vec::with_capacity(1024);
    if translation.stream {
        let mut encoder = translation.dialect.encoder(translation.exchange.clone());
        replay(response, &mut |event| encoder.event(&event, &mut out));
        encoder.end(&mut out);
    } else {
        translation.dialect.encode_response(response, &translation.exchange, &mut out);
    }
    let tally = Tally {
        usage: (!response.usage.is_unknown()).then_some(response.usage),
        finish_reason: finish.map(|reason| finish_word(reason).to_owned()),
        output_guess: out.len() as u64 / BYTES_PER_TOKEN,
    };
    Ok((out.into(), tally))
}
