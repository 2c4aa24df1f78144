//! Whether a connection can be used: cooldowns after failures, and the limit on requests in flight.
//!
//! A failure that says something of the connection lets it cool down, for the whole fleet where proxies share state; how long
//! goes by what failed and by the [`failures`] before. A [`permit`] is a request's place at a connection.

mod failures;
mod permit;

use std::sync::Arc;

use omniroute_coordination::{Cooldown, Coordination};
use omniroute_core::{id::ConnectionId, time::Clock};
use omniroute_providers::Failure;
use tokio::sync::futures::Notified;

use self::{
    failures::{ConsecutiveFailures, with_words},
    permit::Released,
};
pub(crate) use self::{
    failures::{UNSTABLE_REASON, reason_and_words},
    permit::ConcurrencyPermit,
};
use crate::snapshot::{ConnectionEntry, SnapshotHandle};

/// The health of all connections, as this proxy knows it.
pub(crate) struct Health {
    coordination: Arc<dyn Coordination>,
    snapshot: SnapshotHandle,
    clock: Arc<dyn Clock>,
    failures: ConsecutiveFailures,
    released: Released,
}

// === impl Health ===

impl Health {
    pub(crate) fn new(coordination: Arc<dyn Coordination>, snapshot: SnapshotHandle, clock: Arc<dyn Clock>) -> Self {
        Self { coordination, snapshot, clock, failures: ConsecutiveFailures::default(), released: Released::default() }
    }

    /// The cooldown of a connection, if it has one.
    pub(crate) fn cooling(&self, id: &ConnectionId) -> Option<Cooldown> {
        self.coordination.cooling(id.as_str())
    }

    /// Every cooldown that is known.
    pub(crate) fn cooldowns(&self) -> Vec<(Arc<str>, Cooldown)> {
        self.coordination.cooldowns()
    }

    /// A place at a connection; `None` when it has all the requests that it may have.
    pub(crate) fn acquire(&self, entry: &ConnectionEntry) -> Option<ConcurrencyPermit> {
        ConcurrencyPermit::acquire(&entry.in_flight, entry.upstream.max_concurrent(), &self.released)
    }

    /// Resolves once a place has become free after this call, at whichever connection.
    pub(crate) fn released(&self) -> Notified<'_> {
        self.released.notified()
    }

    /// A connection has given a whole answer.
    pub(crate) fn succeeded(&self, id: &ConnectionId) {
        self.failures.reset(id);
    }

    /// Lets a connection that failed cool down where the failure says so.
    pub(crate) async fn failed(&self, entry: &Arc<ConnectionEntry>, failure: &Failure) {
        let current = self.snapshot.load().connection(entry.id.as_str()).map(Arc::clone);
        if current.is_some_and(|current| !Arc::ptr_eq(&current, entry)) {
            // It was edited meanwhile: what failed is not what the next request uses.
            return;
        }
        if let Some((span, reason)) = self.failures.count_failure(&entry.id, failure) {
            let until = self.clock.now().saturating_add(span);
            let words = failure.client_message(entry.upstream.hidden());
            self.coordination.cool(entry.id.as_str(), until, &with_words(reason, &words)).await;
        }
    }

    /// Holds nothing against these connections any more: a corrected credential is used at once. The control plane ends
    /// cooldowns too, but where there is no Redis it cannot reach those of this process.
    pub(crate) async fn reset(&self, repaired: &[ConnectionId]) {
        for id in repaired {
            self.failures.reset(id);
            self.coordination.warm(id.as_str()).await;
        }
    }
}
