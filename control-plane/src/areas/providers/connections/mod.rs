//! Connections: credentials at providers. Secrets go in and never come out.

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
pub use self::{
    kind::ConnectionKind,
    record::{ConnectionDraft, ConnectionPatch, ConnectionRecord, TestRecord},
    rules::{ConnectionChange, ConnectionView, MASK, NewConnection},
    signed_in::{SignedIn, put_token},
};
pub(super) use self::{
    rules::{Provider, canonical, origin_of},
    shapes::api_key,
    signed_in::OAUTH,
};
use super::Providers;

pub(super) fn router() -> OpenApiRouter<Arc<Providers>> {
    OpenApiRouter::new().routes(routes!(routes::list, routes::create)).routes(routes!(
        routes::show,
        routes::change,
        routes::delete
    ))
}
