//! Which models the operator has a price for, as proxies are sent it.

use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use sqlx::any::AnyRow;

use crate::{
    publish::{ConfigKind, Source},
    store::{Columns as _, StoreError},
};

/// The operator's prices that are in force.
pub struct PriceKind;

impl ConfigKind for PriceKind {
    fn kind(&self) -> Kind {
        Kind::Price
    }

    fn select(&self) -> &'static str {
        "SELECT provider, model, revision FROM prices WHERE revision > $1 AND revision <= $2 AND source = 'custom' \
         AND valid_until IS NULL"
    }

    fn message(&self, row: &AnyRow, _: &Source<'_>) -> Result<(String, Body), StoreError> {
        let (provider, model) = (row.text("provider")?, row.text("model")?);
        let id = format!("{provider}/{model}");
        Ok((id, Body::Price(v1::Price { provider, model })))
    }
}
