//! Closed records → the control plane's ledger, at least once; the ledger makes it exactly once.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use http::uri::PathAndQuery;
use metrics::counter;
use omniroute_core::id::{EventId, ProxyId};
use omniroute_proto::v1;
use omniroute_telemetry::names;
use prost::Message;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::{
    encode::{CLOSED, read_record},
    journal::Journal,
    segment::Segment,
};
use crate::control::{Backoff, ControlPlane, link};

const PATH: &str = "/omniroute.v1.UsageStream/Report";
/// Events per batch, and batches that wait for their acknowledgement.
const MAX_EVENTS: usize = 500;
const MAX_IN_FLIGHT: usize = 8;
/// How long events may gather before they are sent.
const LINGER: Duration = Duration::from_millis(100);
/// An acknowledgement that takes longer means that the link is dead.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);
/// Read from the journal in one go.
const READ_BYTES: usize = 256 * 1024;
/// How often an idle sender looks for itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// `UsageBatch` with its events still encoded, as the journal holds them: the same bytes on the wire.
#[derive(Clone, PartialEq, Message)]
struct RawBatch {
    #[prost(string, tag = "1")]
    proxy_id: String,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    events: Vec<Bytes>,
}

/// Events on their way, and the segments that they came from.
struct Batch {
    events: Vec<Bytes>,
    counts: Vec<(Arc<Segment>, u64)>,
}

/// Reads the journal from its oldest segment on.
struct Reader {
    journal: Arc<Journal>,
    segment: Option<Arc<Segment>>,
    at: u64,
    buffer: Vec<u8>,
}

