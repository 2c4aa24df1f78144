//! What is decided about prices.

use std::collections::{BTreeMap, BTreeSet};

use omniroute_core::time::UnixMillis;
use omniroute_providers::{Auth, Catalog, ModelTable};

use super::{
    super::{
        Providers,
        models::{
            Named,
            rows::{CUSTOM, Models},
        },
        nodes::rows::Nodes,
    },
    shapes::{NewPrice, PriceView, PricedModel, PricedProvider, Prices, SetPrices},
};
use crate::{
    http::ApiError,
    store::records::{Actor, PriceRow},
};

/// How an edit treats what it does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It stays as the price in force has it.
    Merge,
    /// It is gone.
    Replace,
}

// === impl Providers ===

impl Providers {
    /// The prices in force; of one provider, or of all; only the operator's, or all.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn prices(&self, provider: Option<&str>, only_custom: bool) -> Result<Prices, ApiError> {
        let now = self.clock.now();
        let nodes = Nodes::of(&self.store).list().await?;
        let mut best: BTreeMap<(String, String), PriceRow> = BTreeMap::new();
        for row in self.store.prices().list().await? {
            let is_wanted = provider.is_none_or(|id| row.provider == id)
                && (!only_custom || row.source == CUSTOM)
                && row.model != PriceRow::UNLISTED
                && row.is_in_force(now);
            if !is_wanted {
                continue;
            }
            let key = (row.provider.clone(), row.model.clone());
            if best.get(&key).is_none_or(|held| held.rank() <= row.rank()) {
                best.insert(key, row);
            }
        }
        let mut prices = Prices::new();
        for ((provider, model), row) in best {
            let prefix = Named::of(&provider, &nodes).prefix;
            prices.entry(prefix).or_default().insert(model, PriceView::from(&row.price));
        }
        Ok(prices)
    }

    /// Sets prices. Returns all of the operator's that are in force.
    ///
    /// # Errors
    /// 400 for a provider that does not exist.
    pub(super) async fn set_prices(&self, actor: &Actor, set: SetPrices, mode: Mode) -> Result<Prices, ApiError> {
        let mut ids: BTreeMap<String, String> = BTreeMap::new();
        let names: BTreeSet<&String> = set.0.iter().map(|price| &price.provider).collect();
        for name in names {
            ids.insert(name.clone(), self.named(name, name).await?.id);
        }
        let mut write = self.store.write(actor).await?;
        for NewPrice { provider, model, rates, valid_from } in set.0 {
            let provider = ids.get(&provider).cloned().unwrap_or(provider);
            let held = match mode {
                Mode::Replace => None,
                Mode::Merge => write.price_in_force(&provider, &model).await?,
            };
            let mut price = held.map(|row| row.price).unwrap_or_default();
            for (class, rate) in rates {
                price.rates.set(class, rate);
                // Who says what a class costs does not mean only short prompts.
                price.variants.iter_mut().for_each(|variant| variant.rates.set(class, None));
            }
            price.variants.retain(|variant| !variant.rates.is_empty());
            write
                .put_price(PriceRow {
                    provider,
                    model,
                    price,
                    valid_from: valid_from.unwrap_or(UnixMillis(0)),
                    valid_until: None,
                    source: String::new(),
                    revision: 0,
                })
                .await?;
        }
        write.commit().await?;
        self.prices(None, true).await
    }

    /// Ends the operator's prices: of a model, of a provider, or all. What the program knows counts again from now on.
    ///
    /// # Errors
    /// 400 for a provider that does not exist.
    pub(super) async fn reset_prices(
        &self,
        actor: &Actor,
        provider: Option<&str>,
        model: Option<&str>,
    ) -> Result<Prices, ApiError> {
        let provider = match provider {
            Some(name) => Some(self.named("provider", name).await?.id),
            None => None,
        };
        let mut write = self.store.write(actor).await?;
        for (of, named) in write.custom_prices().await? {
            let is_meant = named != PriceRow::UNLISTED
                && provider.as_ref().is_none_or(|id| *id == of)
                && model.is_none_or(|model| *model == named);
            if is_meant {
                write.delete_price(&of, &named).await?;
            }
        }
        write.commit().await?;
        self.prices(None, true).await
    }

    /// Every price that a model has had.
    ///
    /// # Errors
    /// 400 for a provider that does not exist, 404 when the model never had a price.
    pub(super) async fn price_history(&self, provider: &str, model: &str) -> Result<(Named, Vec<PriceRow>), ApiError> {
        let named = self.named("provider", provider).await?;
        let mut rows = self.store.prices().of_model(&named.id, model).await?;
        if rows.is_empty() {
            return Err(ApiError::not_found("Price"));
        }
        rows.sort_by(|one, two| (one.valid_from, &one.source).cmp(&(two.valid_from, &two.source)));
        Ok((named, rows))
    }

    /// Every provider that has models with prices, or that is connected, with those models.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn priced_models(&self) -> Result<BTreeMap<String, PricedProvider>, ApiError> {
        let nodes = Nodes::of(&self.store).list().await?;
        let mut names: BTreeMap<String, BTreeMap<String, PricedModel>> = BTreeMap::new();
        for provider in Catalog::builtin().providers() {
            for facts in provider.known_models() {
                let model = PricedModel { id: facts.id.clone(), name: facts.id.clone(), custom: false };
                names.entry(provider.id.to_string()).or_default().insert(facts.id, model);
            }
        }
        for record in Models::of(&self.store).list().await? {
            let name = record.name.unwrap_or_else(|| record.model.clone());
            let model = PricedModel { id: record.model.clone(), name, custom: record.source == CUSTOM };
            names.entry(record.provider.to_string()).or_default().insert(record.model, model);
        }
        let now = self.clock.now();
        for row in self.store.prices().list().await? {
            if row.model != PriceRow::UNLISTED && row.is_in_force(now) {
                let model =
                    PricedModel { id: row.model.clone(), name: row.model.clone(), custom: row.source == CUSTOM };
                names.entry(row.provider).or_default().entry(row.model).or_insert(model);
            }
        }
        let described = names.into_iter().map(|(id, models)| {
            let prefix = Named::of(&id, &nodes).prefix;
            let node = nodes.iter().find(|node| node.id.as_str() == id);
            let known = Catalog::builtin().get(&id);
            let needs_no_key = known.is_some_and(|known| known.auth == Auth::None);
            let name = node.map(|node| node.name.clone()).or_else(|| known.map(|known| known.name.to_string()));
            let format = node.map(|node| node.kind.clone()).or_else(|| known.map(|known| known.format.to_string()));
            let provider = PricedProvider {
                alias: prefix.clone(),
                name: name.unwrap_or_else(|| id.clone()),
                auth_type: if needs_no_key { "none" } else { "apikey" },
                format: format.unwrap_or_default(),
                model_count: models.len(),
                models: models.into_values().collect(),
                id,
            };
            (prefix, provider)
        });
        Ok(described.collect())
    }
}

/// The prices that come with the program.
pub(super) fn defaults(provider: Option<&str>) -> Prices {
    let table = ModelTable::builtin();
    let ids: BTreeSet<&String> = table.header().providers.iter().collect();
    let mut prices = Prices::new();
    for id in ids.into_iter().filter(|id| provider.is_none_or(|wanted| wanted == id.as_str())) {
        let priced = table.of(id).iter().filter_map(|known| Some((known.model.clone(), known.price.as_ref()?)));
        let of_provider: BTreeMap<_, _> = priced.map(|(model, price)| (model, PriceView::from(price))).collect();
        if !of_provider.is_empty() {
            prices.insert(id.clone(), of_provider);
        }
    }
    prices
}
