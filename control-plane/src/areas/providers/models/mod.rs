//! Models that providers offer: asked for ([`rules`]), added, changed and hidden by the operator ([`custom`]), under other
//! names ([`aliases`]).

mod alias_routes;
pub mod aliases;
mod catalog_routes;
mod custom;
mod custom_routes;
mod kind;
mod names;
pub mod rows;
mod rules;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

#[cfg(test)]
pub(crate) use self::{
    alias_routes::SetAlias,
    custom_routes::{HideModels, SetModel},
};
pub use self::{
    aliases::ModelAliasKind,
    kind::ModelKind,
    rows::{ModelDraft, ModelRecord},
    rules::{Listing, ListingSource},
};
pub(super) use self::{
    names::{MAX_MODEL, MAX_PROVIDER, Named},
    rules::FROM_API,
};
use super::Providers;

pub(super) fn router() -> OpenApiRouter<Arc<Providers>> {
    OpenApiRouter::new()
        .routes(routes!(catalog_routes::show))
        .routes(routes!(alias_routes::list, alias_routes::set, alias_routes::delete))
        .routes(routes!(
            custom_routes::list,
            custom_routes::add,
            custom_routes::change,
            custom_routes::hide,
            custom_routes::delete
        ))
}
