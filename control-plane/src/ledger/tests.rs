//! Tests of the ledger, on both engines.

mod counting;
mod merging;
mod prices;
mod queries;
mod retention;
mod stream;

use omniroute_core::{money::TokenPrice, time::UnixMillis};
use omniroute_proto::v1;
use omniroute_providers::models::{Class, Price};

use super::{History, Ledger, Sums};
use crate::store::{Store, records::PriceRow};

/// A UUIDv7 of a moment.
fn event_id(at: UnixMillis, number: u64) -> Vec<u8> {
    let mut id = [0_u8; 16];
    id[..6].copy_from_slice(&at.0.to_be_bytes()[2..]);
    id[8..].copy_from_slice(&number.to_be_bytes());
    id[6] = 0x70;
    id[8] = 0x80;
    id.to_vec()
}

/// A chat answer: 100 tokens in (40 of them cached), 20 out (5 of them reasoning).
fn event(at: UnixMillis, number: u64) -> v1::UsageEvent {
    v1::UsageEvent {
        id: event_id(at, number).into(),
        at_ms: at.0,
        request_id: format!("req-{number}"),
        api_key_id: "key-1".into(),
        connection_id: "connection-1".into(),
        provider: "openai".into(),
        requested_model: "openai/gpt".into(),
        model: "gpt".into(),
        operation: "chat".into(),
        stream: true,
        outcome: v1::Outcome::Ok.into(),
        status: 200,
        usage: Some(v1::Usage {
            input: Some(60),
            cache_read: Some(40),
            output: Some(15),
            reasoning: Some(5),
            ..Default::default()
        }),
        duration_us: 1_500_000,
        first_byte_us: 300_000,
        attempts: 1,
        finish_reason: "stop".into(),
        ..Default::default()
    }
}

fn events(at: UnixMillis, numbers: impl IntoIterator<Item = u64>) -> Vec<v1::UsageEvent> {
    numbers.into_iter().map(|number| event(at, number)).collect()
}

async fn history(ledger: &Ledger) -> History {
    ledger.history(None, None).await.expect("the history")
}

async fn totals(ledger: &Ledger) -> Sums {
    history(ledger).await.total
}

async fn ledger(store: &Store) -> Ledger {
    Ledger::start(store.clone(), 30).await.expect("a ledger")
}

/// Dollars per million tokens: `input`, ten times that for output, a tenth of it for the cache.
fn price(input: i64) -> PriceRow {
    let rates = [(Class::Input, 1_000_000), (Class::Output, 10_000_000), (Class::CacheRead, 100_000)];
    let rates = rates.into_iter().map(|(class, rate)| (class, TokenPrice(input * rate))).collect();
    PriceRow {
        provider: "openai".into(),
        model: "gpt".into(),
        valid_from: UnixMillis(0),
        valid_until: None,
        price: Price { rates, variants: Vec::new() },
        source: String::new(),
        revision: 0,
    }
}
