//! Reading the configuration: digests, deltas and full snapshots, each out of one consistent read.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use omniroute_proto::{
    Kind,
    v1::{self, config_response::Body},
};
use sqlx::AnyConnection;

use super::{
    frame::{Chunker, Frame},
    head::Head,
    kind::{self, ResourceBuilder},
    updates::{Touched, Update},
};
use crate::store::{Columns as _, StoreError, number, sql};

/// Where the database stands, in the transaction that asks.
pub(super) struct LogPosition {
    pub(super) revision: u64,
    /// Deltas can be made from here on.
    pub(super) log_floor: u64,
}

pub(super) async fn log_position(tx: &mut AnyConnection) -> Result<LogPosition, StoreError> {
    let row = sql("SELECT n, log_floor FROM config_revision WHERE id = 1").fetch_one(tx).await?;
    Ok(LogPosition { revision: row.u64("n")?, log_floor: row.u64("log_floor")? })
}

/// The head, from the rows themselves.
pub(super) async fn scan(builder: &ResourceBuilder<'_>, tx: &mut AnyConnection) -> Result<Head, StoreError> {
    let mut head = Head::at(log_position(tx).await?.revision);
    for kind in builder.kinds() {
        let mut rows = kind.rows(-1, i64::MAX).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            head.put(kind.kind(), &builder.resource(*kind, &row)?);
        }
    }
    Ok(head)
}

/// Moves `head` on to `position`, with what changed between.
pub(super) async fn advance(
    builder: &ResourceBuilder<'_>,
    tx: &mut AnyConnection,
    head: &Head,
    position: &LogPosition,
) -> Result<Head, StoreError> {
    if position.revision == head.revision {
        return Ok(head.clone());
    }
    if position.revision < head.revision || head.revision < position.log_floor {
        return scan(builder, tx).await;
    }
    let mut next = head.clone();
    for (kind, id, _) in deletions(tx, head.revision, position.revision).await? {
        next.remove(kind, &id);
    }
    for kind in builder.kinds() {
        let mut rows = kind.rows(number(head.revision), number(position.revision)).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            next.put(kind.kind(), &builder.resource(*kind, &row)?);
        }
    }
    next.revision = position.revision;
    Ok(next)
}

/// What changed above `from`, up to `head`: the latest state of each changed resource, or its deletion.
pub(super) async fn delta(
    builder: &ResourceBuilder<'_>,
    tx: &mut AnyConnection,
    from: u64,
    head: &Head,
) -> Result<Update, StoreError> {
    let mut chunker = Chunker::new();
    let mut touched = Touched::new();
    for (kind, id, revision) in deletions(tx, from, head.revision).await? {
        chunker.push_deletion(kind::deletion(kind, &id, revision));
        touched.insert((kind.as_str().to_owned(), id));
    }
    for kind in builder.kinds() {
        let mut rows = kind.rows(number(from), number(head.revision)).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let resource = builder.resource(*kind, &row)?;
            touched.insert((kind.kind().as_str().to_owned(), resource.id.clone()));
            chunker.push(resource, *kind);
        }
    }
    Ok(update(Some(from), head, chunker, touched))
}

/// Everything, at the `revision` of the transaction. Its digests come from what is sent.
pub(super) async fn full(
    builder: &ResourceBuilder<'_>,
    tx: &mut AnyConnection,
    revision: u64,
) -> Result<(Update, Head), StoreError> {
    let mut chunker = Chunker::new();
    let mut head = Head::at(revision);
    for kind in builder.kinds() {
        let mut rows = kind.rows(-1, i64::MAX).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let resource = builder.resource(*kind, &row)?;
            head.put(kind.kind(), &resource);
            chunker.push(resource, *kind);
        }
    }
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
