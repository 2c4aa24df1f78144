//! Usage: every request that reaches an upstream is recorded, exactly once, whoever dies.
//!
//! [`UsageRecorder::open`] writes an *opened* record to the [`journal`] before the upstream is called, [`OpenEvent::close`]
//! writes the *closed* record before the last byte goes to the client. [`sender`] reads closed records back from the journal,
//! streams them to the control plane, and lets go of a segment once all of it is acknowledged. After a crash
//! [`journal::Journal::open`] turns what was opened and never closed into events of outcome *interrupted*, with the count that
//! [`OpenEvent::progress`] noted last: a long wait does so after a second, a long answer about once a second.

mod commit;
mod encode;
pub mod journal;
mod recovery;
mod segment;
pub mod sender;

use std::{sync::Arc, time::Duration};

use omniroute_core::{
    id::{ApiKeyId, ConnectionId, EventId, ProviderId},
    time::UnixMillis,
};
use omniroute_proto::v1::Outcome;
use omniroute_wire::usage::Usage;
use parking_lot::Mutex;

pub(crate) use self::journal::PendingWrite;
use self::{journal::Journal, segment::Segment};

/// What is known before the upstream is called.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    pub at: UnixMillis,
    pub request_id: &'a str,
    /// `None` where no key is required.
    pub key: Option<&'a ApiKeyId>,
    pub connection: &'a ConnectionId,
    pub provider: &'a ProviderId,
    /// The model as the client named it, and as the upstream is asked for it.
    pub requested_model: &'a str,
    pub model: &'a str,
    /// "chat", "embeddings"…
    pub operation: &'a str,
    pub stream: bool,
    /// As the client called it, without the query.
    pub path: &'a str,
    /// Formats of the client and of the upstream.
    pub source_format: &'a str,
    pub target_format: &'a str,
    /// What is billed if nobody ever says more.
    pub estimate: Usage,
}

/// What is known at the end.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    pub outcome: Outcome,
    /// What the client saw; 0 when it saw nothing. Of a failure behind an early head, the status of the error.
    pub status: u16,
    pub error_code: &'a str,
    pub usage: Usage,
    /// Any number in `usage` is a guess of ours.
    pub estimated: bool,
    pub duration: Duration,
    pub first_byte: Option<Duration>,
    pub attempts: u32,
    pub finish_reason: &'a str,
    /// Who answered, when it is not the connection that the event was opened with. A bare model id may have fallen back
    /// to another provider, and it is the provider that the price depends on.
    pub answered_by: Option<AnsweredBy<'a>>,
}

/// What is known in the middle of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    pub status: u16,
    /// What would be billed if it ended now.
    pub usage: Usage,
    pub duration: Duration,
    pub first_byte: Option<Duration>,
    pub attempts: u32,
    /// Who is asked now, when it is not the connection that the event was opened with.
    pub answered_by: Option<AnsweredBy<'a>>,
}

/// A connection, its provider, and the format that it speaks.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredBy<'a> {
    pub connection: &'a ConnectionId,
    pub provider: &'a ProviderId,
    pub format: &'a str,
}

/// Writes usage events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UsageRecorder {
    journal: Arc<Journal>,
}

/// A request that runs. Dropped without [`OpenEvent::close`], it is closed as left by the client.
#[derive(Debug)]
pub struct OpenEvent {
    journal: Arc<Journal>,
    id: EventId,
    /// The encoded fields that do not change.
    fixed: Vec<u8>,
    estimate: Usage,
    /// Where the opened record is; `None` when it was lost.
    segment: Option<Arc<Segment>>,
    /// Where the last note of progress is.
    noted: Mutex<Option<Arc<Segment>>>,
    is_closed: bool,
}

// === impl UsageRecorder ===

impl UsageRecorder {
    pub fn new(journal: Arc<Journal>) -> Self {
        Self { journal }
    }

    /// Records that a request is about to reach an upstream. The record is written when this returns.
    pub fn open(&self, opening: &Opening<'_>) -> OpenEvent {
        // Dropping the pending write has it done.
        self.open_deferred(opening).0
    }

    /// As [`Self::open`], but the record is written once the second part is. `None` when it is lost.
    pub(crate) fn open_deferred(&self, opening: &Opening<'_>) -> (OpenEvent, Option<PendingWrite>) {
        let id = EventId::generate();
        let fixed = encode::fixed(id, opening);
        let (segment, pending_write) = self.journal.append_opened(&fixed, &opening.estimate).unzip();
        let open = OpenEvent {
            journal: Arc::clone(&self.journal),
            id,
            fixed,
            estimate: opening.estimate,
            segment,
            noted: Mutex::default(),
            is_closed: false,
        };
        (open, pending_write)
    }

    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }
}

// === impl OpenEvent ===

impl OpenEvent {
    pub fn id(&self) -> EventId {
        self.id
    }

    /// Records what an answer that goes on has come to, for the case that this process does not live to its end.
    pub(crate) fn progress(&self, so_far: &Progress<'_>) {
        if self.segment.is_some() {
            self.journal.append_progress(self.id, so_far, &mut self.noted.lock());
        }
    }

    /// Records how the request ended. The record is written when this returns.
    pub fn close(self, closing: &Closing<'_>) {
        drop(self.close_deferred(closing));
    }

    /// As [`Self::close`], but the record is written once what is returned is. `None`: the event was lost already.
    pub(crate) fn close_deferred(mut self, closing: &Closing<'_>) -> Option<PendingWrite> {
        self.finish(closing)
    }

    fn finish(&mut self, closing: &Closing<'_>) -> Option<PendingWrite> {
        self.is_closed = true;
        let opened = self.segment.take()?;
        Some(self.journal.append_closed(&self.fixed, closing, [Some(opened), self.noted.get_mut().take()]))
    }
}

impl Drop for OpenEvent {
    fn drop(&mut self) {
        if !self.is_closed {
            let estimate = self.estimate;
            let pending_write = self.finish(&Closing {
                outcome: Outcome::ClientClosed,
                status: 0,
                error_code: "client_closed",
                usage: estimate,
                estimated: true,
                duration: Duration::ZERO,
                first_byte: None,
                attempts: 1,
                finish_reason: "",
                answered_by: None,
            });
            drop(pending_write);
        }
    }
}

#[cfg(test)]
mod tests;
