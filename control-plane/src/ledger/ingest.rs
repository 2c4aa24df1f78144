//! Batches into the ledger.
//!
//! A batch waits in a queue. Whenever a transaction may begin, it takes the batches that wait by then, of whichever proxies,
//! so that the more there is to do, the less each event costs. Each batch has its own answer, after the commit. Whoever
//! waited may leave: a transaction that has begun goes on without it, and a batch that nobody waits for is not begun.

use std::{
    collections::BTreeSet,
    slice,
    sync::{Arc, Weak},
    time::Instant,
};

use omniroute_proto::v1;
use omniroute_telemetry::names;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    Inner, Ledger,
    batch::{Batch, Merged, merge},
    rollup::Rollups,
    transaction::Transaction,
    validate::is_timeless,
};
use crate::store::StoreError;

/// Batches that wait for a transaction; further ones wait on their streams.
pub(super) const QUEUE: usize = 64;

/// Events of one transaction, unless a single batch has more.
const MAX_EVENTS: usize = 2_000;

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ingested {
    /// Events that were new; the rest were in the ledger already.
    pub inserted: u32,
    /// Events that can never be stored.
    pub refused: Vec<v1::RefusedEvent>,
}

/// The error is one of the whole transaction, and so of all that shared it.
type Answer = Result<Ingested, Arc<StoreError>>;

/// A batch that waits to be stored.
pub(super) struct Waiting {
    proxy_id: String,
    events: Vec<v1::UsageEvent>,
    answer: oneshot::Sender<Answer>,
}

/// Takes batches from the queue into transactions, so many at the same time, until the ledger is gone.
pub(super) async fn run(ledger: Weak<Inner>, mut queue: mpsc::Receiver<Waiting>, at_once: u32) {
    let transactions = Arc::new(Semaphore::new(at_once as usize));
    let mut left_over = None;
    // First the room, then the batches: what comes while there is none gathers.
    while let Ok(room) = Arc::clone(&transactions).acquire_owned().await {
        let first = match left_over.take() {
            Some(batch) => Some(batch),
            None => queue.recv().await,
        };
        let Some(first) = first else { return };
        let mut batches = gather(first, &mut queue, &mut left_over);
        // Who has left while they waited sends theirs again. What is taken now goes on whoever leaves.
        batches.retain(|batch| !batch.answer.is_closed());
        let Some(inner) = ledger.upgrade() else { return };
        tokio::spawn(async move {
            Ledger(inner).store_waiting(batches).await;
            drop(room);
        });
    }
}

/// `first`, and what waits behind it, as much as fits in a transaction.
fn gather(first: Waiting, queue: &mut mpsc::Receiver<Waiting>, left_over: &mut Option<Waiting>) -> Vec<Waiting> {
    let mut events = first.events.len();
    let mut batches = vec![first];
    while let Ok(next) = queue.try_recv() {
        events += next.events.len();
        if events > MAX_EVENTS {
            *left_over = Some(next);
            break;
        }
        batches.push(next);
    }
    batches
}

// === impl Waiting ===

impl Waiting {
    pub(super) fn new(proxy_id: &str, events: Vec<v1::UsageEvent>) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        (Self { proxy_id: proxy_id.to_owned(), events, answer }, answered)
    }
}

// === impl Ledger ===

