use omniroute_core::time::UnixMillis;
use omniroute_proto::v1::Outcome;
use serde_json::json;

use crate::tests::{gateway::Gateway, resources::record};

#[tokio::test]
async fn requests_are_listed_with_what_they_used() {
    let gateway = Gateway::new().await;
    let now = gateway.clock_now();
    let id = record(&gateway, now, |_| {}).await;
    let earlier = UnixMillis(now.0 - 5000);
    record(&gateway, earlier, |event| {
        event.request_id = "request-0".into();
        event.outcome = Outcome::ClientClosed.into();
        event.status = 0;
        event.error_code = "client_closed".into();
        event.first_byte_us = 0;
        event.usage = None;
        event.connection_id = "connection-2".into();
        // As a proxy of before these fields sends it.
        (event.path, event.source_format, event.target_format) = Default::default();
    })
    .await;

    let rows = gateway.get("/api/usage/call-logs").await.ok(200);
    let (last, first) = (&rows[0], &rows[1]);
    assert_eq!((&last["id"], &last["outcome"], &last["status"]), (&json!(id), &json!("ok"), &json!(200)));
    assert_eq!(
        last["tokens"],
        json!({ "in": 25, "out": 60, "cacheRead": 5, "cacheWrite": null, "reasoning": null, "compressed": null })
    );
    assert_eq!((&last["duration"], &last["firstByteMs"], &last["error"]), (&json!(70), &json!(12), &json!(null)));
    assert_eq!((&last["account"], &last["path"]), (&json!("connection-1"), &json!("/v1/messages")));
    assert_eq!((&last["sourceFormat"], &last["targetFormat"]), (&json!("anthropic"), &json!("gemini")));
    assert_eq!(
        (&first["path"], &first["sourceFormat"], &first["targetFormat"]),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!((&first["outcome"], &first["error"]), (&json!("client_closed"), &json!("client_closed")));
    assert_eq!((&first["tokens"]["in"], &first["firstByteMs"]), (&json!(null), &json!(null)), "unknown is not 0");

    let lines = gateway.get("/api/usage/logs").await.ok(200);
    assert_eq!(lines[0], format!("{} | gpt-4o-mini | OPENAI | connection-1 | 25 | 60 | 200", now.to_rfc3339()));
    assert_eq!(
        lines[1],
        format!("{} | gpt-4o-mini | OPENAI | connection-2 | ? | ? | CLIENT_CLOSED", earlier.to_rfc3339())
    );
    assert_eq!(gateway.get("/api/usage/request-logs").await.ok(200), lines);

    for (query, count) in [
        ("outcome=ok", 1),
        ("outcome=timeout", 0),
        ("connectionId=connection-2", 1),
        ("provider=openai&model=gpt-4o-mini", 2),
        ("apiKey=nobody", 0),
        ("limit=1", 1),
        ("offset=1", 1),
        ("since=2027-01-15T07:59:59Z", 1),
    ] {
        let rows = gateway.get(&format!("/api/usage/call-logs?{query}")).await.ok(200);
        assert_eq!(rows.as_array().map(Vec::len), Some(count), "{query}");
    }
    for query in ["limit=0", "limit=1001", "outcome=great", "since=yesterday", "cursor=x"] {
        let field = query.split('=').next().expect("a name");
        assert_eq!(gateway.get(&format!("/api/usage/call-logs?{query}")).await.fields(), [field], "{query}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_by_cursor() {
    let gateway = Gateway::new().await;
    let now = gateway.clock_now();
    for second in 0..5 {
        record(&gateway, UnixMillis(now.0 - second * 1000), |event| event.request_id = format!("request-{second}"))
            .await;
    }
    let mut seen = Vec::new();
    let mut path = "/api/usage/call-logs?limit=2".to_owned();
    loop {
        let page = gateway.get(&path).await;
        let rows = page.ok(200);
        seen.extend(
            rows.as_array().expect("rows").iter().map(|row| row["requestId"].as_str().expect("an id").to_owned()),
        );
        let Some(next) = page.headers.get("x-omniroute-next-cursor") else { break };
        path = format!("/api/usage/call-logs?limit=2&cursor={}", next.to_str().expect("a text"));
    }
    assert_eq!(seen, ["request-0", "request-1", "request-2", "request-3", "request-4"]);
}

#[tokio::test]
async fn a_request_is_shown_with_all_its_attempts() {
    let gateway = Gateway::new().await;
    let now = gateway.clock_now();
    record(&gateway, UnixMillis(now.0 - 1000), |event| {
        event.outcome = Outcome::UpstreamError.into();
        event.error_code = "upstream_error".into();
    })
    .await;
    let id = record(&gateway, now, |event| event.attempts = 2).await;
    let shown = gateway.get("/api/usage/request-logs/request-1").await.ok(200);
    assert_eq!(shown["requestId"], "request-1");
    assert_eq!((&shown["attempts"][0]["outcome"], &shown["attempts"][1]["id"]), (&json!("upstream_error"), &json!(id)));
    assert_eq!(shown["attempts"][1]["usage"]["cacheRead"], 5);
    let by_event = gateway.get(&format!("/api/usage/request-logs/{id}")).await.ok(200);
    assert_eq!(by_event["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(gateway.get("/api/usage/request-logs/none").await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn history_sums_by_everything() {
    let gateway = Gateway::new().await;
    let key =
        gateway.post("/api/keys", json!({ "name": "bench" })).await.ok(201)["id"].as_str().expect("an id").to_owned();
    let now = gateway.clock_now();
    for second in 0..3 {
        record(&gateway, UnixMillis(now.0 - second), |event| event.api_key_id = key.clone()).await;
    }
    let history = gateway.get("/api/usage/history").await.ok(200);
    assert_eq!((&history["totalRequests"], &history["totalPromptTokens"]), (&json!(3), &json!(75)));
    assert_eq!(history["byProvider"]["openai"]["completionTokens"], 180);
    assert_eq!(history["byModel"]["gpt-4o-mini (openai)"]["rawModel"], "gpt-4o-mini");
    assert_eq!(history["byAccount"]["gpt-4o-mini (openai - connection-1)"]["requests"], 3);
    assert_eq!(history["byApiKey"][format!("bench ({key})")]["requests"], 3);
    let minutes = history["last10Minutes"].as_array().expect("minutes");
    assert_eq!(minutes.len(), 10);
    assert_eq!(minutes.iter().map(|minute| minute["requests"].as_u64().expect("a number")).sum::<u64>(), 3);
    let later = gateway.get("/api/usage/history?since=2027-01-16T00:00:00Z").await.ok(200);
    assert_eq!(later["totalRequests"], 0);
    assert_eq!(gateway.get("/api/usage/history?since=x").await.fields(), ["since"]);
    let shown = gateway.get(&format!("/api/keys/{key}")).await.ok(200);
    assert_eq!(shown["lastUsedAt"], now.to_rfc3339());
}

#[tokio::test]
async fn usage_of_a_connection_outlives_the_connection() {
    let gateway = Gateway::new().await;
    let id = crate::tests::resources::connection(&gateway, "http://127.0.0.1:9/v1").await;
    let path = format!("/api/usage/{id}");
    assert_eq!(gateway.get(&path).await.ok(200)["total"]["requests"], 0);
    record(&gateway, gateway.clock_now(), |event| event.connection_id = id.clone()).await;
    let usage = gateway.get(&path).await.ok(200);
    assert_eq!((&usage["name"], &usage["total"]["requests"]), (&json!("mock-1"), &json!(1)));
    assert_eq!(usage["byOutcome"]["ok"]["requests"], 1);
    gateway.delete(&format!("/api/providers/{id}")).await.ok(200);
    let usage = gateway.get(&path).await.ok(200);
    assert_eq!((&usage["name"], &usage["byModel"]["gpt-4o-mini"]["requests"]), (&json!(null), &json!(1)));
    let until = async |time: &str| gateway.get(&format!("{path}?until={time}")).await;
    assert_eq!(until("2027-01-15T09:00:00Z").await.ok(200)["total"]["requests"], 1);
    assert_eq!(until("2027-01-15T08:00:00Z").await.code(404), "RESOURCE_001", "nothing before that, and no connection");
    assert_eq!(gateway.get("/api/usage/nobody").await.code(404), "RESOURCE_001");
}
