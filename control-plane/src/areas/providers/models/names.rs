//! Whose models are meant: a provider by its id or alias, a node by its id or prefix.

use omniroute_providers::Catalog;

use super::super::{
    Providers,
    nodes::{NodeRecord, rows::Nodes},
};
use crate::{http::ApiError, store::StoreError};

/// Longest id, alias or prefix of a provider.
pub(in super::super) const MAX_PROVIDER: usize = 200;
/// Longest id of a model, in characters.
pub(in super::super) const MAX_MODEL: usize = 500;

/// A provider that models and prices belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Named {
    /// As models, prices and connections name it.
    pub(in super::super) id: String,
    /// In front of its models' names.
    pub(in super::super) prefix: String,
}

// === impl Named ===

impl Named {
    /// The provider that tables call so; one that is gone keeps its id.
    pub(in super::super) fn of(id: &str, nodes: &[NodeRecord]) -> Self {
        let node = nodes.iter().find(|node| node.id.as_str() == id);
        Self { id: id.to_owned(), prefix: node.map_or(id, |node| &node.prefix).to_owned() }
    }
}

// === impl Providers ===

impl Providers {
    /// # Errors
    /// 400 in `field` when there is no such provider.
    pub(in super::super) async fn named(&self, field: &str, name: &str) -> Result<Named, ApiError> {
        let name = name.trim();
        let node = match Nodes::of(&self.store).by_prefix(name).await? {
            Some(node) => Some(node),
            None => match Nodes::of(&self.store).get(name).await {
                Ok(node) => Some(node),
                Err(StoreError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        if let Some(node) = node {
            return Ok(Named { id: node.id.to_string(), prefix: node.prefix });
        }
        let known = Catalog::builtin().get(name);
        let known = known.ok_or_else(|| {
            ApiError::invalid_field(field, "is neither a provider of the catalog nor the id or prefix of a node")
        })?;
        Ok(Named { id: known.id.to_string(), prefix: known.id.to_string() })
    }
}
