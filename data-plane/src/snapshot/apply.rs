//! An update → the next index. The cost is in proportion to the update.
//!
//! Resources are taken in the order of [`Kind::ALL`], so a connection may arrive before its node in the same update. A resource
//! that cannot be used is rejected by name; its previous version stays in force and everything else is applied. Its revision
//! counts as received all the same: what the digest compares is what arrived, and a rejection must not ask for the same
//! resource for ever. It is kept and tried again with every update: what stood in its way may lie in another resource.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use metrics::counter;
use omniroute_core::id::{ConnectionId, ProviderId};
use omniroute_proto::{
    DigestSet, Kind, PROTOCOL_MINOR,
    v1::{self, resource::Body},
};
use omniroute_providers::Operation;
use omniroute_telemetry::names;

use super::{
    compile::{ConnectionSource, node_repairs},
    index::{Index, ModelEntry, ProviderEntry, Settings},
    key::Key,
};

/// Rejections that are reported at most.
const MAX_REJECTIONS: usize = 200;

/// What arrived between a `Begin` and its `End`.
#[derive(Clone, Debug, Default)]
pub struct Update {
    pub revision: u64,
    /// What is held and not named is gone.
    pub full: bool,
    pub resources: Vec<v1::Resource>,
}

/// What became of it.
#[derive(Debug)]
pub struct Applied {
    pub index: Arc<Index>,
    /// All that are rejected now, those of earlier updates included.
    pub rejections: Vec<v1::Rejection>,
    /// Connections that were known before and may now succeed where they failed: what was held against them is void.
    pub repaired: Vec<ConnectionId>,
}

/// Builds one index after another.
#[derive(Debug, Default)]
pub struct Applier {
    index: Index,
    nodes: HashMap<String, v1::ProviderNode>,
    connections: HashMap<String, ConnectionSource>,
    /// The connections of a provider, so that a node's change finds them.
    of_provider: HashMap<String, BTreeSet<String>>,
    /// Provider and model name behind a model resource's id.
    models: HashMap<String, (ProviderId, String)>,
    /// Everything that arrived, with its revision and the hash of its contents.
    received: HashMap<(Kind, String), (u64, u64)>,
    digests: DigestSet,
    /// What could not be taken, and why.
    held_back: BTreeMap<(Kind, String), (v1::Resource, String)>,
    /// Connections that cannot be compiled as things stand, and why.
    uncompiled: BTreeMap<String, String>,
}

/// What one update has touched so far.
#[derive(Default)]
struct Progress {
    stale_connections: BTreeSet<String>,
    stale_providers: HashSet<String>,
    repaired: BTreeSet<String>,
}

// === impl Applier ===

impl Applier {
    /// Digest of what has arrived, rejected resources included.
    pub fn digests(&self) -> &DigestSet {
        &self.digests
    }

    pub fn revision(&self) -> u64 {
        self.index.revision
    }

    /// Builds the next index.
    pub fn apply(&mut self, update: Update) -> Applied {
        let mut progress = Progress::default();
        let before = self.rejections();
        if update.full {
            self.remove_unnamed(&update.resources, &mut progress);
        }
        let mut by_kind: HashMap<Kind, Vec<v1::Resource>> = HashMap::new();
        for resource in update.resources {
            match Kind::of(&resource) {
                Some(kind) => by_kind.entry(kind).or_default().push(resource),
                None => counter!(names::SNAPSHOT_UNKNOWN).increment(1),
            }
        }
        for kind in Kind::ALL {
            self.take_all(kind, by_kind.remove(&kind).unwrap_or_default(), &mut progress);
        }
        self.retry(&mut progress);
        self.join(&mut progress);
        self.index.revision = update.revision;
        let rejections = self.rejections();
        for rejection in rejections.iter().filter(|rejection| !before.contains(rejection)) {
            let v1::Rejection { kind, id, reason } = rejection;
            tracing::warn!(kind, id, %reason, "resource rejected");
            counter!(names::SNAPSHOT_REJECTIONS, "kind" => kind.clone()).increment(1);
        }
        let repaired = progress.repaired.iter().map(|id| id.as_str().into()).collect();
        Applied { index: Arc::new(self.index.clone()), rejections, repaired }
    }

