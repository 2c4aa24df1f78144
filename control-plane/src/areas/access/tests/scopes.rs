use futures_util::poll;
use http::Method;
use serde_json::{Value, json};

use crate::{
    areas::access::keys::{KeyPatch, rows},
    auth::scope::{AREAS, Permission, name},
    store::testing::admin,
    tests::gateway::Gateway,
};

/// A key with these scopes, and its id.
async fn key(gateway: &Gateway, scopes: &[&str]) -> (String, String) {
    let made = gateway.post("/api/keys", json!({ "name": "scoped", "scopes": scopes })).await.ok(201);
    let text = |field: &str| made[field].as_str().expect("a text").to_owned();
    (text("key"), text("id"))
}

/// Whether a call is refused for want of this scope.
async fn lacks(gateway: &Gateway, token: &str, method: &Method, path: &str, scope: &str) -> bool {
    let answer = gateway.call(method.clone(), path).bearer(token).json(json!({})).send().await;
    let refused = answer.status == 403 && answer.json()["error"]["code"] == "AUTH_004";
    if refused {
        assert!(answer.text.contains(scope), "{method} {path}: {}", answer.text);
    }
    refused
}

#[tokio::test]
async fn every_route_wants_the_scope_of_its_area_and_method() {
    let gateway = Gateway::new().await;
    let document = gateway.get("/api/openapi.json").await.ok(200);
    let (_, table) = gateway.areas.api();
    let mut seen = 0;
    for area in AREAS {
        let (reader, _) = key(&gateway, &[&name(area, Permission::Read)]).await;
        let (writer, _) = key(&gateway, &[&name(area, Permission::Write)]).await;
        let others: Vec<String> =
            AREAS.iter().filter(|other| **other != area).map(|other| name(other, Permission::Write)).collect();
        let (other, _) = key(&gateway, &others.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for (path, item) in document["paths"].as_object().expect("paths") {
            if table.area(Some(path)) != Some(area) {
                continue;
            }
            let concrete = path.replace("{id}", "some-id").replace("{connectionId}", "some-id");
            for (method, operation) in item.as_object().expect("an item") {
                let is_open = operation["security"].as_array().is_some_and(|all| all.contains(&json!({})));
                // Who may change how one signs in may do everything.
                if is_open || path == "/api/settings/require-login" {
                    continue;
                }
                let method: Method = method.to_uppercase().parse().expect("a method");
                let needed = name(area, Permission::of(&method));
                let is_read = method == Method::GET;
                seen += 1;
                assert!(lacks(&gateway, &other, &method, &concrete, &needed).await, "{method} {path}: another area");
                assert_eq!(!is_read, lacks(&gateway, &reader, &method, &concrete, &needed).await, "{method} {path}");
                assert!(!lacks(&gateway, &writer, &method, &concrete, &needed).await, "{method} {path}: {needed}");
            }
        }
    }
    assert!(seen > 25, "{seen} operations were looked at");
}

#[tokio::test]
async fn a_key_without_a_scope_for_it_sees_of_health_what_anybody_sees() {
    let gateway = Gateway::new().await;
    for (scope, sees_more) in [("usage:read", false), ("operations:read", true), ("manage", true)] {
        let (token, _) = key(&gateway, &[scope]).await;
        let health = gateway.call(Method::GET, "/api/monitoring/health").bearer(&token).send().await.ok(200);
        assert_eq!(health.get("proxies").is_some(), sees_more, "{scope}");
    }
}

#[tokio::test]
async fn nobody_gives_a_key_more_than_they_have() {
    let gateway = Gateway::new().await;
    let (token, own) = key(&gateway, &["access:write", "usage:read"]).await;
    let (_, root) = key(&gateway, &["manage"]).await;
    let send = async |method: Method, path: &str, body: Value| {
        gateway.call(method, path).bearer(&token).json(body).send().await
    };
    let make = async |scopes: Value| send(Method::POST, "/api/keys", json!({ "name": "x", "scopes": scopes })).await;
    assert_eq!(
        make(json!(["usage:read", "access:read"])).await.ok(201)["scopes"],
        json!(["usage:read", "access:read"])
    );
    for more in ["manage", "admin", "usage:write", "providers:read"] {
        assert_eq!(make(json!([more])).await.code(403), "AUTH_004", "{more}");
        let path = format!("/api/keys/{own}");
        let edited = send(Method::PATCH, &path, json!({ "scopes": ["access:write", more] })).await;
        assert_eq!(edited.code(403), "AUTH_004", "{more}");
    }
    // A new secret of a key that may more would be a way to its rights.
    let path = format!("/api/keys/{root}/regenerate");
    assert_eq!(send(Method::POST, &path, json!({})).await.code(403), "AUTH_004");
    send(Method::POST, &format!("/api/keys/{own}/regenerate"), json!({})).await.ok(200);
}

#[tokio::test]
async fn turning_login_off_or_setting_the_password_wants_every_right() {
    let gateway = Gateway::new().await;
    let all: Vec<String> = AREAS.iter().map(|area| name(area, Permission::Write)).collect();
    let (token, _) = key(&gateway, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let password = json!({ "currentPassword": crate::tests::gateway::PASSWORD, "newPassword": "another password" });
    for (path, body) in [("/api/settings/require-login", json!({ "requireLogin": false })), ("/api/settings", password)]
    {
        let answer = gateway.call(Method::PUT, path).bearer(&token).json(body).send().await;
        assert_eq!(answer.code(403), "AUTH_004", "{path}");
    }
    let (token, _) = key(&gateway, &["manage"]).await;
    let off = gateway.call(Method::PUT, "/api/settings/require-login").bearer(&token);
    off.json(json!({ "requireLogin": false })).send().await.ok(200);
}

#[tokio::test]
async fn nobody_changes_or_ends_a_key_that_may_more_than_they() {
    let gateway = Gateway::new().await;
    let (writer, _) = key(&gateway, &["access:write"]).await;
    let (_, manager) = key(&gateway, &["manage"]).await;
    let (_, plain) = key(&gateway, &[]).await;
    let change = async |id: &str, body: Value| {
        let path = format!("/api/keys/{id}");
        gateway.call(Method::PATCH, &path).bearer(&writer).json(body).send().await
    };
    let delete = async |id: &str| gateway.call(Method::DELETE, &format!("/api/keys/{id}")).bearer(&writer).send().await;
    let (_, reader) = key(&gateway, &["usage:read"]).await;
    for id in [&manager, &reader] {
        for edit in [json!({ "isActive": false }), json!({ "name": "renamed" }), json!({ "allowedModels": ["x/y"] })] {
            assert_eq!(change(id, edit.clone()).await.code(403), "AUTH_004", "{edit}");
        }
        assert_eq!(change(id, json!({ "expiresAt": "2027-01-16T00:00:00.000Z" })).await.code(403), "AUTH_004");
        assert_eq!(delete(id).await.code(403), "AUTH_004");
    }
    for id in [&manager, &plain] {
        gateway.patch(&format!("/api/keys/{id}"), json!({ "isActive": false })).await.ok(200);
    }
    // To bring one back is to give anew what it may.
    assert_eq!(change(&manager, json!({ "isActive": true })).await.code(403), "AUTH_004");
    change(&plain, json!({ "isActive": true })).await.ok(200);
    delete(&plain).await.ok(200);
    gateway.delete(&format!("/api/keys/{manager}")).await.ok(200);
}

#[tokio::test]
async fn what_a_key_may_is_judged_where_it_is_changed() {
    let gateway = Gateway::new().await;
    let (writer, _) = key(&gateway, &["access:write"]).await;
    let (_, id) = key(&gateway, &[]).await;
    let path = format!("/api/keys/{id}");
    // While an administrator's edit is under way, somebody who may less begins others.
    let mut write = gateway.on.store.write(&admin()).await.expect("a transaction");
    let body = json!({ "isActive": true, "name": "still mine" });
    let renew = gateway.call(Method::POST, &format!("{path}/regenerate")).bearer(&writer).json(json!({})).send();
    let edit = gateway.call(Method::PATCH, &path).bearer(&writer).json(body).send();
    let (mut edit, mut renew) = (Box::pin(edit), Box::pin(renew));
    for _ in 0..1_000 {
        assert!(
            poll!(edit.as_mut()).is_pending() && poll!(renew.as_mut()).is_pending(),
            "there is one writer at a time"
        );
        tokio::task::yield_now().await;
    }
    let ended = KeyPatch { is_active: Some(false), scopes: Some(vec!["manage".to_owned()]), ..KeyPatch::default() };
    rows::update(&mut write, &id, ended).await.expect("ended");
    write.commit().await.expect("committed");
    let (edited, renewed) = tokio::join!(edit, renew);
    assert_eq!((edited.code(403), renewed.code(403)), ("AUTH_004".to_owned(), "AUTH_004".to_owned()));
    let held = gateway.get(&path).await.ok(200);
    assert_eq!((&held["isActive"], &held["name"]), (&json!(false), &json!("scoped")));
}
