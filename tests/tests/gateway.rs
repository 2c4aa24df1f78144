//! The main job, end to end, on both databases: a request enters a proxy, reaches the provider, comes back, and what it
//! used is in the ledger.

#![cfg(test)]

use omniroute_tests::harness::{Client, Engine, Setup, Stack, eventually};
use serde_json::json;

async fn sqlite() -> Stack {
    Setup::on(Engine::Sqlite).start().await
}

async fn postgres() -> Stack {
    Setup::on(Engine::Postgres).shared_redis().proxies(2).start().await
}

/// Every kind of call of the first surface, through each proxy, and the ledger after it.
async fn serves(stack: &Stack) {
    let mut ids = Vec::new();
    for client in stack.clients() {
        let answer = client.chat("mock/gpt-mock", "hello there").await;
        assert!(answer.ok().text().contains("hello there"), "{}", answer.body);
        assert_eq!(answer.json()["model"], "gpt-mock", "the answer passes as it came");
        assert_eq!(answer.header("x-omniroute-model"), Some("gpt-mock"));
        ids.push(answer.request_id().to_owned());

        let answer = client.stream("mock/gpt-mock", "in pieces").await;
        assert!(answer.ok().is_done());
        assert!(answer.text().contains("in pieces"));
        assert!(answer.events().iter().all(|event| event["usage"].is_null()), "nobody asked for the usage");
        ids.push(answer.request_id().to_owned());

        let mut body = Client::chat_body("mock/gpt-mock", "and what it used", true);
        body["stream_options"] = json!({ "include_usage": true });
        let answer = client.post("/v1/chat/completions", &body).await;
        let last = answer.ok().events().pop().expect("events");
        assert_eq!(last["choices"], json!([]));
        assert!(last["usage"]["completion_tokens"].as_u64() > Some(0));
        ids.push(answer.request_id().to_owned());

        let body = json!({ "model": "mock/embed-mock", "input": ["one", "two"] });
        let answer = client.post("/v1/embeddings", &body).await;
        assert_eq!(answer.ok().json()["data"].as_array().map(Vec::len), Some(2));
        ids.push(answer.request_id().to_owned());

        let models = client.get("/v1/models").await.ok().json();
        let listed: Vec<_> = models["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();
        assert!(listed.contains(&&json!("mock/vendor/gpt-mock")), "{listed:?}");
        assert_eq!(client.get("/v1/models/mock/gpt-mock").await.ok().json()["id"], "mock/gpt-mock");
    }
    for id in &ids {
        let call = stack.ledger.call(id).await;
        assert_eq!((call.outcome(), call.is_estimated()), ("ok", false), "{call:?}");
        assert_eq!(call.0["apiKeyId"], stack.key_id.as_str());
        assert_eq!(call.0["connectionId"], stack.connection_id.as_str());
    }
    assert_eq!(stack.ledger.answered().await, stack.provider.total(), "the provider counts what the ledger says");
    let history = stack.rest.get("/api/usage/history").await;
    assert_eq!(history["totalRequests"], ids.len());
    let logs = stack.rest.get("/api/usage/logs").await;
    assert_eq!(logs.as_array().map(Vec::len), Some(ids.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_served_and_counted_on_sqlite() {
    serves(&sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_served_and_counted_on_postgres_with_two_proxies_and_redis() {
    serves(&postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_reach_the_provider_byte_for_byte() {
    let stack = sqlite().await;
    let body = concat!(
        r#"{ "zeta":1.50e3 ,"messages":[{"role":"user","content":"caf\u00e9 \ud83d\ude00","x":[ ]}],"#,
        r#" "model" : "mock/gpt-mock","unknown":{"b":1,"a":"é"}}"#
    );
    let response = http_client()
        .post(format!("{}/v1/chat/completions", stack.proxies[0].url))
        .bearer_auth(stack.client.key())
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    let seen = stack.provider.seen();
    let chat = seen.iter().rev().find(|one| one.path.ends_with("/chat/completions")).expect("it arrived");
    assert_eq!(chat.body, body.replace("mock/gpt-mock", "gpt-mock"), "only the model's name is another");
    assert_eq!(chat.key, stack.provider.key());
    assert_eq!(chat.header("authorization"), Some(format!("Bearer {}", stack.provider.key()).as_str()));
}

fn http_client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(no_roots()).build().expect("a client")
}

fn no_roots() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_cancels_the_upstream_call_and_is_billed_for_what_came() {
    let stack = sqlite().await;
    let model = "mock/gpt-mock+words=2000+chunk_delay_ms=20";
    let mut response = stack.client.open("/v1/chat/completions", &Client::chat_body(model, "leaving", true)).await;
    assert_eq!(response.status(), 200);
    let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    for _ in 0..5 {
        response.chunk().await.expect("a chunk").expect("not the end");
    }
    drop(response);
    use omniroute_tests::{harness::PATIENCE, mock_provider::Fate};
    let seen = stack.provider.fate("leaving", &[Fate::Cancelled], PATIENCE).await.expect("the provider is told");
    assert!(seen.completion_tokens < 2000);
    let call = stack.ledger.call(&id).await;
    assert_eq!((call.outcome(), call.is_estimated()), ("client_closed", true), "{call:?}");
    assert!(call.output() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_planes_pages_are_served_through_the_proxy_on_one_origin() {
    let stack = sqlite().await;
    let page = stack.client.get("/dashboard/").await;
    assert!(page.ok().body.contains("<html"));
    let document = stack.client.get("/api/openapi.json").await;
    assert_eq!(document.ok().json()["openapi"], "3.1.0");
    assert!(stack.client.get("/api/docs/").await.ok().body.contains("swagger"));
    let unknown = stack.client.get("/v1/nothing").await;
    assert_eq!((unknown.status, unknown.error_code().as_str()), (404, "unknown_path"));
    let (status, text) = stack.rest.call(http::Method::GET, "/api/nothing", None).await;
    assert_eq!(status, 404);
    assert!(text.starts_with('{'), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_shows_every_proxy() {
    let stack = postgres().await;
    eventually("both proxies have reported", || async {
        let health = stack.rest.get("/api/monitoring/health").await;
        let proxies = health["proxies"].as_array().expect("a list");
        proxies.len() == 2
            && proxies.iter().all(|one| one["state"] == "serving" && one["revision"] == health["revision"])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_balancer_and_a_proxy_each_client_is_itself() {
    let stack = Setup::on(Engine::Sqlite).proxies(2).control_plane("LOGIN_ATTEMPTS", "2").start().await;
    // As a balancer on this machine passes logins on, to one proxy after the other.
    let mut turn = stack.proxies.iter().cycle();
    let mut login = async |client: &str, password: &str| {
        let url = format!("{}/api/auth/login", turn.next().expect("endless").url);
        let asking = http_client().post(url).header("x-forwarded-for", client);
        let asking =
            asking.header("content-type", "application/json").body(json!({ "password": password }).to_string());
        asking.send().await.expect("an answer").status().as_u16()
    };
    for _ in 0..2 {
        assert_eq!(login("203.0.113.9", "wrong").await, 401);
    }
    assert_eq!(login("203.0.113.9", "wrong").await, 429, "whoever guesses has to wait");
    assert_eq!(login("192.0.2.1, 203.0.113.9", "wrong").await, 429, "also under a name of his own making");
    assert_eq!(login("198.51.100.7", "wrong").await, 401, "nobody else does");
}
