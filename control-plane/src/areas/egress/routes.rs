//! `/api/v1/management/proxies`: outbound proxies.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    Egress,
    shapes::{
        ChangeProxy, CreateProxy, DeleteQuery, PageView, ProxyAnswer, ProxyPage, ProxyQuery, ProxyView, WhereUsed,
    },
};
use crate::{
    http::{
        ApiError, ErrorBody,
        extract::{self, Query},
        shapes::Success,
    },
    store::records::Actor,
};

/// The outbound proxies; or one of them, or what goes through it.
#[utoipa::path(
    get,
    path = "/api/v1/management/proxies",
    tag = "Outbound proxies",
    params(ProxyQuery),
    responses(
        (status = 200, body = ProxyAnswer),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(egress): State<Arc<Egress>>,
    Query(query): Query<ProxyQuery>,
) -> Result<Json<ProxyAnswer>, ApiError> {
    let ProxyQuery { id, where_used, limit, offset } = query;
    Ok(Json(match id {
        Some(id) if where_used => ProxyAnswer::Used(WhereUsed::from(egress.where_used(&id).await?)),
        Some(id) => ProxyAnswer::One(Box::new(egress.get(&id).await?.into())),
        None => {
            let (proxies, total) = egress.page(limit, offset).await?;
            ProxyAnswer::Page(ProxyPage::new(proxies, PageView { limit, offset, total }))
        }
    }))
}

/// Add a proxy, and assign it if `assignment` says to what.
#[utoipa::path(
    post,
    path = "/api/v1/management/proxies",
    tag = "Outbound proxies",
    request_body = CreateProxy,
    responses((status = 201, body = ProxyView), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn create(
    State(egress): State<Arc<Egress>>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateProxy>,
) -> Result<(StatusCode, Json<ProxyView>), ApiError> {
    let (draft, scope) = body.into_parts();
    let (proxy, assignment) = egress.create(&actor, draft, scope).await?;
    Ok((StatusCode::CREATED, Json(ProxyView::from(proxy).with(assignment))))
}

/// Change a proxy.
///
/// In force on every proxy of the fleet within a second: connections that were opened before are not used again.
#[utoipa::path(
    patch,
    path = "/api/v1/management/proxies",
    tag = "Outbound proxies",
    request_body = ChangeProxy,
    responses(
        (status = 200, body = ProxyView),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn change(
    State(egress): State<Arc<Egress>>,
    actor: Actor,
    extract::Json(body): extract::Json<ChangeProxy>,
) -> Result<Json<ProxyView>, ApiError> {
    let (id, patch, scope) = body.into_parts();
    let (proxy, assignment) = egress.update(&actor, &id, patch, scope).await?;
    Ok(Json(ProxyView::from(proxy).with(assignment)))
}

/// Delete a proxy. 409 while something is assigned to it, unless `force=1`.
#[utoipa::path(
    delete,
    path = "/api/v1/management/proxies",
    tag = "Outbound proxies",
    params(DeleteQuery),
    responses(
        (status = 200, body = Success),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody),
    )
)]
pub(super) async fn delete(
    State(egress): State<Arc<Egress>>,
    actor: Actor,
    Query(query): Query<DeleteQuery>,
) -> Result<Json<Success>, ApiError> {
    egress.delete(&actor, &query.id, query.force).await?;
    Ok(Success::yes())
}
