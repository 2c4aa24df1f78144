//! What is decided about nodes.

use omniroute_core::settings::Secret;
use omniroute_providers::Catalog;

use super::{
    super::{
        Providers,
        connections::{self, ConnectionPatch, origin_of},
        pricing::forget_unlisted,
    },
    rows::{self, NodeDraft, NodePatch, NodeRecord, Nodes},
};
use crate::{
    http::{ApiError, Edit},
    store::{Write, records::Actor},
};

/// The kinds of node.
pub const OPENAI: &str = "openai-compatible";
pub const ANTHROPIC: &str = "anthropic-compatible";

/// Base URL of a node that names none: the vendor's own.
const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
const ANTHROPIC_BASE_URL: &str = "https://api.anthropic.com/v1";

/// What a new node needs.
#[derive(Debug)]
pub struct NewNode {
    pub name: String,
    pub prefix: String,
    pub kind: String,
    pub api_type: Option<String>,
    pub base_url: Option<String>,
    pub chat_path: Option<String>,
    pub models_path: Option<String>,
}

/// An edit of a node.
#[derive(Debug, Default)]
pub struct NodeChange {
    pub name: Option<String>,
    pub prefix: Option<String>,
    pub api_type: Option<String>,
    pub base_url: Option<String>,
    pub chat_path: Edit<String>,
    pub models_path: Edit<String>,
    /// The secret of the node's one connection at another host.
    pub secret: Option<Secret>,
}

// === impl Providers ===

impl Providers {
    /// All, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, ApiError> {
        Ok(Nodes::of(&self.store).list().await?)
    }

    /// # Errors
    /// 404.
    pub async fn node(&self, id: &str) -> Result<NodeRecord, ApiError> {
        Ok(Nodes::of(&self.store).get(id).await?)
    }

    /// # Errors
    /// 400 for a field, 409 when the prefix is taken.
    pub async fn create_node(&self, actor: &Actor, new: NewNode) -> Result<NodeRecord, ApiError> {
        let default = if new.kind == ANTHROPIC { ANTHROPIC_BASE_URL } else { OPENAI_BASE_URL };
        let base_url = self.node_url(&new.kind, new.base_url.as_deref().unwrap_or(default))?;
        check_prefix(&new.prefix)?;
        let mut write = self.store.write(actor).await?;
        let draft = NodeDraft {
            id: None,
            kind: new.kind,
            name: new.name.trim().to_owned(),
            prefix: new.prefix,
            api_type: new.api_type,
            base_url,
            chat_path: new.chat_path,
            models_path: new.models_path,
        };
        let node = rows::create(&mut write, draft).await?;
        write.commit().await?;
        Ok(node)
    }

    /// # Errors
    /// 404, 400 for a field, 409 when the prefix is taken.
    pub async fn update_node(&self, actor: &Actor, id: &str, change: NodeChange) -> Result<NodeRecord, ApiError> {
        let mut write = self.store.write(actor).await?;
        let node = rows::find(&mut write, id).await?.ok_or_else(|| ApiError::not_found("Provider node"))?;
        let base_url = change.base_url.map(|url| self.node_url(&node.kind, &url)).transpose()?;
        if let Some(prefix) = change.prefix.as_deref().filter(|prefix| *prefix != node.prefix) {
            check_prefix(prefix)?;
        }
        // Anthropic-compatible nodes have one API only.
        let api_type = change.api_type.filter(|_| node.kind == OPENAI).map(Some);
        let moves_to = base_url.as_deref().filter(|url| origin_of(url) != origin_of(&node.base_url));
        match moves_to {
            Some(_) => {
                move_connections(&mut write, id, change.secret).await?;
                tracing::warn!(node = id, actor = actor.name, "a provider node is moved to another host");
            }
            None if change.secret.is_some() => {
                return Err(ApiError::invalid_field(
                    "apiKey",
                    "belongs to a connection: PATCH /api/providers/{id} sets it; here it goes with a baseUrl of another \
                     host only",
                ));
            }
            None => {}
        }
        let patch = NodePatch {
            expected_revision: None,
            name: change.name.map(|name| name.trim().to_owned()),
            prefix: change.prefix,
            api_type,
            base_url,
            chat_path: change.chat_path.into_patch(),
            models_path: change.models_path.into_patch(),
        };
        let node = rows::update(&mut write, id, patch).await?;
        write.commit().await?;
        Ok(node)
    }

    /// Deletes a node with its connections and models.
    ///
    /// # Errors
    /// 404.
    pub async fn delete_node(&self, actor: &Actor, id: &str) -> Result<(), ApiError> {
        let mut write = self.store.write(actor).await?;
        let connections = connections::rows::of_provider(&mut write, id).await?;
        let gone: Vec<String> = connections.iter().map(|connection| connection.id.to_string()).collect();
        rows::delete(&mut write, id).await?;
        self.references.forget_connections(&mut write, &gone).await?;
        forget_unlisted(&mut write, &gone).await?;
        write.commit().await?;
        Ok(())
    }

    /// The base URL as it is stored: checked, without a trailing slash, and without the path of the one API that an
    /// Anthropic-compatible node has, which people tend to paste along.
    fn node_url(&self, kind: &str, url: &str) -> Result<String, ApiError> {
        let url = url.trim().trim_end_matches('/');
        let url = if kind == ANTHROPIC { url.strip_suffix("/messages").unwrap_or(url) } else { url };
        self.check_base_url("baseUrl", url)?;
        Ok(url.to_owned())
    }

    /// # Errors
    /// 400 that says why the URL may not be used.
    pub fn check_base_url(&self, field: &str, url: &str) -> Result<(), ApiError> {
        let parsed =
            self.address_policy().check_url(url).map_err(|error| ApiError::invalid_field(field, error.to_string()))?;
        if parsed.fragment().is_some() {
            return Err(ApiError::invalid_field(field, "must have no fragment"));
        }
        Ok(())
    }
}

