//! Prices through REST, and what becomes of them in the ledger.

use std::time::Duration;

use omniroute_core::time::UnixMillis;
use omniroute_proto::v1::Usage;
use serde_json::{Value, json};

use crate::tests::{
    gateway::Gateway,
    resources::{connection, node, record},
};

/// What a request of a million tokens in and a million out cost, in micro-dollars.
async fn cost(gateway: &Gateway, at: UnixMillis, provider: &str, model: &str, connection: &str) -> Option<i64> {
    let id = record(gateway, at, |event| {
        event.provider = provider.into();
        event.model = model.into();
        event.connection_id = connection.into();
        event.usage = Some(Usage { input: Some(1_000_000), output: Some(1_000_000), ..Usage::default() });
    })
    .await;
    gateway.on.ledger.find(&id).await.expect("a look-up").remove(0).cost.map(|cost| cost.0)
}

#[tokio::test]
async fn the_operators_price_wins_from_now_on_and_what_was_billed_stays() {
    let gateway = Gateway::new().await;
    let before = cost(&gateway, gateway.clock_now(), "openai", "gpt-4o-mini", "c").await;
    assert_eq!(before, Some(750_000), "as the program knows it");
    let listed = gateway.get("/api/pricing?provider=openai").await.ok(200);
    assert_eq!(listed["openai"]["gpt-4o-mini"]["input"], 0.15);
    assert_eq!(listed["openai"]["gpt-4o-mini"]["cached"], 0.075);
    assert_eq!(listed["openai"]["gpt-4o-mini"]["reasoning"], 0.6);
    assert_eq!(listed.as_object().map(serde_json::Map::len), Some(1), "of one provider");

    gateway.clock.advance(Duration::from_secs(60));
    let set = json!({ "openai": { "gpt-4o-mini": { "input": 1.5 } } });
    let custom = gateway.patch("/api/pricing", set).await.ok(200);
    assert_eq!(custom["openai"]["gpt-4o-mini"]["input"], 1.5);
    assert_eq!(custom["openai"]["gpt-4o-mini"]["output"], 0.6, "what is not named stays");
    gateway.clock.advance(Duration::from_secs(60));
    let now = gateway.clock_now();
    assert_eq!(cost(&gateway, now, "openai", "gpt-4o-mini", "c").await, Some(2_100_000));
    let late = UnixMillis(now.0 - 90_000);
    assert_eq!(cost(&gateway, late, "openai", "gpt-4o-mini", "c").await, Some(750_000), "it happened before");
    let total = gateway.get("/api/usage/history").await.ok(200)["totalCostMicroUsd"].clone();
    assert_eq!(total, 750_000 + 2_100_000 + 750_000);

    let history = gateway.get("/api/pricing/history?provider=openai&model=gpt-4o-mini").await.ok(200);
    let spans: Vec<_> = history["prices"].as_array().expect("prices").iter().map(|price| &price["source"]).collect();
    assert_eq!(spans, ["builtin", "custom"]);
    assert_eq!(history["prices"][0]["validUntil"], Value::Null, "the built-in price goes on behind it");

    let left = gateway.delete("/api/pricing?provider=openai&model=gpt-4o-mini").await.ok(200);
    assert_eq!(left, json!({}));
    gateway.clock.advance(Duration::from_secs(60));
    assert_eq!(cost(&gateway, gateway.clock_now(), "openai", "gpt-4o-mini", "c").await, Some(750_000));
    let history = gateway.get("/api/pricing/history?provider=openai&model=gpt-4o-mini").await.ok(200);
    assert!(history["prices"][1]["validUntil"].is_string(), "it stays in the history: {history}");
}

#[tokio::test]
async fn a_node_is_priced_by_its_prefix_and_put_replaces_the_whole_price() {
    let gateway = Gateway::new().await;
    let made = node(&gateway, "mine", "http://127.0.0.1:9/v1").await;
    let id = made["id"].as_str().expect("an id").to_owned();
    let now = gateway.clock_now();
    assert_eq!(cost(&gateway, now, &id, "own", "c").await, None, "no price is not a price of nothing");
    let set = json!({ "mine": { "own": { "input": 1, "output": 2, "cached": 0.5, "cache_write_1h": 4 } } });
    let shown = gateway.put("/api/pricing", set).await.ok(200)["mine"]["own"].clone();
    assert_eq!(
        shown,
        json!({ "input": 1.0, "output": 2.0, "cached": 0.5, "cache_creation": 1.0, "reasoning": 2.0, "cache_write_1h": 4.0 })
    );
    gateway.clock.advance(Duration::from_secs(1));
    assert_eq!(cost(&gateway, gateway.clock_now(), &id, "own", "c").await, Some(3_000_000));
    gateway.clock.advance(Duration::from_secs(1));
    let shown = gateway.put("/api/pricing", json!({ "mine": { "own": { "input": 7, "output": 0 } } })).await.ok(200);
    assert_eq!(shown["mine"]["own"]["cached"], 7.0, "what is not named falls back");
    assert_eq!(gateway.delete("/api/pricing?provider=mine").await.ok(200), json!({}));
}

#[tokio::test]
async fn a_long_prompt_costs_what_the_operator_says_not_half_of_it() {
    let gateway = Gateway::new().await;
    let long = cost(&gateway, gateway.clock_now(), "gemini", "gemini-2.5-pro", "c").await;
    assert_eq!(long, Some(2_500_000 + 15_000_000), "above 200,000 tokens");
    gateway.patch("/api/pricing", json!({ "gemini": { "gemini-2.5-pro": { "input": 1 } } })).await.ok(200);
    gateway.clock.advance(Duration::from_secs(1));
    let long = cost(&gateway, gateway.clock_now(), "gemini", "gemini-2.5-pro", "c").await;
    assert_eq!(long, Some(1_000_000 + 15_000_000), "a named class has one price, the others keep theirs");
}

