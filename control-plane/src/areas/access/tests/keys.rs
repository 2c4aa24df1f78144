use http::Method;
use omniroute_core::time::Clock as _;
use serde_json::{Value, json};

use crate::{areas::access::keys::rows::Keys, tests::gateway::Gateway};

async fn make(gateway: &Gateway, body: Value) -> Value {
    gateway.post("/api/keys", body).await.ok(201)
}

#[tokio::test]
async fn a_key_is_shown_once_and_stored_as_a_hash() {
    let gateway = Gateway::new().await;
    let made = make(&gateway, json!({ "name": " team-a " })).await;
    let secret = made["key"].as_str().expect("a key");
    assert!(secret.starts_with("sk-") && secret.len() == 43, "{secret}");
    assert_eq!(made["name"], "team-a");
    let id = made["id"].as_str().expect("an id");
    let hash = gateway.on.store.pepper().hash(secret);
    assert_eq!(Keys::of(&gateway.on.store).by_hash(&hash).await.expect("read").expect("a key").id.as_str(), id);
    for path in ["/api/keys".to_owned(), format!("/api/keys/{id}")] {
        let answer = gateway.get(&path).await;
        answer.ok(200);
        assert!(!answer.text.contains(secret), "{path}");
        assert!(answer.text.contains(&secret[..8]), "{path}");
    }
    assert_eq!(gateway.get(&format!("/api/keys/{id}/reveal")).await.code(403), "AUTH_011");
    assert_eq!(gateway.get("/api/keys/nobody/reveal").await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn everything_about_a_key_can_be_set_and_changed() {
    let gateway = Gateway::new().await;
    let connection = crate::tests::resources::connection(&gateway, "http://127.0.0.1:9/v1").await;
    let made = make(
        &gateway,
        json!({
            "name": "k", "allowedModels": ["mock/a", "mock/b*"], "allowedConnections": [connection], "scopes": ["manage"],
            "noLog": true, "isActive": false, "expiresAt": "2030-01-31T00:00:00Z", "maxBodyBytes": 1_048_576,
        }),
    )
    .await;
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    let shown = gateway.get(&path).await.ok(200);
    assert_eq!(shown["allowedModels"], json!(["mock/a", "mock/b*"]));
    assert_eq!(shown["allowedConnections"], json!([connection]));
    assert_eq!((&shown["isActive"], &shown["noLog"]), (&json!(false), &json!(true)));
    assert_eq!(shown["expiresAt"], "2030-01-31T00:00:00.000Z");

    let edit =
        json!({ "name": "renamed", "isActive": true, "expiresAt": null, "maxBodyBytes": null, "allowedModels": [] });
    let changed = gateway.patch(&path, edit).await.ok(200);
    assert_eq!(changed["message"], "API key settings updated successfully");
    assert_eq!(changed["expiresAt"], Value::Null);
    assert_eq!(changed["name"], "renamed");
    assert!(changed.get("scopes").is_none(), "only what the edit named: {changed}");
    let shown = gateway.get(&path).await.ok(200);
    assert_eq!(shown["expiresAt"], Value::Null);
    assert_eq!(shown["allowedModels"], json!([]));
    assert_eq!(shown["scopes"], json!(["manage"]), "what the edit did not name stays");
    gateway.put(&path, json!({ "noLog": false })).await.ok(200);
    assert_eq!(gateway.get(&path).await.ok(200)["noLog"], false);
}

#[tokio::test]
async fn limits_that_nobody_enforces_yet_are_kept_and_said_so() {
    let gateway = Gateway::new().await;
    let made = make(&gateway, json!({ "name": "k", "maxSessions": 3 })).await;
    assert_eq!(made["notEnforced"], json!(["maxSessions"]));
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    let limits = json!([{ "limit": 10, "window": 60 }]);
    let changed = gateway.patch(&path, json!({ "rateLimits": limits, "maxSessions": 0 })).await.ok(200);
    assert_eq!(changed["notEnforced"], json!(["rateLimits"]));
    assert_eq!(changed["rateLimits"], limits);
    let shown = gateway.get(&path).await.ok(200);
    assert_eq!((&shown["rateLimits"], &shown["maxSessions"]), (&limits, &json!(0)));
    let cleared = gateway.patch(&path, json!({ "rateLimits": null })).await.ok(200);
    assert!(cleared.get("notEnforced").is_none(), "{cleared}");
    assert_eq!(gateway.get(&path).await.ok(200)["rateLimits"], Value::Null);
}

#[tokio::test]
async fn edits_of_one_key_at_the_same_moment_all_count() {
    let gateway = Gateway::new().await;
    let made = make(&gateway, json!({ "name": "k" })).await;
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    let edits =
        [json!({ "maxSessions": 3 }), json!({ "maxRequestsPerDay": 5 }), json!({ "ipAllowlist": ["10.0.0.1"] })];
    for answer in futures_util::future::join_all(edits.map(|edit| gateway.patch(&path, edit))).await {
        answer.ok(200);
    }
    let key = gateway.get(&path).await.ok(200);
    assert_eq!(
        (&key["maxSessions"], &key["maxRequestsPerDay"], &key["ipAllowlist"]),
        (&json!(3), &json!(5), &json!(["10.0.0.1"]))
    );
}

#[tokio::test]
async fn a_regenerated_key_keeps_everything_but_its_secret() {
    let gateway = Gateway::new().await;
    let made = make(&gateway, json!({ "name": "k", "scopes": ["manage"] })).await;
    let (id, old) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    let rotated = gateway.post(&format!("/api/keys/{id}/regenerate"), json!({})).await.ok(200);
    let new = rotated["key"].as_str().expect("a key");
    assert_ne!(new, old);
    assert_eq!((&rotated["id"], &rotated["scopes"]), (&made["id"], &json!(["manage"])));
    let list = async |token: &str| gateway.call(Method::GET, "/api/keys").bearer(token).send().await;
    assert_eq!(list(old).await.code(401), "AUTH_002");
    let listed = list(new).await.ok(200);
    assert!(new.starts_with(&listed["keys"][0]["key"].as_str().expect("a mask")[..8]));
    assert_eq!(gateway.post("/api/keys/nobody/regenerate", json!({})).await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn a_regenerated_key_can_leave_its_old_secret_working_for_a_while() {
    let gateway = Gateway::new().await;
    let made = make(&gateway, json!({ "name": "k", "scopes": ["manage"] })).await;
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    let anew = async |body: Value| gateway.post(&format!("{path}/regenerate"), body).await.ok(200);
    let secret = |made: &Value| made["key"].as_str().expect("a key").to_owned();
    let status = async |token: &str| gateway.call(Method::GET, "/api/keys").bearer(token).send().await.status.as_u16();

    let second = anew(json!({ "graceSeconds": 60 })).await;
    assert_eq!(second["previousValidUntil"], "2027-01-15T08:01:00.000Z");
    assert_eq!(gateway.get(&path).await.ok(200)["previousValidUntil"], "2027-01-15T08:01:00.000Z");
    let (one, two) = (secret(&made), secret(&second));
    assert_eq!((status(&one).await, status(&two).await), (200, 200));
    gateway.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!((status(&one).await, status(&two).await), (401, 200));

    let third = anew(json!({ "graceSeconds": "60" })).await;
    let fourth = anew(json!({ "graceSeconds": 60 })).await;
    let (three, four) = (secret(&third), secret(&fourth));
    let all = [status(&two).await, status(&three).await, status(&four).await];
    assert_eq!(all, [401, 200, 200], "one secret before the last at most");
    let last = secret(&anew(json!({})).await);
    assert_eq!(
        [status(&three).await, status(&four).await, status(&last).await],
        [401, 401, 200],
        "none without a grace"
    );
    let refused = gateway.post(&format!("{path}/regenerate"), json!({ "graceSecond": 60 })).await;
    assert_eq!(refused.fields(), ["graceSecond"]);
    assert_eq!(
        gateway.post(&format!("{path}/regenerate"), json!({ "graceSeconds": -1 })).await.fields(),
        ["graceSeconds"]
    );
}

#[tokio::test]
async fn a_misspelt_restriction_makes_no_key_and_the_right_name_is_told() {
    let gateway = Gateway::new().await;
    let body = json!({ "name": "k", "allowedModel": ["mock/a"], "expiry": "2030-01-31T00:00:00Z" });
    let refused = gateway.post("/api/keys", body).await;
    assert_eq!(refused.fields(), ["allowedModel", "expiry"]);
    for name in ["`allowedModels`", "`expiresAt`"] {
        assert!(refused.text.contains(name), "{name} in {}", refused.text);
    }
    assert_eq!(gateway.get("/api/keys").await.ok(200)["total"], 0);
    assert_eq!(gateway.get("/api/keys?limits=1").await.fields(), ["limits"]);
    // What was shown may be sent back.
    let made = make(&gateway, json!({ "name": "k" })).await;
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    let mut shown = gateway.get(&path).await.ok(200);
    shown["noLog"] = json!(true);
    gateway.put(&path, shown).await.ok(200);
    assert_eq!(gateway.get(&path).await.ok(200)["noLog"], true);
}

#[tokio::test]
async fn a_deleted_key_is_gone() {
    let gateway = Gateway::new().await;
    let made = make(&gateway, json!({ "name": "k", "scopes": ["manage"] })).await;
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    assert_eq!(gateway.delete(&path).await.ok(200), json!({ "message": "Key deleted successfully" }));
    for answer in
        [gateway.get(&path).await, gateway.delete(&path).await, gateway.patch(&path, json!({ "name": "x" })).await]
    {
        assert_eq!(answer.code(404), "RESOURCE_001");
    }
    let with = gateway.call(Method::GET, "/api/keys").bearer(made["key"].as_str().expect("a key")).send().await;
    assert_eq!(with.code(401), "AUTH_002");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let gateway = Gateway::new().await;
    for name in ["a", "b", "c"] {
        make(&gateway, json!({ "name": name })).await;
        gateway.clock.advance(std::time::Duration::from_secs(1));
    }
    let page = gateway.get("/api/keys?limit=1&offset=1").await.ok(200);
    assert_eq!((&page["total"], &page["keys"][0]["name"]), (&json!(3), &json!("b")));
    assert_eq!(page["keys"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["allowKeyReveal"], false);
    for query in ["limit=0", "limit=x", "offset=-1", "limit=100000"] {
        let field = query.split('=').next().expect("a name");
        assert_eq!(gateway.get(&format!("/api/keys?{query}")).await.fields(), [field], "{query}");
    }
}

#[tokio::test]
async fn scopes_that_give_no_right_are_refused_with_the_list() {
    let gateway = Gateway::new().await;
    let refused = gateway.post("/api/keys", json!({ "name": "x", "scopes": ["manage", "manege"] })).await;
    assert_eq!(refused.fields(), ["scopes.1"]);
    assert!(refused.text.contains("manage, admin"), "{refused:?}");
    let made = make(&gateway, json!({ "name": "x", "scopes": ["manage"] })).await;
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    assert_eq!(gateway.patch(&path, json!({ "scopes": ["root"] })).await.fields(), ["scopes.0"]);
    gateway.patch(&path, json!({ "scopes": [] })).await.ok(200);
}

#[tokio::test]
async fn an_expiry_lies_in_the_future_but_what_a_key_has_may_be_sent_back() {
    let gateway = Gateway::new().await;
    for past in [json!("2020-01-31T00:00:00Z"), json!(30), json!("30"), json!(gateway.clock.now().to_rfc3339())] {
        let refused = gateway.post("/api/keys", json!({ "name": "x", "expiresAt": past })).await;
        assert_eq!(refused.fields(), ["expiresAt"], "{past}");
    }
    let soon = gateway.clock.now().saturating_add(std::time::Duration::from_secs(1)).to_rfc3339();
    let made = make(&gateway, json!({ "name": "x", "expiresAt": soon })).await;
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    gateway.clock.advance(std::time::Duration::from_secs(60));
    gateway.patch(&path, json!({ "name": "y", "expiresAt": soon })).await.ok(200);
    assert_eq!(gateway.patch(&path, json!({ "expiresAt": "2020-01-31T00:00:00Z" })).await.fields(), ["expiresAt"]);
    gateway.patch(&path, json!({ "expiresAt": null })).await.ok(200);
}

#[tokio::test]
async fn models_that_nobody_offers_are_warned_of() {
    let gateway = Gateway::new().await;
    let provider = crate::tests::provider::Provider::start().await;
    let connection = crate::tests::resources::connection(&gateway, &provider.url()).await;
    gateway.get(&format!("/api/providers/{connection}/models")).await.ok(200);
    let known = json!(["mock0/gpt-4o-mini", "mock0/gpt-4*", "gpt-4o-mini", "*"]);
    let made = make(&gateway, json!({ "name": "a", "allowedModels": known })).await;
    assert!(made.get("warnings").is_none(), "{made}");
    let made = make(&gateway, json!({ "name": "b", "allowedModels": ["nosuch/zzz", "mock0/gpt-4o-mini"] })).await;
    assert_eq!(made["warnings"], json!(["no model that is known now matches `nosuch/zzz`"]));
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    let changed = gateway.patch(&path, json!({ "allowedModels": ["zzz*"] })).await.ok(200);
    assert_eq!(changed["warnings"], json!(["no model that is known now matches `zzz*`"]));
}

#[tokio::test]
async fn mistakes_are_named() {
    let gateway = Gateway::new().await;
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": "  " }), "name"),
        (json!({ "name": 5 }), "name"),
        (json!({ "name": "x".repeat(201) }), "name"),
        (json!({ "name": "x", "allowedModels": "all" }), "allowedModels"),
        (json!({ "name": "x", "allowedModels": [""] }), "allowedModels.0"),
        (json!({ "name": "x", "allowedConnections": ["nobody"] }), "allowedConnections.0"),
        (json!({ "name": "x", "scopes": ["s".repeat(65)] }), "scopes.0"),
        (json!({ "name": "x", "scopes": ["chat"] }), "scopes.0"),
        (json!({ "name": "x", "expiresAt": "soon" }), "expiresAt"),
        (json!({ "name": "x", "noLog": "yes" }), "noLog"),
        (json!({ "name": "x", "maxBodyBytes": 0 }), "maxBodyBytes"),
        (json!({ "name": "x", "rateLimits": [{ "limit": 0, "window": 1 }] }), "rateLimits"),
        (json!({ "name": "x", "ipAllowlist": "10.0.0.1" }), "ipAllowlist"),
    ] {
        assert_eq!(gateway.post("/api/keys", body.clone()).await.fields(), [field], "{body}");
    }
    let made = make(&gateway, json!({ "name": "k" })).await;
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    assert_eq!(gateway.patch(&path, json!({})).await.fields(), ["body"]);
    assert_eq!(gateway.patch(&path, json!({ "revokedAt": "2027-01-15T08:00:00Z" })).await.fields(), ["revokedAt"]);
    assert_eq!(gateway.patch(&path, json!({ "isActive": null })).await.fields(), ["isActive"]);
}
