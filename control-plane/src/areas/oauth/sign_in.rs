//! What is decided about sign-ins: how one begins, what ends it, and which connection it is for.
//!
//! A sign-in renews the connection that it was begun for, by its id, and is for a new one where it was begun for none: an
//! account's e-mail address says nothing of which connection is meant.

use std::{sync::Arc, time::Duration};

use omniroute_core::{settings::Secret, time::UnixMillis};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Account, NewAccount, OAuth, Shown,
    clients::Client,
    endpoint::{self, EndpointError, Parameters, TokenAnswer, challenge, random},
    flows::{Flow, Flows, Kind},
    identity::{Identity, identity},
    refresher::origin,
    tokens,
    variables::{Part, usual_name},
};
use crate::{
    http::{ApiError, Code},
    store::{StoreError, records::Actor},
};

/// How long a browser may take.
const BROWSER: Duration = Duration::from_mins(10);

/// A provider that is asked too often is asked so much less often.
const SLOWER_MS: u64 = 5_000;
const SLOWEST_MS: u64 = 60_000;

/// Parameters of the authorization URL that nobody sets but we.
const OURS: [&str; 8] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What a sign-in is begun with.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// The connection to renew; `None` means a new one.
    pub(super) connection_id: Option<String>,
    /// Of the new connection.
    pub(super) name: Option<String>,
    pub(super) redirect_uri: Option<String>,
}

/// A sign-in that a browser goes on with.
pub(super) struct Begun {
    pub(super) url: String,
    pub(super) state: String,
    pub(super) verifier: Secret,
    pub(super) challenge: String,
    pub(super) redirect_uri: String,
    pub(super) expires_at: UnixMillis,
}

/// A sign-in that somebody goes on with who types a code.
pub(super) struct DeviceBegun {
    pub(super) handle: String,
    pub(super) user_code: String,
    pub(super) verification_uri: String,
    pub(super) verification_uri_complete: Option<String>,
    pub(super) lifetime: Duration,
    pub(super) interval: Duration,
}

/// How a sign-in stands.
pub(super) enum Progress {
    Done(Account),
    Pending { error: Option<&'static str>, description: Option<String> },
    Over { error: String, description: Option<String> },
}

/// What a browser came back with.
#[derive(Debug)]
pub(super) struct CameBack {
    pub(super) state: String,
    pub(super) code: Option<Secret>,
    pub(super) error: Option<String>,
    pub(super) description: Option<String>,
}

/// What ends a sign-in with a code.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) code: Secret,
    pub(super) state: String,
    pub(super) redirect_uri: Option<String>,
    pub(super) verifier: Option<Secret>,
    pub(super) connection_id: Option<String>,
}

// === impl Progress ===

impl Progress {
    fn over(error: &str, description: &str) -> Self {
        Self::Over { error: error.to_owned(), description: Some(description.to_owned()) }
    }
}

// === impl OAuth ===

