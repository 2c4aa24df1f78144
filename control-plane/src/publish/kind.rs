//! A kind of configuration: rows of the database, as resources of the protocol.
//!
//! Each kind is a file in the area whose rows it publishes. Publishing knows the trait and the list that it is given, whose
//! order is that of a full snapshot.

use omniroute_core::hash::mac;
use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use prost::Message as _;
use sqlx::{AnyConnection, any::AnyRow};
use zeroize::Zeroizing;

use crate::store::{Columns as _, FleetValues, Query, Store, StoreError, sql};

/// Smallest protocol version that understands the resources of this build.
const MIN_VERSION: u32 = 1;

/// How the rows of one kind become what proxies are sent.
pub trait ConfigKind: Sync {
    /// Its name on the wire and in the configuration log.
    fn kind(&self) -> Kind;

    /// Selects the rows whose `revision` is above `$1` and at most `$2`, with that column.
    fn select(&self) -> &'static str;

    /// Id and message of such a row.
    ///
    /// # Errors
    /// `RingIncomplete` when something in it is sealed with a key that only another replica has; or the row is damaged.
    fn message(&self, row: &AnyRow, builder: &ResourceBuilder<'_>) -> Result<(String, Body), StoreError>;

    /// Wipes the secrets of a message that was encoded.
    fn wipe(&self, _message: &mut Body) {}
}

/// Every kind, parents before children.
pub type Kinds = &'static [&'static dyn ConfigKind];

/// Out of which rows become resources: the same on every replica, whatever its own settings are.
pub struct ResourceBuilder<'a> {
    kinds: Kinds,
    store: &'a Store,
    values: FleetValues,
}

// === impl dyn ConfigKind ===

impl dyn ConfigKind {
    /// The statement of [`ConfigKind::select`], for the revisions above `above` and up to `up_to`.
    pub(super) fn rows(&self, above: i64, up_to: i64) -> Query {
        sql(self.select()).bind(above).bind(up_to)
    }
}

// === impl ResourceBuilder ===

impl<'a> ResourceBuilder<'a> {
    /// As the transaction sees it.
    ///
    /// # Errors
    /// `RingIncomplete` when this process cannot open what another one can.
    pub(super) async fn of(kinds: Kinds, store: &'a Store, tx: &mut AnyConnection) -> Result<Self, StoreError> {
        Ok(Self { kinds, store, values: store.published_values(tx).await? })
    }

    pub(super) const fn kinds(&self) -> Kinds {
        self.kinds
    }

    pub const fn store(&self) -> &Store {
        self.store
    }

    /// What all control planes of the fleet have in common.
    pub(crate) const fn values(&self) -> &FleetValues {
        &self.values
    }

    /// The resource of a row of `kind`, with the hash of its contents.
    ///
    /// # Errors
    /// As [`ConfigKind::message`].
    pub(super) fn resource(&self, kind: &dyn ConfigKind, row: &AnyRow) -> Result<v1::Resource, StoreError> {
        let (id, body) = kind.message(row, self)?;
        let mut resource = v1::Resource {
            id,
            revision: row.u64("revision")?,
            min_version: MIN_VERSION,
            deleted: false,
            kind: kind.kind().as_str().to_owned(),
            content: 0,
            body: Some(body),
        };
        resource.content = content(&self.values, &resource);
        Ok(resource)
    }
}

/// Keyed, so that it tells nobody what is in a resource; never 0, which says that it is not known.
fn content(values: &FleetValues, resource: &v1::Resource) -> u64 {
    let encoded = Zeroizing::new(resource.encode_to_vec());
    let mac = mac(values.digest_key.as_slice(), &[&encoded]);
    let (head, _) = mac.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*head).max(1)
}

/// The word that a resource is gone.
pub(super) fn deletion(kind: Kind, id: &str, revision: u64) -> v1::Resource {
    v1::Resource {
        id: id.to_owned(),
        revision,
        min_version: MIN_VERSION,
        deleted: true,
        kind: kind.as_str().to_owned(),
        content: 0,
        body: None,
    }
}
