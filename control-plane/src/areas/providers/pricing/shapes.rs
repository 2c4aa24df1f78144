//! What prices look like in REST: dollars per million, in the original's names.

use std::collections::BTreeMap;

use omniroute_core::{money::TokenPrice, time::UnixMillis};
use omniroute_providers::models::{Class, Price, Rates};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::super::models::{MAX_MODEL, MAX_PROVIDER};
use crate::{
    http::{ApiError, Body, Edit, Fields},
    store::records::{Object, PriceRow},
};

/// The original's names of classes.
const NAMES: [(&str, Class); 5] = [
    ("input", Class::Input),
    ("output", Class::Output),
    ("cached", Class::CacheRead),
    ("cache_creation", Class::CacheWrite),
    ("reasoning", Class::Reasoning),
];

/// Prices in one edit.
const MAX_PRICES: usize = 5_000;
/// Dollars per million: a dollar for one.
const MAX_DOLLARS: f64 = 1e6;

/// Prices of models, by provider: a node's prefix, or the id of a provider of the catalog.
pub(super) type Prices = BTreeMap<String, BTreeMap<String, PriceView>>;

/// Dollars per million of each class. What has no price of its own costs as its side: cached as input, reasoning as output.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct PriceView {
    /// Per million tokens.
    input: f64,
    output: f64,
    cached: f64,
    reasoning: f64,
    cache_creation: f64,
    /// Further classes that have a price of their own: `cache_write_1h`, `audio_in`, `output_image`, `web_search`…
    #[serde(flatten)]
    #[schema(value_type = Object)]
    others: BTreeMap<&'static str, f64>,
}

/// One price of a model, and when it was in force.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct PastPrice {
    /// `builtin` or `custom`; a custom price wins.
    source: String,
    valid_from: String,
    /// Null while it is in force.
    valid_until: Option<String>,
    price: PriceView,
    /// Prices for long prompts, and for batch, flex and priority service: what they change.
    variants: Vec<VariantView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct VariantView {
    /// `batch`, `flex` or `priority`; null for the usual service.
    service: Option<&'static str>,
    /// For prompts of more tokens than this, cached ones included.
    above: u64,
    /// Dollars per million, by class.
    rates: BTreeMap<&'static str, f64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct PriceHistory {
    provider: String,
    model: String,
    /// Oldest first.
    prices: Vec<PastPrice>,
}

/// A provider's models, for a table of prices.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct PricedProvider {
    pub(super) id: String,
    /// In front of its models' names.
    pub(super) alias: String,
    pub(super) name: String,
    /// `apikey` or `none`.
    pub(super) auth_type: &'static str,
    /// What it speaks.
    pub(super) format: String,
    pub(super) models: Vec<PricedModel>,
    pub(super) model_count: usize,
}

#[derive(Serialize, ToSchema)]
pub(super) struct PricedModel {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) custom: bool,
}

/// Prices to set.
#[derive(Debug)]
pub(super) struct SetPrices(pub(super) Vec<NewPrice>);

