use http::Method;
use serde_json::{Value, json};

use crate::tests::gateway::{Gateway, PASSWORD};

#[tokio::test]
async fn settings_have_defaults_and_an_edit_changes_what_it_names() {
    let gateway = Gateway::new().await;
    let before = gateway.get("/api/settings").await.ok(200);
    assert_eq!((&before["maxBodySizeMb"], &before["requestRetry"]), (&json!(32), &json!(3)));
    assert_eq!((&before["requireLogin"], &before["hasPassword"]), (&json!(true), &json!(true)));
    assert_eq!(before["machineId"].as_str().map(str::len), Some(16));
    let timeouts = json!({ "connectMs": 1000, "firstByteMs": 60000, "idleMs": 0, "totalMs": 0 });
    let after = gateway.patch("/api/settings", json!({ "maxBodySizeMb": 64, "timeouts": timeouts })).await.ok(200);
    assert_eq!((&after["maxBodySizeMb"], &after["timeouts"]), (&json!(64), &timeouts));
    let after = gateway.put("/api/settings", json!({ "mcpEnabled": true })).await.ok(200);
    assert_eq!((&after["mcpEnabled"], &after["maxBodySizeMb"]), (&json!(true), &json!(64)));
    assert_eq!(gateway.get("/api/settings").await.ok(200), after);
    let after = gateway.patch("/api/settings", json!({ "timeouts": { "idleMs": 7 } })).await.ok(200);
    assert_eq!(after["timeouts"], json!({ "connectMs": 1000, "firstByteMs": 60000, "idleMs": 7, "totalMs": 0 }));
}

#[tokio::test]
async fn mistakes_are_named_and_nothing_is_stored() {
    let gateway = Gateway::new().await;
    for (body, field) in [
        (json!({ "maxBodySizeMb": 0 }), "maxBodySizeMb"),
        (json!({ "maxBodySizeMb": 513 }), "maxBodySizeMb"),
        (json!({ "requestRetry": "often" }), "requestRetry"),
        (json!({ "requireLogin": 1 }), "requireLogin"),
        (json!({ "alwaysPreserveClientCache": "sometimes" }), "alwaysPreserveClientCache"),
        (json!({ "timeouts": { "idleMs": -1 } }), "timeouts.idleMs"),
        (json!({ "timeouts": 5 }), "timeouts"),
        (json!({ "hiddenSidebarItems": [5] }), "hiddenSidebarItems.0"),
        (json!({ "newPassword": "another good one" }), "currentPassword"),
        (json!({ "maxBodySize": 64 }), "maxBodySize"),
        (json!({ "timeouts": { "idle": 5 } }), "timeouts.idle"),
        (json!({ "allowPrivateUpstreams": false }), "allowPrivateUpstreams"),
        (json!({ "newPassword": "short", "currentPassword": PASSWORD }), "newPassword"),
    ] {
        let mut body: Value = body;
        body["mcpEnabled"] = json!(true);
        assert_eq!(gateway.patch("/api/settings", body.clone()).await.fields(), [field], "{body}");
    }
    assert_eq!(gateway.get("/api/settings").await.ok(200)["mcpEnabled"], false);
}

#[tokio::test]
async fn the_password_can_be_changed_here_too() {
    let gateway = Gateway::new().await;
    let cookie = gateway.sign_in().await;
    let change = |current: &str| {
        let body = json!({ "newPassword": "another good one", "currentPassword": current, "theme": "dark" });
        gateway.call(Method::PATCH, "/api/settings").cookie(&cookie).json(body).send()
    };
    assert_eq!(change("wrong").await.code(401), "AUTH_008");
    let changed = change(PASSWORD).await;
    assert_eq!(changed.ok(200)["theme"], "dark");
    gateway.call(Method::GET, "/api/settings").cookie(&changed.cookie()).send().await.ok(200);
    assert_eq!(gateway.call(Method::GET, "/api/settings").cookie(&cookie).send().await.code(401), "AUTH_007");
    assert!(!changed.text.contains("another good one"));
}

#[tokio::test]
async fn a_rotation_tells_what_it_sealed_anew() {
    let gateway = Gateway::new().await;
    let done = gateway.post("/api/settings/master-key/rotate", json!({})).await.ok(200);
    assert_eq!((&done["resealed"], &done["failed"]), (&json!(0), &json!([])), "one key has sealed everything");
    assert_eq!(done["keyId"].as_str().map(str::len), Some(8));
}
