//! The door: every request passes here before a handler sees it.

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
};

/// Lets a request through with its [`Principal`] attached, or answers 401 or 403.
///
/// # Errors
/// As [`fn@authenticate`]; 403 also when another website made a browser send it.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let matched = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let demanded = access(&parts.method, matched, parts.uri.path());
    if demanded != Access::Open {
        match authenticate(&app, &parts).await {
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

fn check_origin(app: &App, parts: &http::request::Parts, principal: &Principal) -> Result<(), ApiError> {
    let is_safe = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || !principal.is_ambient() || origin::is_trusted(&parts.headers, &app.allowed_origins) {
        return Ok(());
    }
    Err(ApiError::new(Code::CrossOrigin, "Another website may not act with this session; see CORS_ORIGINS"))
}
