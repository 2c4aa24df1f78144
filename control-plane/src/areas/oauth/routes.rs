//! `/api/oauth` and `/api/system/env/repair`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, State},
    response::Response,
};
use omniroute_core::address::AddressPolicy;
use omniroute_providers::OAuthFacts;

use super::{
    OAuth,
    clients::ClientOptions,
    listener,
    refresher::{Need, Refreshed},
    shapes::{
        Authorization, AuthorizeQuery, CallbackServer, DeviceCode, DeviceQuery, Exchange, ListenQuery, OAuthClient,
        OAuthClients, Poll, PollCallback, PutClient, Refresh, RefreshResult, Repair, RepairResult, RepairStatus,
        SignedIn, TokenStates,
    },
    tokens::Tokens,
};
use crate::{
    http::{
        ApiError, Detail, ErrorBody,
        extract::{self, OptionalJson, Path, Query},
        shapes::Message,
    },
    store::records::Actor,
};

/// Begin a sign-in with a browser.
///
/// Send a browser to `authUrl`. What it comes back with goes to `exchange`; where it comes back to this gateway
/// (`/api/oauth/callback`, the usual `redirect_uri`), ask `poll-callback` with the `state`.
#[utoipa::path(
    get,
    path = "/api/oauth/{provider}/authorize",
    tag = "OAuth",
    params(("provider" = String, Path), AuthorizeQuery),
    responses(
        (status = 200, body = Authorization),
        (status = 400, description = "There is no client, or no way to sign in", body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 429, body = ErrorBody),
    )
)]
pub(super) async fn authorize(
    State(oauth): State<Arc<OAuth>>,
    Path(provider): Path<String>,
    Query(query): Query<AuthorizeQuery>,
) -> Result<Json<Authorization>, ApiError> {
    let provider = oauth.provider(&provider).await?;
    Ok(Json(oauth.authorize(&provider, query.into()).await?.into()))
}

/// Begin a sign-in in which somebody types a code at the provider.
///
/// Show `user_code` and `verification_uri`, then ask `poll`.
#[utoipa::path(
    get,
    path = "/api/oauth/{provider}/device-code",
    tag = "OAuth",
    params(("provider" = String, Path), DeviceQuery),
    responses(
        (status = 200, body = DeviceCode),
        (status = 400, description = "There is no client, or the provider has no such flow", body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 429, body = ErrorBody),
        (status = 502, body = ErrorBody),
    )
)]
pub(super) async fn device_code(
    State(oauth): State<Arc<OAuth>>,
    Path(provider): Path<String>,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<DeviceCode>, ApiError> {
    let provider = oauth.provider(&provider).await?;
    Ok(Json(oauth.device_code(&provider, query.into()).await?.into()))
}

/// Begin a sign-in whose browser comes back to a port of this machine.
///
/// For providers that let applications come back to a loopback address only. The port is open for five minutes; ask
/// `poll-callback`.
#[utoipa::path(
    get,
    path = "/api/oauth/{provider}/start-callback-server",
    tag = "OAuth",
    params(("provider" = String, Path), ListenQuery),
    responses(
        (status = 200, body = CallbackServer),
        (status = 400, description = "There is no client, or no way to sign in", body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, description = "The port is taken", body = ErrorBody),
        (status = 429, body = ErrorBody),
    )
)]
pub(super) async fn start_callback_server(
    State(oauth): State<Arc<OAuth>>,
    Path(provider): Path<String>,
    Query(query): Query<ListenQuery>,
) -> Result<Json<CallbackServer>, ApiError> {
    let provider = oauth.provider(&provider).await?;
    let port = query.port;
    Ok(Json(oauth.listen(&provider, port, query.into()).await?.into()))
}

/// End a sign-in with the code that the browser came back with.
///
/// The connection that the sign-in was begun for is renewed; without one, a new connection is made.
#[utoipa::path(
    post,
    path = "/api/oauth/{provider}/exchange",
    tag = "OAuth",
    params(("provider" = String, Path)),
    request_body = Exchange,
    responses(
        (status = 200, body = SignedIn),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 502, description = "The provider does not answer", body = ErrorBody),
    )
)]
pub(super) async fn exchange(
    State(oauth): State<Arc<OAuth>>,
    actor: Actor,
    Path(provider): Path<String>,
    extract::Json(body): extract::Json<Exchange>,
) -> Result<Json<SignedIn>, ApiError> {
    let provider = oauth.provider(&provider).await?;
    Ok(Json(oauth.exchange(&actor, &provider, body.into()).await?.into()))
}

