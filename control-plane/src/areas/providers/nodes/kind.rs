//! Nodes, as proxies are sent them.

use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use sqlx::any::AnyRow;

use crate::{
    publish::{ConfigKind, ResourceBuilder},
    store::{Columns as _, StoreError},
};

/// Endpoints that the operator added.
pub struct ProviderNodeKind;

impl ConfigKind for ProviderNodeKind {
    fn kind(&self) -> Kind {
        Kind::ProviderNode
    }

    fn select(&self) -> &'static str {
        "SELECT id, revision, kind, name, prefix, api_type, base_url, chat_path, models_path FROM nodes \
         WHERE revision > $1 AND revision <= $2"
    }

    fn message(&self, row: &AnyRow, _: &ResourceBuilder<'_>) -> Result<(String, Body), StoreError> {
        Ok((row.text("id")?, Body::ProviderNode(node(row)?)))
    }
}

fn node(row: &AnyRow) -> Result<v1::ProviderNode, StoreError> {
    Ok(v1::ProviderNode {
        name: row.text("name")?,
        prefix: row.text("prefix")?,
        r#type: row.text("kind")?,
        api_type: row.opt_text("api_type")?.unwrap_or_default(),
        base_url: row.text("base_url")?,
        chat_path: row.opt_text("chat_path")?.unwrap_or_default(),
        models_path: row.opt_text("models_path")?.unwrap_or_default(),
    })
}