    /// What is rejected now, at most [`MAX_REJECTIONS`].
    fn rejections(&self) -> Vec<v1::Rejection> {
        let held_back = self.held_back.iter().map(|((kind, id), (_, reason))| (*kind, id, reason));
        let uncompiled = self.uncompiled.iter().map(|(id, reason)| (Kind::Connection, id, reason));
        held_back
            .chain(uncompiled)
            .take(MAX_REJECTIONS)
            .map(|(kind, id, reason)| v1::Rejection {
                kind: kind.as_str().to_owned(),
                id: id.clone(),
                reason: reason.clone(),
            })
            .collect()
    }

    /// Tries again what was held back.
    fn retry(&mut self, progress: &mut Progress) {
        if self.held_back.is_empty() {
            return;
        }
        let mut by_kind: HashMap<Kind, Vec<v1::Resource>> = HashMap::new();
        for ((kind, _), (resource, _)) in &self.held_back {
            by_kind.entry(*kind).or_default().push(resource.clone());
        }
        for kind in Kind::ALL {
            self.take_all(kind, by_kind.remove(&kind).unwrap_or_default(), progress);
        }
    }

    fn take_all(&mut self, kind: Kind, resources: Vec<v1::Resource>, progress: &mut Progress) {
        if kind == Kind::ProviderNode {
            self.take_nodes(resources, progress);
            return;
        }
        for resource in resources {
            self.take(kind, resource, progress);
        }
    }

    fn remove_unnamed(&mut self, resources: &[v1::Resource], progress: &mut Progress) {
        let named: HashSet<(Kind, &str)> = resources
            .iter()
            .filter(|resource| !resource.deleted)
            .filter_map(|resource| Some((Kind::of(resource)?, resource.id.as_str())))
            .collect();
        let gone: Vec<(Kind, String)> =
            self.received.keys().filter(|(kind, id)| !named.contains(&(*kind, id.as_str()))).cloned().collect();
        for (kind, id) in gone {
            self.remove(kind, &id, progress);
        }
    }

    fn take(&mut self, kind: Kind, mut resource: v1::Resource, progress: &mut Progress) {
        if resource.deleted {
            self.remove(kind, &resource.id, progress);
            return;
        }
        let id = resource.id.clone();
        self.receive(kind, &id, resource.revision, resource.content);
        let min_version = resource.min_version;
        let is_newer = min_version > PROTOCOL_MINOR;
        // Whatever can be refused is kept until that is known. A connection cannot, and its secret must not lie about.
        let body = match &mut resource.body {
            connection @ Some(Body::Connection(_)) if !is_newer => connection.take(),
            body => body.clone(),
        };
        let result = if is_newer {
            Err(format!("it needs protocol {min_version}, this proxy speaks {PROTOCOL_MINOR}"))
        } else {
            match body {
                Some(Body::Settings(settings)) => self.take_settings(settings, progress),
                Some(Body::ProviderNode(node)) => self.take_node(&id, node, progress),
                Some(Body::Connection(connection)) => {
                    self.take_connection(&id, connection, progress);
                    Ok(())
                }
                Some(Body::Model(model)) => self.take_model(&id, model),
                Some(Body::ApiKey(key)) => self.take_key(&id, key),
                None => Err("it has no body".to_owned()),
            }
        };
        match result {
            Ok(()) => drop(self.held_back.remove(&(kind, id))),
            Err(reason) => drop(self.held_back.insert((kind, id), (resource, reason))),
        }
    }

    /// Nodes may hand their prefixes to one another in one update: none of them holds its own while the update is taken.
    fn take_nodes(&mut self, resources: Vec<v1::Resource>, progress: &mut Progress) {
        let ids: Vec<String> = resources.iter().map(|resource| resource.id.clone()).collect();
        for id in &ids {
            if let Some(node) = self.nodes.get(id) {
                self.index.prefixes.remove(&node.prefix);
            }
        }
        for resource in resources {
            self.take(Kind::ProviderNode, resource, progress);
        }
        // Of a node that was rejected the previous version stays in force.
        for id in ids {
            if let (Some(node), Some(entry)) = (self.nodes.get(&id), self.index.nodes.get(id.as_str()))
                && self.index.prefixes.get(&node.prefix).is_none()
            {
                let entry = Arc::clone(entry);
                self.index.prefixes.insert(node.prefix.clone(), entry);
            }
        }
    }

    fn receive(&mut self, kind: Kind, id: &str, revision: u64, content: u64) {
        if let Some((revision, content)) = self.received.insert((kind, id.to_owned()), (revision, content)) {
            self.digests.remove(kind, id, revision, content);
        }
        self.digests.add(kind, id, revision, content);
    }

