//! The operator's registrations at providers. A registration is taken whole from one place: what REST was given, else the
//! environment of this process, else the copy that a repair made of another one's. So no secret is ever sent to an
//! endpoint that it was not entered with.

use std::collections::BTreeMap;

use http::Uri;
use omniroute_core::{settings::Secret, time::UnixMillis};
use omniroute_providers::OAuthFacts;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;

use super::variables::{Part, Variables};
use crate::store::{Columns as _, SealedColumn, Store, StoreError, limits, number, sealing, sql};

pub(super) const SECRET: SealedColumn = SealedColumn { table: "oauth_clients", column: "client_secret" };

/// Registrations, and where they come from.
pub struct Clients {
    store: Store,
    variables: Variables,
}

/// Where a registration was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Settings,
    Environment,
    /// A copy of what another process was started with.
    Copy,
}

/// A registration, and the endpoints that it is used at.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) provider: String,
    pub(super) source: Source,
    pub(super) id: String,
    pub(super) secret: Secret,
    pub(super) options: ClientOptions,
}

/// What a registration says besides who it is; what it does not say, the provider's facts do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ClientOptions {
    pub(super) authorization_url: Option<String>,
    pub(super) token_url: Option<String>,
    pub(super) device_authorization_url: Option<String>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) authorize_parameters: BTreeMap<String, String>,
    pub(super) redirect_uri: Option<String>,
    /// The secret goes into a header instead of the body.
    pub(super) basic_auth: bool,
    /// The token endpoint wants JSON instead of a form.
    pub(super) json_requests: bool,
}

/// A row.
#[derive(Clone, Debug)]
pub(super) struct ClientRow {
    pub(super) provider: String,
    pub(super) is_copy: bool,
    pub(super) client_id: String,
    /// `Err`: it does not open with the master keys at hand.
    pub(super) secret: Result<Secret, ()>,
    /// As it is stored.
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) options: ClientOptions,
    pub(super) updated_at: UnixMillis,
}

// === impl ClientOptions ===

impl ClientOptions {
    /// With the provider's facts where nothing is said.
    fn completed(mut self, facts: Option<&OAuthFacts>) -> Self {
        let Some(facts) = facts else { return self };
        // Endpoints of two origins do not belong together: whoever names a token endpoint names all that are used.
        if self.token_url.is_none() {
            self.token_url.clone_from(&facts.token_url);
            self.authorization_url = self.authorization_url.or_else(|| facts.authorization_url.clone());
            self.device_authorization_url =
                self.device_authorization_url.or_else(|| facts.device_authorization_url.clone());
        }
        self.scopes = self.scopes.or_else(|| Some(facts.scopes.clone()));
        if self.authorize_parameters.is_empty() {
            self.authorize_parameters.clone_from(&facts.authorize_parameters);
        }
        self
    }
}

// === impl Client ===

impl Client {
    pub(super) fn scope(&self) -> String {
        self.options.scopes.as_deref().unwrap_or_default().join(" ")
    }

    pub(super) fn asks_for_identity(&self) -> bool {
        self.options.scopes.as_deref().unwrap_or_default().iter().any(|scope| scope == "openid")
    }

    /// # Errors
    /// With a sentence for the operator when there is no such endpoint.
    pub(super) fn token_url(&self) -> Result<Uri, String> {
        endpoint(self.options.token_url.as_deref(), "tokenUrl")
    }

    /// # Errors
    /// As [`Self::token_url`].
    pub(super) fn device_authorization_url(&self) -> Result<Uri, String> {
        endpoint(self.options.device_authorization_url.as_deref(), "deviceAuthorizationUrl")
    }

    /// # Errors
    /// As [`Self::token_url`].
    pub(super) fn authorization_url(&self) -> Result<url::Url, String> {
        let url = self.options.authorization_url.as_deref().ok_or_else(|| lacking("authorizationUrl"))?;
        url.parse().map_err(|_| "authorizationUrl is no URL".to_owned())
    }
}

fn endpoint(url: Option<&str>, field: &str) -> Result<Uri, String> {
    url.ok_or_else(|| lacking(field))?.parse().map_err(|_| format!("{field} is no URL"))
}

fn lacking(field: &str) -> String {
    format!("the client has no {field}, and the provider documents none: set it with the client")
}

// === impl Clients ===

impl Clients {
    pub fn new(store: Store, variables: Variables) -> Self {
        Self { store, variables }
    }

    pub(super) const fn variables(&self) -> &Variables {
        &self.variables
    }

