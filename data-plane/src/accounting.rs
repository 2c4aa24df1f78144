//! What a request cost: recorded once, whichever way it ends.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_proto::v1::Outcome;
use omniroute_providers::{Failure, Operation};
use omniroute_telemetry::genai;
use omniroute_wire::{translate::Dialect, usage::Usage};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    health::{ConcurrencyPermit, Health},
    lifecycle::Lifecycle,
    metrics::{Metrics, ProviderMetrics},
    reply::{AnswerStats, ErrorContext},
    request::{Arrival, Caller, RequestId, Target},
    snapshot::ConnectionEntry,
    tokens::guess,
    usage_journal::{AnsweredBy, Closing, OpenEvent, Opening, PendingWrite, Progress, UsageRecorder},
};

/// Bytes of a prompt per token, about.
const BYTES_PER_TOKEN: u64 = 4;
/// Larger requests are not read for an estimate: there, what is not text weighs little, or nobody can tell what it is.
const LONGEST_READ: usize = 64 * 1024;

/// How often an answer that goes on has its count written down.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// An upstream that says nothing for so long may be silent for minutes.
pub(crate) const NOTE_AFTER: Duration = NOTE_EVERY;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client has, or is about to have, the whole answer.
    Whole,
    /// The client went away.
    ClientClosed,
    /// The deadline of a drain cut it.
    Drained,
    /// With this error, of which the client may have been told only in mid-stream.
    Failed(ErrorClass, &'static str),
}

/// Where requests are recorded: the journal, the metrics, and what an outcome says of a connection.
pub(crate) struct AccountingSinks {
    recorder: UsageRecorder,
    metrics: Metrics,
    lifecycle: Lifecycle,
    health: Arc<Health>,
}

/// What the client sent.
#[derive(Clone, Copy)]
pub(crate) struct RequestFacts<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) path: &'a str,
    pub(crate) dialect: &'a Dialect,
    pub(crate) stream: bool,
    pub(crate) body: &'a Bytes,
    /// Name of the format in which the first connection is asked.
    pub(crate) asked_in: &'static str,
}

/// Goes with a request from its first upstream attempt to its end. It is large, and handed on often: that is why it is
/// boxed.
pub(crate) struct RequestAccounting {
    sinks: Arc<AccountingSinks>,
    arrival: Arrival,
    /// Taken when the event is closed.
    open: Option<OpenEvent>,
    /// Whoever set it writes the closed record; without it that happens at once.
    deferred: Option<Deferred>,
    /// The closed record is on its way to the disk.
    commit: Option<oneshot::Receiver<()>>,
    entry: Arc<ConnectionEntry>,
    /// Name of the format in which it is asked.
    asked_in: &'static str,
    /// Another connection answers than the one that the event was opened with.
    has_switched: bool,
    provider: Arc<ProviderMetrics>,
    permit: Option<ConcurrencyPermit>,
    stream: bool,
    prompt: Prompt,
    attempts: u32,
    first_byte: Option<Duration>,
    /// Status of the answer, once it has begun.
    status: u16,
    /// When the count was last written down.
    noted: Instant,
}

/// What there is to estimate the input by.
enum Prompt {
    /// The request itself, which takes a moment to read: that is done only where an estimate is needed, and once.
    Readable { request: Box<(Dialect, Bytes)>, tokens: OnceLock<u64> },
    /// By its length.
    Measured(u64),
}

/// A closed record is kept here until somebody writes it.
#[derive(Debug)]
struct Deferred(Option<PendingWrite>);

// === impl End ===

impl End {
    const fn outcome(self) -> Outcome {
        match self {
            Self::Whole => Outcome::Ok,
            Self::ClientClosed => Outcome::ClientClosed,
            Self::Drained => Outcome::Drained,
            Self::Failed(ErrorClass::UpstreamTimeout, _) => Outcome::Timeout,
            Self::Failed(..) => Outcome::UpstreamError,
        }
    }

    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::ClientClosed => "client_closed",
            Self::Drained => "drain_deadline",
            Self::Failed(_, code) => code,
        }
    }
}

// === impl AccountingSinks ===

