//! Programs die in the middle of the work, and nobody who depends on them notices, least of all the ledger.

#![cfg(test)]

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use omniroute_tests::harness::{
    Call, Client, Engine, Setup, Stack, eventually,
    load::{Load, Outcome, Shape},
};
use rustix::process::Signal;

fn shape(model: &str) -> Shape<'_> {
    Shape { model, clients: 8, pause: Duration::from_millis(5), goes_on: true }
}

/// Ids of the requests that were answered: all of them.
fn all_answered(outcomes: &[Outcome]) -> HashSet<String> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Answered { request_id, .. } => request_id.clone(),
            Outcome::Failed { text, why } => panic!("{text}: {why}"),
        })
        .collect()
}

/// The ledger says what the provider says, once the proxies have sent all they have.
async fn ledger_equals_provider(stack: &Stack) {
    eventually("the ledger has every request", || async {
        stack.ledger.answered().await.requests >= stack.provider.total().requests
    })
    .await;
    assert_eq!(stack.ledger.answered().await, stack.provider.total());
}

async fn control_plane_dies(engine: Engine) {
    let mut stack = Setup::on(engine).start().await;
    let load = Load::start(&stack.clients(), shape("mock/gpt-mock"));
    for _ in 0..2 {
        load.more(100).await;
        stack.kill_control_plane();
        load.more(200).await;
        stack.restart_control_plane().await;
    }
    load.more(100).await;
    let outcomes = load.stop().await;
    let answered = all_answered(&outcomes);
    ledger_equals_provider(&stack).await;
    let in_ledger: HashSet<_> = stack.ledger.calls().await.iter().map(|call| call.request_id().to_owned()).collect();
    assert_eq!(in_ledger, answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_when_the_control_plane_on_sqlite_is_killed_and_the_ledger_is_whole() {
    control_plane_dies(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_when_the_control_plane_on_postgres_is_killed_and_the_ledger_is_whole() {
    control_plane_dies(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_loses_no_answered_request_and_owns_up_to_the_others() {
    let mut stack = Setup::on(Engine::Sqlite).start().await;
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let short = Load::start(&stack.clients(), shape("mock/gpt-mock"));
        // These are in mid-stream when the proxy dies.
        let long = Shape { clients: 4, ..shape("mock/gpt-mock+words=400+chunk_delay_ms=10") };
        let long = Load::start(&stack.clients(), Shape { goes_on: false, ..long });
        short.more(150).await;
        stack.proxies[0].kill();
        outcomes.extend(long.stop().await);
        // Clients that find nobody are not the point.
        let seen = short.stop().await;
        outcomes.extend(seen.into_iter().filter(|outcome| match outcome {
            Outcome::Answered { .. } => true,
            Outcome::Failed { text, .. } => stack.provider.seen_text(text).is_some(),
        }));
        stack.proxies[0].restart();
        stack.proxies[0].ready().await;
    }
    let answered: HashSet<&str> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Answered { request_id, .. } => Some(request_id.as_str()),
            Outcome::Failed { .. } => None,
        })
        .collect();
    assert!(answered.len() > 300, "{}", answered.len());

    // A request of the new life comes after all of the old ones.
    let last = stack.client.chat("mock/gpt-mock", "the last one").await;
    stack.ledger.call(last.ok().request_id()).await;
    let calls = stack.ledger.calls().await;
    let mut rows: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in &calls {
        rows.entry(call.request_id()).or_default().push(call);
    }
    for id in &answered {
        let own = rows.get(id).unwrap_or_else(|| panic!("{id} was answered and is not in the ledger"));
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!(own[0].outcome(), "ok", "{own:?}");
    }
    let mut interrupted = 0;
    for (id, own) in &rows {
        assert_eq!(own.len(), 1, "{own:?}");
        if !answered.contains(id) && *id != last.request_id() && own[0].outcome() != "ok" {
            // `ok` beside a client that saw no end: the record is closed before the last byte is let go.
            assert_eq!((own[0].outcome(), own[0].is_estimated()), ("interrupted", true), "{own:?}");
            interrupted += 1;
        }
    }
    assert!(interrupted >= 12, "every long stream was cut: {interrupted}");
    let cut = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Failed { .. })).count();
    assert!(rows.len() <= answered.len() + cut + 1, "no more rows than requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_starts_from_its_copy_while_the_control_plane_is_away() {
    let mut stack = Setup::on(Engine::Sqlite).start().await;
    stack.client.chat("mock/gpt-mock", "before").await.ok();
    let copy = |stack: &Stack| std::fs::read_dir(&stack.proxies[0].data_dir).is_ok_and(|files| files.count() > 0);
    eventually("the proxy has a copy on disk", || async { copy(&stack) }).await;
    // The copy is written at most once a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stack.kill_control_plane();
    stack.proxies[0].restart();
    stack.proxies[0].ready().await;
    let (status, readiness) = stack.proxies[0].readiness().await;
    assert_eq!((status, &readiness["stale"]), (200, &serde_json::json!(true)), "{readiness}");
    let answer = stack.client.chat("mock/gpt-mock", "without a control plane").await;
    let id = answer.ok().request_id().to_owned();
    stack.restart_control_plane().await;
    assert_eq!(stack.ledger.call(&id).await.outcome(), "ok");
    eventually("the proxy has caught up", || async { stack.proxies[0].readiness().await.1["stale"] == false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_not_cut_by_the_end_of_its_proxy() {
    let mut stack = Setup::on(Engine::Sqlite).start().await;
    let model = "mock/gpt-mock+words=100+chunk_delay_ms=20";
    let mut response = stack.client.open("/v1/chat/completions", &Client::chat_body(model, "slowly", true)).await;
    let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    let mut body = response.chunk().await.expect("a chunk").expect("not the end").to_vec();
    stack.proxies[0].process.terminate();
    eventually("the proxy says that it is draining", || async {
        // A proxy that drains takes no new work; one that still listens says so.
        stack.proxies[0].readiness().await.0 == 503
    })
    .await;
    while let Some(chunk) = response.chunk().await.expect("the stream goes on") {
        body.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8_lossy(&body).trim_end().ends_with("data: [DONE]"));
    drop(response);
    let status = stack.proxies[0].process.ended(Duration::from_secs(60)).await;
    assert!(status.success(), "{status}");
    assert_eq!(stack.ledger.call(&id).await.outcome(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_the_drain_is_told_so_and_is_in_the_ledger_before_the_proxy_is_gone() {
    let mut stack = Setup::on(Engine::Sqlite).proxy("DRAIN_DEADLINE", "300ms").start().await;
    let model = "mock/gpt-mock+words=5000+chunk_delay_ms=20";
    let mut response = stack.client.open("/v1/chat/completions", &Client::chat_body(model, "endless", true)).await;
    let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    let mut body = response.chunk().await.expect("a chunk").expect("not the end").to_vec();
    stack.proxies[0].process.terminate();
    while let Some(chunk) = response.chunk().await.expect("it ends as a body should") {
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("this proxy is stopping") && !body.contains("[DONE]"), "{body}");
    let status = stack.proxies[0].process.ended(Duration::from_secs(60)).await;
    assert!(status.success(), "{status}");
    let call = stack.ledger.call(&id).await;
    assert_eq!((call.outcome(), call.is_estimated()), ("drained", true), "{call:?}");
    assert!(call.output() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_drain_cuts_what_outlives_it_and_the_ledger_says_who_did_it() {
    let stack = Setup::on(Engine::Sqlite).start().await;
    let model = "mock/gpt-mock+words=5000+chunk_delay_ms=20";
    let mut response = stack.client.open("/v1/chat/completions", &Client::chat_body(model, "endless", true)).await;
    let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    let mut body = response.chunk().await.expect("a chunk").expect("not the end").to_vec();
    let health = stack.rest.get("/api/monitoring/health").await;
    let proxy = health["proxies"][0]["id"].as_str().expect("a proxy").to_owned();
    stack.rest.post(&format!("/api/monitoring/proxies/{proxy}/drain"), &serde_json::json!({ "deadlineMs": 300 })).await;
    while let Some(chunk) = response.chunk().await.expect("it ends as a body should") {
        body.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8_lossy(&body).contains("this proxy is stopping"));
    assert_eq!(stack.ledger.call(&id).await.outcome(), "drained");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_hangs_holds_up_no_request() {
    let stack = Setup::on(Engine::Sqlite).start().await;
    stack.control_plane.signal(Signal::STOP);
    let load = Load::start(&stack.clients(), shape("mock/gpt-mock"));
    load.more(200).await;
    let outcomes = load.stop().await;
    stack.control_plane.signal(Signal::CONT);
    all_answered(&outcomes);
    ledger_equals_provider(&stack).await;
}
