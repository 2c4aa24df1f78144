//! The prices that come with the program, as rows of the ledger's table.

use omniroute_core::time::UnixMillis;
use omniroute_providers::models::{ModelTable, Price};

use crate::store::records::PriceRow;

pub(super) fn edition() -> u64 {
    ModelTable::builtin().header().edition
}

pub(super) fn version() -> &'static str {
    &ModelTable::builtin().header().version
}

pub(super) fn prices() -> impl Iterator<Item = PriceRow> {
    ModelTable::builtin().all().filter_map(|known| Some(row(known.provider, known.model, known.price?)))
}

fn row(provider: String, model: String, price: Price) -> PriceRow {
    PriceRow {
        provider,
        model,
        price,
        valid_from: UnixMillis(0),
        valid_until: None,
        source: String::new(),
        revision: 0,
    }
}
