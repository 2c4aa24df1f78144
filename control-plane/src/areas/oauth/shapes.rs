//! What signing in looks like in REST.

use std::collections::BTreeMap;

use omniroute_core::{settings::Secret, time::UnixMillis};
use omniroute_providers::OAuthFacts;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    Account,
    clients::{Client, ClientOptions, Source},
    listener::Listening,
    repair::Repaired,
    sign_in::{Beginning, Begun, DeviceBegun, Ending, Progress},
    tokens::TokenRow,
    variables::{Part, usual_name},
};
use crate::http::{Fields, FromFields};

const MAX_URL: usize = 2000;
const MAX_CODE: usize = 8_000;
const MAX_ID: usize = 200;
const MAX_SCOPES: usize = 100;

/// How a sign-in with a browser is begun.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuthorizeQuery {
    /// Where the browser comes back to; the client's own, or this gateway, when it is missing.
    redirect_uri: Option<String>,
    /// The connection to renew. Without it, signing in makes a new one.
    #[param(rename = "connectionId")]
    connection_id: Option<String>,
    /// Name of the new connection.
    name: Option<String>,
}

/// How a sign-in without a browser of ours is begun.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeviceQuery {
    /// The connection to renew. Without it, signing in makes a new one.
    #[param(rename = "connectionId")]
    connection_id: Option<String>,
    /// Name of the new connection.
    name: Option<String>,
}

/// How a sign-in with a port of its own is begun.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListenQuery {
    /// Port on this machine; any that is free, when it is missing and the client names none.
    pub(super) port: Option<u16>,
    /// The connection to renew. Without it, signing in makes a new one.
    #[param(rename = "connectionId")]
    connection_id: Option<String>,
    /// Name of the new connection.
    name: Option<String>,
}

/// Where a browser is to go.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct Authorization {
    auth_url: String,
    /// Ends the sign-in, once. Keep it from others.
    state: String,
    code_verifier: String,
    code_challenge: String,
    redirect_uri: String,
    /// `authorization_code_pkce`.
    flow_type: &'static str,
    callback_path: String,
    callback_host: String,
    expires_at: String,
}

/// As the sign-in with a browser, and the port that waits for it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct CallbackServer {
    auth_url: String,
    state: String,
    code_verifier: String,
    redirect_uri: String,
    server_port: u16,
}

/// What somebody types at the provider.
#[derive(Serialize, ToSchema)]
pub(super) struct DeviceCode {
    /// For `poll`; it is ours, the provider's own stays here.
    device_code: String,
    user_code: String,
    verification_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_uri_complete: Option<String>,
    /// Seconds.
    expires_in: u64,
    /// Seconds between two polls.
    interval: u64,
}

/// What ends a sign-in with a browser.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Exchange {
    /// As the browser brought it; `code#state` is taken apart.
    code: String,
    /// As `authorize` gave it.
    state: Option<String>,
    /// As `authorize` gave it; checked when it is there.
    redirect_uri: Option<String>,
    /// As `authorize` gave it; checked when it is there.
    #[schema(value_type = Option<String>)]
    code_verifier: Option<Secret>,
    /// The connection to renew, when the sign-in was begun for none.
    connection_id: Option<String>,
}

/// Which device code.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Poll {
    device_code: String,
    /// Kept for clients of the original: the gateway keeps the verifier itself.
    code_verifier: Option<String>,
    /// The connection to renew, when the sign-in was begun for none.
    connection_id: Option<String>,
}

/// Which sign-in.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct PollCallback {
    /// As it was given; the one whose port is open, when it is missing.
    pub(super) state: Option<String>,
    /// The connection to renew, when the sign-in was begun for none.
    pub(super) connection_id: Option<String>,
}

/// Which connection.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Refresh {
    pub(super) connection_id: String,
}

/// How a sign-in stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct SignedIn {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<SignedInAccount>,
    /// Ask again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct SignedInAccount {
    id: String,
    provider: String,
    name: String,
    email: Option<String>,
    display_name: Option<String>,
}