    /// The registration that is used at a provider; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails, or the secret does not open.
    pub(super) async fn find(&self, provider: &str) -> Result<Option<Client>, StoreError> {
        let facts = OAuthFacts::of(provider).filter(|facts| facts.id == provider);
        let row = self.row(provider).await?;
        let is_copy = row.as_ref().is_some_and(|row| row.is_copy);
        let from_environment = match &row {
            Some(row) if !row.is_copy => None,
            _ => self.of_environment(provider).await,
        };
        if let Some((id, secret, options)) = from_environment {
            let options = options.completed(facts);
            return Ok(Some(Client {
                provider: provider.to_owned(),
                source: Source::Environment,
                id,
                secret,
                options,
            }));
        }
        let Some(row) = row else { return Ok(None) };
        let secret = row.secret.map_err(|()| {
            StoreError::Corrupt(format!("the secret of the OAuth client of {provider} does not open; enter it anew"))
        })?;
        let source = if is_copy { Source::Copy } else { Source::Settings };
        let options = row.options.completed(facts);
        Ok(Some(Client { provider: row.provider, source, id: row.client_id, secret, options }))
    }

    /// What the environment says.
    async fn of_environment(&self, provider: &str) -> Option<(String, Secret, ClientOptions)> {
        let id = self.variables.get(provider, Part::ClientId).await?;
        let secret = self.variables.get(provider, Part::ClientSecret).await.unwrap_or_default();
        Some((id.expose().to_owned(), secret, self.environment_options(provider).await))
    }

    pub(super) async fn environment_options(&self, provider: &str) -> ClientOptions {
        let text = async |part| self.variables.get(provider, part).await.map(|value| value.expose().to_owned());
        let scopes = text(Part::Scopes).await;
        ClientOptions {
            authorization_url: text(Part::AuthorizationUrl).await,
            token_url: text(Part::TokenUrl).await,
            device_authorization_url: text(Part::DeviceAuthorizationUrl).await,
            scopes: scopes
                .map(|scopes| scopes.split([' ', ',']).filter(|one| !one.is_empty()).map(str::to_owned).collect()),
            redirect_uri: text(Part::RedirectUri).await,
            ..ClientOptions::default()
        }
    }

    /// The row of a provider.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn row(&self, provider: &str) -> Result<Option<ClientRow>, StoreError> {
        let statement =
            sql("SELECT id, source, client_id, client_secret, options, updated_at FROM oauth_clients WHERE id = $1");
        let row = statement.bind(provider.to_owned()).fetch_optional(self.store.reader()).await?;
        row.map(|row| self.record(&row)).transpose()
    }

    /// Providers that have a row.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn stored(&self) -> Result<Vec<String>, StoreError> {
        let rows = sql("SELECT id FROM oauth_clients ORDER BY id").fetch_all(self.store.reader()).await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    /// Puts a registration in place of the one there is. `secret`: empty means that it has none.
    ///
    /// # Errors
    /// `Invalid` for what is too long, or when the database fails.
    pub(super) async fn put(
        &self,
        provider: &str,
        is_copy: bool,
        client_id: &str,
        secret: &Secret,
        options: &ClientOptions,
    ) -> Result<(), StoreError> {
        limits::required("clientId", client_id, limits::NAME)?;
        limits::secret("clientSecret", secret)?;
        let sealed = secret
            .is_set()
            .then(|| sealing::seal(self.store.ring(), SECRET.of(provider), secret.expose().as_bytes()))
            .transpose()?;
        sql("INSERT INTO oauth_clients (id, source, client_id, client_secret, options, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET source = excluded.source, \
             client_id = excluded.client_id, client_secret = excluded.client_secret, options = excluded.options, \
             updated_at = excluded.updated_at")
        .bind(provider.to_owned())
        .bind(if is_copy { "environment" } else { "settings" })
        .bind(client_id.to_owned())
        .bind(sealed)
        .bind(limits::json("options", options)?)
        .bind(number(self.store.clock().now().0))
        .execute(self.store.writer())
        .await?;
        Ok(())
    }

    /// Whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn delete(&self, provider: &str) -> Result<bool, StoreError> {
        let done = sql("DELETE FROM oauth_clients WHERE id = $1").bind(provider.to_owned());
        Ok(done.execute(self.store.writer()).await?.rows_affected() > 0)
    }

    fn record(&self, row: &AnyRow) -> Result<ClientRow, StoreError> {
        let provider = row.text("id")?;
        let sealed = row.opt_blob("client_secret")?;
        let secret = match &sealed {
            None => Ok(Secret::default()),
            Some(sealed) => sealing::open(self.store.ring(), SECRET.of(&provider), sealed)
                .ok()
                .and_then(|plain| std::str::from_utf8(&plain).ok().map(Secret::new))
                .ok_or(()),
        };
        Ok(ClientRow {
            secret,
            sealed,
            is_copy: row.text("source")? == "environment",
            client_id: row.text("client_id")?,
            options: row.json("options")?,
            updated_at: row.millis("updated_at")?,
            provider,
        })
    }
}
