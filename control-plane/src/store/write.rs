//! The one way in which configuration changes.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use omniroute_core::{hash::Pepper, sealed::KeyRing, time::UnixMillis};
use serde_json::Value;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Transaction};
use zeroize::Zeroizing;

use super::{Columns as _, Engine, Store, StoreError, batches, number, placeholders, records::Actor, sealing, sql};

/// Postgres channel on which replicas hear of new revisions.
pub(crate) const NOTIFY_CHANNEL: &str = "omniroute_config";

const LOG_COLUMNS: usize = 11;

/// An edit that merges what it was given into what is stored may meet another one ([`StoreError::Stale`]); it is then made
/// again on what that one left, so many times at most.
pub const MERGE_ATTEMPTS: u32 = 8;

/// A transaction that changes configuration. An area's rows are changed by functions that take one.
pub struct Write {
    store: Store,
    tx: Transaction<'static, Any>,
    revision: u64,
    at: UnixMillis,
    actor: Actor,
    /// What happened to each resource so far, by kind and id: one log entry each, however often it was touched.
    changes: Changes,
}

type Changes = BTreeMap<(&'static str, String), Change>;

/// State before and after.
type SealedStates = (Option<Vec<u8>>, Option<Vec<u8>>);

struct Change {
    /// Revision and state before this transaction; `None` when it did not exist.
    before: Option<(u64, Zeroizing<Vec<u8>>)>,
    /// State after; `None` when it is gone.
    after: Option<Zeroizing<Vec<u8>>>,
}

// === impl Change ===

impl Change {
    fn op(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "create",
            (Some(_), Some(_)) => "update",
            (Some(_), None) => "delete",
        }
    }
}

// === impl Store ===

impl Store {
    /// Begins a change. It takes the next revision first: the lock on that row lets one writer in at a time, so that
    /// the order of commits is the order of revisions, on both engines and over all replicas.
    ///
    /// # Errors
    /// When the database does not answer, or the lock is not to be had in time.
    pub async fn write(&self, actor: &Actor) -> Result<Write, StoreError> {
        let mut tx = self.write_data().await?;
        let row = sql("UPDATE config_revision SET n = n + 1 WHERE id = 1 RETURNING n").fetch_one(&mut *tx).await?;
        Ok(Write {
            store: self.clone(),
            tx,
            revision: row.u64("n")?,
            at: self.clock().now(),
            actor: actor.clone(),
            changes: BTreeMap::new(),
        })
    }
}

// === impl Write ===

impl Write {
    /// The revision that this transaction makes.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Appends the log, commits and wakes the publisher. Returns the revision in force: the new one, or the old one
    /// when nothing was changed.
    ///
    /// # Errors
    /// When the database fails; nothing has changed then.
    pub async fn commit(mut self) -> Result<u64, StoreError> {
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            self.tx.rollback().await?;
            return Ok(self.revision - 1);
        }
        self.append_log(changes).await?;
        if self.store.engine() == Engine::Postgres {
            sql("SELECT pg_notify($1, '')").bind(NOTIFY_CHANNEL).execute(&mut *self.tx).await?;
        }
        self.tx.commit().await?;
        self.store.0.committed.send_if_modified(|last| {
            let newer = self.revision > *last;
            *last = (*last).max(self.revision);
            newer
        });
        Ok(self.revision)
    }

    async fn append_log(&mut self, changes: Changes) -> Result<(), StoreError> {
        let entries: Vec<_> = changes.into_iter().collect();
        for batch in batches(&entries) {
            let statement = format!(
                "INSERT INTO config_log (revision, kind, id, op, prev_revision, actor, address, request_id, at, \
                 before, after) VALUES {}",
                placeholders(batch.len(), LOG_COLUMNS)
            );
            let mut statement = sqlx::query(AssertSqlSafe(statement));
            for ((kind, id), change) in batch {
                let (before, after) = self.seal_states(kind, id, change)?;
                statement = statement
                    .bind(number(self.revision))
                    .bind(*kind)
                    .bind(id.clone())
                    .bind(change.op())
                    .bind(change.before.as_ref().map(|(revision, _)| number(*revision)))
                    .bind(self.actor.name.clone())
                    .bind(self.actor.address.clone())
                    .bind(self.actor.request_id.clone())
                    .bind(number(self.at.0))
                    .bind(before)
                    .bind(after);
            }
            statement.execute(&mut *self.tx).await?;
        }
        Ok(())
    }

    fn seal_states(&self, kind: &str, id: &str, change: &Change) -> Result<SealedStates, StoreError> {
        let row = sealing::log_row(self.revision, kind, id);
        let ring = self.store.ring();
        let seal = |column, plain: &[u8]| sealing::seal(ring, sealing::log_context(column, &row), plain);
        let before = change.before.as_ref().map(|(_, plain)| seal("before", plain)).transpose()?;
        let after = change.after.as_ref().map(|plain| seal("after", plain)).transpose()?;
        Ok((before, after))
    }

    /// Notes what happens to a resource. `before` is its revision and state until now, `after` its new state.
    pub(crate) fn note(
        &mut self,
        kind: &'static str,
        id: &str,
        before: Option<(u64, Value)>,
        after: Option<Value>,
    ) -> Result<(), StoreError> {
        let after = after.map(bytes).transpose()?;
        match self.changes.entry((kind, id.to_owned())) {
            Entry::Vacant(entry) => {
                let before = before.map(|(revision, state)| bytes(state).map(|state| (revision, state))).transpose()?;
                entry.insert(Change { before, after });
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().after = after;
                if entry.get().before.is_none() && entry.get().after.is_none() {
                    // Made and removed by the same transaction: it never was.
                    entry.remove();
                }
            }
        }
        Ok(())
    }

    /// The pepper that the hashes of new API keys are made with. Read here, under the writers' lock, because a replica may
    /// not have noticed yet that another one came into force.
    ///
    /// # Errors
    /// `RingIncomplete` when another control plane has the master key that it is sealed with.
    pub async fn pepper(&mut self) -> Result<Arc<Pepper>, StoreError> {
        let store = self.store.clone();
        Ok(store.published_values(&mut self.tx).await?.pepper)
    }

    /// Whether another control plane has this master key, which this one has not.
    pub(crate) async fn is_elsewhere(&mut self, key: &str) -> Result<bool, StoreError> {
        let store = self.store.clone();
        store.is_elsewhere(&mut self.tx, key).await
    }

    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.tx
    }

    pub(crate) fn at(&self) -> UnixMillis {
        self.at
    }

    pub(crate) fn ring(&self) -> &KeyRing {
        self.store.ring()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Refuses when the caller has seen another revision of the row than the one that is there.
    pub(crate) fn expect_revision(
        kind: &'static str,
        id: &str,
        expected: Option<u64>,
        found: u64,
    ) -> Result<(), StoreError> {
        match expected {
            Some(expected) if expected != found => Err(StoreError::Stale { kind, id: id.to_owned() }),
            _ => Ok(()),
        }
    }
}

fn bytes(state: Value) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    serde_json::to_vec(&state)
        .map(Zeroizing::new)
        .map_err(|error| StoreError::Invalid { field: "state", reason: error.to_string() })
}
