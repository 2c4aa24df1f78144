//! Hears a browser that comes back to this machine, on a port of its own: some providers let applications come back to a
//! loopback address only. What it hears is stored, so whichever replica is asked next can end the sign-in.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{RawQuery, State},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use omniroute_core::settings::Secret;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    OAuth,
    sign_in::{Beginning, Begun, CameBack},
};
use crate::http::{ApiError, Code};

/// A port stays open so long.
const OPEN_FOR: Duration = Duration::from_mins(5);
/// Ports that are open at once.
const MOST: usize = 8;
const PATH: &str = "/auth/callback";

/// Ports that are open, one for each provider.
#[derive(Clone, Default)]
pub(super) struct Listeners(Arc<Mutex<HashMap<String, Listener>>>);

struct Listener {
    state: String,
    close: CancellationToken,
}

/// A port that is open for a sign-in.
pub(super) struct Listening {
    pub(super) begun: Begun,
    pub(super) port: u16,
}

// === impl Listeners ===

impl Listeners {
    /// The sign-in that was begun last at a provider, while its port is open.
    pub(super) fn state_of(&self, provider: &str) -> Option<String> {
        self.0.lock().get(provider).map(|listener| listener.state.clone())
    }

    pub(super) fn close(&self, provider: &str, state: &str) {
        let mut all = self.0.lock();
        if all.get(provider).is_some_and(|listener| listener.state == state)
            && let Some(listener) = all.remove(provider)
        {
            listener.close.cancel();
        }
    }

    /// Closes whatever is open for a provider. `false`: too many others are open.
    fn make_room(&self, provider: &str) -> bool {
        let mut all = self.0.lock();
        if let Some(earlier) = all.remove(provider) {
            earlier.close.cancel();
        }
        all.len() < MOST
    }
}

// === impl OAuth ===

impl OAuth {
    /// Begins a sign-in whose browser comes back to a port that is opened for it.
    ///
    /// # Errors
    /// As [`OAuth::authorize`]; 409 when the port is taken, 429 when too many are open.
    pub(super) async fn listen(
        self: &Arc<Self>,
        provider: &str,
        port: Option<u16>,
        mut beginning: Beginning,
    ) -> Result<Listening, ApiError> {
        let client = self.client(provider).await?;
        let registered =
            client.options.redirect_uri.as_deref().and_then(|uri| Url::parse(uri).ok()).filter(is_loopback);
        let port = port.or_else(|| registered.as_ref().and_then(Url::port)).unwrap_or(0);
        let path = registered.as_ref().map_or(PATH, Url::path).to_owned();
        if !self.listeners.make_room(provider) {
            let message = "Too many sign-ins wait for a browser on this machine; end one, or try again in five minutes";
            return Err(ApiError::new(Code::RateLimited, message).with_retry_after(OPEN_FOR));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address).await.map_err(|error| {
            tracing::info!(%error, port, "the port of a sign-in cannot be opened");
            ApiError::new(
                Code::Conflict,
                format!("Port {port} cannot be opened on this machine; free it, or name another"),
            )
        })?;
        let port = listener.local_addr().map_err(|error| ApiError::internal(&error))?.port();
        let host = registered.as_ref().and_then(Url::host_str).unwrap_or("localhost");
        beginning.redirect_uri = Some(format!("http://{host}:{port}{path}"));
        let begun = self.authorize(provider, beginning).await?;
        let close = CancellationToken::new();
        let open = Listener { state: begun.state.clone(), close: close.clone() };
        if let Some(earlier) = self.listeners.0.lock().insert(provider.to_owned(), open) {
            earlier.close.cancel();
        }
        let (listeners, provider, state) = (self.listeners.clone(), provider.to_owned(), begun.state.clone());
        let router = Router::new().route(&path, get(heard)).with_state(Arc::clone(self));
        let stopping = self.refresher.stopping();
        tokio::spawn(async move {
            let closed = async move {
                tokio::select! {
                    () = close.cancelled() => {}
                    () = stopping.cancelled() => {}
                    () = tokio::time::sleep(OPEN_FOR) => {}
                }
            };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(closed).await {
                tracing::info!(%error, "the port of a sign-in was closed");
            }
            listeners.close(&provider, &state);
        });
        Ok(Listening { begun, port })
    }
}

async fn heard(State(oauth): State<Arc<OAuth>>, RawQuery(query): RawQuery) -> Response {
    page(&oauth, query.as_deref().unwrap_or_default()).await
}

/// Keeps what a browser came back with, and tells whoever sits in front of it.
pub(super) async fn page(oauth: &OAuth, query: &str) -> Response {
    let mut back = CameBack { state: String::new(), code: None, error: None, description: None };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let text: String = value.chars().filter(|one| *one != '\0').take(4_000).collect();
        match &*name {
            "state" => back.state = text,
            "code" => back.code = Some(Secret::new(text)).filter(Secret::is_set),
            "error" => back.error = Some(text.chars().take(200).collect()),
            "error_description" => back.description = Some(text.chars().take(500).collect()),
            _ => {}
        }
    }
    let is_refusal = back.error.is_some() || back.code.is_none();
    let said = match oauth.came_back(&back).await {
        Ok(true) if is_refusal => "The provider did not let you in. Close this window and begin again.",
        Ok(true) => "You are signed in. Close this window and go back to OmniRoute.",
        Ok(false) => "Nobody waits for this sign-in any more. Close this window and begin again.",
        Err(error) => return error.into_response(),
    };
    Html(format!("<!doctype html><meta charset=\"utf-8\"><title>OmniRoute</title><p>{said}</p>")).into_response()
}

fn is_loopback(url: &Url) -> bool {
    let is_local = match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(_)) | None => false,
    };
    url.scheme() == "http" && is_local
}
