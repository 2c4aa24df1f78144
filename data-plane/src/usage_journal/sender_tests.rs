use std::{collections::BTreeMap, net::SocketAddr, pin::Pin};

use omniroute_core::time::UnixMillis;
use omniroute_proto::v1::{
    Outcome,
    usage_stream_server::{UsageStream, UsageStreamServer},
};
use omniroute_wire::usage::Usage;
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Response, Streaming};

use super::*;
use crate::{
    control::testing::{self, Shared},
    usage_journal::{Closing, Opening, UsageRecorder, journal::JournalOptions},
};

/// A ledger that counts how often each event arrived.
#[derive(Clone, Default)]
struct Ledger {
    seen: Shared<BTreeMap<Vec<u8>, u32>>,
    /// Swallow this many acknowledgements and break the stream instead.
    break_first: Shared<u32>,
}

#[tonic::async_trait]
impl UsageStream for Ledger {
    type ReportStream = Pin<Box<dyn Stream<Item = Result<v1::UsageAck, Status>> + Send>>;

    async fn report(
        &self,
        request: Request<Streaming<v1::UsageBatch>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let response = testing::admit(&request, PATH, "token", ())?;
        let ledger = self.clone();
        let acks = request.into_inner().map(move |batch| {
            let batch = batch?;
            let mut seen = ledger.seen.lock();
            for event in &batch.events {
                *seen.entry(event.id.to_vec()).or_default() += 1;
            }
            let mut breaks = ledger.break_first.lock();
            if *breaks > 0 {
                *breaks -= 1;
                return Err(Status::unavailable("the acknowledgement is lost"));
            }
            Ok(v1::UsageAck { sequence: batch.sequence, ..v1::UsageAck::default() })
        });
        Ok(response.map_body(Box::pin(acks)))
    }
}

trait MapBody {
    fn map_body<R>(self, body: R) -> Response<R>;
}

impl MapBody for Response<()> {
    fn map_body<R>(self, body: R) -> Response<R> {
        let (metadata, (), extensions) = self.into_parts();
        Response::from_parts(metadata, body, extensions)
    }
}

fn journal(directory: &tempfile::TempDir) -> Arc<Journal> {
    let directory = directory.path().to_owned();
    Journal::open(JournalOptions { directory, max_bytes: 1 << 24, segment_bytes: 4_000, fsync: false })
        .expect("a journal")
}

fn record(journal: &Arc<Journal>, count: usize) -> Vec<Vec<u8>> {
    let recorder = UsageRecorder::new(Arc::clone(journal));
    (0..count)
        .map(|_| {
            let open = recorder.open(&Opening {
                at: UnixMillis(1),
                request_id: "r",
                key: None,
                connection: &"c".into(),
                provider: &"p".into(),
                requested_model: "m",
                model: "m",
                operation: "chat",
                stream: false,
                path: "/v1/chat/completions",
                source_format: "openai",
                target_format: "openai",
                estimate: Usage::default(),
            });
            let id = open.id().as_bytes().to_vec();
            open.close(&Closing {
                outcome: Outcome::Ok,
                status: 200,
                error_code: "",
                usage: Usage { output: Some(1), ..Usage::default() },
                estimated: false,
                duration: Duration::ZERO,
                first_byte: None,
                attempts: 1,
                finish_reason: "",
                answered_by: None,
            });
            id
        })
        .collect()
}

fn start(journal: &Arc<Journal>, address: SocketAddr, token: &str) -> tokio::task::JoinHandle<()> {
    tokio::spawn(run(Arc::clone(journal), testing::link(address, token), "p1".into()))
}

#[tokio::test]
async fn every_event_arrives_although_acknowledgements_are_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = journal(&directory);
    let (listener, address) = testing::listener().await;
    let ledger = Ledger::default();
    *ledger.break_first.lock() = 2;
    let server = testing::serve(listener, UsageStreamServer::new(ledger.clone())).await;
    let mut ids = record(&journal, 1_200);
    let sender = start(&journal, address, "token");
    testing::until("the first are acknowledged", || journal.unacknowledged() == 0).await;
    ids.extend(record(&journal, 3));
    assert!(journal.drained(Duration::from_secs(10)).await);
    let seen = ledger.seen.lock().clone();
    assert_eq!(seen.len(), ids.len());
    assert!(ids.iter().all(|id| seen.contains_key(id)));
    assert!(seen.values().any(|times| *times > 1), "what was not acknowledged is sent again");
    let segments = crate::usage_journal::segment::numbers(directory.path()).expect("listed");
    assert_eq!(segments.len(), 1, "acknowledged segments are deleted");
    sender.abort();
    server.abort();
}

#[tokio::test]
async fn events_wait_for_a_ledger_that_comes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = journal(&directory);
    let (listener, address) = testing::listener().await;
    drop(listener);
    let sender = start(&journal, address, "token");
    let ids = record(&journal, 10);
    assert!(!journal.drained(Duration::from_millis(300)).await);
    let ledger = Ledger::default();
    let listener = TcpListener::bind(address).await.expect("the port is free again");
    let server = testing::serve(listener, UsageStreamServer::new(ledger.clone())).await;
    assert!(journal.drained(Duration::from_secs(15)).await);
    assert_eq!(ledger.seen.lock().len(), ids.len());
    sender.abort();
    server.abort();
}

#[tokio::test]
async fn a_ledger_of_another_fleet_gets_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = journal(&directory);
    let (listener, address) = testing::listener().await;
    let ledger = Ledger::default();
    let server = testing::serve(listener, UsageStreamServer::new(ledger.clone())).await;
    record(&journal, 3);
    let sender = start(&journal, address, "another token");
    assert!(!journal.drained(Duration::from_millis(500)).await);
    assert!(ledger.seen.lock().is_empty());
    sender.abort();
    server.abort();
}

#[tokio::test]
async fn a_batch_whose_stream_dies_while_it_is_sent_is_sent_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = journal(&directory);
    record(&journal, 3);
    let (_, address) = testing::listener().await;
    let (control_plane, proxy) = (testing::link(address, "token"), ProxyId::from("p1"));
    let session = Session { journal: &journal, control_plane: &control_plane, proxy: &proxy };
    let batch = Reader::new(Arc::clone(&journal)).next_batch().expect("read").expect("three events");
    // The stream's other end is gone before the batch is on its way.
    let (batches, outgoing) = mpsc::channel(MAX_IN_FLIGHT);
    drop(outgoing);
    let mut in_flight = VecDeque::new();
    session.dispatch(&batches, 0, batch, &mut in_flight).await.expect_err("nobody takes it");
    assert_eq!(in_flight.iter().map(|batch| batch.events.len()).collect::<Vec<_>>(), [3], "the next session has it");
}

#[test]
fn what_was_read_before_a_failing_read_is_sent() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = journal(&directory);
    // Segments hold 4,000 bytes: these are several.
    record(&journal, 60);
    journal.seal_behind_writer();
    let second = journal.segment_after(None).and_then(|first| journal.segment_after(Some(first.number)));
    let second = second.expect("a second segment");
    let path = directory.path().join(format!("{:016}.journal", second.number));
    std::fs::OpenOptions::new().write(true).open(path).expect("open").set_len(1).expect("cut");
    let mut reader = Reader::new(Arc::clone(&journal));
    let first = reader.next_batch().expect("the first segment can be read").expect("its events");
    assert!(!first.events.is_empty() && first.counts.len() == 1);
    assert!(reader.next_batch().is_err(), "the second cannot");
}
