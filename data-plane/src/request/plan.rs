//! Where a request may go.

use std::sync::Arc;

use omniroute_core::id::ProviderId;

use super::Caller;
use crate::snapshot::{ConnectionEntry, Index, ProviderEntry};

/// The targets of a request.
pub(crate) struct Plan {
    index: Arc<Index>,
    caller: Caller,
    providers: Providers,
    requested: String,
    /// What `requested` stands for, where that is an alias.
    meant: Option<Arc<str>>,
    /// Where in the name the provider's own id of the model begins.
    model_at: usize,
}

/// Who has the model.
pub(crate) enum Providers {
    One(Arc<ProviderEntry>),
    Several(Vec<ProviderId>),
}

/// A connection that a request may go to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'p> {
    pub(crate) entry: &'p Arc<ConnectionEntry>,
    /// The model as the upstream knows it, and as the client named it.
    pub(crate) model: &'p str,
    pub(crate) requested: &'p str,
    pub(crate) reason: Reason,
}

/// Why a target stands where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The priority that an operator gave it, among the connections of its provider.
    Priority,
    /// The session went there before.
    Session,
}

// === impl Plan ===

impl Plan {
    /// `meant`: what `requested` stands for, where that is an alias. `model_at`: where in the name the provider's own id of the
    /// model begins.
    pub(crate) fn new(
        index: Arc<Index>,
        caller: Caller,
        providers: Providers,
        requested: String,
        meant: Option<Arc<str>>,
        model_at: usize,
    ) -> Self {
        Self { index, caller, providers, requested, meant, model_at }
    }

    /// The targets, by priority.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Target<'_>> {
        let (model, requested) = (self.model(), self.requested());
        self.allowed()
            .filter(move |entry| !entry.refuses_unpriced || self.index.is_priced(entry, model))
            .map(move |entry| Target { entry, model, requested, reason: Reason::Priority })
    }

    /// Whether the caller may use a connection that has the model, but none that would be asked for one without a price.
    pub(crate) fn is_unpriced(&self) -> bool {
        self.allowed().next().is_some() && self.targets().next().is_none()
    }

    /// The connections of whoever has the model that the caller may use.
    fn allowed(&self) -> impl Iterator<Item = &Arc<ConnectionEntry>> {
        let (one, several) = match &self.providers {
            Providers::One(provider) => (Some(&provider.id), &[][..]),
            Providers::Several(providers) => (None, providers.as_slice()),
        };
        one.into_iter()
            .chain(several)
            .flat_map(|provider| self.index.connections(provider.as_str()))
            .filter(|entry| self.caller.allows_connection(entry.id.as_str()))
    }

    /// As the client named it.
    pub(crate) fn requested(&self) -> &str {
        &self.requested
    }

    /// As the upstream is asked for it.
    pub(crate) fn model(&self) -> &str {
        &self.meant.as_deref().unwrap_or(&self.requested)[self.model_at..]
    }

    /// Whether somebody who has the model is connected, whether or not this caller may use the connection.
    pub(crate) fn is_connected(&self) -> bool {
        match &self.providers {
            Providers::One(provider) => !self.index.connections(provider.id.as_str()).is_empty(),
            Providers::Several(providers) => !providers.is_empty(),
        }
    }
}

// === impl Reason ===

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Session => "session",
        }
    }
}
