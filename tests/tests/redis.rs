//! Redis goes away, and requests do not.

#![cfg(test)]

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use omniroute_tests::harness::{
    Answer, Client, Engine, Setup, eventually, free_port,
    load::{Load, Outcome, Shape},
};
use serde_json::{Value, json};

/// A Redis that may be killed.
struct Redis {
    port: u16,
    directory: tempfile::TempDir,
    process: Option<Child>,
}

impl Redis {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut redis = Self { port: free_port(), directory, process: None };
        redis.restart();
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn restart(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.directory.path())
            .stdout(Stdio::null())
            .spawn();
        self.process = Some(process.expect("redis-server runs"));
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killed");
            process.wait().expect("gone");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_when_redis_is_killed() {
    let mut redis = Redis::start();
    let stack = Setup::on(Engine::Sqlite).proxies(2).redis(redis.url()).start().await;
    let shape = Shape { model: "mock/gpt-mock", clients: 8, pause: Duration::from_millis(5), goes_on: true };
    let load = Load::start(&stack.clients(), shape);
    load.more(100).await;
    redis.kill();
    load.more(200).await;
    redis.restart();
    load.more(100).await;
    for outcome in load.stop().await {
        assert!(matches!(outcome, Outcome::Answered { .. }), "{outcome:?}");
    }
    eventually("the ledger has every request", || async { stack.ledger.answered().await == stack.provider.total() })
        .await;
}

/// A request to `/v1/responses` that goes on from an answer, or from none.
fn ask(text: &str, previous: Option<&str>) -> Value {
    json!({ "model": "mock/gpt-mock", "input": text, "previous_response_id": previous })
}

fn id_of(answer: &Answer) -> String {
    answer.ok().json()["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_at_another_proxy_and_without_redis_where_it_is_known() {
    let mut redis = Redis::start();
    let stack = Setup::on(Engine::Sqlite).proxies(2).redis(redis.url()).start().await;
    let [here, there] = &stack.clients()[..] else { panic!("two proxies") };
    eventually("both proxies share", || async { is_shared(here, there).await }).await;

    let first = id_of(&here.post("/v1/responses", &ask("one", None)).await);
    // At once, and at the other proxy: what a client has is stored.
    let mut streamed = ask("two", Some(&first));
    streamed["stream"] = json!(true);
    let second = there.post("/v1/responses", &streamed).await;
    let last = second.ok().events().pop().expect("an event");
    let second = last["response"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(last["type"], "response.completed");
    let items = here.get(&format!("/v1/responses/{second}/input_items?order=asc")).await;
    assert_eq!(items.ok().json()["data"].as_array().map(Vec::len), Some(3), "{}", items.body);

    redis.kill();
    let alone = there.post("/v1/responses", &ask("three", Some(&second))).await;
    assert!(alone.status == 200 || alone.error_code() == "state_unavailable", "{}", alone.body);
    let fresh = id_of(&here.post("/v1/responses", &ask("fresh", None)).await);
    id_of(&here.post("/v1/responses", &ask("go on", Some(&fresh))).await);
    assert_eq!(there.post("/v1/responses", &ask("x", Some(&fresh))).await.error_code(), "state_unavailable");

    redis.restart();
    eventually("the other proxy learns of it", || async {
        there.get(&format!("/v1/responses/{fresh}")).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_to_both_proxies_is_charged_once() {
    let mut redis = Redis::start();
    let stack = Setup::on(Engine::Sqlite).proxies(2).redis(redis.url()).start().await;
    let [here, there] = &stack.clients()[..] else { panic!("two proxies") };
    eventually("both proxies share", || async { is_shared(here, there).await }).await;

    let bearer = format!("Bearer {}", here.key());
    for (name, stream) in [("whole", false), ("streamed", true)] {
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", name)];
        let body = Client::chat_body("mock/gpt-mock", "twice", stream);
        let before = stack.provider.total();
        let at_once = tokio::join!(
            here.post_with("/v1/chat/completions", &headers, &body),
            there.post_with("/v1/chat/completions", &headers, &body),
        );
        let later = there.post_with("/v1/chat/completions", &headers, &body).await;
        let all = [&at_once.0, &at_once.1, &later];
        assert!(all.iter().all(|answer| answer.ok().body == later.body), "{all:?}");
        let again = all.iter().filter(|answer| answer.header("x-omniroute-idempotent") == Some("true"));
        assert_eq!(again.count(), 2, "{name}");
        assert_eq!(stack.provider.total().requests, before.requests + 1, "{name}");
    }
    redis.kill();
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "alone")];
    let body = Client::chat_body("mock/gpt-mock", "alone", false);
    let first = here.post_with("/v1/chat/completions", &headers, &body).await;
    let again = here.post_with("/v1/chat/completions", &headers, &body).await;
    assert_eq!((first.ok().body.as_str(), again.header("x-omniroute-idempotent")), (again.body.as_str(), Some("true")));
    there.post_with("/v1/chat/completions", &headers, &body).await.ok();
}

/// Whether what one proxy keeps is found at the other.
async fn is_shared(here: &Client, there: &Client) -> bool {
    let kept = id_of(&here.post("/v1/responses", &ask("kept", None)).await);
    there.get(&format!("/v1/responses/{kept}")).await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_starts_without_its_redis() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let stack = Setup::on(Engine::Sqlite).redis(url).start().await;
    stack.client.chat("mock/gpt-mock", "nobody there").await.ok();
}
