//! When things happened, for the durations of an answer's last line.
//!
//! The clock is the caller's: it marks moments on its own handle, and the encoder, which holds a clone, reads them when
//! the answer ends. A duration whose ends are not both marked is left out, as Ollama leaves out zeros.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use crate::{usage::Usage, write::Writer};

/// A handle on the moments of one exchange. Each can be marked once; later marks of the same moment are ignored.
#[derive(Clone, Debug, Default)]
pub struct Timing(Arc<Moments>);

#[derive(Debug, Default)]
struct Moments {
    received: OnceLock<Instant>,
    sent: OnceLock<Instant>,
    first_output: OnceLock<Instant>,
    finished: OnceLock<Instant>,
}

// === impl Timing ===

impl Timing {
    /// The client's request is here.
    pub fn received(&self, at: Instant) {
        let _ = self.0.received.set(at);
    }

    /// The upstream has the request. What lies before is shown as the time to load the model.
    pub fn sent(&self, at: Instant) {
        let _ = self.0.sent.set(at);
    }

    /// The first event of the answer.
    pub fn first_output(&self, at: Instant) {
        let _ = self.0.first_output.set(at);
    }

    /// The answer is complete; to be marked before the encoder's `end`.
    pub fn finished(&self, at: Instant) {
        let _ = self.0.finished.set(at);
    }

    /// Counts and durations (nanoseconds), in Ollama's order.
    pub(super) fn write(&self, w: &mut Writer<'_>, usage: &Usage) {
        let moments = &*self.0;
        let input = [usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.audio_in];
        let output = [usage.output, usage.reasoning, usage.audio_out];
        w.field_opt("total_duration", nanoseconds(&moments.received, &moments.finished).as_ref());
        w.field_opt("load_duration", nanoseconds(&moments.received, &moments.sent).as_ref());
        w.field_opt("prompt_eval_count", known(&input, usage.total_input()).as_ref());
        w.field_opt("prompt_eval_duration", nanoseconds(&moments.sent, &moments.first_output).as_ref());
        w.field_opt("eval_count", known(&output, usage.total_output()).as_ref());
        w.field_opt("eval_duration", nanoseconds(&moments.first_output, &moments.finished).as_ref());
    }

    /// Total and load time only, as answers without a model's text have them.
    pub(super) fn write_totals(&self, w: &mut Writer<'_>) {
        let moments = &*self.0;
        w.field_opt("total_duration", nanoseconds(&moments.received, &moments.finished).as_ref());
        w.field_opt("load_duration", nanoseconds(&moments.received, &moments.sent).as_ref());
    }
}

fn nanoseconds(from: &OnceLock<Instant>, to: &OnceLock<Instant>) -> Option<u64> {
    let span = to.get()?.saturating_duration_since(*from.get()?);
    u64::try_from(span.as_nanos()).ok()
}

fn known(classes: &[Option<u64>], total: u64) -> Option<u64> {
    classes.iter().any(Option::is_some).then_some(total)
}
