//! What goes through which outbound proxy.
//!
//! A connection's own assignment comes before its provider's, and that before the one for all: the nearest counts, and where
//! its proxy cannot be used, the connection is not used at all. That is decided here, when the configuration is compiled: a
//! request finds the proxy in the connection's entry. An assignment of a combo, which stands between a connection's and its
//! provider's, is kept and counts for nothing as long as no combos choose connections.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use omniroute_egress::{OutboundProxy, ProxyUse};
use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};

use super::{ConfigKind, SnapshotBuilder, mismatched};

#[derive(Debug)]
pub(super) struct ProxyAssignments;

/// What an assignment is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Global,
    Provider(String),
    Account(String),
    Combo(String),
}

/// Proxies, and what is assigned to them.
#[derive(Debug, Default)]
pub(super) struct Egress {
    /// By id; why one cannot be used where it cannot.
    pub(super) proxies: HashMap<String, Result<Arc<OutboundProxy>, String>>,
    /// The id of the proxy for a scope, and of the assignment that says so.
    assigned: HashMap<Scope, Assigned>,
    scopes: HashMap<String, Scope>,
    /// What has gone through each, over all of its versions.
    used: HashMap<String, Arc<ProxyUse>>,
}

#[derive(Debug)]
struct Assigned {
    by: String,
    proxy: String,
}

// === impl ProxyAssignments ===

impl ConfigKind for ProxyAssignments {
    fn kind(&self) -> Kind {
        Kind::ProxyAssignment
    }

    fn take(&mut self, id: &str, body: Body, builder: &mut SnapshotBuilder) -> Result<(), String> {
        let Body::ProxyAssignment(message) = body else { return Err(mismatched()) };
        let scope = Scope::of(&message)?;
        builder.unassign(id);
        builder.egress.assigned.insert(scope.clone(), Assigned { by: id.to_owned(), proxy: message.proxy });
        builder.touch_scope(&scope);
        builder.egress.scopes.insert(id.to_owned(), scope);
        Ok(())
    }

    fn remove(&mut self, id: &str, builder: &mut SnapshotBuilder) {
        builder.unassign(id);
    }
}

// === impl Scope ===

impl Scope {
    fn of(message: &v1::ProxyAssignment) -> Result<Self, String> {
        let id = message.scope_id.clone();
        match message.scope.as_str() {
            "global" => Ok(Self::Global),
            "provider" => Ok(Self::Provider(id)),
            "account" => Ok(Self::Account(id)),
            "combo" => Ok(Self::Combo(id)),
            other => Err(format!("`{other}` is no scope that this proxy knows")),
        }
    }
}

// === impl Egress ===

impl Egress {
    /// What a connection is reached through.
    ///
    /// # Errors
    /// With the reason why it is not to be reached at all.
    pub(super) fn resolve(&self, connection: &str, provider: &str) -> Result<Option<Arc<OutboundProxy>>, String> {
        if self.assigned.is_empty() {
            return Ok(None);
        }
        let scopes = [Scope::Account(connection.to_owned()), Scope::Provider(provider.to_owned()), Scope::Global];
        let Some(assigned) = scopes.iter().find_map(|scope| self.assigned.get(scope)) else { return Ok(None) };
        match self.proxies.get(&assigned.proxy) {
            Some(Ok(proxy)) => Ok(Some(Arc::clone(proxy))),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("its outbound proxy is not known".to_owned()),
        }
    }

    pub(super) fn used(&mut self, proxy: &str) -> Arc<ProxyUse> {
        match self.used.entry(proxy.to_owned()) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => Arc::clone(entry.insert(Arc::default())),
        }
    }

    pub(super) fn forget_use(&mut self, proxy: &str) {
        self.used.remove(proxy);
    }
}

// === impl SnapshotBuilder ===

impl SnapshotBuilder {
    /// Another proxy, or another version of it, is there for what is assigned to `proxy`.
    pub(super) fn touch_assigned(&mut self, proxy: &str) {
        let scopes: Vec<Scope> = self
            .egress
            .assigned
            .iter()
            .filter(|(_, assigned)| assigned.proxy == proxy)
            .map(|(scope, _)| scope.clone())
            .collect();
        for scope in scopes {
            self.touch_scope(&scope);
        }
    }

    /// Has the connections of a scope compiled again. What was held against them may have been their way's fault.
    fn touch_scope(&mut self, scope: &Scope) {
        let touched: Vec<String> = match scope {
            Scope::Global => self.of_provider.values().flatten().cloned().collect(),
            Scope::Provider(provider) => self.connections_of(provider),
            Scope::Account(connection) => vec![connection.clone()],
            Scope::Combo(_) => Vec::new(),
        };
        let known = touched.iter().filter(|id| self.snapshot.connections.contains_key(id.as_str())).cloned();
        self.repaired.extend(known.collect::<Vec<_>>());
        self.stale_connections.extend(touched);
    }

    fn unassign(&mut self, assignment: &str) {
        let Some(scope) = self.egress.scopes.remove(assignment) else { return };
        // Another one may have taken the scope over in the same update.
        if self.egress.assigned.get(&scope).is_some_and(|assigned| assigned.by == assignment) {
            self.egress.assigned.remove(&scope);
        }
        self.touch_scope(&scope);
    }
}
