//! `/api/monitoring/proxies`: commands to proxies.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Operations;
use crate::{
    http::{
        ApiError, ErrorBody, Fields, FromFields,
        extract::{OptionalJson, Path},
    },
    store::{Command, Delivery},
};

/// How long a drained proxy lets its streams go on, unless the caller says otherwise.
const DRAIN_DEADLINE: Duration = Duration::from_mins(10);
const MAX_DRAIN_MS: u64 = 24 * 60 * 60 * 1000;

/// How to drain.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct DrainOptions {
    /// How long streams may go on, in milliseconds; 10 minutes unless given.
    #[schema(maximum = 86_400_000)]
    deadline_ms: Option<u64>,
}

/// What became of an order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct Ordered {
    message: &'static str,
    /// The one proxy that the order is for, as health shows it.
    proxy_id: String,
    /// Whether it has been sent to the proxy.
    delivered: bool,
}

// === impl DrainOptions ===

impl FromFields for DrainOptions {
    fn read(fields: &mut Fields) -> Self {
        Self { deadline_ms: fields.whole("deadlineMs", 0..=MAX_DRAIN_MS) }
    }
}

// === impl Ordered ===

impl Ordered {
    fn new(proxy_id: String, delivery: Delivery, done: &'static str) -> (StatusCode, Json<Self>) {
        let (status, delivered, message) = match delivery {
            Delivery::Delivered => (StatusCode::OK, true, done),
            Delivery::Pending => (
                StatusCode::ACCEPTED,
                false,
                "The proxy is not attached to any control plane at the moment; the order waits for it for five minutes",
            ),
        };
        (status, Json(Self { message, proxy_id, delivered }))
    }
}

// === impl Operations ===

impl Operations {
    /// Tells a proxy to do something, and says whether it was reached.
    ///
    /// # Errors
    /// 404 when no such proxy has ever connected.
    async fn command(&self, proxy_id: &str, command: Command) -> Result<Delivery, ApiError> {
        let known = self.store.proxies().list().await?.iter().any(|proxy| proxy.id == proxy_id);
        if !known {
            return Err(ApiError::not_found("Proxy"));
        }
        Ok(self.proxies.command(proxy_id, command).await?)
    }
}

/// Let a proxy finish what runs and take nothing new.
///
/// It lasts as long as the process: a proxy that is restarted takes requests again. 202: the proxy is not attached to any
/// control plane at the moment, and gets the order when it is within five minutes.
#[utoipa::path(
    post,
    path = "/api/monitoring/proxies/{id}/drain",
    tag = "Monitoring",
    params(("id" = String, Path)),
    request_body(content = DrainOptions),
    responses((status = 200, body = Ordered), (status = 202, body = Ordered), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn drain(
    State(operations): State<Arc<Operations>>,
    Path(id): Path<String>,
    OptionalJson(options): OptionalJson<DrainOptions>,
) -> Result<(StatusCode, Json<Ordered>), ApiError> {
    let deadline = options.deadline_ms.map_or(DRAIN_DEADLINE, Duration::from_millis);
    let delivery = operations.command(&id, Command::Drain { deadline }).await?;
    Ok(Ordered::new(id, delivery, "The proxy drains"))
}

/// Let a drained proxy take requests again.
#[utoipa::path(
    post,
    path = "/api/monitoring/proxies/{id}/resume",
    tag = "Monitoring",
    params(("id" = String, Path)),
    responses((status = 200, body = Ordered), (status = 202, body = Ordered), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn resume(
    State(operations): State<Arc<Operations>>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Ordered>), ApiError> {
    let delivery = operations.command(&id, Command::Resume).await?;
    Ok(Ordered::new(id, delivery, "The proxy takes requests again"))
}

/// Let a proxy drop its configuration and load it anew.
#[utoipa::path(
    post,
    path = "/api/monitoring/proxies/{id}/resync",
    tag = "Monitoring",
    params(("id" = String, Path)),
    responses((status = 200, body = Ordered), (status = 202, body = Ordered), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn resync(
    State(operations): State<Arc<Operations>>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Ordered>), ApiError> {
    let delivery = operations.command(&id, Command::Resync).await?;
    Ok(Ordered::new(id, delivery, "The proxy loads its configuration anew"))
}
