//! `/api/pricing`: what models cost.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};

use super::{
    super::Providers,
    rules::{self, Mode},
    shapes::{
        InForce, OfProvider, PriceHistory, PriceView, PricedProvider, Prices, SetPrices, WhichModel, WhichPrices,
    },
};
use crate::{
    http::{ApiError, ErrorBody, extract},
    store::records::Actor,
};

/// The prices in force.
///
/// Dollars per million tokens, by provider and model: the operator's prices, and for the rest those that come with the program.
#[utoipa::path(
    get,
    path = "/api/pricing",
    tag = "Models",
    params(InForce),
    responses(
        (status = 200, body = BTreeMap<String, BTreeMap<String, PriceView>>),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn show(
    State(providers): State<Arc<Providers>>,
    extract::Query(query): extract::Query<InForce>,
) -> Result<Json<Prices>, ApiError> {
    let InForce { provider, own } = query;
    let provider = id_of(&providers, OfProvider { provider }).await?;
    Ok(Json(providers.prices(provider.as_deref(), own).await?))
}

/// Set prices, and keep what is not named.
///
/// `{provider: {model: {input, output, cached, cache_creation, reasoning}}}` in dollars per million tokens; null takes a class's
/// own price away. Other classes go by the names that the answer has: `cache_write_1h`, `audio_in`, `output_image`… A price is in
/// force from now on, or from `validFrom`; what was billed before stays as it was billed. Answers all of the operator's prices.
#[utoipa::path(
    patch,
    path = "/api/pricing",
    tag = "Models",
    request_body = BTreeMap<String, BTreeMap<String, PriceView>>,
    responses(
        (status = 200, body = BTreeMap<String, BTreeMap<String, PriceView>>),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn merge(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Json(set): extract::Json<SetPrices>,
) -> Result<Json<Prices>, ApiError> {
    Ok(Json(providers.set_prices(&actor, set, Mode::Merge).await?))
}

/// Set prices, whole.
///
/// As PATCH, but a class that is not named has no price of its own afterwards.
#[utoipa::path(
    put,
    path = "/api/pricing",
    tag = "Models",
    request_body = BTreeMap<String, BTreeMap<String, PriceView>>,
    responses(
        (status = 200, body = BTreeMap<String, BTreeMap<String, PriceView>>),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn replace(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Json(set): extract::Json<SetPrices>,
) -> Result<Json<Prices>, ApiError> {
    Ok(Json(providers.set_prices(&actor, set, Mode::Replace).await?))
}

/// End the operator's prices.
///
/// Of a model, of a provider, or all. From now on the prices that come with the program count again.
#[utoipa::path(
    delete,
    path = "/api/pricing",
    tag = "Models",
    params(WhichPrices),
    responses(
        (status = 200, body = BTreeMap<String, BTreeMap<String, PriceView>>),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn reset(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Query(which): extract::Query<WhichPrices>,
) -> Result<Json<Prices>, ApiError> {
    Ok(Json(providers.reset_prices(&actor, which.provider.as_deref(), which.model.as_deref()).await?))
}

/// The prices that come with the program.
#[utoipa::path(
    get,
    path = "/api/pricing/defaults",
    tag = "Models",
    params(OfProvider),
    responses(
        (status = 200, body = BTreeMap<String, BTreeMap<String, PriceView>>),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn defaults(
    State(providers): State<Arc<Providers>>,
    extract::Query(query): extract::Query<OfProvider>,
) -> Result<Json<Prices>, ApiError> {
    let provider = id_of(&providers, query).await?;
    Ok(Json(rules::defaults(provider.as_deref())))
}

/// Every model that may have a price, by provider.
#[utoipa::path(
    get,
    path = "/api/pricing/models",
    tag = "Models",
    responses((status = 200, body = BTreeMap<String, PricedProvider>), (status = 401, body = ErrorBody))
)]
pub(super) async fn models(
    State(providers): State<Arc<Providers>>,
) -> Result<Json<BTreeMap<String, PricedProvider>>, ApiError> {
    Ok(Json(providers.priced_models().await?))
}

/// Every price that a model has had, with the time from which it held.
#[utoipa::path(
    get,
    path = "/api/pricing/history",
    tag = "Models",
    params(WhichModel),
    responses(
        (status = 200, body = PriceHistory),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn history(
    State(providers): State<Arc<Providers>>,
    extract::Query(which): extract::Query<WhichModel>,
) -> Result<Json<PriceHistory>, ApiError> {
    let (named, rows) = providers.price_history(&which.provider, &which.model).await?;
    Ok(Json(PriceHistory::new(named.prefix, which.model, &rows)))
}

async fn id_of(providers: &Providers, query: OfProvider) -> Result<Option<String>, ApiError> {
    match query.provider {
        Some(name) => Ok(Some(providers.named("provider", &name).await?.id)),
        None => Ok(None),
    }
}
