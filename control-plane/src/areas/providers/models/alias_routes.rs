//! `/api/models/alias`: other names for models.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use omniroute_providers::ModelTable;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{super::Providers, aliases};
use crate::{
    http::{ApiError, Body, ErrorBody, Fields, extract, shapes::Success},
    store::records::Actor,
};

/// As long as a client's name of a model may be.
const MAX_NAME: usize = 256;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct Aliases {
    /// Model by alias.
    aliases: BTreeMap<String, String>,
    /// Changes when the table of models that comes with the program does.
    catalog_version: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct NewAlias {
    success: bool,
    model: String,
    alias: String,
}

#[derive(ToSchema)]
pub(crate) struct SetAlias {
    /// As clients name it, for example `openai/gpt-4o-mini`.
    #[schema(min_length = 1, max_length = 256)]
    model: String,
    /// The other name. A model of that name is out of reach without its provider's prefix.
    #[schema(min_length = 1, max_length = 256)]
    alias: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichAlias {
    alias: String,
}

// === impl SetAlias ===

impl Body for SetAlias {
    fn read(fields: &mut Fields) -> Self {
        let body = Self {
            model: fields.required_text("model", 1..=MAX_NAME).trim().to_owned(),
            alias: fields.required_text("alias", 1..=MAX_NAME).trim().to_owned(),
        };
        if !body.alias.is_empty() && body.alias == body.model {
            fields.refuse("alias", "is the model's own name");
        }
        if body.alias.chars().any(char::is_control) {
            fields.refuse("alias", "must not have control characters");
        }
        body
    }
}

// === impl WhichAlias ===

impl Body for WhichAlias {
    fn read(fields: &mut Fields) -> Self {
        Self { alias: fields.required_text("alias", 1..=MAX_NAME).trim().to_owned() }
    }
}

/// All aliases.
#[utoipa::path(
    get,
    path = "/api/models/alias",
    tag = "Models",
    responses((status = 200, body = Aliases), (status = 401, body = ErrorBody))
)]
pub(super) async fn list(State(providers): State<Arc<Providers>>) -> Result<Json<Aliases>, ApiError> {
    let aliases = aliases::list(&providers.store).await?;
    let aliases = aliases.into_iter().map(|record| (record.alias, record.model)).collect();
    Ok(Json(Aliases { aliases, catalog_version: &ModelTable::builtin().header().version }))
}

/// Give a model another name.
#[utoipa::path(
    method(post, put),
    path = "/api/models/alias",
    tag = "Models",
    request_body = SetAlias,
    responses((status = 200, body = NewAlias), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn set(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Json(body): extract::Json<SetAlias>,
) -> Result<Json<NewAlias>, ApiError> {
    let SetAlias { model, alias } = body;
    let mut write = providers.store.write(&actor).await?;
    aliases::put(&mut write, &alias, &model).await?;
    write.commit().await?;
    Ok(Json(NewAlias { success: true, model, alias }))
}

/// Take a name away again.
#[utoipa::path(
    delete,
    path = "/api/models/alias",
    tag = "Models",
    params(WhichAlias),
    responses(
        (status = 200, body = Success),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn delete(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Query(which): extract::Query<WhichAlias>,
) -> Result<Json<Success>, ApiError> {
    let mut write = providers.store.write(&actor).await?;
    aliases::delete(&mut write, &which.alias).await?;
    write.commit().await?;
    Ok(Success::yes())
}
