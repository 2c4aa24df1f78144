//! `/api/keys`: API keys of clients.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    ApiKeys,
    shapes::{AllKeys, ChangeKey, ChangedKey, CreateKey, CreatedKey, KeyView, Page, RegenerateKey},
};
use crate::{
    auth::Principal,
    http::{
        ApiError, Code, ErrorBody,
        extract::{self, OptionalJson, Path, Query},
        shapes::Message,
    },
    store::records::Actor,
};

/// All keys, oldest first.
#[utoipa::path(
    get,
    path = "/api/keys",
    tag = "API keys",
    params(Page),
    responses((status = 200, body = AllKeys), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn list(
    State(keys): State<Arc<ApiKeys>>,
    Query(page): Query<Page>,
) -> Result<Json<AllKeys>, ApiError> {
    let limit = u32::try_from(page.limit).unwrap_or(u32::MAX);
    let (page, total) = keys.page(limit, page.offset).await?;
    Ok(Json(AllKeys::new(page, total, &keys.deployment_id())))
}

/// Make a key.
#[utoipa::path(
    post,
    path = "/api/keys",
    tag = "API keys",
    request_body = CreateKey,
    responses((status = 201, body = CreatedKey), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn create(
    State(keys): State<Arc<ApiKeys>>,
    principal: Principal,
    actor: Actor,
    extract::Json(body): extract::Json<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKey>), ApiError> {
    let not_enforced = body.not_enforced();
    let created = keys.create(&actor, principal.scopes(), body.into_new()).await?;
    let unmatched = keys.unmatched_models(&created.record.allowed_models).await?;
    let created = CreatedKey::new(created, keys.deployment_id(), not_enforced).with_unmatched(&unmatched);
    Ok((StatusCode::CREATED, Json(created)))
}

/// One key.
#[utoipa::path(
    get,
    path = "/api/keys/{id}",
    tag = "API keys",
    params(("id" = String, Path)),
    responses((status = 200, body = KeyView), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn show(State(keys): State<Arc<ApiKeys>>, Path(id): Path<String>) -> Result<Json<KeyView>, ApiError> {
    let key = keys.get(&id).await?;
    Ok(Json(KeyView::new(key, keys.deployment_id())))
}

/// Change a key.
///
/// In force on every proxy within a second. The answer repeats the fields that the edit named.
#[utoipa::path(
    method(patch, put),
    path = "/api/keys/{id}",
    tag = "API keys",
    params(("id" = String, Path)),
    request_body = ChangeKey,
    responses(
        (status = 200, body = ChangedKey),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn change(
    State(keys): State<Arc<ApiKeys>>,
    principal: Principal,
    actor: Actor,
    Path(id): Path<String>,
    extract::Json(changed): extract::Json<ChangeKey>,
) -> Result<Json<ChangedKey>, ApiError> {
    keys.update(&actor, principal.scopes(), &id, changed.clone().into_change()).await?;
    let unmatched = keys.unmatched_models(changed.allowed_models()).await?;
    Ok(Json(ChangedKey::new(changed, &unmatched)))
}

/// Delete a key. It is refused everywhere within a second.
#[utoipa::path(
    delete,
    path = "/api/keys/{id}",
    tag = "API keys",
    params(("id" = String, Path)),
    responses((status = 200, body = Message), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn delete(
    State(keys): State<Arc<ApiKeys>>,
    principal: Principal,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Json<Message>, ApiError> {
    keys.delete(&actor, principal.scopes(), &id).await?;
    Ok(Json(Message::new("Key deleted successfully")))
}

/// Keys cannot be shown again.
///
/// Only their hashes are stored. Give the key a new secret with `regenerate` instead.
#[utoipa::path(
    get,
    path = "/api/keys/{id}/reveal",
    tag = "API keys",
    params(("id" = String, Path)),
    responses((status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn reveal(
    State(keys): State<Arc<ApiKeys>>,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, ApiError> {
    keys.get(&id).await?;
    Err(ApiError::new(
        Code::KeyRevealDisabled,
        "API key reveal is disabled: only a hash is stored. POST …/regenerate gives the key a new secret",
    ))
}

/// Give a key a new secret.
///
/// The old one is refused everywhere within a second, or works on for `graceSeconds`; everything else about the key stays.
#[utoipa::path(
    post,
    path = "/api/keys/{id}/regenerate",
    tag = "API keys",
    params(("id" = String, Path)),
    request_body(content = RegenerateKey),
    responses(
        (status = 200, body = CreatedKey),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn regenerate(
    State(keys): State<Arc<ApiKeys>>,
    principal: Principal,
    actor: Actor,
    Path(id): Path<String>,
    OptionalJson(options): OptionalJson<RegenerateKey>,
) -> Result<Json<CreatedKey>, ApiError> {
    let rotated = keys.rotate(&actor, principal.scopes(), &id, options.grace()).await?;
    Ok(Json(CreatedKey::new(rotated, keys.deployment_id(), Vec::new())))
}
