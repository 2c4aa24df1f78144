//! `/api/provider-nodes`: endpoints that the operator added.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use omniroute_core::settings::Secret;
use omniroute_providers::ChatApis;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{Providers, connections::api_key},
    ANTHROPIC, NewNode, NodeChange, NodeRecord, OPENAI,
};
use crate::{
    http::{
        ApiError, Edit, ErrorBody, Fields, FromFields,
        extract::{self, Path},
        shapes::Success,
    },
    store::records::Actor,
};

pub(in super::super) const KINDS: [&str; 2] = [OPENAI, ANTHROPIC];
pub(in super::super) const API_TYPES: [&str; 3] = ChatApis::WORDS;
pub(in super::super) const MAX_URL: usize = 2000;
const MAX_PATH: usize = 500;

/// A node.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct NodeView {
    #[schema(example = "openai-compatible-chat-7c6b781e-9ea6-4668-be5b-a9ce4a9bcce9")]
    id: String,
    /// `openai-compatible` or `anthropic-compatible`.
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: String,
    name: String,
    /// Model ids begin with it: `prefix/model`.
    prefix: String,
    /// `chat` or `responses`; null for Anthropic-compatible nodes.
    api_type: Option<String>,
    base_url: String,
    chat_path: Option<String>,
    models_path: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OneNode {
    node: NodeView,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AllNodes {
    nodes: Vec<NodeView>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct CreateNode {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Letters, digits, `-`, `_` and `.`; not the name of a provider of the catalog.
    #[schema(min_length = 1, max_length = 64)]
    prefix: String,
    /// `openai-compatible` (the default) or `anthropic-compatible`.
    #[schema(rename = "type")]
    kind: Option<String>,
    /// `chat` or `responses`; required for OpenAI-compatible nodes.
    api_type: Option<String>,
    /// The vendor's own when missing.
    base_url: Option<String>,
    /// Instead of the usual path below the base URL.
    chat_path: Option<String>,
    models_path: Option<String>,
}

/// Fields to change; the others stay.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ChangeNode {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(min_length = 1, max_length = 64)]
    prefix: Option<String>,
    api_type: Option<String>,
    base_url: Option<String>,
    /// Null or empty goes back to the usual path.
    #[schema(value_type = Option<String>)]
    chat_path: Edit<String>,
    #[schema(value_type = Option<String>)]
    models_path: Edit<String>,
    /// The secret of the node's connection, when `baseUrl` changes to another host: a stored secret is never sent there.
    #[schema(value_type = Option<String>, max_length = 60_000, format = "password")]
    api_key: Option<Secret>,
}

// === impl NodeView ===

impl From<NodeRecord> for NodeView {
    fn from(node: NodeRecord) -> Self {
        Self {
            id: node.id.to_string(),
            kind: node.kind,
            name: node.name,
            prefix: node.prefix,
            api_type: node.api_type,
            base_url: node.base_url,
            chat_path: node.chat_path,
            models_path: node.models_path,
            created_at: node.created_at.to_rfc3339(),
            updated_at: node.updated_at.to_rfc3339(),
        }
    }
}

// === impl CreateNode ===

impl FromFields for CreateNode {
    fn read(fields: &mut Fields) -> Self {
        let node = Self {
            name: fields.required_text("name", 1..=200),
            prefix: fields.required_text("prefix", 1..=64).trim().to_owned(),
            kind: fields.choice("type", &KINDS),
            api_type: fields.choice("apiType", &API_TYPES),
            base_url: fields.nullable_text("baseUrl", 1..=MAX_URL).set(),
            chat_path: path(fields, "chatPath").set(),
            models_path: path(fields, "modelsPath").set(),
        };
        let is_openai = node.kind.as_deref().unwrap_or(OPENAI) == OPENAI;
        if is_openai && node.api_type.is_none() {
            fields.refuse_unless_noted("apiType", "must be one of chat, responses, both for OpenAI-compatible nodes");
        }
        node
    }
}

// === impl ChangeNode ===

impl FromFields for ChangeNode {
    fn read(fields: &mut Fields) -> Self {
        let change = Self {
            name: fields.text("name", 1..=200),
            prefix: fields.text("prefix", 1..=64).map(|prefix| prefix.trim().to_owned()),
            api_type: fields.choice("apiType", &API_TYPES),
            base_url: fields.text("baseUrl", 1..=MAX_URL),
            chat_path: path(fields, "chatPath"),
            models_path: path(fields, "modelsPath"),
            api_key: api_key(fields),
        };
        fields.shown(&["id", "createdAt", "updatedAt"]);
        fields.require_any();
        change
    }
}

/// A path below a base URL. An empty one is none.
pub(in super::super) fn path(fields: &mut Fields, name: &'static str) -> Edit<String> {
    match fields.nullable_text(name, 0..=MAX_PATH) {
        Edit::Set(path) if path.trim().is_empty() => Edit::Clear,
        Edit::Set(path) => {
            let path = path.trim().to_owned();
            let fits = path.starts_with('/') && !path.starts_with("//") && !path.contains(['?', '#', '\\', ' ']);
            if !fits {
                fields.refuse(name, "must be a path that begins with one slash");
            }
            Edit::Set(path)
        }
        other => other,
    }
}

/// All nodes.
#[utoipa::path(
    get,
    path = "/api/provider-nodes",
    tag = "Provider nodes",
    responses((status = 200, body = AllNodes), (status = 401, body = ErrorBody))
)]
pub(super) async fn list(State(providers): State<Arc<Providers>>) -> Result<Json<AllNodes>, ApiError> {
    let nodes = providers.nodes().await?;
    Ok(Json(AllNodes { nodes: nodes.into_iter().map(NodeView::from).collect() }))
}

