//! No secret leaves: whatever an answer, a log or a file holds, it is none of these.

#![cfg(test)]

use std::path::Path;

use http::Method;
use omniroute_tests::harness::{Engine, Setup, Stack};
use serde_json::json;

/// Provokes as many kinds of answers and log lines as it can, and gives all the answers.
async fn provoke(stack: &Stack) -> Vec<String> {
    let client = &stack.client;
    let mut said = Vec::new();
    for model in [
        "mock/gpt-mock",
        "mock/nothing",
        "mock/gpt-mock+status=401",
        "mock/gpt-mock+status=500",
        "mock/gpt-mock+html",
        "mock/gpt-mock+garbage",
        "mock/gpt-mock+hang_up_after=2",
    ] {
        for stream in [false, true] {
            let body = omniroute_tests::harness::Client::chat_body(model, "x", stream);
            if let Ok(answer) = client.try_post("/v1/chat/completions", &body).await {
                said.push(format!("{:?} {}", answer.headers, answer.body));
            }
        }
    }
    said.push(client.with_key("sk-wrong").chat("mock/gpt-mock", "x").await.body);
    said.push(client.get("/v1/models").await.body);
    said.push(client.get("/metrics").await.body);
    for path in [
        "/api/providers",
        "/api/provider-nodes",
        "/api/keys",
        "/api/settings",
        "/api/monitoring/health",
        "/api/usage/history",
        "/api/usage/logs",
        "/api/usage/call-logs",
        "/api/init",
        "/api/openapi.json",
        "/metrics",
    ] {
        said.push(stack.rest.call(Method::GET, path, None).await.1);
    }
    let test = format!("/api/providers/{}/test", stack.connection_id);
    said.push(stack.rest.call(Method::POST, &test, Some(&json!({}))).await.1);
    let wrong = json!({ "provider": "nothing", "apiKey": stack.provider.key(), "name": 7 });
    said.push(stack.rest.call(Method::POST, "/api/providers", Some(&wrong)).await.1);
    let wrong = json!({ "password": "planted-admin-password-78" });
    said.push(stack.rest.call(Method::POST, "/api/auth/login", Some(&wrong)).await.1);
    said
}

fn files_below(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_an_answer_a_log_or_a_file() {
    let stack = Setup::on(Engine::Sqlite).control_plane("LOG_LEVEL", "trace").proxy("LOG_LEVEL", "trace").start().await;
    let said = provoke(&stack).await;
    assert!(said.len() > 25);
    // The copy of the snapshot is written at most once a second.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;

    let mut files = Vec::new();
    files_below(stack.directory(), &mut files);
    assert!(files.iter().any(|file| file.ends_with("control-plane/storage.sqlite")), "{files:?}");
    assert!(files.iter().any(|file| file.ends_with("proxy-0.log")), "{files:?}");
    for secret in stack.secrets() {
        for answer in &said {
            assert!(!answer.contains(&secret), "{secret} in {answer}");
        }
        for file in &files {
            let bytes = std::fs::read(file).expect("readable");
            assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "{secret} in {}", file.display());
        }
    }
}
