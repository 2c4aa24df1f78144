//! `/api/providers`: connections, credentials at providers. Secrets go in and never come out.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    super::Providers,
    shapes::{AllConnections, ChangeConnection, CreateConnection, ListQuery, OneConnection},
};
use crate::{
    http::{
        ApiError, ErrorBody,
        extract::{self, Path, Query},
        shapes::Message,
    },
    store::records::Actor,
};

/// All connections, by provider and priority.
#[utoipa::path(
    get,
    path = "/api/providers",
    tag = "Providers",
    params(ListQuery),
    responses(
        (status = 200, body = AllConnections),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(providers): State<Arc<Providers>>,
    Query(which): Query<ListQuery>,
) -> Result<Json<AllConnections>, ApiError> {
    let (page, total) = providers.connections(which.provider.as_deref(), which.limit, which.offset).await?;
    Ok(Json(AllConnections::new(page, total)))
}

/// Add a connection.
///
/// Its models are asked for in the background.
#[utoipa::path(
    post,
    path = "/api/providers",
    tag = "Providers",
    request_body = CreateConnection,
    responses(
        (status = 201, body = OneConnection),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, description = "No such node", body = ErrorBody),
    )
)]
pub(super) async fn create(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateConnection>,
) -> Result<(StatusCode, Json<OneConnection>), ApiError> {
    let not_enforced = body.not_enforced();
    let view = providers.create_connection(&actor, body.into_new()).await?;
    Ok((StatusCode::CREATED, Json(OneConnection::new(view, not_enforced))))
}

/// One connection.
#[utoipa::path(
    get,
    path = "/api/providers/{id}",
    tag = "Providers",
    params(("id" = String, Path)),
    responses((status = 200, body = OneConnection), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn show(
    State(providers): State<Arc<Providers>>,
    Path(id): Path<String>,
) -> Result<Json<OneConnection>, ApiError> {
    Ok(Json(OneConnection::new(providers.connection(&id).await?, Vec::new())))
}

/// Change a connection.
///
/// In force on every proxy within a second.
#[utoipa::path(
    method(put, patch),
    path = "/api/providers/{id}",
    tag = "Providers",
    params(("id" = String, Path)),
    request_body = ChangeConnection,
    responses(
        (status = 200, body = OneConnection),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn change(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<ChangeConnection>,
) -> Result<Json<OneConnection>, ApiError> {
    let not_enforced = body.not_enforced();
    let view = providers.update_connection(&actor, &id, body.into_change()).await?;
    Ok(Json(OneConnection::new(view, not_enforced)))
}

/// Delete a connection.
#[utoipa::path(
    delete,
    path = "/api/providers/{id}",
    tag = "Providers",
    params(("id" = String, Path)),
    responses((status = 200, body = Message), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn delete(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Json<Message>, ApiError> {
    providers.delete_connection(&actor, &id).await?;
    Ok(Json(Message::new("Connection deleted successfully")))
}
