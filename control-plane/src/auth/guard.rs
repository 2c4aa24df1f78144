//! The door: every request passes here before a handler sees it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::{Method, request::Parts};

use super::{
    AuthError, Authenticator, ClientOriginRules, Principal, Requirement, RouteTable, origin, scope::Permission,
};
use crate::{
    http::{AllowedOrigins, ApiError},
    store::StoreError,
};

/// How long a probe waits to learn who asks.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Decides who gets to which route.
pub struct Guard {
    pub authenticator: Authenticator,
    pub routes: RouteTable,
    pub client_origins: ClientOriginRules,
    /// Origins that may use a browser's session besides our own.
    pub allowed_origins: AllowedOrigins,
}

// === impl Guard ===

impl Guard {
    /// `routes` behind the guard.
    pub fn before(self: Arc<Self>, routes: Router) -> Router {
        routes.layer(from_fn_with_state(self, pass))
    }

    /// Who asks, as far as the route wants to know; `None` where it does not, or lets anybody in.
    async fn admit(&self, parts: &Parts, is_local: bool) -> Result<Option<Principal>, AuthError> {
        let matched = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let required = self.routes.requirement(&parts.method, matched, parts.uri.path());
        if required == Requirement::Open {
            return Ok(None);
        }
        let principal = self.authenticator.authenticate(parts, is_local);
        let store = &self.authenticator.store;
        let known = if required == Requirement::Optional {
            // Whoever asks how things are does not wait for a pool whose database is away.
            tokio::time::timeout(PROBE_TIMEOUT, principal).await.unwrap_or_else(|_| Err(away()))
        } else {
            tokio::select! {
                biased;
                known = principal => known,
                () = store.unreachable() => Err(away()),
            }
        };
        let allowed = known.and_then(|principal| {
            if let Some(area) = self.routes.area(matched) {
                principal.expect(area, Permission::of(&parts.method))?;
            }
            Ok(principal)
        });
        match allowed {
            Ok(principal) => {
                self.check_origin(parts, &principal)?;
                if required == Requirement::Manager {
                    store.expect_reachable()?;
                }
                Ok(Some(principal))
            }
            Err(refused @ AuthError::MissingScope(_)) if !is_safe(&parts.method) => Err(refused),
            // Whoever is nobody gets what anybody gets; a failing database is for the handler to meet.
            Err(_) if required == Requirement::Optional => Ok(None),
            Err(refused) => Err(refused),
        }
    }

    fn check_origin(&self, parts: &Parts, principal: &Principal) -> Result<(), AuthError> {
        if is_safe(&parts.method)
            || !principal.is_ambient()
            || origin::is_trusted(&parts.headers, &self.allowed_origins)
        {
            return Ok(());
        }
        Err(AuthError::CrossOrigin)
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Lets a request through with its [`Principal`] and [`super::ClientOrigin`] attached, or answers 401 or 403.
async fn pass(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let client = guard.client_origins.client(&parts);
    if let Some(principal) = guard.admit(&parts, client.is_local).await? {
        parts.extensions.insert(principal);
    }
    parts.extensions.insert(client);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

fn away() -> AuthError {
    StoreError::from(sqlx::Error::PoolTimedOut).into()
}