impl AccountingSinks {
    /// Metrics are counted by the recorder that is installed at this moment.
    pub(crate) fn new(recorder: UsageRecorder, lifecycle: Lifecycle, health: Arc<Health>) -> Self {
        Self { recorder, metrics: Metrics::new(), lifecycle, health }
    }

    /// A request was refused before any provider was asked.
    pub(crate) fn refused(&self, operation: Operation, error: &GatewayError) {
        self.metrics.operation(operation).refused(error);
    }

    pub(crate) fn recorder(&self) -> &UsageRecorder {
        &self.recorder
    }

    /// Whether no other request runs, with which a write could be shared.
    fn is_alone(&self) -> bool {
        self.lifecycle.requests_in_flight() < 2
    }
}

// === impl RequestAccounting ===

impl RequestAccounting {
    /// Writes the event down as opened. Call it before the upstream is called, and call that once the record is written.
    pub(crate) fn open(
        sinks: &Arc<AccountingSinks>,
        arrival: Arrival,
        facts: RequestFacts<'_>,
        target: &Target<'_>,
        permit: ConcurrencyPermit,
    ) -> (Box<Self>, Option<PendingWrite>) {
        let Target { entry, model, requested, .. } = *target;
        let RequestFacts { caller, path, dialect, stream, body, asked_in } = facts;
        let by_length = body.len() as u64 / BYTES_PER_TOKEN;
        let estimate = Usage { input: Some(by_length), ..Usage::default() };
        let prompt = if arrival.operation == Operation::Chat && body.len() <= LONGEST_READ {
            Prompt::Readable { request: Box::new((dialect.clone(), body.clone())), tokens: OnceLock::new() }
        } else {
            Prompt::Measured(by_length)
        };
        let (open, pending_write) = sinks.recorder.open_deferred(&Opening {
            at: arrival.at,
            request_id: arrival.request_id.as_str(),
            key: caller.key_id(),
            connection: &entry.id,
            provider: &entry.provider,
            requested_model: requested,
            model,
            operation: arrival.operation.as_str(),
            stream,
            path,
            source_format: dialect.format().as_str(),
            target_format: asked_in,
            estimate,
        });
        arrival.span.record(genai::REQUEST_MODEL, requested).record(genai::STREAM, stream);
        let accounting = Box::new(Self {
            provider: sinks.metrics.provider(&entry.provider),
            sinks: Arc::clone(sinks),
            noted: arrival.started,
            arrival,
            open: Some(open),
            deferred: None,
            commit: None,
            entry: Arc::clone(entry),
            asked_in,
            has_switched: false,
            permit: Some(permit),
            stream,
            prompt,
            attempts: 0,
            first_byte: None,
            status: 0,
        });
        (accounting, pending_write)
    }

    /// From now on the closed record waits for [`Self::take_deferred`].
    pub(crate) fn defer(&mut self) {
        self.deferred = Some(Deferred(None));
    }

    /// The closed record that waits, if it has come to that. Records that come later are written at once.
    pub(crate) fn take_deferred(&mut self) -> Option<PendingWrite> {
        self.deferred.take().and_then(|deferred| deferred.0)
    }

    /// Whether no other request runs, with which a write could be shared.
    pub(crate) fn is_alone(&self) -> bool {
        self.sinks.is_alone()
    }

    /// The connection is not needed any more; which one is next, is not known yet.
    pub(crate) fn leave(&mut self) {
        self.permit = None;
    }

    /// The next attempt goes to this connection.
    pub(crate) fn switch_to(
        &mut self,
        entry: &Arc<ConnectionEntry>,
        permit: ConcurrencyPermit,
        asked_in: &'static str,
    ) {
        self.permit = Some(permit);
        if self.entry.provider != entry.provider {
            self.provider = self.sinks.metrics.provider(&entry.provider);
        }
        self.entry = Arc::clone(entry);
        self.asked_in = asked_in;
        self.has_switched = true;
        // The price depends on who is asked, also if this process dies before there is an answer. The attempt is about to be made.
        self.note(self.attempts + 1, AnswerStats::default);
    }

    /// The next attempt goes to the same connection, which has another token.
    pub(crate) fn renew(&mut self, entry: &Arc<ConnectionEntry>) {
        self.entry = Arc::clone(entry);
    }

