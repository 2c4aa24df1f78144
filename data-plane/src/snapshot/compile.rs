//! Connections as the control plane sends them → connections as requests use them.

use std::sync::{Arc, atomic::AtomicU32};

use http::HeaderValue;
use omniroute_core::address::AddressPolicy;
use omniroute_proto::v1;
use omniroute_providers::{ConnectionSpec, NodeSpec, Upstream};
use zeroize::Zeroizing;

use super::index::{ConnectionEntry, timeouts};

/// A connection's own words, kept so that it can be compiled again when its node changes.
#[derive(Debug)]
pub(super) struct ConnectionSource {
    spec: v1::Connection,
    secret: Zeroizing<String>,
}

/// Whether connections to this node may succeed where they failed at `earlier`.
pub(super) fn node_repairs(node: &v1::ProviderNode, earlier: &v1::ProviderNode) -> bool {
    let essence =
        |node: &v1::ProviderNode| v1::ProviderNode { name: String::new(), prefix: String::new(), ..node.clone() };
    essence(node) != essence(earlier)
}

// === impl ConnectionSource ===

impl ConnectionSource {
    pub(super) fn new(mut spec: v1::Connection) -> Self {
        let secret = Zeroizing::new(std::mem::take(&mut spec.secret));
        Self { spec, secret }
    }

    pub(super) fn provider(&self) -> &str {
        &self.spec.provider
    }

    /// Whether this version may succeed where `earlier` failed: it points elsewhere, presents itself in another way, or was
    /// switched on. A new name, order or limit gives no reason to think so.
    pub(super) fn repairs(&self, earlier: &Self) -> bool {
        let essence = |source: &Self| v1::Connection {
            name: String::new(),
            priority: 0,
            max_concurrent: 0,
            timeouts: None,
            ..source.spec.clone()
        };
        *self.secret != *earlier.secret || essence(self) != essence(earlier)
    }

    /// Compiles it. `in_flight` is the counter of the connection's earlier version.
    pub(super) fn compile(
        &self,
        id: &str,
        node: Option<&v1::ProviderNode>,
        policy: AddressPolicy,
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
        };
        let upstream = Upstream::compile(&spec, policy).map_err(|error| error.to_string())?;
        let shown = node.map_or(self.spec.provider.as_str(), |node| &node.prefix);
        Ok(ConnectionEntry {
            id: id.into(),
            shown: HeaderValue::from_str(shown).unwrap_or(HeaderValue::from_static("")),
            provider: self.spec.provider.as_str().into(),
            name: self.spec.name.clone(),
            upstream,
            priority: self.spec.priority,
            is_active: self.spec.is_active,
            in_flight: in_flight.unwrap_or_default(),
        })
    }
}
