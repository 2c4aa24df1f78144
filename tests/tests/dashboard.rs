//! The dashboard in the DOM of a browser; `tests/sdk/node/dashboard.test.mjs` is what somebody does there.

#![cfg(test)]

use std::{path::Path, process::Command};

use omniroute_tests::harness::{Engine, Setup};
use serde_json::json;

/// A name that would run if the page took it for markup.
const HOSTILE: &str = r#"<img src=x onerror="document.title='run'"> & <script>1</script>"#;

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_looks_around_and_signs_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned();
    let modules = root.join(".cache/clients/node");
    assert!(modules.is_dir(), "the clients are not installed: run `make clients`, as `make test` does");
    let stack = Setup::on(Engine::Sqlite).start().await;
    stack.new_key(&json!({ "name": HOSTILE })).await;
    let asked = stack.client.chat("mock/gpt-mock", "for the list of requests").await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    let connection = stack.rest.get(&format!("/api/providers/{}", stack.connection_id)).await;

    let mut node = Command::new("node");
    node.args(["--test", "--test-force-exit", "node/dashboard.test.mjs"])
        .current_dir(root.join("tests/sdk"))
        .env("OMNIROUTE_TEST_MODULES", modules)
        .env("OMNIROUTE_TEST_REST", stack.control_plane_url())
        .env("OMNIROUTE_TEST_PASSWORD", stack.admin_password())
        .env("OMNIROUTE_TEST_CONNECTION", connection["connection"]["name"].as_str().expect("a name"))
        .env("OMNIROUTE_TEST_HOSTILE", HOSTILE);
    let output = tokio::task::spawn_blocking(move || node.output()).await.expect("no panic").expect("it runs");
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}
