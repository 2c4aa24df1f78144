//! A gateway in front of a provider that speaks HTTP/2 over TLS, as most real ones do.

#![cfg(test)]

use futures_util::future::join_all;
use omniroute_tests::{
    harness::{Client, Engine, PATIENCE, Setup, Stack},
    mock_provider::Secure,
};

async fn behind_tls(max_concurrent_streams: Option<u32>) -> Stack {
    Setup::on(Engine::Sqlite).secure(Secure { max_concurrent_streams }).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_end_in_a_frame_of_their_own_are_whole_and_the_ledger_is_exact() {
    let stack = behind_tls(None).await;
    let mut ids = Vec::new();
    for words in [3, 20_000] {
        let model = format!("mock/gpt-mock+words={words}+late_end");
        let answer = stack.client.chat(&model, "a document").await;
        assert!(answer.ok().text().split(' ').count() >= words, "{}", answer.body.len());
        assert_eq!(stack.ledger.call(answer.request_id()).await.outcome(), "ok", "{words}");
    }
    let answer = stack.client.stream("mock/gpt-mock", "in pieces").await;
    assert!(answer.ok().is_done());
    ids.push(answer.request_id().to_owned());
    // A connection that goes away after every answer costs nobody anything.
    for _ in 0..5 {
        let answer = stack.client.chat("mock/gpt-mock+go_away", "and gone").await;
        ids.push(answer.ok().request_id().to_owned());
    }
    exact(&stack, ids.iter().map(String::as_str)).await;
}

/// Each of these is in the ledger as answered, and all of them together cost what the provider charges.
async fn exact(stack: &Stack, ids: impl Iterator<Item = &str>) {
    for id in ids {
        assert_eq!(stack.ledger.call(id).await.outcome(), "ok");
    }
    assert_eq!(stack.ledger.answered().await, stack.provider.total());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_a_connection_takes_run_at_the_same_time() {
    let stack = behind_tls(Some(2)).await;
    let stream = |_| stack.client.stream("mock/gpt-mock+words=40+chunk_delay_ms=20", "at the same time");
    let answers = join_all((0..12).map(stream)).await;
    assert!(answers.iter().all(|answer| answer.ok().is_done()));
    exact(&stack, answers.iter().map(|answer| answer.request_id())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_reading_hold_up_nobody_else() {
    let stack = behind_tls(None).await;
    let mut stopped = Vec::new();
    for _ in 0..6 {
        let body = Client::chat_body("mock/gpt-mock+words=60000", "never read", true);
        stopped.push(stack.client.open("/v1/chat/completions", &body).await);
    }
    for _ in 0..20 {
        let answer = tokio::time::timeout(PATIENCE, stack.client.chat("mock/gpt-mock", "meanwhile")).await;
        answer.expect("an answer").ok();
    }
    drop(stopped);
}