/// What became of a refresh.
#[derive(Serialize, ToSchema)]
pub(super) struct RefreshResult {
    pub(super) success: bool,
    /// Whether there is a new token.
    pub(super) refreshed: bool,
    /// Only signing in again helps.
    pub(super) expired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// The accounts of a provider.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenStates {
    pub(super) tokens: Vec<TokenState>,
}

/// How an account's token is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct TokenState {
    connection_id: String,
    /// `active`; `failing`, which is tried again; or `expired`: only signing in again helps.
    state: &'static str,
    /// Whether it is renewed by itself.
    refreshes: bool,
    expires_at: Option<String>,
    /// When it is renewed, or tried again.
    next_refresh_at: Option<String>,
    refreshed_at: String,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Registrations at providers.
#[derive(Serialize, ToSchema)]
pub(super) struct OAuthClients {
    pub(super) clients: Vec<OAuthClient>,
}

/// A registration at a provider, without its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct OAuthClient {
    provider: String,
    /// `settings` (REST), `environment` (variables of the process that answers), `copy` (made by a repair), or null when
    /// there is none.
    source: Option<&'static str>,
    client_id: Option<String>,
    has_client_secret: bool,
    /// Variables that hold it where it comes from the environment.
    variables: [String; 2],
    authorization_url: Option<String>,
    token_url: Option<String>,
    device_authorization_url: Option<String>,
    scopes: Vec<String>,
    redirect_uri: Option<String>,
    /// Ways to sign in: `authorization_code`, `device_code`.
    flows: Vec<&'static str>,
    /// The provider's page about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    docs: Option<&'static str>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A registration at a provider.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct PutClient {
    client_id: String,
    /// Missing for public clients. It is stored sealed and never shown.
    #[schema(value_type = Option<String>, format = "password")]
    client_secret: Option<Secret>,
    authorization_url: Option<String>,
    /// Whoever names it names the other endpoints too.
    token_url: Option<String>,
    device_authorization_url: Option<String>,
    /// The provider's usual ones, when they are missing.
    scopes: Option<Vec<String>>,
    /// Further parameters of the authorization URL.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    authorize_parameters: Option<BTreeMap<String, String>>,
    /// Where browsers come back to, as it is registered.
    redirect_uri: Option<String>,
    /// How the secret travels: `post` (in the body, the default) or `basic` (in a header).
    client_auth: Option<String>,
    /// What the token endpoint reads: `form` (the default) or `json`.
    token_format: Option<String>,
}

/// Whose registration is to be mended.
#[derive(ToSchema)]
pub(crate) struct Repair {
    /// Id or name of a provider (`claude-code`); all, when it is missing.
    pub(super) provider: Option<String>,
}

/// What a repair would do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct RepairStatus {
    /// Whether there is something to mend.
    available: bool,
    /// Variables that would be mended.
    repairable: Vec<String>,
    missing_count: usize,
    /// Variables that are lacking.
    missing_keys: Vec<String>,
}

/// What a repair did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct RepairResult {
    /// Whether nothing is lacking any more.
    success: bool,
    /// Variables that were mended.
    repaired: Vec<String>,
    /// Holds what was there before, sealed; null when nothing was changed.
    backup_path: Option<String>,
    missing_count: usize,
    missing_keys: Vec<String>,
}

// === impl AuthorizeQuery ===

impl FromFields for AuthorizeQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            redirect_uri: fields.text("redirect_uri", 1..=MAX_URL),
            connection_id: fields.text("connectionId", 1..=MAX_ID),
            name: fields.text("name", 1..=MAX_ID),
        }
    }
}

impl From<AuthorizeQuery> for Beginning {
    fn from(query: AuthorizeQuery) -> Self {
        Self { connection_id: query.connection_id, name: query.name, redirect_uri: query.redirect_uri }
    }
}

