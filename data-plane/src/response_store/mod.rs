//! Answers of `/v1/responses` that a later request goes on from.
//!
//! The store is ours, whichever upstream answers: the next answer may come from another one. [`ResponseStore::continue_from`] puts the stored
//! conversation in front of a request's own input; what its answer leaves, a [`ResponseCapture`] takes off the bytes that the
//! client gets and stores before the last of them goes out, so that whoever has an answer can go on from it, at any
//! proxy.

mod capture;
mod history;
mod record;

use std::sync::Arc;

use bytes::Bytes;
use omniroute_coordination::{Coordination, StoreLimits};
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    settings::DataPlaneSettings,
    time::Clock,
};
use omniroute_wire::{responses, scan::RequestScan};

pub(crate) use self::{capture::ResponseCapture, record::StoredResponse};
use crate::{
    request::{BodyMemory, Caller},
    seal::Cipher,
    shared_store::{ENTRIES_PER_KEY, Store},
    snapshot::Settings,
};

/// Keeps the answers of all API keys.
pub(crate) struct ResponseStore {
    store: Store,
    memory: BodyMemory,
    clock: Arc<dyn Clock>,
}

/// The stored answers of one API key.
#[derive(Clone)]
pub(crate) struct StoredResponses {
    store: Store,
    cipher: Cipher,
    scope: Arc<str>,
    clock: Arc<dyn Clock>,
}

/// A request whose stored part is known.
pub(crate) struct Continued {
    /// With everything that was only referred to; `None` where the client's own body has it all.
    pub(crate) body: Option<Bytes>,
    /// The answer that it goes on from.
    pub(crate) previous: Option<String>,
    /// What keeps its answer, where the client does not decline that.
    pub(crate) capture: Option<ResponseCapture>,
}

// === impl ResponseStore ===

impl ResponseStore {
    pub(crate) fn open(
        coordination: &dyn Coordination,
        settings: &DataPlaneSettings,
        memory: BodyMemory,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let limits = StoreLimits {
            name: "responses",
            value_bytes: usize::try_from(settings.stored_response_max.0).unwrap_or(usize::MAX),
            scope_bytes: settings.stored_responses_per_key.0,
            scope_entries: ENTRIES_PER_KEY,
            process_bytes: settings.stored_responses_memory.0,
        };
        Self { store: Store::open(coordination, settings.stored_response_ttl.0, limits), memory, clock }
    }

    /// Those of one caller.
    pub(crate) fn of(&self, caller: &Caller, settings: &Settings) -> StoredResponses {
        StoredResponses {
            store: self.store.clone(),
            cipher: Cipher::new(&settings.pepper),
            scope: caller.scope().into(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Looks up what a request refers to.
    ///
    /// # Errors
    /// When the body cannot be read, refers to what is not stored, asks for what this gateway does not do, or becomes
    /// larger than `max_bytes`.
    pub(crate) async fn continue_from(
        &self,
        caller: &Caller,
        settings: &Settings,
        (body, scan): (&Bytes, &RequestScan<'_>),
        max_bytes: u64,
    ) -> Result<Box<Continued>, GatewayError> {
        let asked = responses::continuation_of(body, scan)?;
        let refers = asked.previous_response_id.is_some() || !asked.references.is_empty();
        if !refers && !asked.store {
            return Ok(Box::new(Continued { body: None, previous: None, capture: None }));
        }
        let stored = self.of(caller, settings);
        let max = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let mut history = history::History::default();
        let mut expanded = None;
        if refers {
            history = stored.history(&asked, max).await?;
            let whole = responses::with_history(body, &history.replayed(), &|id| history.find(id))?;
            if whole.len() > max {
                return Err(too_large(max));
            }
            let share = self.memory.of(caller).reserve(whole.len() as u64).await.map_err(|_| no_memory())?;
            expanded = Some(share.hold(whole.into()));
        }
        let previous = asked.previous_response_id.map(|id| id.into_owned());
        let capture = asked.store.then(|| {
            let body = expanded.as_ref().unwrap_or(body).clone();
            ResponseCapture::new(stored, body, &history, previous.clone())
        });
        Ok(Box::new(Continued { body: expanded, previous, capture }))
    }
}

fn too_large(max: usize) -> GatewayError {
    GatewayError::new(
        ErrorClass::TooLarge,
        "conversation_too_large",
        format!("the stored conversation and the request together are larger than {max} bytes"),
    )
    .with_param("previous_response_id")
    .with_hint("start a new conversation, or ask the operator for a larger limit")
}

fn no_memory() -> GatewayError {
    GatewayError::new(ErrorClass::Overloaded, "overloaded", "too many request bodies are held in memory right now")
        .with_retry_after(std::time::Duration::from_secs(1))
}

/// Why an answer that a client has seen may be unknown.
const WHY_MISSING: &str = "it was never stored (`store: false`, or an answer that failed), was deleted, has expired, \
    belongs to another key, or was made by another proxy that has not shared it yet: proxies share through Redis, and \
    catch up when it was away";

/// What a client is told of an id that names nothing.
pub(crate) fn not_found(id: &str) -> GatewayError {
    GatewayError::new(
        ErrorClass::NotFound,
        "response_not_found",
        format!("Response with id '{}' not found.", shown(id)),
    )
    .with_hint(WHY_MISSING)
}

/// An id as it may be repeated to the client.
fn shown(id: &str) -> &str {
    const LONGEST: usize = 128;
    let end = id.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST).unwrap_or(id.len());
    &id[..end]
}
