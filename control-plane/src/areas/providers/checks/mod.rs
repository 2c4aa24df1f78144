//! Whether providers would take us: tests of connections, of credentials, of endpoints; lists of models.

mod advice;
mod batch;
mod routes;
mod rules;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

#[cfg(test)]
pub(crate) use self::routes::{TestOptions, ValidateNode, ValidateProvider};
pub use self::rules::{Candidate, CheckResult, Diagnosis, NodeCandidate};
pub(super) use self::{advice::advice, rules::compile};
use super::Providers;

pub(super) fn router() -> OpenApiRouter<Arc<Providers>> {
    OpenApiRouter::new()
        .routes(routes!(routes::validate_node))
        .routes(routes!(routes::validate))
        .routes(routes!(routes::test))
        .routes(routes!(batch::test_batch))
        .routes(routes!(routes::models))
}
