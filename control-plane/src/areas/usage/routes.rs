//! `/api/usage`: what was asked, what it used, what it cost.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::{HeaderName, HeaderValue};

use super::{
    Selection, Usage,
    shapes::{CallLog, ConnectionUsage, HistoryView, ListQuery, RequestLog, TimeRange, line},
};
use crate::http::{
    ApiError, ErrorBody,
    extract::{Path, Query},
};

/// Lines of the text logs, as many as the original gives.
const LINES: u32 = 200;

/// Response header with the `cursor` of the next page; missing on the last.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-omniroute-next-cursor");

async fn lines(usage: &Usage) -> Result<Json<Vec<String>>, ApiError> {
    let page = usage.requests(&Selection { limit: LINES, ..Selection::default() }).await?;
    Ok(Json(page.events.iter().map(line).collect()))
}

/// Sums of requests, tokens and cost: of the last 90 days, unless `since` says otherwise.
#[utoipa::path(
    get,
    path = "/api/usage/history",
    tag = "Usage",
    params(TimeRange),
    responses((status = 200, body = HistoryView), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn history(
    State(usage): State<Arc<Usage>>,
    Query(range): Query<TimeRange>,
) -> Result<Json<HistoryView>, ApiError> {
    let (history, in_flight) = usage.history(range.since, range.until).await?;
    Ok(Json(HistoryView::new(history, in_flight)))
}

/// The last requests, one line each.
#[utoipa::path(
    get,
    path = "/api/usage/logs",
    tag = "Usage",
    responses((status = 200, body = Vec<String>), (status = 401, body = ErrorBody))
)]
pub(super) async fn logs(State(usage): State<Arc<Usage>>) -> Result<Json<Vec<String>>, ApiError> {
    lines(&usage).await
}

/// The last requests, one line each.
#[utoipa::path(
    get,
    path = "/api/usage/request-logs",
    tag = "Usage",
    responses((status = 200, body = Vec<String>), (status = 401, body = ErrorBody))
)]
pub(super) async fn request_logs(State(usage): State<Arc<Usage>>) -> Result<Json<Vec<String>>, ApiError> {
    lines(&usage).await
}

/// One request with all its attempts.
#[utoipa::path(
    get,
    path = "/api/usage/request-logs/{id}",
    tag = "Usage",
    params(("id" = String, Path, description = "Id of the request (`x-request-id`) or of one attempt")),
    responses((status = 200, body = RequestLog), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn request_log(
    State(usage): State<Arc<Usage>>,
    Path(id): Path<String>,
) -> Result<Json<RequestLog>, ApiError> {
    let attempts = usage.request(&id).await?;
    Ok(Json(RequestLog::new(attempts)))
}

/// Requests, newest first.
#[utoipa::path(
    get,
    path = "/api/usage/call-logs",
    tag = "Usage",
    params(ListQuery),
    responses(
        (status = 200, body = Vec<CallLog>, headers(("x-omniroute-next-cursor" = String))),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn call_logs(
    State(usage): State<Arc<Usage>>,
    Query(which): Query<ListQuery>,
) -> Result<(Option<[(HeaderName, HeaderValue); 1]>, Json<Vec<CallLog>>), ApiError> {
    let page = usage.requests(&which.into_selection()?).await?;
    let next = page.next.and_then(|cursor| HeaderValue::from_str(&cursor.to_string()).ok());
    Ok((next.map(|cursor| [(NEXT_CURSOR, cursor)]), Json(page.events.iter().map(CallLog::from).collect())))
}

/// What one connection was used for.
#[utoipa::path(
    get,
    path = "/api/usage/{connectionId}",
    tag = "Usage",
    params(("connectionId" = String, Path), TimeRange),
    responses(
        (status = 200, body = ConnectionUsage),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn of_connection(
    State(usage): State<Arc<Usage>>,
    Path(id): Path<String>,
    Query(range): Query<TimeRange>,
) -> Result<Json<ConnectionUsage>, ApiError> {
    let (name, totals) = usage.of_connection(&id, range.since, range.until).await?;
    Ok(Json(ConnectionUsage::new(id, name, &totals)))
}
