//! `UsageStream`: batches in, acknowledgements out, each after its commit.

use omniroute_proto::v1::{self, usage_stream_server::UsageStream};
use omniroute_telemetry::names;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Ledger;

/// Acknowledgements on their way to one proxy.
const QUEUE: usize = 8;

/// Events of one batch.
const MAX_EVENTS: usize = 10_000;

/// The service.
pub(crate) struct UsageService {
    ledger: Ledger,
    shutdown: CancellationToken,
}

#[tonic::async_trait]
impl UsageStream for UsageService {
    type ReportStream = ReceiverStream<Result<v1::UsageAck, Status>>;

    /// Answers at once and works beside: the proxy waits for our side of the handshake before it sends anything.
    async fn report(
        &self,
        request: Request<Streaming<v1::UsageBatch>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let (acks, stream) = mpsc::channel(QUEUE);
        let ledger = self.ledger.clone();
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            if let Err(status) = ledger.serve(request.into_inner(), &acks, shutdown).await {
                let _ = acks.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

// === impl UsageService ===

impl UsageService {
    pub(crate) fn new(ledger: Ledger, shutdown: CancellationToken) -> Self {
        Self { ledger, shutdown }
    }
}

// === impl Ledger ===

impl Ledger {
    async fn serve(
        &self,
        mut batches: Streaming<v1::UsageBatch>,
        acks: &mpsc::Sender<Result<v1::UsageAck, Status>>,
        shutdown: CancellationToken,
    ) -> Result<(), Status> {
        loop {
            // A batch that was begun is finished and acknowledged first.
            let next = tokio::select! {
                () = shutdown.cancelled() => return Err(Status::unavailable("the control plane is stopping")),
                next = batches.next() => next,
            };
            let Some(Ok(batch)) = next else { return Ok(()) };
            let ack = self.answer(batch).await?;
            if acks.send(Ok(ack)).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn answer(&self, batch: v1::UsageBatch) -> Result<v1::UsageAck, Status> {
        let v1::UsageBatch { proxy_id, sequence, events } = batch;
        if events.len() > MAX_EVENTS {
            return Err(Status::invalid_argument(format!("a batch may hold {MAX_EVENTS} events")));
        }
        let count = events.len() as u64;
        let ingested = self.ingest(&proxy_id, events).await.map_err(|error| {
            tracing::error!(%error, code = error.code(), proxy = proxy_id, "a usage batch is not stored");
            Status::unavailable("the ledger cannot be written; send the batch again")
        })?;
        let refused = ingested.refused.len() as u64;
        let inserted = u64::from(ingested.inserted);
        let duplicate = count.saturating_sub(inserted + refused);
        for (result, count) in [("inserted", inserted), ("duplicate", duplicate), ("refused", refused)] {
            metrics::counter!(names::LEDGER_EVENTS, "result" => result).increment(count);
        }
        Ok(v1::UsageAck { sequence, inserted: ingested.inserted, refused: ingested.refused })
    }
}