#[derive(Debug)]
pub(super) struct NewPrice {
    /// As the body names it.
    pub(super) provider: String,
    pub(super) model: String,
    /// Null takes a class's own price away.
    pub(super) rates: Vec<(Class, Option<TokenPrice>)>,
    /// Now, when it is not said.
    pub(super) valid_from: Option<UnixMillis>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfProvider {
    /// Id or alias of a provider, id or prefix of a node.
    pub(super) provider: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct InForce {
    /// Id or alias of a provider, id or prefix of a node.
    pub(super) provider: Option<String>,
    /// Only the operator's.
    #[param(required = false)]
    pub(super) own: bool,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichPrices {
    /// Id or alias of a provider, id or prefix of a node; without it all.
    pub(super) provider: Option<String>,
    /// The provider's own id of a model; without it all of the provider.
    pub(super) model: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichModel {
    /// Id or alias of a provider, id or prefix of a node.
    pub(super) provider: String,
    /// The provider's own id of the model.
    pub(super) model: String,
}

#[expect(clippy::cast_precision_loss, reason = "rates are below 2^53")]
fn dollars(rate: TokenPrice) -> f64 {
    rate.0 as f64 / 1e6
}

fn own(rates: &Rates) -> BTreeMap<&'static str, f64> {
    rates.iter().map(|(class, rate)| (class.as_str(), dollars(rate))).collect()
}

// === impl PriceView ===

impl From<&Price> for PriceView {
    fn from(price: &Price) -> Self {
        let of = |class| price.rate(class, None, 0).map_or(0.0, dollars);
        let is_named = |class| NAMES.iter().any(|(_, named)| *named == class);
        let others = price.rates.iter().filter(|(class, _)| !is_named(*class));
        Self {
            input: of(Class::Input),
            output: of(Class::Output),
            cached: of(Class::CacheRead),
            reasoning: of(Class::Reasoning),
            cache_creation: of(Class::CacheWrite),
            others: others.map(|(class, rate)| (class.as_str(), dollars(rate))).collect(),
        }
    }
}

// === impl PastPrice ===

impl From<&PriceRow> for PastPrice {
    fn from(row: &PriceRow) -> Self {
        let variants = row.price.variants.iter().map(|variant| VariantView {
            service: variant.service.map(omniroute_providers::models::Service::as_str),
            above: variant.above,
            rates: own(&variant.rates),
        });
        Self {
            source: row.source.clone(),
            valid_from: row.valid_from.to_rfc3339(),
            valid_until: row.valid_until.map(UnixMillis::to_rfc3339),
            price: PriceView::from(&row.price),
            variants: variants.collect(),
        }
    }
}

// === impl PriceHistory ===

impl PriceHistory {
    pub(super) fn new(provider: String, model: String, rows: &[PriceRow]) -> Self {
        Self { provider, model, prices: rows.iter().map(PastPrice::from).collect() }
    }
}

// === impl SetPrices ===

/// `{provider: {model: {input, output, …}}}`: the names are data, so the object is read as it is.
impl Body for SetPrices {
    fn read(fields: &mut Fields) -> Self {
        let mut prices = Vec::new();
        for (provider, models) in fields.rest() {
            let Value::Object(models) = models else {
                fields.refuse(&provider, "expected an object of models");
                continue;
            };
            for (model, price) in models {
                let path = format!("{provider}.{model}");
                let Value::Object(price) = price else {
                    fields.refuse(&path, "expected an object such as {\"input\": 0.5, \"output\": 2}");
                    continue;
                };
                if model.trim().is_empty() || model.chars().count() > MAX_MODEL {
                    fields.refuse(&path, format!("the name of a model has 1 to {MAX_MODEL} characters"));
                }
                match read_price(price) {
                    Ok((rates, valid_from)) => {
                        let model = model.trim().to_owned();
                        prices.push(NewPrice { provider: provider.clone(), model, rates, valid_from });
                    }
                    Err(error) => fields.refuse_all(error.inside(&path)),
                }
            }
        }
        if prices.is_empty() {
            fields.refuse_unless_noted("body", "names no price");
        }
        if prices.len() > MAX_PRICES {
            fields.refuse("body", format!("names more than {MAX_PRICES} prices"));
        }
        Self(prices)
    }
}

pub(super) type ReadPrice = (Vec<(Class, Option<TokenPrice>)>, Option<UnixMillis>);

pub(super) fn read_price(price: Object) -> Result<ReadPrice, ApiError> {
    let mut fields = Fields::new(price);
    let mut rates = Vec::new();
    let classes = Class::ALL.into_iter().filter(|class| NAMES.iter().all(|(_, named)| named != class));
    for (name, class) in NAMES.into_iter().chain(classes.map(|class| (class.as_str(), class))) {
        match fields.nullable_value(name, is_rate) {
            Edit::Keep => {}
            Edit::Clear => rates.push((class, None)),
            Edit::Set(value) => rates.push((class, value.as_f64().and_then(TokenPrice::from_dollars_per_million))),
        }
    }
    let valid_from = fields.nullable_time("validFrom").set();
    if rates.is_empty() {
        fields.refuse_unless_noted("input", "name at least one price, in dollars per million tokens");
    }
    fields.finish((rates, valid_from))
}

fn is_rate(value: &Value) -> bool {
    value.as_f64().is_some_and(|dollars| (0.0..=MAX_DOLLARS).contains(&dollars))
}

// === impl OfProvider ===

impl Body for OfProvider {
    fn read(fields: &mut Fields) -> Self {
        Self { provider: fields.text("provider", 1..=MAX_PROVIDER) }
    }
}

// === impl InForce ===

impl Body for InForce {
    fn read(fields: &mut Fields) -> Self {
        let own = fields.choice("own", &["true", "false"]);
        Self { provider: fields.text("provider", 1..=MAX_PROVIDER), own: own.as_deref() == Some("true") }
    }
}

// === impl WhichPrices ===

impl Body for WhichPrices {
    fn read(fields: &mut Fields) -> Self {
        let which = Self {
            provider: fields.text("provider", 1..=MAX_PROVIDER),
            model: fields.text("model", 1..=MAX_MODEL).map(|model| model.trim().to_owned()),
        };
        if which.provider.is_none() && which.model.is_some() {
            fields.refuse_unless_noted("provider", "whose model?");
        }
        which
    }
}

// === impl WhichModel ===

impl Body for WhichModel {
    fn read(fields: &mut Fields) -> Self {
        Self {
            provider: fields.required_text("provider", 1..=MAX_PROVIDER),
            model: fields.required_text("model", 1..=MAX_MODEL).trim().to_owned(),
        }
    }
}
