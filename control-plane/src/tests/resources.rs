//! Things to have in a control plane before a test begins.

use omniroute_core::time::UnixMillis;
use omniroute_proto::v1::{Outcome, Usage, UsageEvent};
use serde_json::{Value, json};
use uuid::{NoContext, Timestamp, Uuid};

use super::{
    gateway::{Answer, Gateway},
    provider::KEY,
};

pub(crate) async fn node(gateway: &Gateway, prefix: &str, base_url: &str) -> Value {
    let body = json!({ "name": "Mock", "prefix": prefix, "apiType": "chat", "baseUrl": base_url });
    gateway.post("/api/provider-nodes", body).await.ok(201)["node"].clone()
}

/// Id of a new connection at a node with this URL.
pub(crate) async fn connection(gateway: &Gateway, base_url: &str) -> String {
    let nodes = gateway.get("/api/provider-nodes").await.ok(200)["nodes"].as_array().map_or(0, Vec::len);
    let node = node(gateway, &format!("mock{nodes}"), base_url).await;
    let body = json!({ "provider": node["id"], "name": "mock-1", "apiKey": KEY });
    id_of(&gateway.post("/api/providers", body).await)
}

pub(crate) fn id_of(answer: &Answer) -> String {
    answer.ok(201)["connection"]["id"].as_str().expect("an id").to_owned()
}

/// Puts a chat request into the ledger and returns its event id.
pub(crate) async fn record(gateway: &Gateway, at: UnixMillis, change: impl FnOnce(&mut UsageEvent)) -> String {
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, at.0 / 1000, 0));
    let mut event = UsageEvent {
        id: id.as_bytes().to_vec().into(),
        at_ms: at.0,
        request_id: "request-1".into(),
        api_key_id: "key-1".into(),
        connection_id: "connection-1".into(),
        provider: "openai".into(),
        requested_model: "openai/gpt-4o-mini".into(),
        model: "gpt-4o-mini".into(),
        operation: "chat".into(),
        outcome: Outcome::Ok.into(),
        status: 200,
        usage: Some(Usage { input: Some(20), cache_read: Some(5), output: Some(60), ..Usage::default() }),
        duration_us: 70_000,
        first_byte_us: 12_000,
        attempts: 1,
        finish_reason: "stop".into(),
        path: "/v1/messages".into(),
        source_format: "anthropic".into(),
        target_format: "gemini".into(),
        ..UsageEvent::default()
    };
    change(&mut event);
    let ingested = gateway.on.ledger.ingest("p1", &[event]).await.expect("ingested");
    assert_eq!((ingested.inserted, ingested.refused.len()), (1, 0), "{ingested:?}");
    id.to_string()
}
