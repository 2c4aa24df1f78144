use serde_json::json;

use super::*;
use crate::tests::gateway::PASSWORD;

const REPAIR: &str = "/api/system/env/repair";

async fn gateway(data: &tempfile::TempDir, variables: &[(&str, &str)]) -> Gateway {
    let folder = data.path().to_str().expect("a path");
    let mut all = vec![("INITIAL_PASSWORD", PASSWORD), ("DATA_DIR", folder)];
    all.extend_from_slice(variables);
    Gateway::with(&all).await
}

async fn client(gateway: &Gateway, provider: &str) -> Value {
    let all = gateway.get("/api/oauth/clients").await.ok(200);
    all["clients"].as_array().expect("clients").iter().find(|one| one["provider"] == provider).expect("one").clone()
}

#[tokio::test]
async fn variables_under_a_wrong_name_are_stored_under_the_right_one() {
    let data = tempfile::tempdir().expect("a folder");
    let wrong = [("CLAUDE_CODE_CLIENT_ID", "my-client"), ("CLAUDE_CODE_OAUTH_CLIENT_SECRET", "\"my-secret\"")];
    let gateway = gateway(&data, &wrong).await;
    let names = json!(["CLAUDE_CODE_OAUTH_CLIENT_ID", "CLAUDE_CODE_OAUTH_CLIENT_SECRET"]);
    assert_eq!(client(&gateway, "anthropic").await["source"], Value::Null);
    let status = gateway.get(REPAIR).await.ok(200);
    assert_eq!((&status["available"], &status["repairable"]), (&json!(true), &names), "{status}");

    let done = gateway.post(REPAIR, json!({ "provider": "claude-code" })).await;
    let body = done.ok(200);
    assert_eq!((&body["success"], &body["repaired"]), (&json!(true), &names), "{body}");
    let backup = body["backupPath"].as_str().expect("a path").to_owned();
    assert!(std::path::Path::new(&backup).starts_with(data.path()), "{backup}");
    let kept = std::fs::read_to_string(&backup).expect("a file");
    for text in [&kept, &done.text] {
        assert!(!text.contains("my-secret"), "{text}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&backup).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let stored = client(&gateway, "anthropic").await;
    assert_eq!(
        (&stored["source"], &stored["clientId"], &stored["hasClientSecret"]),
        (&json!("copy"), &json!("my-client"), &json!(true))
    );
}

#[tokio::test]
async fn what_is_right_is_left_alone_and_what_is_lacking_is_named() {
    let data = tempfile::tempdir().expect("a folder");
    let right = [("GEMINI_OAUTH_CLIENT_ID", "mine"), ("XAI_OAUTH_CLIENT_SECRET", "alone")];
    let gateway = gateway(&data, &right).await;
    assert_eq!(client(&gateway, "gemini").await["source"], "environment");
    let body = gateway.post(REPAIR, json!({ "provider": "gemini" })).await.ok(200);
    assert_eq!(
        body,
        json!({ "success": true, "repaired": [], "backupPath": null, "missingCount": 0, "missingKeys": [] })
    );
    assert!(!data.path().join("backups").exists());
    // All of them: one has a secret and no id.
    let body = gateway.post(REPAIR, json!({})).await.ok(200);
    assert_eq!(
        (&body["success"], &body["missingKeys"]),
        (&json!(false), &json!(["GROK_CLI_OAUTH_CLIENT_ID"])),
        "{body}"
    );
    assert_eq!(gateway.post(REPAIR, json!({ "provider": "nobody" })).await.code(404), "RESOURCE_001");
    assert_eq!(gateway.post(REPAIR, json!({ "providers": [] })).await.fields(), ["providers"]);
}

#[tokio::test]
async fn a_stored_copy_that_is_stale_or_does_not_open_is_made_anew() {
    let data = tempfile::tempdir().expect("a folder");
    let variables = [("CODEX_CLIENT_ID", "mine"), ("CODEX_OAUTH_CLIENT_SECRET", "new-secret")];
    let gateway = gateway(&data, &variables).await;
    let repair = async || gateway.post(REPAIR, json!({ "provider": "codex" })).await.ok(200);
    assert_eq!(repair().await["repaired"], json!(["CODEX_OAUTH_CLIENT_ID"]));
    let broken = "UPDATE oauth_clients SET client_secret = NULL WHERE id = 'openai'";
    crate::store::testing::execute(&gateway.on.store, broken).await;
    let body = repair().await;
    assert_eq!(body["repaired"], json!(["CODEX_OAUTH_CLIENT_SECRET"]), "{body}");
    assert_eq!(repair().await["repaired"], json!([]), "once is enough");
    let broken = "UPDATE oauth_clients SET client_secret = x'0011' WHERE id = 'openai'";
    crate::store::testing::execute(&gateway.on.store, broken).await;
    assert!(client(&gateway, "openai").await["error"].is_string());
    repair().await;
    assert_eq!(client(&gateway, "openai").await["hasClientSecret"], true);
    // What REST was given counts before the environment.
    gateway.put("/api/oauth/openai/client", json!({ "clientId": "by-rest" })).await.ok(200);
    assert_eq!(repair().await["repaired"], json!([]));
    assert_eq!(client(&gateway, "openai").await["clientId"], "by-rest");
}
