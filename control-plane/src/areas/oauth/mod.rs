//! Signing in at providers, and keeping the tokens alive.
//!
//! A sign-in is begun ([`sign_in`]): what has to be known when it ends is a row of [`flows`], found by a random state that only
//! the caller and the provider see, so any replica can end it. It ends with tokens: the access token becomes the secret of a
//! connection, and the refresh token a row of [`tokens`], in one transaction. From then on [`refresher`] replaces both before
//! the access token is over: one replica at a time, one request to the provider at a time, and what came back is stored
//! before anything else happens. Proxies get the new token as they get every other change.
//!
//! [`clients`] are the operator's registrations at providers, from REST, or from the environment ([`variables`]), whose
//! faults [`repair`] mends. [`endpoint`] is the protocol, [`listener`] hears a browser that comes back to this machine.

mod clients;
mod endpoint;
mod flows;
mod identity;
mod listener;
mod refresher;
mod repair;
mod routes;
mod shapes;
mod sign_in;
mod tokens;
mod variables;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use omniroute_core::{settings::Secret, time::Clock};
use omniroute_providers::OAuthFacts;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::listener::Listeners;
#[cfg(test)]
pub(crate) use self::shapes::{Exchange, Poll, PollCallback, PutClient, Refresh, Repair};
pub use self::{
    clients::Clients,
    refresher::{Need, Refreshed, Refresher, RefresherHandles},
    variables::Variables,
};
use crate::{
    auth::{OpenRoute, Requirement},
    http::ApiError,
    store::{SealedColumn, Store, StoreError, Write},
};

/// In scopes: whoever may add connections may sign in for one.
pub const NAME: &str = "providers";

/// Routes that are not for managers only. The state, which nobody can guess, says whose browser it is.
pub const OPEN: [OpenRoute; 1] = [(Method::GET, "/api/oauth/callback", Requirement::Open)];

/// What lies sealed in the tables of this area.
pub const SEALED: [SealedColumn; 4] = [clients::SECRET, tokens::REFRESH_TOKEN, flows::VERIFIER, flows::CODE];

/// The way to the providers' endpoints.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Posts a body, the way that this connection of the provider goes, and returns the whole answer.
    ///
    /// # Errors
    /// With a sentence for the operator when there is none.
    async fn post(
        &self,
        provider: &str,
        connection: Option<&str>,
        url: &Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String>;
}

/// Who keeps the secrets of connections answers this.
#[async_trait]
pub trait Credentials: Send + Sync + 'static {
    /// The access token of a connection.
    ///
    /// # Errors
    /// `NotFound`, or when it does not open.
    async fn access_token(&self, id: &str) -> Result<Secret, StoreError>;

    /// Puts a token in place of the one there is. `refreshes`: it will be renewed.
    ///
    /// # Errors
    /// `NotFound`, or when the database fails.
    async fn put(&self, write: &mut Write, id: &str, token: &Secret, refreshes: bool) -> Result<(), StoreError>;

    /// The token that there is will not be renewed any more.
    ///
    /// # Errors
    /// `NotFound`, or when the database fails.
    async fn give_up(&self, write: &mut Write, id: &str) -> Result<(), StoreError>;

    /// What is shown as the connection's state.
    ///
    /// # Errors
    /// When the database fails.
    async fn show(&self, id: &str, state: Shown) -> Result<(), StoreError>;
}

/// What a connection's state says of its sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    Active,
    /// Only signing in again helps.
    Expired(String),
    /// It could not be renewed for now, and the token there is may be over.
    Failing(String),
}

/// An account that somebody signed in to.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Id of a node, or of a provider of the catalog.
    pub provider: String,
    /// What the connection is to be called; `None` lets it be named by the account.
    pub name: Option<String>,
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub token: Secret,
    pub refreshes: bool,
}

/// A connection, as far as a sign-in shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: String,
    pub provider: String,
    pub name: String,
    pub email: Option<String>,
    pub display_name: Option<String>,
}

/// Who keeps connections answers this.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// The id of a provider of the catalog or of a node, by any of its names; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    async fn provider(&self, name: &str) -> Result<Option<String>, ApiError>;

    /// Adds a connection.
    ///
    /// # Errors
    /// 400 when the provider cannot be used with a token.
    async fn create(&self, write: &mut Write, account: NewAccount) -> Result<Account, ApiError>;

    /// The connection of that id; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    async fn find(&self, id: &str) -> Result<Option<Account>, StoreError>;

    /// Somebody has signed in to it just now: it gets a new chance.
    async fn signed_in(&self, id: &str);
}

/// What [`OAuth`] needs.
pub struct OAuthHandles {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub transport: Arc<dyn Transport>,
    pub accounts: Arc<dyn Accounts>,
    pub credentials: Arc<dyn Credentials>,
    pub refresher: Arc<Refresher>,
    pub clients: Arc<Clients>,
    /// Backups go to a folder in it.
    pub data_dir: PathBuf,
    /// Of REST, for redirects to this machine.
    pub port: u16,
}

/// Signing in.
pub struct OAuth {
    store: Store,
    clock: Arc<dyn Clock>,
    transport: Arc<dyn Transport>,
    accounts: Arc<dyn Accounts>,
    credentials: Arc<dyn Credentials>,
    refresher: Arc<Refresher>,
    clients: Arc<Clients>,
    listeners: Listeners,
    data_dir: PathBuf,
    port: u16,
}

/// A connection is no account any more: its tokens go in this transaction.
///
/// # Errors
/// When the database fails.
pub async fn forget(write: &mut Write, connection: &str) -> Result<(), StoreError> {
    tokens::delete(write, connection).await
}

// === impl OAuth ===

impl OAuth {
    pub fn new(handles: OAuthHandles) -> Self {
        let OAuthHandles { store, clock, transport, accounts, credentials, refresher, clients, data_dir, port } =
            handles;
        Self {
            store,
            clock,
            transport,
            accounts,
            credentials,
            refresher,
            clients,
            listeners: Listeners::default(),
            data_dir,
            port,
        }
    }

    pub fn router(self: &Arc<Self>) -> OpenApiRouter {
        OpenApiRouter::new()
            .routes(routes!(routes::clients))
            .routes(routes!(routes::callback))
            .routes(routes!(routes::authorize))
            .routes(routes!(routes::device_code))
            .routes(routes!(routes::start_callback_server))
            .routes(routes!(routes::status))
            .routes(routes!(routes::exchange))
            .routes(routes!(routes::poll))
            .routes(routes!(routes::poll_callback))
            .routes(routes!(routes::refresh))
            .routes(routes!(routes::put_client, routes::delete_client))
            .routes(routes!(routes::repair_status, routes::repair))
            .with_state(Arc::clone(self))
    }

    pub fn refresher(&self) -> &Arc<Refresher> {
        &self.refresher
    }

    /// The provider that a path names.
    async fn provider(&self, name: &str) -> Result<String, ApiError> {
        let id = OAuthFacts::of(name).map_or(name, |facts| facts.id.as_str());
        if let Some(found) = self.accounts.provider(id).await? {
            return Ok(found);
        }
        self.accounts.provider(name).await?.ok_or_else(|| ApiError::not_found("Provider"))
    }
}
