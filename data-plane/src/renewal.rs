//! New tokens in place of those that providers refuse.
//!
//! The control planes renew the tokens of accounts before they are over. Where a provider takes one back earlier, a request
//! finds out: it says so here, the proxy's next status says it to the control plane, and the request waits, though not for
//! long, for the configuration with the new token.

use std::{collections::HashMap, sync::Arc, time::Duration};

use omniroute_core::{hash::token_fingerprint, id::ConnectionId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::snapshot::{ConnectionEntry, SnapshotHandle};

/// A request waits no longer than this for a new token.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Tokens that are asked for at once.
const MOST: usize = 256;

/// Asks for new tokens.
pub(crate) struct Renewals {
    snapshot: SnapshotHandle,
    wanted: Mutex<HashMap<ConnectionId, Wanted>>,
    urgent: Arc<Notify>,
}

/// A token whose successor somebody waits for.
struct Wanted {
    refused: [u8; 16],
    waiting: usize,
}

/// A request that waits.
struct Waiting<'a> {
    renewals: &'a Renewals,
    id: &'a ConnectionId,
}

// === impl Renewals ===

impl Renewals {
    pub(crate) fn new(snapshot: SnapshotHandle) -> Self {
        Self { snapshot, wanted: Mutex::default(), urgent: Arc::default() }
    }

    /// The connection with another token than the one that its provider refused; `None` when there is none in time.
    pub(crate) async fn successor(&self, refused: &ConnectionEntry) -> Option<Arc<ConnectionEntry>> {
        if !refused.refreshes {
            return None;
        }
        let mut revisions = self.snapshot.watch();
        let mut waiting = None;
        let newer = async {
            loop {
                revisions.borrow_and_update();
                let current = self.snapshot.load().connection(refused.id.as_str()).map(Arc::clone)?;
                if !current.is_active {
                    return None;
                }
                if current.upstream.secret() != refused.upstream.secret() {
                    return Some(current);
                }
                if !current.refreshes {
                    return None;
                }
                if waiting.is_none() {
                    waiting = Some(self.ask(refused)?);
                }
                revisions.changed().await.ok()?;
            }
        };
        tokio::time::timeout(LONGEST_WAIT, newer).await.ok().flatten()
    }

    /// Tokens whose successors are waited for, by connection.
    pub(crate) fn wanted(&self) -> Vec<(ConnectionId, [u8; 16])> {
        self.wanted.lock().iter().map(|(id, wanted)| (id.clone(), wanted.refused)).collect()
    }

    /// Told when another one is waited for.
    pub(crate) fn urgent(&self) -> &Arc<Notify> {
        &self.urgent
    }

    fn ask<'a>(&'a self, refused: &'a ConnectionEntry) -> Option<Waiting<'a>> {
        let fingerprint = token_fingerprint(refused.upstream.secret());
        let mut all = self.wanted.lock();
        if all.len() >= MOST && !all.contains_key(&refused.id) {
            return None;
        }
        let wanted = all.entry(refused.id.clone()).or_insert(Wanted { refused: [0; 16], waiting: 0 });
        wanted.waiting += 1;
        if wanted.refused != fingerprint {
            wanted.refused = fingerprint;
            self.urgent.notify_one();
        }
        Some(Waiting { renewals: self, id: &refused.id })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut all = self.renewals.wanted.lock();
        if let Some(wanted) = all.get_mut(self.id) {
            wanted.waiting -= 1;
            if wanted.waiting == 0 {
                all.remove(self.id);
            }
        }
    }
}
