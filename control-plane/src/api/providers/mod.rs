//! `/api/providers`: connections, credentials at providers. Secrets go in and never come out.

pub(super) mod probes;
mod shapes;

use axum::{Json, extract::State};
use http::StatusCode;

use self::shapes::{AllConnections, OneConnection, Which};
pub(super) use self::shapes::{ChangeConnection, CreateConnection, api_key};
use super::{
    error::{ApiError, ErrorBody},
    extract::{self, By, Path, Query},
    keys::Message,
};
use crate::service::App;

/// All connections, by provider and priority.
#[utoipa::path(
    get,
    path = "/api/providers",
    tag = "Providers",
    params(Which),
    responses(
        (status = 200, body = AllConnections),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn list(State(app): State<App>, Query(which): Query<Which>) -> Result<Json<AllConnections>, ApiError> {
    let (page, total) = app.connections(which.provider.as_deref(), which.limit, which.offset).await?;
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
    State(app): State<App>,
    By(actor): By,
    extract::Json(body): extract::Json<CreateConnection>,
) -> Result<(StatusCode, Json<OneConnection>), ApiError> {
    let not_enforced = body.not_enforced();
    let view = app.create_connection(&actor, body.into_new()).await?;
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
pub(super) async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<OneConnection>, ApiError> {
    Ok(Json(OneConnection::new(app.connection(&id).await?, Vec::new())))
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
    State(app): State<App>,
    By(actor): By,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<ChangeConnection>,
) -> Result<Json<OneConnection>, ApiError> {
    let not_enforced = body.not_enforced();
    let view = app.update_connection(&actor, &id, body.into_change()).await?;
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
    State(app): State<App>,
    By(actor): By,
    Path(id): Path<String>,
) -> Result<Json<Message>, ApiError> {
    app.delete_connection(&actor, &id).await?;
    Ok(Json(Message::new("Connection deleted successfully")))
}
