//! What this proxy keeps for later requests, and shares with the fleet: answers to go on from ([`responses`]),
//! signatures that clients drop ([`signatures`]), and answers to requests that may come twice ([`idempotency`]).
//!
//! All of it belongs to the API key that caused it, is sealed under the fleet's key ([`vault`]) before it leaves the
//! request, and stands in a [`Shelf`] with bounds of its own. [`watch`] is how an answer is seen on its way out.

mod before;
pub(crate) mod idempotency;
pub(crate) mod responses;
pub(crate) mod signatures;
mod signed;
mod vault;
pub(crate) mod watch;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures_util::FutureExt as _;
use omniroute_coordination::{Coordination, Shelf, ShelfLimits};
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    settings::DataPlaneSettings,
};

pub(crate) use self::vault::Vault;
use crate::admit::Caller;

/// Largest value of signatures: what is kept of an answer, with what names and orders it.
const SIGNATURE_BYTES: usize = signed::LARGEST + 16 * 1024;
/// Values that one API key may have on a shelf at most.
const ENTRIES_PER_KEY: usize = 100_000;
/// Share of a shelf's memory that one API key may take, where nothing else is set.
const SHARE: u64 = 2;

/// The shelves of this proxy.
pub(crate) struct State {
    pub(crate) responses: Kept,
    pub(crate) signatures: Kept,
    pub(crate) answers: Kept,
    /// Bytes of answers that are being taken down for [`Self::answers`], and how many they may be.
    recording: Arc<AtomicU64>,
    most_recording: u64,
}

/// A shelf, and how its values are kept.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) shelf: Arc<dyn Shelf>,
    pub(crate) ttl: Duration,
    pub(crate) value_bytes: usize,
}

// === impl State ===

impl State {
    pub(crate) fn open(coordination: &dyn Coordination, settings: &DataPlaneSettings) -> Self {
        let open =
            |ttl, limits: ShelfLimits| Kept { shelf: coordination.shelf(limits), ttl, value_bytes: limits.value_bytes };
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        Self {
            responses: open(
                settings.stored_response_ttl.0,
                ShelfLimits {
                    name: "responses",
                    value_bytes: bytes(settings.stored_response_max.0),
                    scope_bytes: settings.stored_responses_per_key.0,
                    scope_entries: ENTRIES_PER_KEY,
                    process_bytes: settings.stored_responses_memory.0,
                },
            ),
            signatures: open(
                settings.signature_ttl.0,
                ShelfLimits {
                    name: "signatures",
                    value_bytes: SIGNATURE_BYTES,
                    scope_bytes: settings.signature_memory.0 / SHARE,
                    scope_entries: ENTRIES_PER_KEY,
                    process_bytes: settings.signature_memory.0,
                },
            ),
            answers: open(
                settings.idempotency_window.0,
                ShelfLimits {
                    name: "answers",
                    value_bytes: bytes(settings.idempotency_answer_max.0),
                    scope_bytes: settings.idempotency_memory.0 / SHARE,
                    scope_entries: ENTRIES_PER_KEY,
                    process_bytes: settings.idempotency_memory.0,
                },
            ),
            recording: Arc::default(),
            most_recording: settings.idempotency_memory.0,
        }
    }
}

/// Does what no client waits for: at once where that takes no waiting, as it does without Redis.
pub(crate) fn in_background(mut work: watch::Pause) {
    if (&mut work).now_or_never().is_none()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn(work);
    }
}

/// Whose the values are: the API key's, or those of whoever may come without one.
pub(crate) fn scope(caller: &Caller) -> &str {
    caller.key_id().map_or("", |id| id.as_str())
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