/// Ask whether somebody has typed the code.
#[utoipa::path(
    post,
    path = "/api/oauth/{provider}/poll",
    tag = "OAuth",
    params(("provider" = String, Path)),
    request_body = Poll,
    responses(
        (status = 200, description = "Also while it is pending, and when it is over; see `success`", body = SignedIn),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn poll(
    State(oauth): State<Arc<OAuth>>,
    actor: Actor,
    Path(provider): Path<String>,
    extract::Json(body): extract::Json<Poll>,
) -> Result<Json<SignedIn>, ApiError> {
    let provider = oauth.provider(&provider).await?;
    let (handle, connection_id) = body.into_parts();
    Ok(Json(oauth.poll(&actor, &provider, &handle, connection_id).await?.into()))
}

/// Ask whether the browser came back.
#[utoipa::path(
    post,
    path = "/api/oauth/{provider}/poll-callback",
    tag = "OAuth",
    params(("provider" = String, Path)),
    request_body(content = PollCallback),
    responses(
        (status = 200, description = "Also while it is pending, and when it is over; see `success`", body = SignedIn),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 502, description = "The provider does not answer", body = ErrorBody),
    )
)]
pub(super) async fn poll_callback(
    State(oauth): State<Arc<OAuth>>,
    actor: Actor,
    Path(provider): Path<String>,
    OptionalJson(body): OptionalJson<PollCallback>,
) -> Result<Json<SignedIn>, ApiError> {
    let provider = oauth.provider(&provider).await?;
    Ok(Json(oauth.poll_callback(&actor, &provider, body.state, body.connection_id).await?.into()))
}

/// Where browsers come back to.
///
/// Shows a page to whoever sits in front of the browser. The `state` says which sign-in it belongs to.
#[utoipa::path(
    get,
    path = "/api/oauth/callback",
    tag = "OAuth",
    security(()),
    params(
        ("state" = Option<String>, Query),
        ("code" = Option<String>, Query),
        ("error" = Option<String>, Query),
        ("error_description" = Option<String>, Query),
    ),
    responses((status = 200, body = String, content_type = "text/html"))
)]
pub(super) async fn callback(State(oauth): State<Arc<OAuth>>, RawQuery(query): RawQuery) -> Response {
    listener::page(&oauth, query.as_deref().unwrap_or_default()).await
}

/// Renew a connection's token now.
#[utoipa::path(
    post,
    path = "/api/oauth/{provider}/refresh",
    tag = "OAuth",
    params(("provider" = String, Path)),
    request_body = Refresh,
    responses(
        (status = 200, description = "Also when it could not be renewed; see `success`", body = RefreshResult),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, description = "Nobody has signed in to such a connection", body = ErrorBody),
    )
)]
pub(super) async fn refresh(
    State(oauth): State<Arc<OAuth>>,
    Path(provider): Path<String>,
    extract::Json(body): extract::Json<Refresh>,
) -> Result<Json<RefreshResult>, ApiError> {
    let provider = oauth.provider(&provider).await?;
    let row = Tokens::of(&oauth.store).get(&body.connection_id).await?;
    if row.is_none_or(|row| row.provider != provider) {
        return Err(ApiError::not_found("Connection"));
    }
    let outcome = oauth.refresher.refresh(&body.connection_id, Need::Now).await;
    let (refreshed, expired, error) = match outcome {
        Refreshed::Renewed => (true, false, None),
        Refreshed::Current => (false, false, None),
        Refreshed::Expired(error) => (false, true, Some(error)),
        Refreshed::Failed(error) => (false, false, Some(error)),
    };
    Ok(Json(RefreshResult { success: error.is_none(), refreshed, expired, error }))
}

/// How the tokens of a provider's accounts are.
#[utoipa::path(
    get,
    path = "/api/oauth/{provider}/status",
    tag = "OAuth",
    params(("provider" = String, Path)),
    responses((status = 200, body = TokenStates), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn status(
    State(oauth): State<Arc<OAuth>>,
    Path(provider): Path<String>,
) -> Result<Json<TokenStates>, ApiError> {
    let provider = oauth.provider(&provider).await?;
    let rows = Tokens::of(&oauth.store).of_provider(&provider).await?;
    Ok(Json(TokenStates { tokens: rows.into_iter().map(Into::into).collect() }))
}

/// Registrations at providers, and where one can sign in.
#[utoipa::path(
    get,
    path = "/api/oauth/clients",
    tag = "OAuth",
    responses((status = 200, body = OAuthClients), (status = 401, body = ErrorBody))
)]
pub(super) async fn clients(State(oauth): State<Arc<OAuth>>) -> Result<Json<OAuthClients>, ApiError> {
    let mut providers: Vec<String> = OAuthFacts::all().iter().map(|facts| facts.id.clone()).collect();
    providers.extend(oauth.clients.stored().await?);
    providers.sort();
    providers.dedup();
    let mut clients = Vec::with_capacity(providers.len());
    for provider in providers {
        let client = oauth.clients.find(&provider).await.map_err(|error| error.to_string());
        clients.push(OAuthClient::new(&provider, client));
    }
    Ok(Json(OAuthClients { clients }))
}

