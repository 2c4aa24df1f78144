//! The official clients drive the gateway; `tests/sdk` has what they do.

#![cfg(test)]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use omniroute_tests::{
    clouds::{AZURE_KEY, Clouds, GOOGLE_TOKEN},
    harness::{Engine, Setup, Stack},
};
use serde_json::json;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// Where `make clients` installs the clients.
fn clients() -> PathBuf {
    let clients = root().join(".cache/clients");
    assert!(clients.is_dir(), "the clients are not installed: run `make clients`, as `make test` does");
    clients
}

async fn run(mut command: Command, stack: &Stack) {
    // A connection whose provider refuses or fails rests for a while; these are for making it so.
    for prefix in ["limited", "failing", "breaking"] {
        stack.connect_as(prefix).await;
    }
    command
        .current_dir(root().join("tests/sdk"))
        .env("OMNIROUTE_TEST_URL", &stack.proxies[0].url)
        .env("OMNIROUTE_TEST_KEY", stack.client.key())
        .env("OMNIROUTE_TEST_PROVIDER", format!("http://{}", stack.provider.address()))
        .env("OMNIROUTE_TEST_MODULES", clients().join("node"));
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

/// `pytest` with one file of `tests/sdk/python`.
fn pytest(file: &str) -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", &format!("python/{file}")]);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_for_python() {
    let stack = Setup::on(Engine::Sqlite).start().await;
    run(pytest("test_openai.py"), &stack).await;
    omniroute_tests::harness::eventually("the ledger has what the SDK did", || async {
        stack.ledger.answered().await == stack.provider.total()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic_google_and_ollama_for_python() {
    let stack = Setup::on(Engine::Sqlite).start().await;
    run(pytest("test_dialects.py"), &stack).await;
    omniroute_tests::harness::eventually("the ledger has what the SDKs did", || async {
        stack.ledger.answered().await == stack.provider.total()
    })
    .await;
}

/// One script over every vendor's API; the provider is as strict as each of them.
async fn everywhere(command: Command) {
    let stack = Setup::on(Engine::Sqlite).start().await;
    stack.provider.be_strict();
    stack.connect_vendors().await;
    run(command, &stack).await;
    omniroute_tests::harness::eventually("the ledger has what the SDKs did", || async {
        stack.ledger.answered().await == stack.provider.total()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_for_python_over_every_upstream() {
    everywhere(pytest("test_openai_everywhere.py")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic_google_and_ollama_over_every_upstream() {
    everywhere(pytest("test_dialects_everywhere.py")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_counts_and_sockets() {
    everywhere(pytest("test_lists_and_counts.py")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_for_node_over_every_upstream() {
    let mut node = Command::new("node");
    node.args(["--test", "node/everywhere.test.mjs"]);
    everywhere(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_for_node() {
    let stack = Setup::on(Engine::Postgres).start().await;
    let mut node = Command::new("node");
    node.args(["--test", "node/openai.test.mjs"]);
    run(node, &stack).await;
}

/// The vendors' SDKs for their clouds and the gateway ask the same servers, which take the requests of both.
#[tokio::test(flavor = "multi_thread")]
async fn clouds_take_from_the_gateway_what_they_take_from_their_own_sdks() {
    let clouds = Clouds::start().await.expect("started");
    let stack = Setup::on(Engine::Sqlite).start().await;
    let url = clouds.url();
    let account = json!({
        "type": "authorized_user", "client_id": "client", "client_secret": "client-secret", "refresh_token": "refresh",
        "token_uri": format!("{url}/token"),
    });
    for (provider, key, specific) in [
        ("azure-openai", AZURE_KEY.to_owned(), json!({ "baseUrl": url, "apiVersion": "2024-10-21" })),
        ("azure-ai", AZURE_KEY.to_owned(), json!({ "baseUrl": url })),
        ("vertex", account.to_string(), json!({ "baseUrl": url, "projectId": "project-1", "region": "europe-west4" })),
    ] {
        let body = json!({ "provider": provider, "name": provider, "apiKey": key, "providerSpecificData": specific });
        stack.rest.post("/api/providers", &body).await;
        // None of these lists models, so what tells that the proxy knows the connection is an answer.
        let models = [("azure-openai", "prod"), ("azure-ai", "claude-opus-4-6"), ("vertex", "gemini-2.5-pro")];
        let (_, model) = models.into_iter().find(|(of, _)| *of == provider).expect("a model");
        let model = format!("{provider}/{model}");
        omniroute_tests::harness::eventually("the proxy knows the connection", || async {
            stack.client.chat(&model, "hi").await.status == 200
        })
        .await;
    }
    let mut command = pytest("test_clouds.py");
    command.env("OMNIROUTE_TEST_CLOUDS", &url);
    command.env("OMNIROUTE_TEST_AZURE_KEY", AZURE_KEY).env("OMNIROUTE_TEST_GOOGLE_TOKEN", GOOGLE_TOKEN);
    run(command, &stack).await;
    let accepted = clouds.accepted();
    let paths = |sender: &str| accepted[sender].iter().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(paths("gateway"), paths("sdk"), "{accepted:?}");
}
