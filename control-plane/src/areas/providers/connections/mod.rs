//! Connections: credentials at providers. Secrets go in and never come out.

mod bulk;
mod cloud;
mod kind;
mod record;
mod routes;
pub mod rows;
mod rules;
mod shapes;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

#[cfg(test)]
pub(crate) use self::shapes::{ChangeConnection, CreateConnection};
pub(super) use self::{
    cloud::cloud_spec,
    rules::{Provider, canonical, origin_of},
    shapes::api_key,
};
pub use self::{
    kind::ConnectionKind,
    record::{ConnectionDraft, ConnectionPatch, ConnectionRecord, TestRecord},
    rules::{ConnectionChange, ConnectionView, MASK, NewConnection},
};
use super::Providers;

pub(super) fn router() -> OpenApiRouter<Arc<Providers>> {
    OpenApiRouter::new().routes(routes!(routes::list, routes::create)).routes(routes!(bulk::create)).routes(routes!(
        routes::show,
        routes::change,
        routes::delete
    ))
}