    fn take_settings(&mut self, settings: v1::GatewaySettings, progress: &mut Progress) -> Result<(), String> {
        let settings = Settings::build(settings)?;
        if settings.address_policy != self.index.settings.address_policy {
            // Which addresses are allowed decides which connections are.
            progress.stale_connections.extend(self.connections.keys().cloned());
        }
        self.index.settings = Arc::new(settings);
        Ok(())
    }

    fn take_node(&mut self, id: &str, node: v1::ProviderNode, progress: &mut Progress) -> Result<(), String> {
        if node.prefix.is_empty() || node.prefix.contains('/') {
            return Err(format!("`{}` cannot be a prefix", node.prefix));
        }
        if let Some(other) = self.index.prefixes.get(&node.prefix)
            && other.id.as_str() != id
        {
            return Err(format!("the prefix `{}` is taken by {}", node.prefix, other.id));
        }
        if self.nodes.get(id).is_some_and(|previous| node_repairs(&node, previous)) {
            progress.repaired.extend(self.of_provider.get(id).into_iter().flatten().cloned());
        }
        let entry = Arc::new(ProviderEntry { id: id.into(), prefix: node.prefix.clone(), name: node.name.clone() });
        self.index.prefixes.insert(node.prefix.clone(), Arc::clone(&entry));
        self.index.nodes.insert(id.into(), entry);
        self.nodes.insert(id.to_owned(), node);
        progress.stale_connections.extend(self.of_provider.get(id).into_iter().flatten().cloned());
        Ok(())
    }

    fn take_connection(&mut self, id: &str, connection: v1::Connection, progress: &mut Progress) {
        let source = ConnectionSource::new(connection);
        let provider = source.provider().to_owned();
        if self.connections.get(id).is_some_and(|previous| source.repairs(previous)) {
            progress.repaired.insert(id.to_owned());
        }
        if let Some(previous) = self.connections.insert(id.to_owned(), source)
            && previous.provider() != provider
            && let Some(connections) = self.of_provider.get_mut(previous.provider())
        {
            connections.remove(id);
        }
        self.of_provider.entry(provider).or_default().insert(id.to_owned());
        progress.stale_connections.insert(id.to_owned());
    }

    fn take_model(&mut self, id: &str, model: v1::Model) -> Result<(), String> {
        if model.provider.is_empty() || model.model.is_empty() {
            return Err("it names no provider or no model".to_owned());
        }
        self.drop_model(id);
        let some = |value: u64| (value > 0).then_some(value);
        let provider: ProviderId = model.provider.as_str().into();
        let entry = ModelEntry {
            provider: provider.clone(),
            model: model.model.clone(),
            kind: if model.r#type.is_empty() { "chat".to_owned() } else { model.r#type },
            context_window: some(model.context_window),
            max_output_tokens: some(model.max_output_tokens),
            created: model.created_at,
            source: model.source,
        };
        let mut of_provider = self.index.models.get(&provider).cloned().unwrap_or_default();
        of_provider.insert(model.model.clone(), Arc::new(entry));
        self.index.models.insert(provider.clone(), of_provider);
        let mut offers = self.index.offers.get(&model.model).map(|all| (**all).clone()).unwrap_or_default();
        offers.insert(provider.clone());
        self.index.offers.insert(model.model.clone(), Arc::new(offers));
        self.models.insert(id.to_owned(), (provider, model.model));
        Ok(())
    }

    fn drop_model(&mut self, id: &str) {
        let Some((provider, model)) = self.models.remove(id) else { return };
        if let Some(all) = self.index.models.get(&provider) {
            let all = all.without(&model);
            if all.is_empty() {
                self.index.models.remove(&provider);
            } else {
                self.index.models.insert(provider.clone(), all);
            }
        }
        if let Some(offers) = self.index.offers.get(&model) {
            let mut offers = (**offers).clone();
            offers.remove(&provider);
            if offers.is_empty() {
                self.index.offers.remove(&model);
            } else {
                self.index.offers.insert(model, Arc::new(offers));
            }
        }
    }

    fn take_key(&mut self, id: &str, key: v1::ApiKey) -> Result<(), String> {
        let key = Arc::new(Key::build(id, key)?);
        if let Some(other) = self.index.hashes.get(&key.hash)
            && other.id != key.id
        {
            return Err(format!("its hash is that of key {}", other.id));
        }
        self.drop_key(id);
        if let Some((previous, _)) = key.previous
            && !self.index.hashes.contains_key(&previous)
        {
            self.index.hashes.insert(previous, Arc::clone(&key));
        }
        self.index.hashes.insert(key.hash, Arc::clone(&key));
        self.index.keys.insert(key.id.clone(), key);
        Ok(())
    }