// === impl DeviceQuery ===

impl FromFields for DeviceQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { connection_id: fields.text("connectionId", 1..=MAX_ID), name: fields.text("name", 1..=MAX_ID) }
    }
}

impl From<DeviceQuery> for Beginning {
    fn from(query: DeviceQuery) -> Self {
        Self { connection_id: query.connection_id, name: query.name, redirect_uri: None }
    }
}

// === impl ListenQuery ===

impl FromFields for ListenQuery {
    fn read(fields: &mut Fields) -> Self {
        let port = fields.whole("port", 0..=u64::from(u16::MAX));
        Self {
            port: port.and_then(|port| u16::try_from(port).ok()),
            connection_id: fields.text("connectionId", 1..=MAX_ID),
            name: fields.text("name", 1..=MAX_ID),
        }
    }
}

impl From<ListenQuery> for Beginning {
    fn from(query: ListenQuery) -> Self {
        Self { connection_id: query.connection_id, name: query.name, redirect_uri: None }
    }
}

// === impl Authorization ===

impl From<Begun> for Authorization {
    fn from(begun: Begun) -> Self {
        let redirect = url::Url::parse(&begun.redirect_uri).ok();
        Self {
            auth_url: begun.url,
            state: begun.state,
            code_verifier: begun.verifier.expose().to_owned(),
            code_challenge: begun.challenge,
            flow_type: "authorization_code_pkce",
            callback_path: redirect.as_ref().map(|url| url.path().to_owned()).unwrap_or_default(),
            callback_host: redirect.as_ref().and_then(url::Url::host_str).unwrap_or_default().to_owned(),
            redirect_uri: begun.redirect_uri,
            expires_at: begun.expires_at.to_rfc3339(),
        }
    }
}

// === impl CallbackServer ===

impl From<Listening> for CallbackServer {
    fn from(listening: Listening) -> Self {
        let Listening { begun, port } = listening;
        Self {
            auth_url: begun.url,
            state: begun.state,
            code_verifier: begun.verifier.expose().to_owned(),
            redirect_uri: begun.redirect_uri,
            server_port: port,
        }
    }
}

// === impl DeviceCode ===

impl From<DeviceBegun> for DeviceCode {
    fn from(begun: DeviceBegun) -> Self {
        Self {
            device_code: begun.handle,
            user_code: begun.user_code,
            verification_uri: begun.verification_uri,
            verification_uri_complete: begun.verification_uri_complete,
            expires_in: begun.lifetime.as_secs(),
            interval: begun.interval.as_secs(),
        }
    }
}

// === impl Exchange ===

impl FromFields for Exchange {
    fn read(fields: &mut Fields) -> Self {
        let code = fields.required_text("code", 1..=MAX_CODE).trim().to_owned();
        let state = fields.nullable_text("state", 0..=500).set().filter(|state| !state.is_empty());
        if state.is_none() && !code.contains('#') {
            fields.refuse_unless_noted("state", "is needed, as authorize gave it");
        }
        Self {
            code,
            state,
            redirect_uri: fields.nullable_text("redirectUri", 0..=MAX_URL).set().filter(|uri| !uri.is_empty()),
            code_verifier: fields.nullable_text("codeVerifier", 0..=500).set().map(Secret::new).filter(Secret::is_set),
            connection_id: fields.nullable_text("connectionId", 0..=MAX_ID).set().filter(|id| !id.is_empty()),
        }
    }
}

impl From<Exchange> for Ending {
    fn from(body: Exchange) -> Self {
        let (code, state) = match (body.code.split_once('#'), body.state) {
            (Some((code, pasted)), state) => (code.to_owned(), state.unwrap_or_else(|| pasted.to_owned())),
            (None, state) => (body.code, state.unwrap_or_default()),
        };
        Self {
            code: Secret::new(code),
            state,
            redirect_uri: body.redirect_uri,
            verifier: body.code_verifier,
            connection_id: body.connection_id,
        }
    }
}