#[tokio::test]
async fn a_price_may_hold_from_another_time_on() {
    let gateway = Gateway::new().await;
    let later = gateway.clock_now().saturating_add(Duration::from_hours(1));
    let set = json!({ "openai": { "gpt-4o-mini": { "input": 9, "output": 0, "validFrom": later.to_rfc3339() } } });
    gateway.put("/api/pricing", set).await.ok(200);
    let shown = gateway.get("/api/pricing?provider=openai").await.ok(200);
    assert_eq!(shown["openai"]["gpt-4o-mini"]["input"], 0.15, "not yet");
    assert_eq!(cost(&gateway, gateway.clock_now(), "openai", "gpt-4o-mini", "c").await, Some(750_000));
    gateway.clock.advance(Duration::from_hours(2));
    assert_eq!(cost(&gateway, gateway.clock_now(), "openai", "gpt-4o-mini", "c").await, Some(9_000_000));
}

#[tokio::test]
async fn what_is_no_price_is_refused_with_its_place() {
    let gateway = Gateway::new().await;
    for (body, field) in [
        (json!({ "nobody": { "m": { "input": 1 } } }), "nobody"),
        (json!({ "openai": { "m": { "input": -1 } } }), "openai.m.input"),
        (json!({ "openai": { "m": { "input": "1" } } }), "openai.m.input"),
        (json!({ "openai": { "m": { "inptu": 1, "output": 1 } } }), "openai.m.inptu"),
        (json!({ "openai": { "m": { "input": 1e7 } } }), "openai.m.input"),
        (json!({ "openai": { "m": {} } }), "openai.m.input"),
        (json!({ "openai": { "m": 5 } }), "openai.m"),
        (json!({ "openai": { " ": { "input": 1 } } }), "openai. "),
        (json!({ "openai": 5 }), "openai"),
        (json!({}), "body"),
    ] {
        for refused in
            [gateway.patch("/api/pricing", body.clone()).await, gateway.put("/api/pricing", body.clone()).await]
        {
            assert_eq!(refused.status, 400, "{body}");
            assert_eq!(refused.fields().first().map(String::as_str), Some(field), "{body}: {}", refused.text);
        }
    }
    assert_eq!(gateway.delete("/api/pricing?model=m").await.fields(), ["provider"]);
    assert_eq!(gateway.get("/api/pricing/history?provider=openai&model=none").await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn the_defaults_and_the_models_are_told() {
    let gateway = Gateway::new().await;
    let defaults = gateway.get("/api/pricing/defaults").await.ok(200);
    let count: usize =
        defaults.as_object().expect("providers").values().filter_map(|of| of.as_object()).map(|of| of.len()).sum();
    assert!(count >= 1_500, "{count}");
    assert_eq!(defaults["anthropic"]["claude-opus-4-6"]["cache_write_1h"], 10.0);
    let models = gateway.get("/api/pricing/models").await.ok(200);
    let anthropic = &models["anthropic"];
    assert_eq!((&anthropic["id"], &anthropic["authType"]), (&json!("anthropic"), &json!("apikey")));
    assert_eq!(anthropic["modelCount"], anthropic["models"].as_array().map_or(0, Vec::len));
    assert!(anthropic["models"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == "claude-opus-4-6")));
}

#[tokio::test]
async fn a_connection_may_have_a_price_for_what_has_none() {
    let gateway = Gateway::new().await;
    let id = connection(&gateway, "http://127.0.0.1:9/v1").await;
    let path = format!("/api/providers/{id}");
    let node = gateway.get(&path).await.ok(200)["connection"]["provider"].as_str().expect("a node").to_owned();
    let cost = async |gateway: &Gateway| {
        gateway.clock.advance(Duration::from_secs(1));
        cost(gateway, gateway.clock_now(), &node, "anything", &id).await
    };
    assert_eq!(cost(&gateway).await, None);
    let missing = json!({ "providerSpecificData": { "unpriced": "price" } });
    assert_eq!(gateway.patch(&path, missing).await.fields(), ["providerSpecificData.unpricedPrice"]);
    let wrong = json!({ "providerSpecificData": { "unpriced": "maybe" } });
    assert_eq!(gateway.patch(&path, wrong).await.fields(), ["providerSpecificData.unpriced"]);
    let wrong = json!({ "providerSpecificData": { "unpriced": "price", "unpricedPrice": { "inputs": 1 } } });
    assert_eq!(gateway.patch(&path, wrong).await.status, 400);
    let price = json!({ "unpriced": "price", "unpricedPrice": { "input": 1, "output": 2 } });
    gateway.patch(&path, json!({ "providerSpecificData": price })).await.ok(200);
    assert_eq!(cost(&gateway).await, Some(3_000_000));
    assert_eq!(gateway.get("/api/pricing").await.ok(200).get(&id), None, "it is no provider's price");
    gateway.delete("/api/pricing").await.ok(200);
    assert_eq!(cost(&gateway).await, Some(3_000_000), "and stays when those end");
    let revision = gateway.on.store.prices().of_model(&id, "*").await.expect("prices").len();
    gateway.patch(&path, json!({ "providerSpecificData": { "note": "x" } })).await.ok(200);
    assert_eq!(gateway.on.store.prices().of_model(&id, "*").await.expect("prices").len(), revision, "nothing changed");
    gateway.patch(&path, json!({ "providerSpecificData": { "unpriced": "allow" } })).await.ok(200);
    assert_eq!(cost(&gateway).await, None);
}
