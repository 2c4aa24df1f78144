//! Connections, as the control plane sends them and as requests use them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::AtomicU32},
};

use http::HeaderValue;
use omniroute_core::{address::AddressPolicy, id::ConnectionId};
use omniroute_egress::OutboundProxy;
use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use omniroute_providers::{Catalog, CloudSpec, ConnectionSpec, NodeSpec, Operation, Upstream};
use zeroize::Zeroizing;

use super::{ConfigKind, SnapshotBuilder, mismatched, timeouts};
use crate::snapshot::entries::ConnectionEntry;

/// What a connection says that may not be asked for models without a price.
const REFUSE: &str = "refuse";

#[derive(Debug, Default)]
pub(super) struct Connections {
    sources: HashMap<String, ConnectionSource>,
    /// Connections that cannot be compiled as things stand, and why.
    uncompiled: BTreeMap<String, String>,
}

/// A connection's own words, kept so that it can be compiled again when its node changes.
#[derive(Debug)]
struct ConnectionSource {
    spec: v1::Connection,
    secret: Zeroizing<String>,
}

// === impl Connections ===

impl ConfigKind for Connections {
    fn kind(&self) -> Kind {
        Kind::Connection
    }

    fn may_refuse(&self) -> bool {
        false
    }

    fn take(&mut self, id: &str, body: Body, builder: &mut SnapshotBuilder) -> Result<(), String> {
        let Body::Connection(message) = body else { return Err(mismatched()) };
        let source = ConnectionSource::new(message);
        let provider = source.provider().to_owned();
        if self.sources.get(id).is_some_and(|previous| source.repairs(previous)) {
            builder.repaired.insert(id.to_owned());
        }
        if let Some(previous) = self.sources.insert(id.to_owned(), source)
            && previous.provider() != provider
            && let Some(connections) = builder.of_provider.get_mut(previous.provider())
        {
            connections.remove(id);
        }
        builder.of_provider.entry(provider).or_default().insert(id.to_owned());
        builder.stale_connections.insert(id.to_owned());
        Ok(())
    }

    fn remove(&mut self, id: &str, builder: &mut SnapshotBuilder) {
        self.uncompiled.remove(id);
        if let Some(source) = self.sources.remove(id)
            && let Some(connections) = builder.of_provider.get_mut(source.provider())
        {
            connections.remove(id);
        }
        drop_entry(id, builder);
    }

    /// Compiles what has to be compiled again and rebuilds the lists that it stands in.
    fn join(&mut self, builder: &mut SnapshotBuilder) {
        let policy = builder.snapshot.settings.address_policy;
        for id in std::mem::take(&mut builder.stale_connections) {
            let Some(source) = self.sources.get(&id) else { continue };
            let previous = builder.snapshot.connections.get(id.as_str()).map(Arc::clone);
            let in_flight = previous.as_ref().map(|entry| Arc::clone(&entry.in_flight));
            let node = builder.nodes.get(source.provider());
            let orphan = node.is_none() && Catalog::builtin().get(source.provider()).is_none();
            let outbound = builder.egress.resolve(&id, source.provider());
            // Where its proxy cannot be used, it must not be called without it.
            let is_blocked = outbound.is_err();
            let way = outbound.as_ref().ok().and_then(Option::as_ref).map(Arc::clone);
            match outbound.and_then(|outbound| source.compile(&id, node, policy, outbound, in_flight)) {
                Ok(entry) => {
                    self.uncompiled.remove(&id);
                    builder.stale_providers.insert(entry.provider.as_str().to_owned());
                    builder.stale_providers.extend(previous.map(|entry| entry.provider.as_str().to_owned()));
                    let id: ConnectionId = id.as_str().into();
                    builder.snapshot.connections.insert(id, Arc::new(entry));
                }
                Err(reason) => {
                    // A connection whose node is gone has nowhere to go, and where an address is forbidden by now nothing
                    // may go, nor by a way that is not its own any more: then its previous version must not go on either.
                    let is_forbidden = previous.is_some_and(|entry| {
                        let goes_elsewhere = entry.outbound.as_ref().map(Arc::as_ptr) != way.as_ref().map(Arc::as_ptr);
                        goes_elsewhere || policy.check_url(&entry.upstream.uri(Operation::Chat).to_string()).is_err()
                    });
                    if orphan || is_forbidden || is_blocked {
                        drop_entry(&id, builder);
                    }
                    builder.repaired.remove(&id);
                    self.uncompiled.insert(id, reason);
                }
            }
        }
        for provider in std::mem::take(&mut builder.stale_providers) {
            list(&provider, builder);
        }
    }