/// Sends the journal for ever.
pub async fn run(journal: Arc<Journal>, control_plane: ControlPlane, proxy: ProxyId) {
    let mut reader = Reader::new(Arc::clone(&journal));
    let mut in_flight = VecDeque::new();
    let mut backoff = Backoff::new();
    loop {
        let session = Session { journal: &journal, control_plane: &control_plane, proxy: &proxy };
        let Err(error) = session.run(&mut reader, &mut in_flight, &mut backoff).await;
        journal.report();
        if link::needs_operator(&error) {
            tracing::warn!(reason = error.message(), "the control plane refuses this proxy's usage");
        } else {
            tracing::debug!(%error, "the usage stream has ended");
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

struct Session<'a> {
    journal: &'a Journal,
    control_plane: &'a ControlPlane,
    proxy: &'a ProxyId,
}

// === impl Session ===

impl Session<'_> {
    async fn run(
        &self,
        reader: &mut Reader,
        in_flight: &mut VecDeque<Batch>,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, Status> {
        let mut abandoned = self.control_plane.abandoned();
        let channel = self.control_plane.connect().await?;
        let (batches, outgoing) = mpsc::channel(MAX_IN_FLIGHT);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        let challenge = self.control_plane.sign(PATH, request.metadata_mut());
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec: ProstCodec<RawBatch, v1::UsageAck> = ProstCodec::default();
        let response = client.streaming(request, PathAndQuery::from_static(PATH), codec).await?;
        self.control_plane.verify(challenge, response.metadata())?;
        let mut acks = response.into_inner();

        // What the last session sent and nobody acknowledged goes first.
        let mut sequence = 0;
        let mut oldest = 0;
        for batch in in_flight.iter() {
            self.send(&batches, sequence, batch).await?;
            sequence += 1;
        }
        let mut next_read = Instant::now();
        let mut deadline = Instant::now() + ACK_TIMEOUT;
        loop {
            let may_send = in_flight.len() < MAX_IN_FLIGHT;
            tokio::select! {
                biased;
                ack = acks.message() => {
                    let ack = ack?.ok_or_else(|| Status::unavailable("the stream has ended"))?;
                    if ack.sequence != oldest {
                        return Err(Status::internal("an acknowledgement out of order"));
                    }
                    let Some(batch) = in_flight.pop_front() else {
                        return Err(Status::internal("an acknowledgement of nothing"));
                    };
                    oldest += 1;
                    backoff.reset();
                    deadline = Instant::now() + ACK_TIMEOUT;
                    refused(&ack);
                    self.journal.acknowledge(&batch.counts);
                }
                _ = abandoned.changed() => return Err(Status::unavailable("the connection was given up")),
                () = tokio::time::sleep_until(deadline), if !in_flight.is_empty() => {
                    return Err(Status::deadline_exceeded("no acknowledgement in time"));
                }
                batch = next_batch(reader, self.journal, next_read), if may_send => {
                    let batch = batch.map_err(|error| Status::internal(error.to_string()))?;
                    // A full batch means that more is waiting.
                    next_read = if batch.events.len() < MAX_EVENTS { Instant::now() + LINGER } else { Instant::now() };
                    if in_flight.is_empty() {
                        deadline = Instant::now() + ACK_TIMEOUT;
                    }
                    self.dispatch(&batches, sequence, batch, in_flight).await?;
                    sequence += 1;
                }
            }
        }
    }

    /// Sends a batch. It counts as unanswered before it goes: the reader is past it, so should the stream end now, only the
    /// list of unanswered ones knows of it.
    async fn dispatch(
        &self,
        batches: &mpsc::Sender<RawBatch>,
        sequence: u64,
        batch: Batch,
        in_flight: &mut VecDeque<Batch>,
    ) -> Result<(), Status> {
        in_flight.push_back(batch);
        match in_flight.back() {
            Some(batch) => self.send(batches, sequence, batch).await,
            None => Ok(()),
        }
    }

    async fn send(&self, batches: &mpsc::Sender<RawBatch>, sequence: u64, batch: &Batch) -> Result<(), Status> {
        let raw = RawBatch { proxy_id: self.proxy.to_string(), sequence, events: batch.events.clone() };
        batches.send(raw).await.map_err(|_| Status::unavailable("the stream has ended"))
    }
}

/// The next batch, as soon as there is one, but not before `not_before`. Nothing is lost when it is cancelled.
async fn next_batch(reader: &mut Reader, journal: &Journal, not_before: Instant) -> std::io::Result<Batch> {
    tokio::time::sleep_until(not_before).await;
    loop {
        if let Some(batch) = reader.next_batch()? {
            return Ok(batch);
        }
        journal.wait_readable(LOOK_EVERY).await;
        tokio::time::sleep(LINGER).await;
    }
}

fn refused(ack: &v1::UsageAck) {
    for refused in &ack.refused {
        // It can never be stored; sending it again would change nothing.
        tracing::error!(
            event = EventId::from_bytes(&refused.id).map(|id| id.to_string()),
            reason = refused.reason,
            "the ledger refused a usage event"
        );
        counter!(names::JOURNAL_LOST).increment(1);
    }
}

// === impl Reader ===

impl Reader {
    fn new(journal: Arc<Journal>) -> Self {
        Self { journal, segment: None, at: 0, buffer: vec![0; READ_BYTES] }
    }

    /// The next closed records, or `None` when there are none yet.
    fn next_batch(&mut self) -> std::io::Result<Option<Batch>> {
        let mut batch = Batch { events: Vec::new(), counts: Vec::new() };
        while batch.events.len() < MAX_EVENTS {
            if self.segment.is_none() {
                self.segment = self.journal.segment_after(None);
                self.at = 0;
            }
            let Some(segment) = self.segment.clone() else { break };
            let before = batch.events.len();
            let moved = self.read(&segment, &mut batch).and_then(|moved| {
                // What was read is in the batch, and goes, also when there is no more to be had.
                if moved { Ok(true) } else { self.read_rest(&segment, &mut batch) }
            });
            let found = (batch.events.len() - before) as u64;
            if found > 0 {
                batch.counts.push((Arc::clone(&segment), found));
            }
            match moved {
                Ok(true) => {}
                Ok(false) if self.step(&segment) => {}
                Ok(false) => break,
                // It comes up again with the next look.
                Err(_) if !batch.events.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok((!batch.events.is_empty()).then_some(batch))
    }

    /// Reads records of one segment; false when there was nothing new.
    fn read(&mut self, segment: &Segment, batch: &mut Batch) -> std::io::Result<bool> {
        let length = segment.read(self.at, &mut self.buffer)?;
        let mut at = 0;
        while batch.events.len() < MAX_EVENTS {
            let Some((kind, payload, size)) = read_record(&self.buffer[at..length]) else { break };
            at += size;
            if kind == CLOSED {
                batch.events.push(Bytes::copy_from_slice(payload));
            }
        }
        self.at += at as u64;
        Ok(at > 0)
    }

    /// What was added to a segment after the last look and before it was sealed.
    fn read_rest(&mut self, segment: &Segment, batch: &mut Batch) -> std::io::Result<bool> {
        self.journal.seal_behind_writer();
        Ok(segment.is_sealed() && self.at < segment.written() && self.read(segment, batch)?)
    }

    /// Moves on to the next segment when nothing will be added to this one.
    fn step(&mut self, segment: &Segment) -> bool {
        if !segment.is_sealed() {
            return false;
        }
        let rest = segment.written().saturating_sub(self.at);
        if rest > 0 {
            // The buffer holds any record, so these bytes are none.
            tracing::error!(segment = segment.number, bytes = rest, "the journal is damaged; these bytes are skipped");
        }
        let Some(next) = self.journal.segment_after(Some(segment.number)) else { return false };
        self.segment = Some(next);
        self.at = 0;
        true
    }
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