    pub(crate) fn attempt(&mut self) {
        self.attempts += 1;
    }

    /// An answer has begun.
    pub(crate) fn answered(&mut self, status: u16, attempt: Duration) {
        let after = self.arrival.started.elapsed();
        self.first_byte = Some(after);
        self.status = status;
        self.provider.answered(attempt);
        self.sinks.metrics.operation(self.arrival.operation).first_byte(self.stream, after);
    }

    pub(crate) fn mark_stream(&mut self) {
        self.arrival.in_flight.mark_stream();
    }

    pub(crate) fn request_id(&self) -> &RequestId {
        &self.arrival.request_id
    }

    /// For errors in the middle of the answer.
    pub(crate) fn error_context(&self) -> ErrorContext<'_> {
        ErrorContext { request_id: self.arrival.request_id.as_str(), hidden: self.entry.upstream.hidden() }
    }

    pub(crate) fn started(&self) -> Instant {
        self.arrival.started
    }

    pub(crate) fn entry(&self) -> &Arc<ConnectionEntry> {
        &self.entry
    }

    pub(crate) fn provider(&self) -> &ProviderMetrics {
        &self.provider
    }

    /// Whether the event has not been closed yet.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The upstream failed before an answer began; the client gets `error` with its status. One that got an early head has
    /// seen 200, and gets the error as an event: the ledger has the status that says how it went all the same.
    pub(crate) fn refuse(&mut self, error: &GatewayError) {
        self.status = error.class.status();
        self.close(End::Failed(error.class, error.code), AnswerStats::default());
    }

    /// The upstream failed in the middle of its answer: logs it and closes the event. `failure`: what that says of the
    /// connection.
    pub(crate) fn fail(&mut self, error: &GatewayError, failure: Option<Failure>, stats: AnswerStats) {
        if !self.is_open() {
            return;
        }
        if let Some(failure) = failure {
            let (health, entry) = (Arc::clone(&self.sinks.health), Arc::clone(&self.entry));
            tokio::spawn(async move { health.failed(&entry, &failure).await });
        }
        tracing::warn!(
            request_id = %self.request_id(),
            code = error.code,
            connection = self.entry.id.as_str(),
            reason = %error.message,
            "answer broke off"
        );
        self.close(End::Failed(error.class, error.code), stats);
    }

    /// More of the answer is waited for, since `now`. From time to time its count is written down, for the case that this
    /// process does not live to the end of it.
    pub(crate) fn goes_on(&mut self, now: Instant, stats: impl FnOnce() -> AnswerStats) {
        if now < self.noted + NOTE_EVERY {
            return;
        }
        self.noted = now;
        self.note(self.attempts, stats);
    }

    /// Nothing of an answer has come for [`NOTE_AFTER`]. The event was opened with an estimate by length only; if this
    /// process dies while it waits, what is written down here counts.
    pub(crate) fn waits(&self) {
        if matches!(self.prompt, Prompt::Readable { .. }) {
            self.note(self.attempts, AnswerStats::default);
        }
    }

    fn note(&self, attempts: u32, stats: impl FnOnce() -> AnswerStats) {
        let (usage, _) = self.settle(End::ClientClosed, &stats());
        let Some(open) = &self.open else { return };
        open.progress(&Progress {
            status: self.status,
            usage,
            duration: self.arrival.started.elapsed(),
            first_byte: self.first_byte,
            attempts,
            answered_by: self.has_switched.then(|| AnsweredBy {
                connection: &self.entry.id,
                provider: &self.entry.provider,
                format: self.asked_in,
            }),
        });
    }

    /// The answer ends before its end, and it is not the provider's doing: the client left, unless this proxy cuts what runs.
    pub(crate) fn abandon(&mut self, stats: AnswerStats) {
        let is_cut = self.sinks.lifecycle.phase().cuts();
        if is_cut && self.is_open() {
            tracing::warn!(request_id = %self.request_id(), code = End::Drained.code(), "the drain deadline cut an answer");
        }
        self.close(if is_cut { End::Drained } else { End::ClientClosed }, stats);
    }

    /// Writes the event down as closed. Only the first call counts.
    pub(crate) fn close(&mut self, end: End, stats: AnswerStats) {
        let Some(open) = self.open.take() else {
            return;
        };
        if end == End::Whole {
            self.sinks.health.succeeded(&self.entry.id);
        }
        let duration = self.arrival.started.elapsed();
        let (usage, estimated) = self.settle(end, &stats);
        let span = &self.arrival.span;
        if !span.is_none() {
            self.describe(end, &usage, &stats);
        }
        self.provider.tokens(&usage);
        let operation = self.sinks.metrics.operation(self.arrival.operation);
        operation.finished(self.stream, duration, self.status, end.code());
        let pending_write = open.close_deferred(&Closing {
            outcome: end.outcome(),
            status: self.status,
            error_code: end.code(),
            usage,
            estimated,
            duration,
            first_byte: self.first_byte,
            attempts: self.attempts,
            finish_reason: stats.finish_reason.as_deref().unwrap_or_default(),
            answered_by: self.has_switched.then(|| AnsweredBy {
                connection: &self.entry.id,
                provider: &self.entry.provider,
                format: self.asked_in,
            }),
        });
        match &mut self.deferred {
            Some(deferred) => deferred.0 = pending_write,
            None => self.commit = pending_write.and_then(PendingWrite::write),
        }
    }

    /// Whether a record that was written when the event was closed is where it is safe. Until then nothing of an answer's
    /// end goes out.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(commit) = &mut self.commit {
            // An error: the process ends.
            let _ = ready!(Pin::new(commit).poll(cx));
            self.commit = None;
        }
        Poll::Ready(())
    }

    /// The provider's count, completed by estimates where the provider did work that it did not count.
    fn settle(&self, end: End, stats: &AnswerStats) -> (Usage, bool) {
        let mut usage = stats.usage.unwrap_or_default();
        let answered = self.first_byte.is_some();
        if !answered && matches!(end, End::Failed(..)) {
            // An upstream that answered with an error, or not at all, charges nothing.
            return (usage, false);
        }
        if self.arrival.operation == Operation::Images {
            // Most image models are not billed by the token; those that are say how many.
            return (usage, false);
        }
        let mut estimated = false;
        if usage.total_input() == 0 && usage.input.is_none() {
            usage.input = Some(self.estimated_input());
            estimated = true;
        }
        if answered && usage.total_output() == 0 && usage.output.is_none() && self.arrival.operation == Operation::Chat
        {
            usage.output = Some(stats.output_guess);
            estimated = true;
        }
        (usage, estimated)
    }

    fn estimated_input(&self) -> u64 {
        match &self.prompt {
            Prompt::Measured(tokens) => *tokens,
            Prompt::Readable { request, tokens } => *tokens.get_or_init(|| {
                let (dialect, body) = &**request;
                guess(dialect, body).unwrap_or(body.len() as u64 / BYTES_PER_TOKEN)
            }),
        }
    }

    fn describe(&self, end: End, usage: &Usage, stats: &AnswerStats) {
        let span = &self.arrival.span;
        span.record(genai::PROVIDER_NAME, self.entry.provider.as_str());
        span.record(genai::USAGE_INPUT_TOKENS, usage.total_input());
        span.record(genai::USAGE_OUTPUT_TOKENS, usage.total_output());
        if let Some(cached) = usage.cache_read {
            span.record(genai::USAGE_CACHE_READ_INPUT_TOKENS, cached);
        }
        if let Some(reasoning) = usage.reasoning {
            span.record(genai::USAGE_REASONING_OUTPUT_TOKENS, reasoning);
        }
        if let Some(reason) = &stats.finish_reason {
            span.record(genai::RESPONSE_FINISH_REASONS, reason.as_str());
        }
        span.record(genai::ATTEMPTS, self.attempts);
        span.record(genai::HTTP_RESPONSE_STATUS_CODE, self.status);
        if end != End::Whole {
            span.record(genai::ERROR_TYPE, end.code());
            span.record("otel.status_code", "ERROR");
        }
    }
}

impl Drop for RequestAccounting {
    fn drop(&mut self) {
        // Whoever came to an end has closed the event: what is left was dropped on the way there.
        self.abandon(AnswerStats::default());
    }
}
