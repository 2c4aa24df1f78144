//! Models, as proxies are sent them.

use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use sqlx::any::AnyRow;

use super::rows::resource_id;
use crate::{
    publish::{ConfigKind, Source},
    store::{Columns as _, StoreError},
};

/// Models that providers offer.
pub struct ModelKind;

impl ConfigKind for ModelKind {
    fn kind(&self) -> Kind {
        Kind::Model
    }

    fn select(&self) -> &'static str {
        "SELECT provider, model, revision, kind, context_window, max_output_tokens, source, created, hidden \
         FROM models WHERE revision > $1 AND revision <= $2"
    }

    fn message(&self, row: &AnyRow, _: &Source<'_>) -> Result<(String, Body), StoreError> {
        let model = model(row)?;
        Ok((resource_id(&model.provider, &model.model), Body::Model(model)))
    }
}

fn model(row: &AnyRow) -> Result<v1::Model, StoreError> {
    Ok(v1::Model {
        provider: row.text("provider")?,
        model: row.text("model")?,
        r#type: row.text("kind")?,
        context_window: row.opt_u64("context_window")?.unwrap_or_default(),
        max_output_tokens: row.opt_u64("max_output_tokens")?.unwrap_or_default(),
        source: row.text("source")?,
        created_at: row.u64("created")?,
        hidden: row.flag("hidden")?,
    })
}
