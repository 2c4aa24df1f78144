//! What areas want to know of one another, answered: no area knows another.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use omniroute_core::{hash::token_fingerprint, settings::Secret};
use omniroute_egress::{EgressError, OutboundProxy};
use omniroute_providers::Catalog;

use crate::{
    areas::{
        access::{
            keys::{self, KnownTargets},
            login::{Login, RequireLoginChange},
        },
        egress::{self, Egress, KnownScopes},
        oauth::{self, Account, Accounts, Credentials, Need, NewAccount, Refreshed, Refresher, Shown, Transport},
        operations::{CustomProviderHealth, ProviderReport, ProviderReports, Setup},
        providers::{
            Inventory, Providers, References, SignIns, TokenState, UpstreamClient, UpstreamError, Ways,
            connections::{self, ConnectionRecord, SignedIn, TestRecord, rows::Connections},
            nodes::{self, NodeRecord, rows::Nodes},
        },
        settings::{AdminPassword, PasswordChange},
        usage::{ConnectionName, ConnectionNames},
    },
    auth::{ClientOrigin, Principal},
    http::ApiError,
    publish::RefusedTokens,
    store::{Store, StoreError, Write, records::Actor},
};

/// API keys and assignments of outbound proxies, which name connections.
pub(super) struct Naming;

/// What can have an outbound proxy.
pub(super) struct Scopes(pub(super) Store);

/// Outbound proxies.
pub(super) struct OutboundProxies(pub(super) Arc<Egress>);

/// The administrator's password.
pub(super) struct Password(pub(super) Arc<Login>);

/// Nodes, connections and models.
pub(super) struct KnownProviders(pub(super) Arc<Providers>);

/// Secrets of connections.
pub(super) struct Secrets(pub(super) Store);

/// Connections that somebody signs in to.
pub(super) struct SignedInAccounts(pub(super) Arc<Providers>);

/// Who renews tokens.
pub(super) struct Tokens(pub(super) Arc<Refresher>);

/// The way to token endpoints: the same that tests of connections go, through the outbound proxy of the connection.
pub(super) struct TokenTransport {
    pub(super) client: UpstreamClient,
    pub(super) ways: Arc<dyn Ways>,
}

// === impl Naming ===

#[async_trait]
impl References for Naming {
    async fn forget_connections(&self, write: &mut Write, gone: &[String]) -> Result<(), StoreError> {
        keys::forget_connections(write, gone).await?;
        egress::forget_connections(write, gone).await
    }

    async fn forget_node(&self, write: &mut Write, gone: &str) -> Result<(), StoreError> {
        egress::forget_provider(write, gone).await
    }
}

// === impl Scopes ===

#[async_trait]
impl KnownScopes for Scopes {
    async fn provider(&self, write: &mut Write, name: &str) -> Result<Option<String>, StoreError> {
        if let Some(known) = Catalog::builtin().get(name) {
            return Ok(Some(known.id.to_string()));
        }
        let by_prefix = Nodes::of(&self.0).by_prefix(name).await?.map(|node| node.id.to_string());
        let id = by_prefix.unwrap_or_else(|| name.to_owned());
        Ok(nodes::rows::find(write, &id).await?.map(|node| node.id.to_string()))
    }

    async fn has_connection(&self, write: &mut Write, id: &str) -> Result<bool, StoreError> {
        connections::rows::exists(write, id).await
    }

