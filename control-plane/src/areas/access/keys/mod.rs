//! Clients' API keys. A key is shown once, when it is made; what is stored is its hash.

mod cascade;
mod kind;
mod record;
mod routes;
pub mod rows;
mod rules;
mod shapes;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

#[cfg(test)]
pub(crate) use self::shapes::{ChangeKey, CreateKey, RegenerateKey};
pub use self::{
    cascade::forget_connections,
    kind::ApiKeyKind,
    record::{KeyDraft, KeyPatch, KeyRecord, PreviousSecret, RotatedSecret},
    rules::{ApiKeys, IssuedKey, KeyChange, KnownTargets, NewKey},
};

pub(super) fn router() -> OpenApiRouter<Arc<ApiKeys>> {
    OpenApiRouter::new()
        .routes(routes!(routes::list, routes::create))
        .routes(routes!(routes::show, routes::change, routes::delete))
        .routes(routes!(routes::reveal))
        .routes(routes!(routes::regenerate))
}
