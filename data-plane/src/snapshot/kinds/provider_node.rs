//! Nodes: providers of the operator's own.

use std::sync::Arc;

use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};

use super::{ConfigKind, Draft, mismatched};
use crate::snapshot::index::ProviderEntry;

#[derive(Debug)]
pub(super) struct ProviderNodes;

// === impl ProviderNodes ===

impl ConfigKind for ProviderNodes {
    fn kind(&self) -> Kind {
        Kind::ProviderNode
    }

    /// Nodes may hand their prefixes to one another in one update: none of them holds its own while the update is taken.
    fn begin(&mut self, ids: &[String], draft: &mut Draft) {
        for id in ids {
            if let Some(node) = draft.nodes.get(id) {
                draft.index.prefixes.remove(&node.prefix);
            }
        }
    }

    fn take(&mut self, id: &str, body: Body, draft: &mut Draft) -> Result<(), String> {
        let Body::ProviderNode(node) = body else { return Err(mismatched()) };
        if node.prefix.is_empty() || node.prefix.contains('/') {
            return Err(format!("`{}` cannot be a prefix", node.prefix));
        }
        if let Some(other) = draft.index.prefixes.get(&node.prefix)
            && other.id.as_str() != id
        {
            return Err(format!("the prefix `{}` is taken by {}", node.prefix, other.id));
        }
        if draft.nodes.get(id).is_some_and(|previous| repairs(&node, previous)) {
            draft.repaired.extend(draft.connections_of(id));
        }
        let entry = Arc::new(ProviderEntry { id: id.into(), prefix: node.prefix.clone(), name: node.name.clone() });
        draft.index.prefixes.insert(node.prefix.clone(), Arc::clone(&entry));
        draft.index.nodes.insert(id.into(), entry);
        draft.nodes.insert(id.to_owned(), node);
        draft.stale_connections.extend(draft.connections_of(id));
        Ok(())
    }

    /// Of a node that was rejected the previous version stays in force.
    fn end(&mut self, ids: &[String], draft: &mut Draft) {
        for id in ids {
            if let (Some(node), Some(entry)) = (draft.nodes.get(id), draft.index.nodes.get(id.as_str()))
                && draft.index.prefixes.get(&node.prefix).is_none()
            {
                let entry = Arc::clone(entry);
                draft.index.prefixes.insert(node.prefix.clone(), entry);
            }
        }
    }

    fn remove(&mut self, id: &str, draft: &mut Draft) {
        if let Some(node) = draft.nodes.remove(id)
            && draft.index.prefixes.get(&node.prefix).is_some_and(|holder| holder.id.as_str() == id)
        {
            draft.index.prefixes.remove(&node.prefix);
        }
        draft.index.nodes.remove(id);
        draft.stale_connections.extend(draft.connections_of(id));
    }
}

/// Whether connections to this node may succeed where they failed at `earlier`.
fn repairs(node: &v1::ProviderNode, earlier: &v1::ProviderNode) -> bool {
    let essence =
        |node: &v1::ProviderNode| v1::ProviderNode { name: String::new(), prefix: String::new(), ..node.clone() };
    essence(node) != essence(earlier)
}