    async fn provider_of(&self, connection: &str) -> Result<Option<String>, StoreError> {
        match Connections::of(&self.0).get(connection).await {
            Ok(record) => Ok(Some(record.provider.to_string())),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

// === impl OutboundProxies ===

#[async_trait]
impl Ways for OutboundProxies {
    async fn way(&self, connection: &str, provider: &str) -> Result<Option<Arc<OutboundProxy>>, String> {
        self.0.way(connection, provider).await
    }

    async fn note(&self, proxy: &str, error: Option<EgressError>, took: Duration) {
        self.0.note(proxy, error, took).await;
    }
}

// === impl Password ===

#[async_trait]
impl AdminPassword for Password {
    async fn is_set(&self) -> Result<bool, ApiError> {
        Ok(self.0.has_password().await?)
    }

    async fn change(
        &self,
        actor: Actor,
        principal: &Principal,
        client: &ClientOrigin,
        PasswordChange { new, current }: PasswordChange,
    ) -> Result<Option<(HeaderName, HeaderValue)>, ApiError> {
        let change = RequireLoginChange { require_login: None, password: Some(new), current_password: Some(current) };
        let session = self.0.change(actor, Some(principal), client, change).await?;
        session.map(|session| self.0.set_cookie(&session)).transpose()
    }
}

#[async_trait]
impl Setup for Password {
    async fn is_complete(&self) -> Result<bool, StoreError> {
        self.0.has_password().await
    }

    fn was_complete(&self) -> bool {
        self.0.had_password()
    }
}

// === impl KnownProviders ===

#[async_trait]
impl KnownTargets for KnownProviders {
    async fn has_connection(&self, write: &mut Write, id: &str) -> Result<bool, StoreError> {
        connections::rows::exists(write, id).await
    }

    async fn unmatched_models(&self, patterns: &[String]) -> Result<Vec<String>, StoreError> {
        self.0.unmatched_models(patterns).await
    }
}

#[async_trait]
impl ConnectionNames for KnownProviders {
    async fn name(&self, id: &str) -> Result<Option<ConnectionName>, StoreError> {
        let name =
            |record: ConnectionRecord| ConnectionName { provider: record.provider.to_string(), name: record.name };
        Ok(self.0.find_connection(id).await?.map(name))
    }
}

#[async_trait]
impl ProviderReports for KnownProviders {
    async fn report(&self) -> Result<ProviderReport, StoreError> {
        Ok(report(&self.0.inventory().await?))
    }

    fn none(&self) -> ProviderReport {
        ProviderReport { catalog: Catalog::builtin().len(), ..ProviderReport::default() }
    }
}

// === impl Secrets ===

#[async_trait]
impl Credentials for Secrets {
    async fn access_token(&self, id: &str) -> Result<Secret, StoreError> {
        Connections::of(&self.0).secret(id).await
    }

    async fn put(&self, write: &mut Write, id: &str, token: &Secret, refreshes: bool) -> Result<(), StoreError> {
        connections::put_token(write, id, token, refreshes).await
    }

    async fn give_up(&self, write: &mut Write, id: &str) -> Result<(), StoreError> {
        connections::rows::set_refreshes(write, id, false).await
    }

    async fn show(&self, id: &str, state: Shown) -> Result<(), StoreError> {
        let (status, error, code) = match state {
            Shown::Active => ("active", None, None),
            Shown::Expired(error) => ("expired", Some(error), Some("token_expired")),
            Shown::Failing(error) => ("error", Some(error), Some("token_refresh_failed")),
        };
        let test = TestRecord {
            status: status.to_owned(),
            tested_at: Some(self.0.clock().now()),
            latency_ms: None,
            error,
            error_code: code.map(str::to_owned),
        };
        Connections::of(&self.0).record_test(id, &test).await
    }
}

// === impl SignedInAccounts ===

#[async_trait]
impl Accounts for SignedInAccounts {
    async fn provider(&self, name: &str) -> Result<Option<String>, ApiError> {
        self.0.provider_id(name).await
    }

    async fn create(&self, write: &mut Write, account: NewAccount) -> Result<Account, ApiError> {
        let NewAccount { provider, name, email, display_name, token, refreshes } = account;
        let account = SignedIn { provider, name, email, display_name, token, refreshes };
        self.0.add_signed_in(write, account).await.map(account_of)
    }

    async fn find(&self, id: &str) -> Result<Option<Account>, StoreError> {
        Ok(self.0.find_connection(id).await?.map(account_of))
    }

    async fn signed_in(&self, id: &str) {
        self.0.has_signed_in(id).await;
    }
}

fn account_of(record: ConnectionRecord) -> Account {
    let text = |name: &str| record.extras.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    Account {
        id: record.id.to_string(),
        provider: record.provider.to_string(),
        email: text("email"),
        display_name: text("displayName"),
        name: record.name,
    }
}

// === impl Tokens ===

#[async_trait]
impl SignIns for Tokens {
    async fn before_use(&self, connection: &str) -> TokenState {
        token_state(self.0.refresh(connection, Need::Use).await)
    }

    async fn refused(&self, connection: &str, token: &Secret) -> TokenState {
        let need = Need::Refused(token_fingerprint(token.expose()));
        match self.0.refresh(connection, need).await {
            // Somebody else has put another one in its place.
            Refreshed::Current => TokenState::Renewed,
            other => token_state(other),
        }
    }

    async fn forget(&self, write: &mut Write, connection: &str) -> Result<(), StoreError> {
        oauth::forget(write, connection).await
    }
}

impl RefusedTokens for Tokens {
    fn refused(&self, connection: &str, fingerprint: [u8; 16]) {
        self.0.request(connection, Need::Refused(fingerprint));
    }
}

fn token_state(outcome: Refreshed) -> TokenState {
    match outcome {
        Refreshed::Renewed => TokenState::Renewed,
        Refreshed::Current => TokenState::Kept,
        Refreshed::Expired(error) => TokenState::Expired(error),
        Refreshed::Failed(error) => TokenState::Failed(error),
    }
}

// === impl TokenTransport ===

#[async_trait]
impl Transport for TokenTransport {
    async fn post(
        &self,
        provider: &str,
        connection: Option<&str>,
        url: &Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let answer = match self.ways.way(connection.unwrap_or_default(), provider).await? {
            None => self.client.call(Method::POST, url, &headers, Some(body)).await,
            Some(proxy) => {
                let begun = Instant::now();
                let answer = self.client.call_through(&proxy, Method::POST, url, &headers, Some(body)).await;
                match &answer {
                    Ok(_) => self.ways.note(proxy.id(), None, begun.elapsed()).await,
                    Err(UpstreamError::Egress(error)) => {
                        self.ways.note(proxy.id(), Some(*error), begun.elapsed()).await;
                    }
                    // It did not come as far as the proxy.
                    Err(_) => {}
                }
                answer
            }
        };
        let answer = answer.map_err(|error| error.to_string())?;
        Ok((answer.status, answer.headers, answer.body))
    }
}

fn report(Inventory { connections, nodes }: &Inventory) -> ProviderReport {
    let count = |fits: fn(&ConnectionRecord) -> bool| {
        connections.iter().filter(|c| fits(c)).map(|c| c.provider.as_str()).collect::<BTreeSet<_>>().len()
    };
    ProviderReport {
        catalog: Catalog::builtin().len(),
        configured: count(|_| true),
        active: count(|connection| connection.is_active),
        monitored: count(|connection| connection.test.tested_at.is_some()),
        active_connections: connections.iter().filter(|connection| connection.is_active).count(),
        unreadable: connections.iter().any(|connection| connection.unopened.is_any()),
        nodes: nodes.iter().map(|node| node_health(node, connections)).collect(),
    }
}

fn node_health(node: &NodeRecord, connections: &[ConnectionRecord]) -> CustomProviderHealth {
    let tests = connections.iter().filter(|connection| connection.provider == node.id).map(|c| &c.test);
    let last: Option<&TestRecord> = tests.filter(|test| test.tested_at.is_some()).max_by_key(|test| test.tested_at);
    CustomProviderHealth {
        id: node.id.to_string(),
        prefix: node.prefix.clone(),
        is_healthy: last.map(|test| test.status == "active"),
        tested_at: last.and_then(|test| test.tested_at),
        latency_ms: last.and_then(|test| test.latency_ms),
    }
}
