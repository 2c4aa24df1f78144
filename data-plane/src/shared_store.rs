//! Values that are kept for later requests, and shared with the fleet.
//!
//! A [`Store`] is a [`SharedStore`] with bounds of its own, and how long its values are kept. What lies in one belongs to the API key that
//! caused it, and is sealed ([`crate::seal::Cipher`]) before it leaves the request.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use omniroute_coordination::{Coordination, SharedStore, StoreLimits};
use omniroute_core::error::{ErrorClass, GatewayError};

/// Values that one API key may have in a store at most.
pub(crate) const ENTRIES_PER_KEY: usize = 100_000;
/// Share of a store's memory that one API key may take, where nothing else is set.
pub(crate) const SHARE: u64 = 2;

/// Work that nobody may have to wait for.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One kind of value, and how long it is kept.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) shared: Arc<dyn SharedStore>,
    pub(crate) ttl: Duration,
    pub(crate) value_bytes: usize,
}

// === impl Store ===

impl Store {
    pub(crate) fn open(coordination: &dyn Coordination, ttl: Duration, limits: StoreLimits) -> Self {
        Self { shared: coordination.store(limits), ttl, value_bytes: limits.value_bytes }
    }
}

/// Does what no client waits for: at once where that takes no waiting, as it does without Redis.
pub(crate) fn in_background(mut work: Work) {
    if (&mut work).now_or_never().is_none()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn(work);
    }
}

/// Redis is away, and what is asked for may be there.
pub(crate) fn unavailable() -> GatewayError {
    GatewayError::new(
        ErrorClass::Overloaded,
        "state_unavailable",
        "what the gateway stored cannot be reached at the moment",
    )
    .with_hint("shared state (Redis) is away; try again")
    .with_retry_after(Duration::from_secs(1))
}