impl OAuth {
    /// The registration at a provider.
    pub(super) async fn client(&self, provider: &str) -> Result<Client, ApiError> {
        match self.clients.find(provider).await {
            Ok(Some(client)) => Ok(client),
            Ok(None) => Err(ApiError::invalid_field(
                "provider",
                format!(
                    "there is no OAuth client for {provider}: register an application there, and set {} (and {}), or PUT \
                     /api/oauth/{provider}/client",
                    usual_name(provider, Part::ClientId),
                    usual_name(provider, Part::ClientSecret),
                ),
            )),
            Err(StoreError::Corrupt(reason)) => Err(ApiError::invalid_field("provider", reason)),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins a sign-in with a browser.
    ///
    /// # Errors
    /// 400 where the provider cannot be signed in at that way, 404 for a connection that there is not.
    pub(super) async fn authorize(&self, provider: &str, beginning: Beginning) -> Result<Begun, ApiError> {
        let client = self.client(provider).await?;
        self.check_connection(provider, beginning.connection_id.as_deref()).await?;
        let usual = || client.options.redirect_uri.clone();
        let redirect_uri = beginning.redirect_uri.or_else(usual).unwrap_or_else(|| self.own_callback());
        check_redirect(&redirect_uri)?;
        let mut url = client.authorization_url().map_err(|error| ApiError::invalid_field("provider", error))?;
        let (verifier, nonce) = (Secret::new(random()), nonce(&client));
        let challenge = challenge(verifier.expose());
        let expires_at = self.clock.now().saturating_add(BROWSER);
        let flow = Flow {
            kind: Kind::Code,
            provider: provider.to_owned(),
            connection_id: beginning.connection_id,
            name: beginning.name,
            redirect_uri: redirect_uri.clone(),
            nonce: nonce.clone(),
            verifier: verifier.clone(),
            code: None,
            error: None,
            interval_ms: 0,
            next_poll_at: UnixMillis(0),
            expires_at,
        };
        let state = Flows::of(&self.store).begin(&flow).await?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("response_type", "code").append_pair("client_id", &client.id);
            query.append_pair("redirect_uri", &redirect_uri);
            if !client.scope().is_empty() {
                query.append_pair("scope", &client.scope());
            }
            query.append_pair("state", &state);
            query.append_pair("code_challenge", &challenge).append_pair("code_challenge_method", "S256");
            if !nonce.is_empty() {
                query.append_pair("nonce", &nonce);
            }
            let further = client.options.authorize_parameters.iter();
            for (name, value) in further.filter(|(name, _)| !OURS.contains(&name.as_str())) {
                query.append_pair(name, value);
            }
        }
        Ok(Begun { url: url.into(), state, verifier, challenge, redirect_uri, expires_at })
    }

    /// Ends it with the code that the browser came back with.
    ///
    /// # Errors
    /// 400 when it does not belong to a sign-in that is under way, or the provider refuses it.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        actor: &Actor,
        provider: &str,
        ending: Ending,
    ) -> Result<Account, ApiError> {
        // Looked at before it is taken: a slip does not end a sign-in.
        let flows = Flows::of(&self.store);
        let flow = flows.get(&ending.state).await?;
        let Some(flow) = flow.filter(|flow| flow.kind == Kind::Code && flow.provider == provider) else {
            return Err(ApiError::invalid_field(
                "state",
                "belongs to no sign-in that is under way; begin again with authorize",
            ));
        };
        if ending.redirect_uri.as_ref().is_some_and(|given| *given != flow.redirect_uri) {
            return Err(ApiError::invalid_field("redirectUri", "is not the one that the sign-in was begun with"));
        }
        if ending.verifier.as_ref().is_some_and(|given| *given != flow.verifier) {
            return Err(ApiError::invalid_field("codeVerifier", "is not the one that the sign-in was begun with"));
        }
        check_same(&flow, ending.connection_id.as_deref())?;
        self.check_connection(provider, ending.connection_id.as_deref()).await?;
        let Some(mut flow) = flows.take(&ending.state).await? else {
            return Err(ApiError::invalid_field("state", "was used already; begin again with authorize"));
        };
        flow.connection_id = flow.connection_id.or(ending.connection_id);
        self.finish(actor, flow, ending.code).await
    }

    /// Keeps what a browser came back with, for whoever asks how the sign-in stands.
    ///
    /// # Errors
    /// When the database fails. `false`: nobody waits for it.
    pub(super) async fn came_back(&self, back: &CameBack) -> Result<bool, ApiError> {
        let error = match (&back.code, &back.error) {
            (_, Some(error)) => Some((error.as_str(), back.description.as_deref())),
            (None, None) => Some(("no_code", Some("No authorization code received"))),
            (Some(_), None) => None,
        };
        let code = back.code.as_ref().filter(|_| error.is_none());
        Ok(Flows::of(&self.store).came_back(&back.state, code, error).await?)
    }

