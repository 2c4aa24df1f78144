//! Connections whose secret is the access token of a sign-in. Who signs in, and who renews the token, is not known here.

use std::sync::Arc;

use omniroute_core::{id::ConnectionId, settings::Secret};
use serde_json::json;

use super::{
    super::Providers,
    record::{ConnectionDraft, ConnectionPatch, ConnectionRecord},
    rows,
    rules::provider_of,
};
use crate::{
    http::ApiError,
    store::{StoreError, Write, records::Object},
};

/// What such connections are called in `authType`.
pub(in super::super) const OAUTH: &str = "oauth";

/// An account that somebody signed in to.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Id of a node, or of a provider of the catalog.
    pub provider: String,
    pub name: Option<String>,
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub token: Secret,
    /// The token will be renewed.
    pub refreshes: bool,
}

// === impl Providers ===

impl Providers {
    /// Adds the connection of an account, in this transaction.
    ///
    /// # Errors
    /// 400 when proxies could not use it.
    pub async fn add_signed_in(&self, write: &mut Write, account: SignedIn) -> Result<ConnectionRecord, ApiError> {
        let provider = provider_of(write, &account.provider).await?;
        let others = rows::of_provider(write, provider.id()).await?;
        let name = account.name.clone().or_else(|| account.email.clone()).or_else(|| account.display_name.clone());
        let mut extras = Object::new();
        for (field, value) in [("email", &account.email), ("displayName", &account.display_name)] {
            if let Some(value) = value {
                extras.insert(field.to_owned(), json!(value));
            }
        }
        let draft = ConnectionDraft {
            auth_type: OAUTH.to_owned(),
            extras,
            ..ConnectionDraft::new(
                provider.id(),
                name.unwrap_or_else(|| format!("Account {}", others.len() + 1)).trim(),
                account.token.clone(),
            )
        };
        let record = rows::create(write, draft).await?;
        self.check_compiles(&record, &account.token, &provider)?;
        rows::set_refreshes(write, record.id.as_str(), account.refreshes).await?;
        Ok(record)
    }

    /// A connection has a new account, or the old one anew: it gets a new chance, and its models are asked for.
    pub async fn has_signed_in(self: &Arc<Self>, id: &str) {
        self.coordination.warm(id).await;
        self.discover_in_background(ConnectionId::from(id));
    }
}

/// Puts a token in place of the one there is, in this transaction.
///
/// # Errors
/// `NotFound`.
pub async fn put_token(write: &mut Write, id: &str, token: &Secret, refreshes: bool) -> Result<(), StoreError> {
    let patch = ConnectionPatch {
        auth_type: Some(OAUTH.to_owned()),
        secret: Some(token.clone()),
        ..ConnectionPatch::default()
    };
    rows::update(write, id, patch).await?;
    rows::set_refreshes(write, id, refreshes).await
}
