//! A proxy's batch as it can be stored: its events checked, priced, and each once.

use std::sync::Arc;

use omniroute_core::time::UnixMillis;
use omniroute_proto::v1;

use super::{
    event::Event,
    pricing::{Cost, PriceTable},
};
use crate::store::clean;

/// An event that can be stored, with what it cost.
pub(super) struct Row {
    pub(super) event: Event,
    pub(super) cost: Option<Cost>,
    pub(super) proxy_id: Arc<str>,
}

/// What of a batch can be stored, and what not.
pub(super) struct Batch {
    /// In the order of their ids, each once.
    pub(super) rows: Vec<Row>,
    pub(super) refused: Vec<v1::RefusedEvent>,
}

/// A row of one of several batches.
#[derive(Clone, Copy)]
pub(super) struct Merged<'a> {
    /// Place of its batch among them.
    pub(super) batch: usize,
    pub(super) row: &'a Row,
}

/// The rows of several batches, each id once, for the batch that came first. In the order of their ids: every transaction
/// inserts in that order, so that two replicas that got the same events do not wait for each other in a circle.
pub(super) fn merge(batches: &[Batch]) -> Vec<Merged<'_>> {
    let each = batches.iter().enumerate();
    let mut rows: Vec<_> =
        each.flat_map(|(batch, Batch { rows, .. })| rows.iter().map(move |row| Merged { batch, row })).collect();
    if batches.len() > 1 {
        rows.sort_by_key(|merged| (merged.row.event.id, merged.batch));
        rows.dedup_by_key(|merged| merged.row.event.id);
    }
    rows
}

// === impl Batch ===

impl Batch {
    /// Checks and prices events. `oldest_day` is the first day that is kept.
    pub(super) fn check(
        proxy_id: &str,
        events: Vec<v1::UsageEvent>,
        prices: &PriceTable,
        now: UnixMillis,
        oldest_day: i64,
    ) -> Self {
        let proxy_id: Arc<str> = clean(proxy_id).into();
        let mut batch = Self { rows: Vec::with_capacity(events.len()), refused: Vec::new() };
        for event in events {
            match Event::check(event, now, oldest_day) {
                Ok(event) => {
                    if event.redated {
                        tracing::warn!(
                            request_id = event.request_id,
                            says = event.id.unix_ms(),
                            "a proxy's clock is wrong: a usage event is dated by its arrival"
                        );
                    }
                    let cost = prices.cost(&event.charge());
                    batch.rows.push(Row { event, cost, proxy_id: Arc::clone(&proxy_id) });
                }
                Err(refused) => {
                    let reason = refused.reason;
                    tracing::warn!(request_id = refused.request_id, reason, "a usage event was refused");
                    batch.refused.push(v1::RefusedEvent { id: refused.id.into(), reason: reason.to_owned() });
                }
            }
        }
        batch.rows.sort_by_key(|row| row.event.id);
        batch.rows.dedup_by(|later, earlier| {
            let is_same = later.event.id == earlier.event.id;
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        batch
    }
}
