//! Reading the configuration: digests, deltas and full snapshots, each out of one consistent read.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::TryStreamExt as _;
use omniroute_proto::{
    DigestSet, Kind,
    v1::{self, config_response::Body},
};
use sqlx::AnyConnection;

use super::{
    frame::{Chunker, Frame},
    head::Head,
    resource,
    updates::{Touched, Update},
};
use crate::store::{Columns as _, Store, StoreError, number, sql};

/// Where the database stands, in the transaction that asks.
pub(super) struct Clock {
    pub(super) revision: u64,
    /// Deltas can be made from here on.
    pub(super) log_floor: u64,
}

pub(super) async fn clock(tx: &mut AnyConnection) -> Result<Clock, StoreError> {
    let row = sql("SELECT n, log_floor FROM config_revision WHERE id = 1").fetch_one(tx).await?;
    Ok(Clock { revision: row.u64("n")?, log_floor: row.u64("log_floor")? })
}

/// The head, from the rows themselves.
pub(super) async fn scan(tx: &mut AnyConnection) -> Result<Head, StoreError> {
    let revision = clock(tx).await?.revision;
    let mut digests = DigestSet::default();
    for kind in Kind::ALL {
        let mut rows = resource::select_ids(kind).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            digests.add(kind, &row.text("id")?, row.u64("revision")?);
        }
    }
    Ok(Head { revision, digests: Arc::new(digests) })
}

/// Moves `head` on to `clock` with the log alone: each entry says which version it replaced.
pub(super) async fn advance(tx: &mut AnyConnection, head: &Head, clock: &Clock) -> Result<Head, StoreError> {
    if clock.revision == head.revision {
        return Ok(head.clone());
    }
    if clock.revision < head.revision || head.revision < clock.log_floor {
        return scan(tx).await;
    }
    let mut digests = DigestSet::clone(&head.digests);
    let statement = sql("SELECT revision, kind, id, op, prev_revision FROM config_log \
         WHERE revision > $1 AND revision <= $2 ORDER BY revision");
    let mut rows = statement.bind(number(head.revision)).bind(number(clock.revision)).fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let Some(kind) = Kind::from_name(&row.text("kind")?) else { continue };
        let id = row.text("id")?;
        if let Some(replaced) = row.opt_u64("prev_revision")? {
            digests.remove(kind, &id, replaced);
        }
        if row.text("op")? != "delete" {
            digests.add(kind, &id, row.u64("revision")?);
        }
    }
    Ok(Head { revision: clock.revision, digests: Arc::new(digests) })
}

/// What changed above `from`, up to `head`: the latest state of each changed resource, or its deletion.
pub(super) async fn delta(store: &Store, tx: &mut AnyConnection, from: u64, head: &Head) -> Result<Update, StoreError> {
    let mut chunker = Chunker::new();
    let mut touched = Touched::new();
    for (kind, id, revision) in deletions(tx, from, head.revision).await? {
        chunker.push(resource::deletion(kind, &id, revision));
        touched.insert((kind.as_str().to_owned(), id));
    }
    for kind in Kind::ALL {
        let mut rows = resource::select(kind, number(from), number(head.revision)).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let resource = resource::resource(kind, &row, store)?;
            touched.insert((kind.as_str().to_owned(), resource.id.clone()));
            chunker.push(resource);
        }
    }
    Ok(update(Some(from), head, chunker, touched))
}

/// Everything, at the `revision` of the transaction. Its digests come from what is sent.
pub(super) async fn full(store: &Store, tx: &mut AnyConnection, revision: u64) -> Result<(Update, Head), StoreError> {
    let mut chunker = Chunker::new();
    let mut digests = DigestSet::default();
    for kind in Kind::ALL {
        let mut rows = resource::select(kind, -1, i64::MAX).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let resource = resource::resource(kind, &row, store)?;
            digests.add(kind, &resource.id, resource.revision);
            chunker.push(resource);
        }
    }
    let head = Head { revision, digests: Arc::new(digests) };
    Ok((update(None, &head, chunker, Touched::new()), head))
}

/// The resources whose last change in the range removed them, with the revision of that change.
async fn deletions(tx: &mut AnyConnection, from: u64, to: u64) -> Result<Vec<(Kind, String, u64)>, StoreError> {
    let mut last = BTreeMap::new();
    let statement = sql("SELECT revision, kind, id, op FROM config_log \
         WHERE revision > $1 AND revision <= $2 ORDER BY revision");
    let mut rows = statement.bind(number(from)).bind(number(to)).fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let Some(kind) = Kind::from_name(&row.text("kind")?) else { continue };
        let key = (kind, row.text("id")?);
        if row.text("op")? == "delete" {
            last.insert(key, row.u64("revision")?);
        } else {
            last.remove(&key);
        }
    }
    Ok(last.into_iter().map(|((kind, id), revision)| (kind, id, revision)).collect())
}

fn update(from: Option<u64>, head: &Head, chunker: Chunker, touched: Touched) -> Update {
    let count = chunker.count();
    let begin = v1::Begin { revision: head.revision, full: from.is_none(), count };
    let end = v1::End { revision: head.revision, digests: head.digests.to_proto() };
    let mut frames = vec![Frame::of(Body::Begin(begin))];
    frames.extend(chunker.finish());
    frames.push(Frame::of(Body::End(end)));
    Update { from, to: head.revision, count, frames, touched }
}
