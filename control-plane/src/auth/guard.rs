//! The door: every request passes here before a handler sees it.

use std::time::Duration;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::Method;

use super::{Access, Principal, access, authenticate, origin};
use crate::{
    api::{ApiError, Code},
    service::App,
    store::StoreError,
};

/// How long a probe waits to learn who asks.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// Lets a request through with its [`Principal`] attached, or answers 401 or 403.
///
/// # Errors
/// As [`fn@authenticate`]; 403 also when another website made a browser send it.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let matched = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let demanded = access(&parts.method, matched, parts.uri.path());
    if demanded != Access::Open {
        let principal = authenticate(&app, &parts);
        let known = if demanded == Access::Either {
            // Whoever asks how things are does not wait for a pool whose database is away.
            tokio::time::timeout(PROBE_PATIENCE, principal).await.unwrap_or_else(|_| Err(away()))
        } else {
            tokio::select! {
                biased;
                known = principal => known,
                () = app.store.away() => Err(away()),
            }
        };
        match known {
            Ok(principal) => {
                check_origin(&app, &parts, &principal)?;
                if demanded == Access::Manager {
                    app.store.expect_answers()?;
                }
                parts.extensions.insert(principal);
            }
            // Whoever is nobody gets what anybody gets; a failing database is for the handler to meet.
            Err(_) if demanded == Access::Either => {}
            Err(refused) => return Err(refused),
        }
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

fn away() -> ApiError {
    StoreError::from(sqlx::Error::PoolTimedOut).into()
}

fn check_origin(app: &App, parts: &http::request::Parts, principal: &Principal) -> Result<(), ApiError> {
    let is_safe = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || !principal.is_ambient() || origin::is_trusted(&parts.headers, &app.allowed_origins) {
        return Ok(());
    }
    Err(ApiError::new(Code::CrossOrigin, "Another website may not act with this session; see CORS_ORIGINS"))
}