// === impl Poll ===

impl FromFields for Poll {
    fn read(fields: &mut Fields) -> Self {
        Self {
            device_code: fields.required_text("deviceCode", 1..=500).trim().to_owned(),
            code_verifier: fields.nullable_text("codeVerifier", 0..=500).set(),
            connection_id: fields.nullable_text("connectionId", 0..=MAX_ID).set().filter(|id| !id.is_empty()),
        }
    }
}

impl Poll {
    pub(super) fn into_parts(self) -> (String, Option<String>) {
        // What a client of the original sends along says nothing that is not stored.
        drop(self.code_verifier);
        (self.device_code, self.connection_id)
    }
}

// === impl PollCallback ===

impl FromFields for PollCallback {
    fn read(fields: &mut Fields) -> Self {
        Self {
            state: fields.nullable_text("state", 0..=500).set().filter(|state| !state.is_empty()),
            connection_id: fields.nullable_text("connectionId", 0..=MAX_ID).set().filter(|id| !id.is_empty()),
        }
    }
}

// === impl Refresh ===

impl FromFields for Refresh {
    fn read(fields: &mut Fields) -> Self {
        Self { connection_id: fields.required_text("connectionId", 1..=MAX_ID) }
    }
}

// === impl SignedIn ===

impl From<Account> for SignedIn {
    fn from(account: Account) -> Self {
        let Account { id, provider, name, email, display_name } = account;
        let connection = SignedInAccount { id, provider, name, email, display_name };
        Self { success: true, connection: Some(connection), pending: None, error: None, error_description: None }
    }
}

impl From<Progress> for SignedIn {
    fn from(progress: Progress) -> Self {
        let waiting = |pending, error, error_description| Self {
            success: false,
            connection: None,
            pending: Some(pending),
            error,
            error_description,
        };
        match progress {
            Progress::Done(account) => account.into(),
            Progress::Pending { error, description } => waiting(true, error.map(str::to_owned), description),
            Progress::Over { error, description } => waiting(false, Some(error), description),
        }
    }
}

// === impl TokenState ===

impl From<TokenRow> for TokenState {
    fn from(row: TokenRow) -> Self {
        let state = match (row.is_expired, row.failures) {
            (true, _) => "expired",
            (false, 0) => "active",
            (false, _) => "failing",
        };
        Self {
            connection_id: row.id,
            state,
            refreshes: !row.is_expired && matches!(row.refresh_token, Ok(Some(_))),
            expires_at: row.expires_at.map(UnixMillis::to_rfc3339),
            next_refresh_at: row.due_at.map(UnixMillis::to_rfc3339),
            refreshed_at: row.refreshed_at.to_rfc3339(),
            scope: row.scope,
            error: row.error,
        }
    }
}

// === impl OAuthClient ===

impl OAuthClient {
    pub(super) fn new(provider: &str, client: Result<Option<Client>, String>) -> Self {
        let facts = OAuthFacts::of(provider).filter(|facts| facts.id == provider);
        let (client, error) = match client {
            Ok(client) => (client, None),
            Err(error) => (None, Some(error)),
        };
        let options = client.as_ref().map(|client| client.options.clone()).unwrap_or_else(|| ClientOptions {
            authorization_url: facts.and_then(|facts| facts.authorization_url.clone()),
            token_url: facts.and_then(|facts| facts.token_url.clone()),
            device_authorization_url: facts.and_then(|facts| facts.device_authorization_url.clone()),
            scopes: facts.map(|facts| facts.scopes.clone()),
            ..ClientOptions::default()
        });
        let mut flows = Vec::new();
        if options.token_url.is_some() && options.authorization_url.is_some() {
            flows.push("authorization_code");
        }
        if options.token_url.is_some() && options.device_authorization_url.is_some() {
            flows.push("device_code");
        }
        Self {
            provider: provider.to_owned(),
            source: client.as_ref().map(|client| match client.source {
                Source::Settings => "settings",
                Source::Environment => "environment",
                Source::Copy => "copy",
            }),
            has_client_secret: client.as_ref().is_some_and(|client| client.secret.is_set()),
            client_id: client.map(|client| client.id),
            variables: [usual_name(provider, Part::ClientId), usual_name(provider, Part::ClientSecret)],
            authorization_url: options.authorization_url,
            token_url: options.token_url,
            device_authorization_url: options.device_authorization_url,
            scopes: options.scopes.unwrap_or_default(),
            redirect_uri: options.redirect_uri,
            flows,
            docs: facts.map(|facts| facts.docs.as_str()),
            error,
        }
    }
}