/// Add a node.
#[utoipa::path(
    post,
    path = "/api/provider-nodes",
    tag = "Provider nodes",
    request_body = CreateNode,
    responses(
        (status = 201, body = OneNode),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 409, description = "The prefix is taken", body = ErrorBody),
    )
)]
pub(super) async fn create(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateNode>,
) -> Result<(StatusCode, Json<OneNode>), ApiError> {
    let kind = body.kind.unwrap_or_else(|| OPENAI.to_owned());
    let new = NewNode {
        name: body.name,
        prefix: body.prefix,
        api_type: body.api_type.filter(|_| kind == OPENAI),
        kind,
        base_url: body.base_url,
        chat_path: body.chat_path,
        models_path: body.models_path,
    };
    let node = providers.create_node(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(OneNode { node: node.into() })))
}

/// One node.
#[utoipa::path(
    get,
    path = "/api/provider-nodes/{id}",
    tag = "Provider nodes",
    params(("id" = String, Path)),
    responses((status = 200, body = OneNode), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn show(
    State(providers): State<Arc<Providers>>,
    Path(id): Path<String>,
) -> Result<Json<OneNode>, ApiError> {
    let node = providers.node(&id).await?;
    Ok(Json(OneNode { node: node.into() }))
}

/// Change a node.
#[utoipa::path(
    method(put, patch),
    path = "/api/provider-nodes/{id}",
    tag = "Provider nodes",
    params(("id" = String, Path)),
    request_body = ChangeNode,
    responses(
        (status = 200, body = OneNode),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, description = "The prefix is taken", body = ErrorBody),
    )
)]
pub(super) async fn change(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<ChangeNode>,
) -> Result<Json<OneNode>, ApiError> {
    let change = NodeChange {
        name: body.name,
        prefix: body.prefix,
        api_type: body.api_type,
        base_url: body.base_url,
        chat_path: body.chat_path,
        models_path: body.models_path,
        secret: body.api_key,
    };
    let node = providers.update_node(&actor, &id, change).await?;
    Ok(Json(OneNode { node: node.into() }))
}

/// Delete a node, its connections and its models.
#[utoipa::path(
    delete,
    path = "/api/provider-nodes/{id}",
    tag = "Provider nodes",
    params(("id" = String, Path)),
    responses((status = 200, body = Success), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn delete(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Json<Success>, ApiError> {
    providers.delete_node(&actor, &id).await?;
    Ok(Success::yes())
}
