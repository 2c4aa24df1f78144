//! Clients' API keys. A key is shown once, when it is made; what is stored is its hash.

mod kind;
mod record;
mod references;
mod routes;
pub mod rows;
mod rules;
mod shapes;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

#[cfg(test)]
pub(crate) use self::shapes::{ChangeKey, CreateKey, RegenerateKey};
pub use self::{
    kind::ApiKeyKind,
    record::{KeyDraft, KeyPatch, KeyRecord, PreviousSecret, RotatedSecret},
    references::forget_connections,
    rules::{ApiKeys, KeyChange, KnownTargets, NewKey, SecretKey},
};

pub(super) fn router() -> OpenApiRouter<Arc<ApiKeys>> {
    OpenApiRouter::new()
        .routes(routes!(routes::list, routes::create))
        .routes(routes!(routes::show, routes::change, routes::delete))
        .routes(routes!(routes::reveal))
        .routes(routes!(routes::regenerate))
}