    /// How a sign-in stands whose browser comes back to us.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub(super) async fn poll_callback(
        self: &Arc<Self>,
        actor: &Actor,
        provider: &str,
        state: Option<String>,
        connection_id: Option<String>,
    ) -> Result<Progress, ApiError> {
        let Some(state) = state.or_else(|| self.listeners.state_of(provider)) else {
            return Ok(Progress::over("no_server", "Callback server not running"));
        };
        let flows = Flows::of(&self.store);
        let flow = flows.get(&state).await?.filter(|flow| flow.kind == Kind::Code && flow.provider == provider);
        let Some(flow) = flow else {
            return Ok(Progress::over("expired_token", "The sign-in is over; begin again"));
        };
        check_same(&flow, connection_id.as_deref())?;
        if flow.code.is_none() && flow.error.is_none() {
            return Ok(Progress::Pending { error: None, description: None });
        }
        self.check_connection(provider, connection_id.as_deref()).await?;
        let Some(mut flow) = flows.take(&state).await? else {
            return Ok(Progress::over("expired_token", "The sign-in was ended already"));
        };
        self.listeners.close(provider, &state);
        if let Some((error, description)) = flow.error {
            return Ok(Progress::Over { error, description });
        }
        flow.connection_id = flow.connection_id.or(connection_id);
        let code = flow.code.clone().unwrap_or_default();
        self.finish(actor, flow, code).await.map(Progress::Done)
    }

    /// Begins a sign-in in which somebody types a code.
    ///
    /// # Errors
    /// As [`Self::authorize`]; 502 when the provider does not answer.
    pub(super) async fn device_code(&self, provider: &str, beginning: Beginning) -> Result<DeviceBegun, ApiError> {
        let client = self.client(provider).await?;
        self.check_connection(provider, beginning.connection_id.as_deref()).await?;
        client.device_authorization_url().map_err(|error| ApiError::invalid_field("provider", error))?;
        let mut parameters = Parameters::new();
        if !client.scope().is_empty() {
            parameters.push(("scope", Zeroizing::new(client.scope())));
        }
        let answer =
            endpoint::device_code(&*self.transport, &client, beginning.connection_id.as_deref(), parameters).await;
        let answer = answer.map_err(|error| refused(&error, "provider"))?;
        let now = self.clock.now();
        let flow = Flow {
            kind: Kind::Device,
            provider: provider.to_owned(),
            connection_id: beginning.connection_id,
            name: beginning.name,
            redirect_uri: String::new(),
            nonce: String::new(),
            verifier: Secret::default(),
            code: Some(answer.device_code),
            error: None,
            interval_ms: u64::try_from(answer.interval.as_millis()).unwrap_or(SLOWEST_MS),
            next_poll_at: now,
            expires_at: now.saturating_add(answer.lifetime),
        };
        Ok(DeviceBegun {
            handle: Flows::of(&self.store).begin(&flow).await?,
            user_code: answer.user_code,
            verification_uri: answer.verification_uri,
            verification_uri_complete: answer.verification_uri_complete,
            lifetime: answer.lifetime,
            interval: answer.interval,
        })
    }

    /// How it stands. The provider is asked no more often than it wants to be.
    ///
    /// # Errors
    /// 404 for a connection that there is not.
    pub(super) async fn poll(
        self: &Arc<Self>,
        actor: &Actor,
        provider: &str,
        handle: &str,
        connection_id: Option<String>,
    ) -> Result<Progress, ApiError> {
        let flows = Flows::of(&self.store);
        let flow = flows.get(handle).await?.filter(|flow| flow.kind == Kind::Device && flow.provider == provider);
        let Some(mut flow) = flow else {
            return Ok(Progress::over("expired_token", "The device code is over; begin again with device-code"));
        };
        check_same(&flow, connection_id.as_deref())?;
        flow.connection_id = flow.connection_id.or(connection_id);
        self.check_connection(provider, flow.connection_id.as_deref()).await?;
        let client = self.client(provider).await?;
        let next = self.clock.now().saturating_add(Duration::from_millis(flow.interval_ms));
        if !flows.take_turn(handle, next).await? {
            return Ok(Progress::Pending { error: Some("slow_down"), description: None });
        }
        let oauth = Arc::clone(self);
        let (actor, handle) = (actor.clone(), handle.to_owned());
        in_its_own_task(async move { oauth.ask_for_device(&actor, &client, &handle, flow).await }).await
    }

    async fn ask_for_device(
        &self,
        actor: &Actor,
        client: &Client,
        handle: &str,
        flow: Flow,
    ) -> Result<Progress, ApiError> {
        let flows = Flows::of(&self.store);
        let code = flow.code.clone().unwrap_or_default();
        let parameters = vec![
            ("grant_type", Zeroizing::new(DEVICE_CODE.to_owned())),
            ("device_code", Zeroizing::new(code.expose().to_owned())),
        ];
        match endpoint::tokens(&*self.transport, client, flow.connection_id.as_deref(), parameters).await {
            Ok(answer) => {
                flows.take(handle).await?;
                self.keep(actor, client, &flow, &answer).await.map(Progress::Done)
            }
            Err(EndpointError::Refused { error, .. }) if error == "authorization_pending" => {
                Ok(Progress::Pending { error: Some("authorization_pending"), description: None })
            }
            Err(EndpointError::Refused { error, .. }) if error == "slow_down" => {
                flows.slow_down(handle, (flow.interval_ms + SLOWER_MS).min(SLOWEST_MS)).await?;
                Ok(Progress::Pending { error: Some("slow_down"), description: None })
            }
            Err(EndpointError::Refused { error, description }) => {
                flows.take(handle).await?;
                Ok(Progress::Over { error, description })
            }
            Err(error) => {
                Ok(Progress::Pending { error: Some("temporarily_unavailable"), description: Some(error.to_string()) })
            }
        }
    }

    /// Ends a sign-in with a code. Whoever asked may leave: the code counts once, so what it brings is kept.
    async fn finish(self: &Arc<Self>, actor: &Actor, flow: Flow, code: Secret) -> Result<Account, ApiError> {
        let oauth = Arc::clone(self);
        let actor = actor.clone();
        in_its_own_task(async move {
            let client = oauth.client(&flow.provider).await?;
            let parameters = vec![
                ("grant_type", Zeroizing::new("authorization_code".to_owned())),
                ("code", Zeroizing::new(code.expose().to_owned())),
                ("redirect_uri", Zeroizing::new(flow.redirect_uri.clone())),
                ("code_verifier", Zeroizing::new(flow.verifier.expose().to_owned())),
            ];
            let answer = endpoint::tokens(&*oauth.transport, &client, flow.connection_id.as_deref(), parameters).await;
            let answer = answer.map_err(|error| refused(&error, "code"))?;
            oauth.keep(&actor, &client, &flow, &answer).await
        })
        .await
    }

    /// Makes tokens a connection: the access token and what renews it, in one transaction.
    async fn keep(
        &self,
        actor: &Actor,
        client: &Client,
        flow: &Flow,
        answer: &TokenAnswer,
    ) -> Result<Account, ApiError> {
        let who = match &answer.id_token {
            Some(token) if client.asks_for_identity() => identity(token, &client.id, &flow.nonce, self.clock.now())
                .map_err(|error| ApiError::invalid_field("code", error))?,
            _ => Identity::default(),
        };
        let url = client.token_url().map_err(|error| ApiError::invalid_field("provider", error))?;
        let refreshes = answer.refresh_token.is_some();
        let mut write = self.store.write(actor).await?;
        let account = match &flow.connection_id {
            Some(id) => {
                self.credentials.put(&mut write, id, &answer.access_token, refreshes).await?;
                self.accounts.find(id).await?.ok_or_else(|| ApiError::not_found("Connection"))?
            }
            None => {
                let account = NewAccount {
                    provider: flow.provider.clone(),
                    name: flow.name.clone(),
                    email: who.email,
                    display_name: who.name,
                    token: answer.access_token.clone(),
                    refreshes,
                };
                self.accounts.create(&mut write, account).await?
            }
        };
        tokens::put(&mut write, &account.id, &flow.provider, &origin(&url), answer, &client.scope()).await?;
        write.commit().await?;
        self.credentials.show(&account.id, Shown::Active).await?;
        self.accounts.signed_in(&account.id).await;
        tracing::info!(connection = account.id, provider = flow.provider, actor = actor.name, "somebody has signed in");
        Ok(account)
    }

    async fn check_connection(&self, provider: &str, id: Option<&str>) -> Result<(), ApiError> {
        let Some(id) = id else { return Ok(()) };
        let found = self.accounts.find(id).await?;
        match found.filter(|account| account.provider == provider) {
            Some(_) => Ok(()),
            None => Err(ApiError::not_found("Connection")),
        }
    }

    /// Where a browser on this machine comes back to us.
    fn own_callback(&self) -> String {
        format!("http://localhost:{}/api/oauth/callback", self.port)
    }
}

