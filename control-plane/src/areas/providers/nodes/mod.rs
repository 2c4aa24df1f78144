//! Nodes: OpenAI- and Anthropic-compatible endpoints that the operator added.

mod kind;
mod routes;
pub mod rows;
mod rules;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::routes::{API_TYPES, KINDS, MAX_URL, path};
#[cfg(test)]
pub(crate) use self::routes::{ChangeNode, CreateNode};
pub use self::{
    kind::ProviderNodeKind,
    rows::{NodeDraft, NodePatch, NodeRecord},
    rules::{ANTHROPIC, NewNode, NodeChange, OPENAI},
};
use super::Providers;

pub(super) fn router() -> OpenApiRouter<Arc<Providers>> {
    OpenApiRouter::new().routes(routes!(routes::list, routes::create)).routes(routes!(
        routes::show,
        routes::change,
        routes::delete
    ))
}