/// Connections that follow their node to another host do not take along what was stored for the old one.
async fn move_connections(write: &mut Write, node: &str, secret: Option<Secret>) -> Result<(), ApiError> {
    // Those with a base URL of their own stay where they are.
    let following: Vec<_> = connections::rows::of_provider(write, node)
        .await?
        .into_iter()
        .filter(|connection| connection.base_url.is_none())
        .collect();
    if let ([only], Some(secret)) = (following.as_slice(), secret) {
        let patch = ConnectionPatch {
            auth_type: Some(if secret.is_set() { "apikey" } else { "none" }.to_owned()),
            secret: Some(secret),
            ..ConnectionPatch::default()
        };
        if only.headers.is_empty() && !only.unreadable {
            connections::rows::update(write, only.id.as_str(), patch).await?;
            return Ok(());
        }
    }
    let laden: Vec<_> = following
        .iter()
        .filter(|connection| connection.has_secret || !connection.headers.is_empty() || connection.unreadable)
        .map(|connection| format!("`{}` ({})", connection.name, connection.id))
        .collect();
    if laden.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid_field(
        "baseUrl",
        format!(
            "is another host, and stored secrets are not sent there. With one connection without custom headers, give \
             its secret along as apiKey; else give each its new providerSpecificData.baseUrl and apiKey first: {}",
            laden.join(", ")
        ),
    ))
}

/// A prefix stands before the slash of a model id, so it has none; and it must not hide a provider of the catalog.
fn check_prefix(prefix: &str) -> Result<(), ApiError> {
    let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if !prefix.chars().all(fits) {
        return Err(ApiError::invalid_field("prefix", "may have letters, digits, `-`, `_` and `.` only"));
    }
    if let Some(provider) = Catalog::builtin().get(prefix) {
        return Err(ApiError::invalid_field(
            "prefix",
            format!("`{prefix}` is reserved: it names the provider {}", provider.name),
        ));
    }
    Ok(())
}
