use std::{sync::Arc, time::Duration};

use http::Method;
use omniroute_core::{settings::Secret, time::ManualClock};
use serde_json::{Value, json};

use crate::{
    areas::providers::connections::{
        ConnectionDraft,
        rows::{self as connections, Connections},
    },
    store::{
        Store,
        testing::{KEY, NOON, TestDatabase, admin, execute},
    },
    tests::gateway::{Gateway, PASSWORD},
};

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

const NEW_KEY: &str = "another-master-key-987654321";

/// A control plane with a new master key in front of its ring, beside one that has the old key only, and the id of a
/// connection that the latter made.
async fn in_mid_rotation() -> (Gateway, Store, String) {
    let database = TestDatabase::sqlite();
    let old = database.open_with(KEY, "pepper", true, Arc::new(ManualClock::at(NOON))).await.expect("a store");
    let mut write = old.write(&admin()).await.expect("a transaction");
    let id =
        connections::create(&mut write, ConnectionDraft::new("openai", "c", Secret::new("sk"))).await.expect("made").id;
    write.commit().await.expect("committed");
    let ring = format!("{NEW_KEY},{KEY}");
    (Gateway::with_database(database, &[("STORAGE_ENCRYPTION_KEY", ring.as_str())]).await, old, id.to_string())
}

async fn name_of(store: &Store) -> String {
    let planes = store.control_planes().await.expect("the list");
    planes.into_iter().find(|plane| plane.is_this).expect("its own").name
}

#[tokio::test]
async fn nothing_is_sealed_anew_while_a_control_plane_that_runs_lacks_the_key() {
    let (gateway, old, id) = in_mid_rotation().await;
    let rotate = async || gateway.post("/api/settings/master-key/rotate", json!({})).await;
    let opened =
        async |store: &Store| Connections::of(store).secret(&id).await.map(|secret| secret.expose().to_owned());

    let refused = rotate().await;
    assert_eq!(refused.code(409), "RESOURCE_002");
    assert!(refused.text.contains(&name_of(&old).await), "{}", refused.text);
    assert_eq!(opened(&old).await.expect("it opens it still"), "sk");
    old.close().await;

    // It has the key now, and still seals with the other one.
    let half_way = gateway.replica(&format!("{KEY},{NEW_KEY}")).await;
    let done = rotate().await.ok(200);
    assert!(done["resealed"].as_u64() > Some(0), "{done}");
    let others = json!([{ "name": name_of(&half_way).await, "sealsWith": half_way.master_key_id() }]);
    assert_eq!((&done["failed"], &done["others"], &done["oldKeysMayLeave"]), (&json!([]), &others, &json!(false)));
    assert_eq!(opened(&half_way).await.expect("it opens the new seal"), "sk");
    half_way.close().await;

    let _whole = gateway.replica(&format!("{NEW_KEY},{KEY}")).await;
    let done = rotate().await.ok(200);
    assert_eq!((&done["others"], &done["oldKeysMayLeave"]), (&json!([]), &json!(true)));
}

#[tokio::test]
async fn a_control_plane_that_is_lost_does_not_hold_a_rotation_up() {
    let (gateway, _lost, _) = in_mid_rotation().await;
    let rotate = async || gateway.post("/api/settings/master-key/rotate", json!({})).await;
    assert_eq!(rotate().await.code(409), "RESOURCE_002");
    // Its own clock says that it was long ago; what counts is how long this one has heard nothing.
    execute(&gateway.on.store, "UPDATE control_planes SET name = 'elsewhere/1', last_seen_at = last_seen_at - 3600000")
        .await;
    assert_eq!(rotate().await.code(409), "RESOURCE_002");
    for _ in 0..25 {
        gateway.clock.advance(Duration::from_secs(5));
        gateway.on.store.heartbeat().await.expect("looked");
    }
    assert_eq!(rotate().await.ok(200)["failed"], json!([]));
}

#[tokio::test]
async fn what_is_sealed_with_a_key_that_only_another_has_is_changed_there() {
    let gateway = Gateway::new().await;
    let whole = gateway.replica(&format!("{NEW_KEY},{KEY}")).await;
    let mut write = whole.write(&admin()).await.expect("a transaction");
    let draft = ConnectionDraft::new("openai", "c", Secret::new("sk"));
    let id = connections::create(&mut write, draft).await.expect("made").id;
    write.commit().await.expect("committed");
    let refused = gateway.patch(&format!("/api/providers/{id}"), json!({ "priority": 7 })).await;
    assert_eq!(refused.code(503), "INTERNAL_004");
    assert!(refused.text.contains(&whole.master_key_id()), "{}", refused.text);
    // Nor does it say anything of what it cannot open: another one can.
    let path = format!("/api/providers/{id}");
    let moved = json!({ "providerSpecificData": { "baseUrl": "http://127.0.0.1:9/v1" } });
    for answer in [
        gateway.patch(&path, moved).await,
        gateway.post(&format!("{path}/test"), json!({})).await,
        gateway.get(&format!("{path}/models")).await,
    ] {
        assert_eq!(answer.code(503), "INTERNAL_004");
        assert!(answer.text.contains("or had within a day"), "{}", answer.text);
    }
    let record = Connections::of(&whole).get(id.as_str()).await.expect("the connection");
    assert_eq!(record.test.tested_at, None, "what one cannot judge is not kept for all");
    let refused = gateway.post("/api/settings/master-key/rotate", json!({})).await;
    assert_eq!(refused.code(409), "RESOURCE_002");
    assert!(refused.text.contains(&whole.master_key_id()), "{}", refused.text);
    let kept = Connections::of(&whole).secret(id.as_str()).await.expect("it opens still");
    assert_eq!(kept.expose(), "sk");
}
