//! What becomes of models without a price: a connection may refuse them, let them pass unpriced, or have a price for them.
//!
//! It is said in `providerSpecificData`: `unpriced` is `allow` (the default), `refuse` or `price`, and with `price` goes
//! `unpricedPrice`. Proxies refuse; the ledger finds the price under the connection's id and [`PriceRow::UNLISTED`].

use omniroute_core::{money::TokenPrice, time::UnixMillis};
use omniroute_providers::models::{Class, Price, Rates};
use serde_json::{Value, json};

use super::{super::connections::ConnectionRecord, shapes::read_price};
use crate::{
    http::Fields,
    store::{
        StoreError, Write,
        records::{Object, PriceRow},
    },
};

/// Field of `providerSpecificData`.
pub(in super::super) const UNPRICED: &str = "unpriced";
const UNPRICED_PRICE: &str = "unpricedPrice";

const ALLOW: &str = "allow";
pub(in super::super) const REFUSE: &str = "refuse";
const PRICE: &str = "price";

/// As an edit says it.
pub(in super::super) struct Unpriced {
    policy: Option<String>,
    price: Option<Object>,
}

// === impl Unpriced ===

impl Unpriced {
    /// Takes the fields out of `providerSpecificData`, and notes what is wrong with them.
    pub(in super::super) fn read(fields: &mut Fields) -> Self {
        let policy = fields.choice(UNPRICED, &[ALLOW, REFUSE, PRICE]);
        let price = fields.object(UNPRICED_PRICE);
        match &price {
            Some(price) => {
                if let Err(error) = read_price(price.clone()) {
                    fields.refuse_all(error.inside(UNPRICED_PRICE));
                }
            }
            None if policy.as_deref() == Some(PRICE) => {
                fields.refuse_unless_noted(UNPRICED_PRICE, "is needed, such as {\"input\": 1, \"output\": 4}");
            }
            None => {}
        }
        Self { policy, price }
    }

    pub(in super::super) fn write(self, data: &mut Object) {
        if let Some(policy) = self.policy {
            data.insert(UNPRICED.into(), json!(policy));
        }
        if let Some(price) = self.price {
            data.insert(UNPRICED_PRICE.into(), Value::Object(price));
        }
    }
}

/// Makes the price for what has none that of the connection, as this says now.
pub(in super::super) async fn price_unlisted(write: &mut Write, record: &ConnectionRecord) -> Result<(), StoreError> {
    let id = record.id.as_str();
    let wanted = wanted(&record.provider_data);
    let held = write.price_in_force(id, PriceRow::UNLISTED).await?;
    match (wanted, held) {
        (Some(price), held) if held.as_ref().is_none_or(|held| held.price.rates != price.rates) => {
            let row = PriceRow {
                provider: id.to_owned(),
                model: PriceRow::UNLISTED.to_owned(),
                valid_from: UnixMillis(0),
                valid_until: None,
                price,
                source: String::new(),
                revision: 0,
            };
            write.put_price(row).await.map(drop)
        }
        (None, Some(_)) => write.delete_price(id, PriceRow::UNLISTED).await,
        _ => Ok(()),
    }
}

/// The connections are gone, and with them what they had a price for.
pub(in super::super) async fn forget_unlisted(write: &mut Write, gone: &[String]) -> Result<(), StoreError> {
    for id in gone {
        if write.price_in_force(id, PriceRow::UNLISTED).await?.is_some() {
            write.delete_price(id, PriceRow::UNLISTED).await?;
        }
    }
    Ok(())
}

fn wanted(data: &Object) -> Option<Price> {
    if data.get(UNPRICED).and_then(Value::as_str) != Some(PRICE) {
        return None;
    }
    let (rates, _) = read_price(data.get(UNPRICED_PRICE)?.as_object()?.clone()).ok()?;
    let mut rates: Rates = rates.into_iter().filter_map(|(class, rate)| Some((class, rate?))).collect();
    // As they are stored.
    for class in [Class::Input, Class::Output] {
        rates.set(class, rates.get(class).or(Some(TokenPrice(0))));
    }
    Some(Price { rates, variants: Vec::new() })
}
