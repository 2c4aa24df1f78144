//! Nodes: providers of the operator's own.

use std::sync::Arc;

use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};

use super::{ConfigKind, SnapshotBuilder, mismatched};
use crate::snapshot::entries::ProviderEntry;

#[derive(Debug)]
pub(super) struct ProviderNodes;

// === impl ProviderNodes ===

impl ConfigKind for ProviderNodes {
    fn kind(&self) -> Kind {
        Kind::ProviderNode
    }

    /// Nodes may hand their prefixes to one another in one update: none of them holds its own while the update is taken.
    fn begin(&mut self, ids: &[String], builder: &mut SnapshotBuilder) {
        for id in ids {
            if let Some(node) = builder.nodes.get(id) {
                builder.snapshot.prefixes.remove(&node.prefix);
            }
        }
    }

    fn take(&mut self, id: &str, body: Body, builder: &mut SnapshotBuilder) -> Result<(), String> {
        let Body::ProviderNode(node) = body else { return Err(mismatched()) };
        if node.prefix.is_empty() || node.prefix.contains('/') {
            return Err(format!("`{}` cannot be a prefix", node.prefix));
        }
        if let Some(other) = builder.snapshot.prefixes.get(&node.prefix)
            && other.id.as_str() != id
        {
            return Err(format!("the prefix `{}` is taken by {}", node.prefix, other.id));
        }
        if builder.nodes.get(id).is_some_and(|previous| repairs(&node, previous)) {
            builder.repaired.extend(builder.connections_of(id));
        }
        let entry = Arc::new(ProviderEntry { id: id.into(), prefix: node.prefix.clone(), name: node.name.clone() });
        builder.snapshot.prefixes.insert(node.prefix.clone(), Arc::clone(&entry));
        builder.snapshot.nodes.insert(id.into(), entry);
        builder.nodes.insert(id.to_owned(), node);
        builder.stale_connections.extend(builder.connections_of(id));
        Ok(())
    }

    /// Of a node that was rejected the previous version stays in force.
    fn end(&mut self, ids: &[String], builder: &mut SnapshotBuilder) {
        for id in ids {
            if let (Some(node), Some(entry)) = (builder.nodes.get(id), builder.snapshot.nodes.get(id.as_str()))
                && builder.snapshot.prefixes.get(&node.prefix).is_none()
            {
                let entry = Arc::clone(entry);
                builder.snapshot.prefixes.insert(node.prefix.clone(), entry);
            }
        }
    }

    fn remove(&mut self, id: &str, builder: &mut SnapshotBuilder) {
        if let Some(node) = builder.nodes.remove(id)
            && builder.snapshot.prefixes.get(&node.prefix).is_some_and(|holder| holder.id.as_str() == id)
        {
            builder.snapshot.prefixes.remove(&node.prefix);
        }
        builder.snapshot.nodes.remove(id);
        builder.stale_connections.extend(builder.connections_of(id));
    }
}

/// Whether connections to this node may succeed where they failed at `earlier`.
fn repairs(node: &v1::ProviderNode, earlier: &v1::ProviderNode) -> bool {
    let essence =
        |node: &v1::ProviderNode| v1::ProviderNode { name: String::new(), prefix: String::new(), ..node.clone() };
    essence(node) != essence(earlier)
}