// === impl PutClient ===

impl FromFields for PutClient {
    fn read(fields: &mut Fields) -> Self {
        let url = |fields: &mut Fields, name: &'static str| {
            fields.nullable_text(name, 0..=MAX_URL).set().map(|url| url.trim().to_owned()).filter(|url| !url.is_empty())
        };
        Self {
            client_id: fields.required_text("clientId", 1..=500).trim().to_owned(),
            client_secret: fields
                .nullable_text("clientSecret", 0..=10_000)
                .set()
                .map(Secret::new)
                .filter(Secret::is_set),
            authorization_url: url(fields, "authorizationUrl"),
            token_url: url(fields, "tokenUrl"),
            device_authorization_url: url(fields, "deviceAuthorizationUrl"),
            scopes: fields.texts("scopes", 0..=MAX_SCOPES, 200),
            authorize_parameters: parameters(fields),
            redirect_uri: url(fields, "redirectUri"),
            client_auth: fields.choice("clientAuth", &["post", "basic"]),
            token_format: fields.choice("tokenFormat", &["form", "json"]),
        }
    }
}

fn parameters(fields: &mut Fields) -> Option<BTreeMap<String, String>> {
    let object = fields.object("authorizeParameters")?;
    let mut parameters = BTreeMap::new();
    if object.len() > 20 {
        fields.refuse("authorizeParameters", "must have at most 20 entries");
    }
    for (name, value) in object {
        match value {
            Value::String(value) if value.chars().count() <= 500 => drop(parameters.insert(name, value)),
            _ => fields.refuse(&format!("authorizeParameters.{name}"), "expected a string of at most 500 characters"),
        }
    }
    Some(parameters)
}

impl PutClient {
    pub(super) fn into_parts(self) -> (String, Secret, ClientOptions) {
        let options = ClientOptions {
            authorization_url: self.authorization_url,
            token_url: self.token_url,
            device_authorization_url: self.device_authorization_url,
            scopes: self.scopes,
            authorize_parameters: self.authorize_parameters.unwrap_or_default(),
            redirect_uri: self.redirect_uri,
            basic_auth: self.client_auth.as_deref() == Some("basic"),
            json_requests: self.token_format.as_deref() == Some("json"),
        };
        (self.client_id, self.client_secret.unwrap_or_default(), options)
    }
}

// === impl Repair ===

impl FromFields for Repair {
    fn read(fields: &mut Fields) -> Self {
        Self { provider: fields.nullable_text("provider", 0..=MAX_ID).set().filter(|name| !name.trim().is_empty()) }
    }
}

// === impl RepairStatus ===

impl RepairStatus {
    pub(super) fn new(repairable: Vec<String>, missing_keys: Vec<String>) -> Self {
        Self { available: !repairable.is_empty(), repairable, missing_count: missing_keys.len(), missing_keys }
    }
}

// === impl RepairResult ===

impl From<Repaired> for RepairResult {
    fn from(done: Repaired) -> Self {
        Self {
            success: done.missing.is_empty(),
            repaired: done.repaired,
            backup_path: done.backup.map(|path| path.display().to_string()),
            missing_count: done.missing.len(),
            missing_keys: done.missing,
        }
    }
}
