//! Answers of `/v1/responses` that a later request goes on from.
//!
//! The store is ours, whichever upstream answers: the next answer may come from another one. [`begin`] puts the stored
//! conversation in front of a request's own input; what its answer leaves, [`Keeper`] takes off the bytes that the
//! client gets and stores before the last of them goes out, so that whoever has an answer can go on from it, at any
//! proxy.

mod history;
mod keeper;
mod record;

use std::sync::Arc;

use bytes::Bytes;
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    time::Clock,
};
use omniroute_wire::{responses, scan::RequestScan};

pub(crate) use self::{keeper::Keeper, record::Record};
use super::{Kept, Vault, scope};
use crate::{admit::Caller, server::Gateway, snapshot::Settings};

/// The stored answers of one API key.
#[derive(Clone)]
pub(crate) struct Store {
    kept: Kept,
    vault: Vault,
    scope: Arc<str>,
    clock: Arc<dyn Clock>,
}

/// A request whose stored part is known.
pub(crate) struct Begun {
    /// With everything that was only referred to; `None` where the client's own body has it all.
    pub(crate) body: Option<Bytes>,
    /// The answer that it goes on from.
    pub(crate) previous: Option<String>,
    /// What keeps its answer, where the client does not decline that.
    pub(crate) keeper: Option<Keeper>,
}

// === impl Store ===

impl Store {
    pub(crate) fn of(gateway: &Gateway, caller: &Caller, settings: &Settings) -> Self {
        Self {
            kept: gateway.state.responses.clone(),
            vault: Vault::new(&settings.pepper),
            scope: scope(caller).into(),
            clock: Arc::clone(&gateway.clock),
        }
    }
}

/// Looks up what a request refers to.
///
/// # Errors
/// When the body cannot be read, refers to what is not stored, asks for what this gateway does not do, or becomes
/// larger than `max_bytes`.
pub(crate) async fn begin(
    gateway: &Gateway,
    caller: &Caller,
    settings: &Settings,
    (body, scan): (&Bytes, &RequestScan<'_>),
    max_bytes: u64,
) -> Result<Box<Begun>, GatewayError> {
    let asked = responses::continuation_of(body, scan)?;
    let refers = asked.previous_response_id.is_some() || !asked.references.is_empty();
    if !refers && !asked.store {
        return Ok(Box::new(Begun { body: None, previous: None, keeper: None }));
    }
    let store = Store::of(gateway, caller, settings);
    let max = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut history = history::History::default();
    let mut expanded = None;
    if refers {
        history = store.history(&asked, max).await?;
        let whole = responses::with_history(body, &history.replayed(), &|id| history.find(id))?;
        if whole.len() > max {
            return Err(too_large(max));
        }
        let share = gateway.memory.of(caller).reserve(whole.len() as u64).await.map_err(|_| no_memory())?;
        expanded = Some(share.hold(whole.into()));
    }
    let previous = asked.previous_response_id.map(|id| id.into_owned());
    let keeper = asked.store.then(|| {
        let body = expanded.as_ref().unwrap_or(body).clone();
        Keeper::new(store, body, &history, previous.clone())
    });
    Ok(Box::new(Begun { body: expanded, previous, keeper }))
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
