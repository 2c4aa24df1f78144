//! Connections: credentials at providers. Secrets go in and never come out.

mod bulk;
mod cloud;
mod kind;
mod record;
mod routes;
pub mod rows;
mod rules;
mod shapes;
mod signed_in;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

#[cfg(test)]
pub(crate) use self::shapes::{ChangeConnection, CreateConnection};
pub(super) use self::{
    cloud::cloud_spec,
    rules::{Provider, canonical, origin_of},
    shapes::api_key,
    signed_in::OAUTH,
};
pub use self::{
    kind::ConnectionKind,
    record::{ConnectionDraft, ConnectionPatch, ConnectionRecord, TestRecord, Unopened},
    rules::{ConnectionChange, ConnectionView, MASK, NewConnection},
    signed_in::{SignedIn, put_token},
};
use super::Providers;

pub(super) fn router() -> OpenApiRouter<Arc<Providers>> {
    OpenApiRouter::new().routes(routes!(routes::list, routes::create)).routes(routes!(bulk::create)).routes(routes!(
        routes::show,
        routes::change,
        routes::delete
    ))
}
