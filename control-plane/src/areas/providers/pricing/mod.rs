//! What models cost: the prices that come with the program, and the operator's, which win.
//!
//! A price is never changed: a new one is in force from a moment on, and what was billed before stays as it was billed.

mod kind;
mod routes;
mod rules;
mod shapes;
mod unpriced;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::kind::PriceKind;
pub(super) use self::unpriced::{REFUSE, UNPRICED, Unpriced, forget_unlisted, price_unlisted};
use super::Providers;

pub(super) fn router() -> OpenApiRouter<Arc<Providers>> {
    OpenApiRouter::new()
        .routes(routes!(routes::show, routes::merge, routes::replace, routes::reset))
        .routes(routes!(routes::defaults))
        .routes(routes!(routes::models))
        .routes(routes!(routes::history))
}