    fn drop_key(&mut self, id: &str) {
        if let Some(key) = self.index.keys.remove(id) {
            self.index.hashes.remove(&key.hash);
            if let Some((previous, _)) = key.previous
                && self.index.hashes.get(&previous).is_some_and(|holder| holder.id == key.id)
            {
                self.index.hashes.remove(&previous);
            }
        }
    }

    fn remove(&mut self, kind: Kind, id: &str, progress: &mut Progress) {
        let place = (kind, id.to_owned());
        if let Some((revision, content)) = self.received.remove(&place) {
            self.digests.remove(kind, id, revision, content);
        }
        self.held_back.remove(&place);
        match kind {
            Kind::ApiKey => self.drop_key(id),
            Kind::Model => self.drop_model(id),
            Kind::Connection => {
                self.uncompiled.remove(id);
                if let Some(source) = self.connections.remove(id)
                    && let Some(connections) = self.of_provider.get_mut(source.provider())
                {
                    connections.remove(id);
                }
                self.drop_connection(id, progress);
            }
            Kind::ProviderNode => {
                if let Some(node) = self.nodes.remove(id)
                    && self.index.prefixes.get(&node.prefix).is_some_and(|holder| holder.id.as_str() == id)
                {
                    self.index.prefixes.remove(&node.prefix);
                }
                self.index.nodes.remove(id);
                progress.stale_connections.extend(self.of_provider.get(id).into_iter().flatten().cloned());
            }
            // The settings cannot be deleted; what was in force stays.
            Kind::Settings => {}
        }
    }

    fn drop_connection(&mut self, id: &str, progress: &mut Progress) {
        if let Some(entry) = self.index.connections.remove(id) {
            progress.stale_providers.insert(entry.provider.as_str().to_owned());
        }
    }

    /// Compiles what has to be compiled again and rebuilds the lists that it stands in.
    fn join(&mut self, progress: &mut Progress) {
        let policy = self.index.settings.address_policy;
        for id in std::mem::take(&mut progress.stale_connections) {
            let Some(source) = self.connections.get(&id) else { continue };
            let previous = self.index.connections.get(id.as_str()).map(Arc::clone);
            let in_flight = previous.as_ref().map(|entry| Arc::clone(&entry.in_flight));
            let node = self.nodes.get(source.provider());
            let orphan = node.is_none() && omniroute_providers::Catalog::builtin().get(source.provider()).is_none();
            match source.compile(&id, node, policy, in_flight) {
                Ok(entry) => {
                    self.uncompiled.remove(&id);
                    progress.stale_providers.insert(entry.provider.as_str().to_owned());
                    progress.stale_providers.extend(previous.map(|entry| entry.provider.as_str().to_owned()));
                    let id: ConnectionId = id.as_str().into();
                    self.index.connections.insert(id, Arc::new(entry));
                }
                Err(reason) => {
                    // A connection whose node is gone has nowhere to go, and where an address is forbidden by now nothing
                    // may go: then its previous version must not go on either.
                    let is_forbidden = previous.is_some_and(|entry| {
                        policy.check_url(&entry.upstream.uri(Operation::Chat).to_string()).is_err()
                    });
                    if orphan || is_forbidden {
                        self.drop_connection(&id, progress);
                    }
                    progress.repaired.remove(&id);
                    self.uncompiled.insert(id, reason);
                }
            }
        }
        for provider in std::mem::take(&mut progress.stale_providers) {
            self.list_connections(&provider);
        }
    }

    fn list_connections(&mut self, provider: &str) {
        let ids = self.of_provider.get(provider).into_iter().flatten();
        let mut entries: Vec<_> = ids
            .filter_map(|id| self.index.connections.get(id.as_str()))
            .filter(|entry| entry.is_active && entry.provider.as_str() == provider)
            .map(Arc::clone)
            .collect();
        entries.sort_by(|a, b| a.priority.cmp(&b.priority).then_with(|| a.id.cmp(&b.id)));
        if entries.is_empty() {
            self.index.by_provider.remove(provider);
        } else {
            self.index.by_provider.insert(provider.into(), Arc::new(entries));
        }
    }
}
