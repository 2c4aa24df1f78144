use std::time::Duration;

use http::Method;
use omniroute_proto::v1;
use serde_json::json;

use crate::{
    store::records::RejectionRow,
    tests::gateway::{Gateway, REMOTE},
};

async fn proxy(gateway: &Gateway, id: &str) {
    let revision = gateway.on.store.revision().await.expect("a revision");
    let status = v1::ProxyStatus {
        proxy_id: id.into(),
        version: "0.1.0".into(),
        address: "10.0.0.1:20128".into(),
        revision,
        requests_in_flight: 7,
        streams_in_flight: 3,
        journal_pending: 11,
        ..Default::default()
    };
    gateway.on.store.proxies().upsert(&status).await.expect("stored");
}

#[tokio::test]
async fn health_tells_strangers_little_and_managers_everything() {
    let gateway = Gateway::new().await;
    proxy(&gateway, "p1").await;
    let stranger = gateway.call(Method::GET, "/api/monitoring/health").anonymous().from(REMOTE).send().await.ok(200);
    let mut known: Vec<_> = stranger.as_object().expect("an object").keys().cloned().collect();
    known.sort();
    assert_eq!(known, ["setupComplete", "status", "timestamp", "version"]);

    let health = gateway.get("/api/monitoring/health").await.ok(200);
    assert_eq!((&health["status"], &health["database"]["engine"]), (&json!("healthy"), &json!("sqlite")));
    let shown = &health["proxies"][0];
    assert_eq!((&shown["id"], &shown["state"], &shown["lag"]), (&json!("p1"), &json!("serving"), &json!(0)));
    assert_eq!((&shown["requestsInFlight"], &shown["lastError"]), (&json!(7), &json!(null)));
    assert_eq!(health["journal"], json!({ "pending": 11, "lost": 0 }));
    assert_eq!(health["providerSummary"]["configuredCount"], 0);
    assert!(health["providerSummary"]["catalogCount"].as_u64().expect("a number") > 20);
    assert!(health["memoryUsage"]["rss"].as_u64().expect("a number") > 0);
}

#[tokio::test]
async fn a_busy_pool_keeps_nobody_waiting_who_asks_how_things_are() {
    let gateway = Gateway::new().await;
    let cookie = gateway.sign_in().await;
    let mut held = Vec::new();
    for pool in [gateway.on.store.reader(), gateway.on.store.writer()] {
        for _ in 0..pool.options().get_max_connections() {
            held.push(pool.acquire().await.expect("a connection"));
        }
    }
    // From here on time passes while everybody waits, and not otherwise.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let call = |path: &str| gateway.call(Method::GET, path);
    let ready = call("/readyz").anonymous().send().await.ok(200);
    assert_eq!((&ready["status"], began.elapsed()), (&json!("ready"), Duration::ZERO), "nobody is asked");

    let health = call("/api/monitoring/health").send().await.ok(200);
    assert_eq!((&health["status"], &health["database"]["status"]), (&json!("unhealthy"), &json!("unhealthy")));
    // Who has a session cannot be known as a manager, and is told what strangers are.
    let stranger = call("/api/monitoring/health").cookie(&cookie).send().await.ok(200);
    assert_eq!((&stranger["status"], stranger.get("proxies")), (&json!("unhealthy"), None));
    let waited = began.elapsed();
    assert!(waited < gateway.on.store.reader().options().get_acquire_timeout() / 2, "{waited:?}, as in a queue");

    tokio::time::resume();
    drop(held);
    assert_eq!(call("/api/monitoring/health").cookie(&cookie).send().await.ok(200)["status"], "healthy");
}

#[tokio::test]
async fn trouble_of_a_proxy_is_seen_with_its_reason() {
    let gateway = Gateway::new().await;
    proxy(&gateway, "p1").await;
    gateway.post("/api/keys", json!({ "name": "k" })).await.ok(201);
    let health = gateway.get("/api/monitoring/health").await.ok(200);
    assert_eq!((&health["status"], &health["proxies"][0]["lag"]), (&json!("healthy"), &json!(1)));
    let rejection = RejectionRow { kind: "connection".into(), id: "c1".into(), reason: "bad header".into() };
    gateway.on.store.proxies().set_rejections("p1", &[rejection]).await.expect("stored");
    let health = gateway.get("/api/monitoring/health").await.ok(200);
    assert_eq!(health["status"], "degraded");
    assert_eq!(
        health["proxies"][0]["rejections"],
        json!([{ "kind": "connection", "id": "c1", "reason": "bad header" }])
    );
    gateway.on.store.proxies().set_rejections("p1", &[]).await.expect("stored");
    gateway.clock.advance(Duration::from_secs(16));
    let health = gateway.get("/api/monitoring/health").await.ok(200);
    assert_eq!((&health["status"], &health["proxies"][0]["state"]), (&json!("degraded"), &json!("lost")));
    gateway.clock.advance(Duration::from_secs(7200));
    assert_eq!(gateway.get("/api/monitoring/health").await.ok(200)["status"], "healthy", "lost long ago");
}

#[tokio::test]
async fn nodes_and_tested_connections_are_counted() {
    let gateway = Gateway::new().await;
    let provider = crate::tests::provider::Provider::start().await;
    let id = crate::tests::resources::connection(&gateway, &provider.url()).await;
    gateway.post(&format!("/api/providers/{id}/test"), json!({})).await.ok(200);
    let health = gateway.get("/api/monitoring/health").await.ok(200);
    let summary = &health["providerSummary"];
    for count in ["configuredCount", "activeCount", "monitoredCount"] {
        assert_eq!(summary[count], 1, "{count}");
    }
    let local = health["localProviders"].as_object().expect("an object").values().next().expect("a node");
    assert_eq!((&local["prefix"], &local["isHealthy"]), (&json!("mock0"), &json!(true)));
    assert_eq!(health["activeConnections"], 1);
}

#[tokio::test]
async fn orders_reach_proxies_that_exist() {
    let gateway = Gateway::new().await;
    proxy(&gateway, "p1").await;
    let order = |path: &'static str| gateway.call(Method::POST, path).send();
    // It has been heard of, but it is attached nowhere: the orders wait, and the answers say so.
    let answers = tokio::join!(
        order("/api/monitoring/proxies/p1/resume"),
        order("/api/monitoring/proxies/p1/resync"),
        gateway.post("/api/monitoring/proxies/p1/drain", json!({ "deadlineMs": 5000 })),
        order("/api/monitoring/proxies/p1/drain"),
    );
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        let answer = answer.ok(202);
        assert_eq!((&answer["proxyId"], &answer["delivered"]), (&json!("p1"), &json!(false)));
        assert!(answer["message"].is_string());
    }
    let waiting = gateway.on.store.proxies().take_commands("p1").await.expect("orders");
    assert_eq!(waiting.len(), 4);
    assert_eq!(order("/api/monitoring/proxies/none/drain").await.code(404), "RESOURCE_001");
    let wrong = gateway.post("/api/monitoring/proxies/p1/drain", json!({ "deadlineMs": "soon" })).await;
    assert_eq!(wrong.fields(), ["deadlineMs"]);
}