    fn unusable(&self) -> Vec<(&str, &str)> {
        self.uncompiled.iter().map(|(id, reason)| (id.as_str(), reason.as_str())).collect()
    }
}

fn drop_entry(id: &str, builder: &mut SnapshotBuilder) {
    if let Some(entry) = builder.snapshot.connections.remove(id) {
        builder.stale_providers.insert(entry.provider.as_str().to_owned());
    }
}

/// Lists the connections of a provider anew.
fn list(provider: &str, builder: &mut SnapshotBuilder) {
    let ids = builder.of_provider.get(provider).into_iter().flatten();
    let mut entries: Vec<_> = ids
        .filter_map(|id| builder.snapshot.connections.get(id.as_str()))
        .filter(|entry| entry.is_active && entry.provider.as_str() == provider)
        .map(Arc::clone)
        .collect();
    entries.sort_by(|a, b| a.priority.cmp(&b.priority).then_with(|| a.id.cmp(&b.id)));
    if entries.is_empty() {
        builder.snapshot.by_provider.remove(provider);
    } else {
        builder.snapshot.by_provider.insert(provider.into(), Arc::new(entries));
    }
}

// === impl ConnectionSource ===

impl ConnectionSource {
    fn new(mut spec: v1::Connection) -> Self {
        let secret = Zeroizing::new(std::mem::take(&mut spec.secret));
        Self { spec, secret }
    }

    fn provider(&self) -> &str {
        &self.spec.provider
    }

    /// Whether this version may succeed where `earlier` failed: it points elsewhere, presents itself in another way, or was
    /// switched on. A new name, order or limit gives no reason to think so.
    fn repairs(&self, earlier: &Self) -> bool {
        let essence = |source: &Self| v1::Connection {
            name: String::new(),
            priority: 0,
            max_concurrent: 0,
            unpriced: String::new(),
            timeouts: None,
            refreshes: false,
            ..source.spec.clone()
        };
        *self.secret != *earlier.secret || essence(self) != essence(earlier)
    }

    /// Compiles it. `in_flight` is the counter of the connection's earlier version.
    fn compile(
        &self,
        id: &str,
        node: Option<&v1::ProviderNode>,
        policy: AddressPolicy,
        outbound: Option<Arc<OutboundProxy>>,
        in_flight: Option<Arc<AtomicU32>>,
    ) -> Result<ConnectionEntry, String> {
        let headers: Vec<(String, String)> =
            self.spec.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let spec = ConnectionSpec {
            id,
            provider: &self.spec.provider,
            name: &self.spec.name,
            auth_type: &self.spec.auth_type,
            secret: &self.secret,
            base_url: &self.spec.base_url,
            region: &self.spec.region,
            api_type: &self.spec.api_type,
            headers: &headers,
            timeouts: timeouts(self.spec.timeouts.as_ref()),
            max_concurrent: self.spec.max_concurrent,
            node: node.map(|node| NodeSpec {
                kind: &node.r#type,
                api_type: &node.api_type,
                base_url: &node.base_url,
                chat_path: &node.chat_path,
                models_path: &node.models_path,
            }),
            cloud: CloudSpec {
                project: &self.spec.project,
                space: &self.spec.space,
                api_version: &self.spec.api_version,
                role_arn: &self.spec.role_arn,
                external_id: &self.spec.external_id,
                profile: &self.spec.profile,
                token_url: &self.spec.token_url,
                is_ambient: self.spec.is_ambient,
            },
        };
        let upstream = Upstream::compile(&spec, policy).map_err(|error| error.to_string())?;
        let shown = node.map_or(self.spec.provider.as_str(), |node| &node.prefix);
        Ok(ConnectionEntry {
            id: id.into(),
            shown: HeaderValue::from_str(shown).unwrap_or(HeaderValue::from_static("")),
            provider: self.spec.provider.as_str().into(),
            name: self.spec.name.clone(),
            upstream,
            outbound,
            priority: self.spec.priority,
            is_active: self.spec.is_active,
            refreshes: self.spec.refreshes,
            refuses_unpriced: self.spec.unpriced == REFUSE,
            in_flight: in_flight.unwrap_or_default(),
        })
    }
}
