//! Configuration on its way to the proxies, and what the proxies say of themselves.
//!
//! An edit goes: `Write::commit` → [`watcher`] notices the new revision and moves the [`head`] (revision and digests) on →
//! every [`subscription`] whose proxy has acknowledged what it got asks [`updates`] for the delta from there to the
//! head → [`read`] builds it in one consistent read, out of the rows of each [`ConfigKind`], into [`frame`]s that all subscriptions share.
//!
//! There is no queue per proxy: a slow one gets fewer, larger deltas. [`grpc`] serves the streams behind the
//! [`join_auth`]; [`proxies`] keeps who is attached and passes commands on.

mod config_service;
mod frame;
pub mod grpc;
mod head;
mod join_auth;
mod kind;
mod proxies;
mod read;
mod subscription;
mod updates;
mod watcher;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use omniroute_core::time::UnixMillis;
use omniroute_telemetry::names;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{head::Head, updates::UpdateCache};
pub use self::{
    kind::{ConfigKind, Kinds, ResourceBuilder},
    proxies::{DUPLICATE_SEPARATOR, ProxyRegistry, RefusedTokens},
};
use crate::store::{LOST_AFTER, Store, StoreError, records::RejectionRow};

/// The timers of the streams; shorter in tests.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// For a proxy to apply an update.
    ack: Duration,
    /// For one message to find room on the stream.
    send: Duration,
    heartbeat: Duration,
    /// A proxy that sends no status for this long is lost.
    silence: Duration,
}

/// Publishes the configuration. Cheap to clone.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    store: Store,
    kinds: Kinds,
    head: watch::Sender<Head>,
    updates: UpdateCache,
    log_floor: AtomicU64,
    /// Why nothing is published at the moment.
    withheld: watch::Sender<Option<String>>,
    subscriptions: Mutex<Subscriptions>,
    timing: Timing,
    shutdown: CancellationToken,
}

#[derive(Default)]
struct Subscriptions {
    last_number: u64,
    by_proxy: HashMap<String, (u64, SubscriptionView)>,
}

/// A subscription on this replica.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionView {
    pub proxy_id: String,
    pub boot_id: String,
    pub version: String,
    pub since: UnixMillis,
    /// Last revision that it acknowledged; `None` until the first time.
    pub acknowledged: Option<u64>,
    /// Resources that it could not take.
    pub rejections: Vec<RejectionRow>,
}

/// Everything that proxies would be sent now.
#[cfg(test)]
pub(crate) async fn resources(store: &Store, kinds: Kinds) -> Result<Vec<omniroute_proto::v1::Resource>, StoreError> {
    let mut tx = store.read().await?;
    let source = ResourceBuilder::of(kinds, store, &mut tx).await?;
    let mut all = Vec::new();
    for kind in kinds {
        for row in kind.rows(-1, i64::MAX).fetch_all(&mut *tx).await? {
            all.push(source.resource(*kind, &row)?);
        }
    }
    Ok(all)
}

// === impl Timing ===

impl Timing {
    const STANDARD: Self = Self {
        ack: Duration::from_secs(15),
        send: Duration::from_secs(15),
        heartbeat: Duration::from_secs(5),
        silence: LOST_AFTER,
    };
}

// === impl Publisher ===

impl Publisher {
    /// Reads the digests of everything and starts to follow the database until `shutdown`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(store: Store, kinds: Kinds, shutdown: CancellationToken) -> Result<Self, StoreError> {
        Self::start_with(store, kinds, Timing::STANDARD, shutdown).await
    }

    async fn start_with(
        store: Store,
        kinds: Kinds,
        timing: Timing,
        shutdown: CancellationToken,
    ) -> Result<Self, StoreError> {
        let publisher = Self(Arc::new(Inner {
            store,
            kinds,
            head: watch::Sender::new(Head::default()),
            updates: UpdateCache::default(),
            log_floor: AtomicU64::new(0),
            withheld: watch::Sender::new(None),
            subscriptions: Mutex::default(),
            timing,
            shutdown,
        }));
        match publisher.rescan().await {
            Ok(()) => {}
            Err(StoreError::RingIncomplete(_)) => {}
            Err(error) => return Err(error),
        }
        tokio::spawn(watcher::run(publisher.clone()));
        Ok(publisher)
    }

    /// The revision that subscribers are being brought to.
    pub fn revision(&self) -> u64 {
        self.0.head.borrow().revision
    }

    /// Subscriptions on this replica, by proxy.
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        let mut views: Vec<_> = self.0.subscriptions.lock().by_proxy.values().map(|(_, view)| view.clone()).collect();
        views.sort_by(|one, two| one.proxy_id.cmp(&two.proxy_id));
        views
    }

    /// Shows a subscription. A proxy that subscribes anew takes the place of its earlier subscription.
    fn enter(&self, view: SubscriptionView) -> u64 {
        let mut subscriptions = self.0.subscriptions.lock();
        subscriptions.last_number += 1;
        let number = subscriptions.last_number;
        subscriptions.by_proxy.insert(view.proxy_id.clone(), (number, view));
        number
    }

    fn change_view(&self, proxy_id: &str, number: u64, change: impl FnOnce(&mut SubscriptionView)) {
        let mut subscriptions = self.0.subscriptions.lock();
        if let Some((_, view)) = subscriptions.by_proxy.get_mut(proxy_id).filter(|(found, _)| *found == number) {
            change(view);
        }
    }

    fn leave(&self, proxy_id: &str, number: u64) {
        let mut subscriptions = self.0.subscriptions.lock();
        if subscriptions.by_proxy.get(proxy_id).is_some_and(|(found, _)| *found == number) {
            subscriptions.by_proxy.remove(proxy_id);
        }
    }

    /// Why this replica publishes nothing; `None` when it does.
    fn withheld(&self) -> Option<String> {
        self.0.withheld.borrow().clone()
    }

    /// Stops publishing when a read has met a secret that another replica can open and this one cannot: what this one
    /// would publish is not what the revision stands for.
    fn withhold_on_missing_key<T>(&self, read: &Result<T, StoreError>) {
        let Err(error @ StoreError::RingIncomplete(key)) = read else { return };
        self.0.store.set_missing_key(Some(key.clone()));
        let reason = error.to_string();
        let is_new = self.0.withheld.send_if_modified(|held| {
            let is_new = held.as_ref() != Some(&reason);
            *held = Some(reason.clone());
            is_new
        });
        metrics::gauge!(names::CONFIG_WITHHELD).set(1.0);
        if is_new {
            tracing::error!(%error, "this control plane publishes nothing; its proxies turn to another one");
        }
    }

    fn publish_again(&self) {
        self.0.store.set_missing_key(None);
        metrics::gauge!(names::CONFIG_WITHHELD).set(0.0);
        if self.0.withheld.send_if_modified(|held| held.take().is_some()) {
            tracing::info!("this control plane publishes again");
        }
    }

    /// Takes `head` unless a newer one is there already.
    fn advance_head(&self, head: &Head) {
        self.0.head.send_if_modified(|current| {
            let newer = head.revision > current.revision;
            if newer {
                gauge_revision(head);
                *current = head.clone();
            }
            newer
        });
    }

    /// Takes `head` whatever was there: the database went back in time, or the digests had drifted.
    fn reset_head(&self, head: &Head) {
        self.0.head.send_if_modified(|current| {
            let differs = !current.is_same(head);
            gauge_revision(head);
            *current = head.clone();
            differs
        });
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn gauge_revision(head: &Head) {
    metrics::gauge!(names::CONFIG_REVISION).set(head.revision as f64);
}