/// Set the registration at a provider.
///
/// It replaces the one there is, and counts before what the environment says. Accounts that could not be renewed are tried
/// again.
#[utoipa::path(
    put,
    path = "/api/oauth/{provider}/client",
    tag = "OAuth",
    params(("provider" = String, Path)),
    request_body = PutClient,
    responses(
        (status = 200, body = OAuthClient),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn put_client(
    State(oauth): State<Arc<OAuth>>,
    actor: Actor,
    Path(provider): Path<String>,
    extract::Json(body): extract::Json<PutClient>,
) -> Result<Json<OAuthClient>, ApiError> {
    let provider = oauth.provider(&provider).await?;
    let (id, secret, options) = body.into_parts();
    let policy = AddressPolicy::from_allow_private(oauth.store.allow_private_upstreams());
    check_endpoints(&options, policy)?;
    oauth.clients.put(&provider, false, &id, &secret, &options).await?;
    tracing::info!(provider, actor = actor.name, "an OAuth client was set");
    Tokens::of(&oauth.store).retry(&provider, oauth.clock.now()).await?;
    let client = oauth.clients.find(&provider).await.map_err(|error| error.to_string());
    Ok(Json(OAuthClient::new(&provider, client)))
}

fn check_endpoints(options: &ClientOptions, policy: AddressPolicy) -> Result<(), ApiError> {
    let urls = [
        ("authorizationUrl", &options.authorization_url),
        ("tokenUrl", &options.token_url),
        ("deviceAuthorizationUrl", &options.device_authorization_url),
    ];
    let mut details = Vec::new();
    for (field, url) in urls {
        let Some(url) = url else { continue };
        let message = match policy.check_url(url) {
            // In the clear, secrets go no further than where the operator lets private addresses be.
            Ok(parsed) if parsed.scheme() != "https" && policy == AddressPolicy::PublicOnly => {
                "must start with https://".to_owned()
            }
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        details.push(Detail { field: field.to_owned(), message });
    }
    if details.is_empty() { Ok(()) } else { Err(ApiError::invalid(details)) }
}

/// Take back the registration at a provider.
///
/// What the environment says counts again. Accounts keep their tokens, and are renewed where there is still a client.
#[utoipa::path(
    delete,
    path = "/api/oauth/{provider}/client",
    tag = "OAuth",
    params(("provider" = String, Path)),
    responses((status = 200, body = Message), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn delete_client(
    State(oauth): State<Arc<OAuth>>,
    actor: Actor,
    Path(provider): Path<String>,
) -> Result<Json<Message>, ApiError> {
    let provider = oauth.provider(&provider).await?;
    if !oauth.clients.delete(&provider).await? {
        return Err(ApiError::not_found("OAuth client"));
    }
    tracing::info!(provider, actor = actor.name, "an OAuth client was taken back");
    Ok(Json(Message::new("OAuth client deleted successfully")))
}

/// What is wrong with the registrations in the environment.
#[utoipa::path(
    get,
    path = "/api/system/env/repair",
    tag = "OAuth",
    responses((status = 200, body = RepairStatus), (status = 401, body = ErrorBody))
)]
pub(super) async fn repair_status(State(oauth): State<Arc<OAuth>>) -> Result<Json<RepairStatus>, ApiError> {
    let (repairable, missing) = oauth.examine().await?;
    Ok(Json(RepairStatus::new(repairable, missing)))
}

/// Mend the registrations in the environment.
///
/// A process cannot change its environment: what a variable should say is stored, sealed, and what was stored before is
/// kept in a backup.
#[utoipa::path(
    post,
    path = "/api/system/env/repair",
    tag = "OAuth",
    request_body(content = Repair),
    responses(
        (status = 200, body = RepairResult),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, description = "No such provider", body = ErrorBody),
    )
)]
pub(super) async fn repair(
    State(oauth): State<Arc<OAuth>>,
    actor: Actor,
    OptionalJson(body): OptionalJson<Repair>,
) -> Result<Json<RepairResult>, ApiError> {
    let provider = match &body.provider {
        Some(name) => Some(oauth.provider(name.trim()).await?),
        None => None,
    };
    Ok(Json(oauth.mend(&actor, provider).await?.into()))
}