/// Lets work go on when whoever asked for it leaves.
async fn in_its_own_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => Err(ApiError::internal(&error)),
    }
}

/// A sign-in has an ID token's nonce where one is asked for.
fn nonce(client: &Client) -> String {
    if client.asks_for_identity() { random() } else { String::new() }
}

fn check_same(flow: &Flow, connection_id: Option<&str>) -> Result<(), ApiError> {
    match (&flow.connection_id, connection_id) {
        (Some(begun), Some(ends)) if begun != ends => {
            Err(ApiError::invalid_field("connectionId", "is not the one that the sign-in was begun for"))
        }
        _ => Ok(()),
    }
}

fn check_redirect(uri: &str) -> Result<(), ApiError> {
    let is_good = Url::parse(uri).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.fragment().is_none()
            && url.username().is_empty()
    });
    match is_good {
        true => Ok(()),
        false => Err(ApiError::invalid_field("redirect_uri", "must be an http or https URL without a fragment")),
    }
}

fn refused(error: &EndpointError, field: &str) -> ApiError {
    match error {
        EndpointError::Refused { .. } => {
            ApiError::invalid_field(field, format!("the provider refused it ({error}); begin again"))
        }
        EndpointError::Busy { .. } | EndpointError::Failed(_) => {
            ApiError::new(Code::UpstreamUnreachable, format!("The provider cannot be signed in at now: {error}"))
        }
    }
}
