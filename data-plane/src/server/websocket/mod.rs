//! `GET /v1/ws`: many requests over one socket.
//!
//! [`open`] answers what comes as HTTP: a description of the protocol (`?handshake=1`), or the [`upgrade`]. A [`session`] reads
//! [`frames`] and what they say ([`message`]), runs each request through the very steps of an HTTP request ([`call`]), and writes
//! what comes out as frames that carry the request's id.

mod call;
mod frames;
mod message;
mod session;
mod upgrade;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_wire::translate::Dialect;
use serde_json::{Value, json};
use url::form_urlencoded;

use self::{frames::Bounds, session::Session, upgrade::Upgrade};
use super::{
    Stages,
    router::{Shared, refuse_in},
};
use crate::{admit::Admitted, request::Caller};

/// Longest message, where the key's limit on bodies allows as much.
const LARGEST: u64 = 16 * 1024 * 1024;
/// What an envelope adds to its payload.
const ENVELOPE: u64 = 16 * 1024;
/// Browsers cannot set headers on a WebSocket, so the key may stand in the query under one of these names.
const QUERY_KEYS: [&str; 4] = ["key", "api_key", "token", "access_token"];

/// `GET /v1/ws`.
pub(super) async fn open(State(stages): Shared, mut request: Request) -> Response {
    let upgrade = Upgrade::of(&mut request);
    let (uri, headers) = (request.uri(), request.headers());
    let credentials = credentials(uri, headers);
    let refuse = |error| refuse_in(error, &Dialect::Chat, headers);
    let (caller, largest) = match admitted(&stages, &credentials) {
        Ok(admitted) => admitted,
        Err(error) => return refuse(error),
    };
    if form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .any(|(name, value)| name == "handshake" && value == "1")
    {
        return no_store(axum::Json(described(&caller, largest)).into_response());
    }
    let Some(upgrade) = upgrade else {
        return upgrade_required(headers);
    };
    let Ok(place) = Arc::clone(&stages.sockets).try_acquire_owned() else {
        let error = GatewayError::new(
            ErrorClass::Overloaded,
            "too_many_sockets",
            "this proxy has all the WebSockets it may have",
        )
        .with_retry_after(std::time::Duration::from_secs(5));
        return refuse(error);
    };
    let bounds = Bounds { largest, silence: stages.limits.client_timeout, memory: stages.admission.memory_of(&caller) };
    let (response, connection) = upgrade.agree();
    tokio::spawn(async move {
        let _place = place;
        if let Ok(connection) = connection.await {
            Session::new(stages, credentials).run(connection, bounds).await;
        }
    });
    response
}

/// Who asks, and how long a message of theirs may be.
fn admitted(stages: &Stages, credentials: &HeaderMap) -> Result<(Caller, u64), GatewayError> {
    let Admitted { snapshot, caller } = stages.admission.admit(credentials, None, stages.clock.now())?;
    let largest = caller.max_body_bytes(snapshot.settings().max_body_bytes).min(LARGEST) + ENVELOPE;
    Ok((caller, largest))
}

/// What of the head every request of the socket inherits: the key, and the page that it comes from.
fn credentials(uri: &Uri, headers: &HeaderMap) -> HeaderMap {
    let names = [
        header::AUTHORIZATION,
        header::ORIGIN,
        HeaderName::from_static("x-api-key"),
        HeaderName::from_static("x-goog-api-key"),
        HeaderName::from_static("traceparent"),
    ];
    let mut kept: HeaderMap =
        names.into_iter().filter_map(|name| headers.get(&name).cloned().map(|value| (name, value))).collect();
    let presents_key = kept.keys().any(|name| *name != header::ORIGIN && name.as_str() != "traceparent");
    if !presents_key {
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let key = query.into_iter().find(|(name, _)| QUERY_KEYS.contains(&name.as_ref()));
        if let Some(value) = key.and_then(|(_, key)| HeaderValue::try_from(format!("Bearer {key}")).ok()) {
            kept.insert(header::AUTHORIZATION, value);
        }
    }
    kept
}

fn described(caller: &Caller, largest: u64) -> Value {
    let authenticated = matches!(caller, Caller::Key(_));
    json!({
        "ok": true,
        "path": "/v1/ws",
        "wsAuth": true,
        "authenticated": authenticated,
        "authType": if authenticated { "api-key" } else { "none" },
        "protocol": message::protocol(),
        "limits": {
            "maxMessageBytes": largest,
            "maxRequestsInFlight": session::MAX_RUNNING,
            "pingSeconds": session::PING_EVERY.as_secs(),
            "idleSeconds": session::IDLE.as_secs(),
        },
    })
}

/// A plain GET: says what this place is for.
fn upgrade_required(headers: &HeaderMap) -> Response {
    let error = GatewayError::new(ErrorClass::MethodNotAllowed, "upgrade_required", "this path speaks WebSocket")
        .with_hint("`?handshake=1` describes the messages");
    let mut refused = refuse_in(error, &Dialect::Chat, headers);
    *refused.status_mut() = StatusCode::UPGRADE_REQUIRED;
    refused.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    refused.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    no_store(refused)
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