impl Ledger {
    /// Stores the events that are not stored yet. When it returns, they are committed; when it fails, none is.
    ///
    /// # Errors
    /// When the database fails: send the batch again.
    pub async fn ingest(
        &self,
        proxy_id: &str,
        events: impl Into<Vec<v1::UsageEvent>>,
    ) -> Result<Ingested, Arc<StoreError>> {
        // Both mean that the task at the other end is gone.
        let stopped = || Arc::new(StoreError::Unavailable(sqlx::Error::WorkerCrashed));
        let (waiting, answered) = Waiting::new(proxy_id, events.into());
        self.0.queue.send(waiting).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Stores the batches in one transaction, and tells each what became of it.
    pub(super) async fn store_waiting(&self, waiting: Vec<Waiting>) {
        let started = Instant::now();
        let prices = match self.prices().await {
            Ok(prices) => prices,
            Err(error) => {
                let error = Arc::new(error);
                waiting.into_iter().for_each(|batch| tell(batch.answer, Err(Arc::clone(&error))));
                return;
            }
        };
        let (now, oldest_day) = (self.clock().now(), self.oldest_day());
        let check =
            |Waiting { proxy_id, events, answer }| (answer, Batch::check(&proxy_id, events, &prices, now, oldest_day));
        let (answers, batches): (Vec<_>, Vec<_>) = waiting.into_iter().map(check).unzip();
        match self.store_batches(&batches).await {
            Ok(inserted) => {
                for ((answer, batch), inserted) in answers.into_iter().zip(batches).zip(inserted) {
                    tell(answer, Ok(Ingested { inserted, refused: batch.refused }));
                }
            }
            // The database does not take what one of them holds: the others must not suffer for it.
            Err(error) if batches.len() > 1 && is_about_content(&error) => {
                for (answer, batch) in answers.into_iter().zip(batches) {
                    let stored = self.store_batches(slice::from_ref(&batch)).await;
                    let inserted = stored.map(|inserted| inserted.into_iter().sum());
                    tell(
                        answer,
                        inserted.map(|inserted| Ingested { inserted, refused: batch.refused }).map_err(Arc::new),
                    );
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                answers.into_iter().for_each(|answer| tell(answer, Err(Arc::clone(&error))));
            }
        }
        metrics::histogram!(names::LEDGER_COMMIT).record(started.elapsed().as_secs_f64());
    }

    /// Stores batches in one transaction. Returns how many events of each were new.
    async fn store_batches(&self, batches: &[Batch]) -> Result<Vec<u32>, StoreError> {
        let rows = merge(batches);
        let mut inserted = vec![0; batches.len()];
        if rows.is_empty() {
            return Ok(inserted);
        }
        let stored = self.store_rows(&rows).await;
        if stored.is_err() {
            self.0.partitions.forget_known();
        }
        for new in stored? {
            inserted[new.batch] += 1;
        }
        Ok(inserted)
    }

    /// Stores rows in one transaction. Returns those that were new.
    async fn store_rows<'a>(&self, rows: &[Merged<'a>]) -> Result<Vec<Merged<'a>>, StoreError> {
        let days: BTreeSet<i64> = rows.iter().map(|merged| merged.row.event.day).collect();
        self.0.partitions.ensure(&self.0.store, &days.into_iter().collect::<Vec<_>>()).await?;

        let mut transaction = Transaction::begin(&self.0.store).await?;
        let mut new = self.without_known(&mut transaction, rows).await?;
        if !transaction.insert(&new).await? {
            // Some are in the ledger already, which is rare: the acknowledgement of a batch was lost. Only an insert that
            // names what it has inserted tells which, so all is done again that way.
            transaction.rollback().await?;
            transaction = Transaction::begin(&self.0.store).await?;
            new = self.without_known(&mut transaction, rows).await?;
            let inserted = transaction.insert_returning(&new).await?;
            new.retain(|merged| inserted.contains(merged.row.event.id.as_bytes().as_slice()));
        }
        let mut rollups = Rollups::default();
        for Merged { row, .. } in &new {
            rollups.add(&row.event, row.cost.as_ref());
        }
        transaction.add(&rollups).await?;
        transaction.commit().await?;
        Ok(new)
    }

    /// The rows without those that are stored already under the day of an earlier arrival.
    async fn without_known<'a>(
        &self,
        transaction: &mut Transaction,
        rows: &[Merged<'a>],
    ) -> Result<Vec<Merged<'a>>, StoreError> {
        let mut new = Vec::with_capacity(rows.len());
        for merged in rows {
            let event = &merged.row.event;
            let is_known =
                is_timeless(event.id) && transaction.is_stored(event.id, self.oldest_day(), event.day).await?;
            if !is_known {
                new.push(*merged);
            }
        }
        Ok(new)
    }
}

/// Whoever has left is not told.
fn tell(waiting: oneshot::Sender<Answer>, answer: Answer) {
    let _ = waiting.send(answer);
}

/// Whether it is about what was to be stored, and not about the database.
const fn is_about_content(error: &StoreError) -> bool {
    matches!(error, StoreError::Database(_) | StoreError::Invalid { .. })
}
