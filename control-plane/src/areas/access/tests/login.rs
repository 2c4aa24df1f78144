use std::time::Duration;

use http::{Method, StatusCode, header};
use serde_json::json;

use crate::tests::gateway::{Gateway, LOCAL, PASSWORD, REMOTE};

#[tokio::test]
async fn a_login_opens_a_session_and_a_logout_ends_it_everywhere() {
    let gateway = Gateway::new().await;
    let answer = gateway.login(PASSWORD).await;
    assert_eq!(answer.ok(200), json!({ "success": true }));
    let set = answer.headers[header::SET_COOKIE].to_str().expect("a text").to_owned();
    for part in ["auth_token=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
        assert!(set.contains(part), "{part} in {set}");
    }
    assert!(!set.contains("Secure"), "{set}");
    let cookie = answer.cookie();
    gateway.call(Method::GET, "/api/keys").cookie(&cookie).send().await.ok(200);

    let out = gateway.call(Method::POST, "/api/auth/logout").cookie(&cookie).send().await;
    assert_eq!(out.ok(200), json!({ "success": true }));
    assert!(out.headers[header::SET_COOKIE].to_str().expect("a text").contains("Max-Age=0"));
    let late = gateway.call(Method::GET, "/api/keys").cookie(&cookie).send().await;
    assert_eq!(late.code(401), "AUTH_007");
}

#[tokio::test]
async fn a_session_ends_with_its_time() {
    let gateway =
        Gateway::with(&[("INITIAL_PASSWORD", PASSWORD), ("SESSION_TTL", "1h"), ("AUTH_COOKIE_SECURE", "true")]).await;
    let answer = gateway.login(PASSWORD).await;
    assert!(answer.headers[header::SET_COOKIE].to_str().expect("a text").contains("Secure"));
    let cookie = answer.cookie();
    gateway.clock.advance(Duration::from_secs(3599));
    gateway.call(Method::GET, "/api/keys").cookie(&cookie).send().await.ok(200);
    gateway.clock.advance(Duration::from_secs(1));
    let late = gateway.call(Method::GET, "/api/keys").cookie(&cookie).send().await;
    assert_eq!(late.code(401), "AUTH_007");
}

#[tokio::test]
async fn wrong_passwords_are_refused_and_soon_not_even_looked_at() {
    let gateway = Gateway::with(&[("INITIAL_PASSWORD", PASSWORD), ("LOGIN_ATTEMPTS", "3")]).await;
    for _ in 0..3 {
        assert_eq!(gateway.login("wrong").await.code(401), "AUTH_008");
    }
    let blocked = gateway.login(PASSWORD).await;
    assert_eq!(blocked.code(429), "RATE_001");
    let wait: u64 = blocked.headers[header::RETRY_AFTER].to_str().expect("a text").parse().expect("seconds");
    assert!((1..=900).contains(&wait), "{wait}");
    let elsewhere = gateway.call(Method::POST, "/api/auth/login").anonymous().from(REMOTE);
    elsewhere.json(json!({ "password": PASSWORD })).send().await.ok(200);
    gateway.clock.advance(Duration::from_secs(wait + 60));
    assert_eq!(gateway.login(PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn behind_a_balancer_only_whoever_guesses_has_to_wait() {
    let variables = [("INITIAL_PASSWORD", PASSWORD), ("LOGIN_ATTEMPTS", "2"), ("TRUSTED_PROXIES", "10.0.0.0/8")];
    let gateway = Gateway::with(&variables).await;
    let login = async |peer: &str, client: &str, password: &str| {
        let call = gateway.call(Method::POST, "/api/auth/login").anonymous().from(peer);
        call.header("x-forwarded-for", client).json(json!({ "password": password })).send().await
    };
    const BALANCER: &str = "10.0.0.5:4000";
    for forged in ["203.0.113.9", "198.51.100.1, 203.0.113.9"] {
        assert_eq!(login(BALANCER, forged, "wrong").await.code(401), "AUTH_008");
    }
    assert_eq!(login("10.0.0.6:4000", "198.51.100.2, 203.0.113.9", PASSWORD).await.code(429), "RATE_001");
    login(BALANCER, "192.0.2.44", PASSWORD).await.ok(200);
    // A proxy of ours in between tells of the balancer too.
    login(BALANCER, "192.0.2.44, 10.0.0.7", PASSWORD).await.ok(200);
    assert_eq!(login(BALANCER, "203.0.113.9, 10.0.0.7", PASSWORD).await.code(429), "RATE_001");
    // Who is not trusted speaks for himself.
    for client in ["192.0.2.51", "192.0.2.52"] {
        assert_eq!(login("198.51.100.80:1", client, "wrong").await.code(401), "AUTH_008");
    }
    assert_eq!(login("198.51.100.80:1", "192.0.2.53", PASSWORD).await.code(429), "RATE_001");
}

#[tokio::test]
async fn right_passwords_are_never_counted() {
    let gateway = Gateway::with(&[("INITIAL_PASSWORD", PASSWORD), ("LOGIN_ATTEMPTS", "2")]).await;
    for _ in 0..4 {
        gateway.sign_in().await;
    }
}

#[tokio::test]
async fn a_login_that_is_none_is_400() {
    let gateway = Gateway::new().await;
    let login = |body| gateway.call(Method::POST, "/api/auth/login").anonymous().json(body).send();
    for body in [json!({}), json!({ "password": 5 }), json!({ "password": "" }), json!({ "password": "x".repeat(201) })]
    {
        assert_eq!(login(body.clone()).await.fields(), ["password"], "{body}");
    }
}

#[tokio::test]
async fn without_a_password_the_api_says_what_to_do_and_only_this_machine_may_set_one() {
    let gateway = Gateway::with(&[]).await;
    let state = gateway.call(Method::GET, "/api/settings/require-login").anonymous().from(REMOTE).send().await;
    assert_eq!(state.ok(200), json!({ "requireLogin": true, "hasPassword": false, "setupComplete": false }));
    assert_eq!(gateway.login(PASSWORD).await.code(403), "AUTH_009");

    let set = |peer: &'static str| {
        let body = json!({ "password": PASSWORD });
        gateway.call(Method::PUT, "/api/settings/require-login").anonymous().from(peer).json(body)
    };
    assert_eq!(set(REMOTE).send().await.code(401), "AUTH_001");
    let forwarded = set(LOCAL).header("x-forwarded-for", "203.0.113.9").send().await;
    assert_eq!(forwarded.code(401), "AUTH_001");
    let rebound = set(LOCAL).header(header::HOST, "evil.example").send().await;
    assert_eq!(rebound.code(401), "AUTH_001");
    let other_site = set(LOCAL).header(header::ORIGIN, "https://evil.example").header(header::HOST, "localhost:20129");
    assert_eq!(other_site.send().await.code(403), "AUTH_010");
    assert_eq!(set(LOCAL).send().await.ok(200), json!({ "success": true }));
    assert_eq!(set(LOCAL).send().await.code(401), "AUTH_001");
    gateway.sign_in().await;
}

#[tokio::test]
async fn the_initial_password_counts_at_the_first_start_only_and_may_be_weak() {
    let gateway = Gateway::with(&[("INITIAL_PASSWORD", "weak")]).await;
    assert_eq!(gateway.login("weak").await.status, StatusCode::OK);
    gateway.put("/api/settings/require-login", json!({ "password": PASSWORD })).await.ok(200);
    gateway.areas.access.login.ensure_initial_password().await.expect("started again");
    assert_eq!(gateway.login("weak").await.code(401), "AUTH_008");
    gateway.sign_in().await;
}

#[tokio::test]
async fn a_new_password_ends_every_session_but_gives_its_maker_a_new_one() {
    let gateway = Gateway::new().await;
    let (mine, other) = (gateway.sign_in().await, gateway.sign_in().await);
    let body = json!({ "password": "another good one", "currentPassword": PASSWORD });
    let changed = gateway.call(Method::PUT, "/api/settings/require-login").cookie(&mine).json(body).send().await;
    changed.ok(200);
    for cookie in [&mine, &other] {
        assert_eq!(gateway.call(Method::GET, "/api/keys").cookie(cookie).send().await.code(401), "AUTH_007");
    }
    gateway.call(Method::GET, "/api/keys").cookie(&changed.cookie()).send().await.ok(200);
    assert_eq!(gateway.login(PASSWORD).await.code(401), "AUTH_008");
}

#[tokio::test]
async fn nobody_sets_a_new_password_without_the_current_one_and_the_log_says_who_did() {
    let gateway = Gateway::with(&[("INITIAL_PASSWORD", PASSWORD), ("LOGIN_ATTEMPTS", "3")]).await;
    let key = gateway.post("/api/keys", json!({ "name": "m", "scopes": ["manage"] })).await.ok(201);
    let key = key["key"].as_str().expect("a key");
    let cookie = gateway.sign_in().await;
    let put = |body| gateway.call(Method::PUT, "/api/settings/require-login").json(body);
    let without = json!({ "password": "another good one" });
    for call in [put(without.clone()).bearer(key), put(without.clone()).cookie(&cookie)] {
        assert_eq!(call.send().await.fields(), ["currentPassword"]);
    }
    gateway.put("/api/settings/require-login", json!({ "requireLogin": false })).await.ok(200);
    assert_eq!(put(without.clone()).anonymous().send().await.fields(), ["currentPassword"], "not even at this machine");
    // Guessing it here is guessing it.
    let guess = json!({ "password": "another good one", "currentPassword": "wrong" });
    for _ in 0..3 {
        assert_eq!(put(guess.clone()).bearer(key).send().await.code(401), "AUTH_008");
    }
    assert_eq!(put(guess).bearer(key).send().await.code(429), "RATE_001");
    gateway.clock.advance(Duration::from_secs(3600));

    let log = async || gateway.on.store.config_log().page(None, Some("admin"), None, 10).await.expect("the log");
    assert!(log().await.is_empty());
    let with = json!({ "password": "another good one", "currentPassword": PASSWORD });
    put(with).bearer(key).from(REMOTE).send().await.ok(200);
    let entries = log().await;
    assert!(entries[0].actor.name.starts_with("key:"), "{:?}", entries[0].actor);
    assert_eq!(entries[0].actor.address.as_deref(), Some("203.0.113.9"));
    // Whoever holds the secret that signs sessions is in anyway: a lost password is replaced from the command line.
    gateway.put("/api/settings/require-login", json!({ "password": PASSWORD })).await.ok(200);
    gateway.sign_in().await;
    assert_eq!(log().await.len(), 2);
}

#[tokio::test]
async fn changes_to_login_are_checked() {
    let gateway = Gateway::new().await;
    let change = |body| gateway.put("/api/settings/require-login", body);
    assert_eq!(change(json!({})).await.fields(), ["body"]);
    assert_eq!(change(json!({ "requireLogin": "no" })).await.fields(), ["requireLogin"]);
    assert_eq!(change(json!({ "password": "short" })).await.fields(), ["password"]);
    assert_eq!(change(json!({ "password": "password" })).await.fields(), ["password"]);
    let wrong = json!({ "password": "another good one", "currentPassword": "wrong" });
    assert_eq!(change(wrong).await.code(401), "AUTH_008");
    let right = json!({ "password": "another good one", "currentPassword": PASSWORD });
    change(right).await.ok(200);
    gateway.post("/api/settings/require-login", json!({ "requireLogin": true })).await.ok(200);
}

#[tokio::test]
async fn with_login_off_management_is_open_to_this_machine_only() {
    let gateway = Gateway::new().await;
    gateway.put("/api/settings/require-login", json!({ "requireLogin": false })).await.ok(200);
    let keys = |peer: &'static str| gateway.call(Method::GET, "/api/keys").anonymous().from(peer);
    keys(LOCAL).send().await.ok(200);
    assert_eq!(keys(REMOTE).send().await.code(401), "AUTH_001");
    assert_eq!(keys(LOCAL).header("x-forwarded-for", "203.0.113.9").send().await.code(401), "AUTH_001");
    assert_eq!(keys(LOCAL).header(header::HOST, "rebound.example").send().await.code(401), "AUTH_001");
    let make = |origin: &'static str| {
        let call = gateway.call(Method::POST, "/api/keys").anonymous().header(header::HOST, "localhost:20129");
        call.header(header::ORIGIN, origin).json(json!({ "name": "x" }))
    };
    assert_eq!(make("https://evil.example").send().await.code(403), "AUTH_010");
    make("http://localhost:20129").send().await.ok(201);
    // A stale cookie does not stand in the way.
    keys(LOCAL).header(header::COOKIE, "auth_token=old").send().await.ok(200);
}

#[tokio::test]
async fn an_api_key_manages_with_the_right_scope_only() {
    let gateway = Gateway::new().await;
    let make = async |body| gateway.post("/api/keys", body).await.ok(201)["key"].as_str().expect("a key").to_owned();
    let plain = make(json!({ "name": "plain" })).await;
    let manage = make(json!({ "name": "m", "scopes": ["manage"] })).await;
    let admin = make(json!({ "name": "a", "scopes": ["admin"] })).await;
    let off = make(json!({ "name": "off", "scopes": ["manage"], "isActive": false })).await;
    let expired = make(json!({ "name": "old", "scopes": ["manage"], "expiresAt": "2027-01-15T08:00:01Z" })).await;
    gateway.clock.advance(Duration::from_secs(2));
    let keys = async |token: &str| gateway.call(Method::GET, "/api/keys").from(REMOTE).bearer(token).send().await;
    keys(&manage).await.ok(200);
    keys(&admin).await.ok(200);
    assert_eq!(keys(&plain).await.code(403), "AUTH_004");
    assert_eq!(keys(&off).await.code(401), "AUTH_002");
    assert_eq!(keys(&expired).await.code(401), "AUTH_003");
    assert_eq!(keys("sk-unknown").await.code(401), "AUTH_002");
    // What a program holds is not what a browser adds on its own.
    let cross = gateway.call(Method::POST, "/api/keys").from(REMOTE).bearer(&manage);
    cross.header(header::ORIGIN, "https://tool.example").json(json!({ "name": "x" })).send().await.ok(201);
}

#[tokio::test]
async fn a_cli_token_is_short_lived() {
    let gateway = Gateway::new().await;
    let keys = async |token: &str| gateway.call(Method::GET, "/api/keys").from(REMOTE).bearer(token).send().await;
    let token = gateway.on.tokens.cli(Duration::from_secs(300)).expect("a token");
    keys(&token).await.ok(200);
    let long = gateway.on.tokens.cli(Duration::from_secs(301)).expect("a token");
    assert_eq!(keys(&long).await.code(401), "AUTH_001");
    gateway.clock.advance(Duration::from_secs(300));
    assert_eq!(keys(&token).await.code(401), "AUTH_001");
    // The cookie is no Bearer token, and the other way round.
    let cookie = gateway.sign_in().await;
    let session = cookie.strip_prefix("auth_token=").expect("the name");
    assert_eq!(keys(session).await.code(401), "AUTH_001");
    let fresh = gateway.on.tokens.cli(Duration::from_secs(60)).expect("a token");
    let as_cookie = gateway.call(Method::GET, "/api/keys").cookie(&format!("auth_token={fresh}")).send().await;
    assert_eq!(as_cookie.code(401), "AUTH_007");
}

#[tokio::test]
async fn another_website_cannot_use_a_session() {
    let gateway = Gateway::with(&[("INITIAL_PASSWORD", PASSWORD), ("CORS_ORIGINS", "https://ops.example")]).await;
    let cookie = gateway.sign_in().await;
    let make = |headers: &[(&'static str, &str)]| {
        let call = gateway.call(Method::POST, "/api/keys").cookie(&cookie).json(json!({ "name": "x" }));
        headers.iter().fold(call, |call, (name, value)| call.header(*name, value)).send()
    };
    for headers in [
        &[("host", "gw:1"), ("origin", "https://evil.example")][..],
        &[("host", "gw:1"), ("sec-fetch-site", "cross-site")][..],
        &[("host", "gw:1"), ("sec-fetch-site", "same-site"), ("origin", "https://x.gw")][..],
        &[("host", "gw:1"), ("origin", "null")][..],
    ] {
        assert_eq!(make(headers).await.code(403), "AUTH_010", "{headers:?}");
    }
    for headers in [
        &[("host", "gw:1"), ("origin", "http://gw:1")][..],
        &[("host", "gw:1"), ("sec-fetch-site", "same-origin")][..],
        &[("host", "gw:1"), ("origin", "https://ops.example"), ("sec-fetch-site", "cross-site")][..],
        &[("host", "gw:1")][..],
    ] {
        make(headers).await.ok(201);
    }
    let read = gateway.call(Method::GET, "/api/keys").cookie(&cookie).header(header::ORIGIN, "https://evil.example");
    let read = read.send().await;
    assert!(!read.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "the browser keeps it from the page");
    let preflight =
        gateway.call(Method::OPTIONS, "/api/keys").anonymous().header(header::ORIGIN, "https://ops.example");
    let preflight = preflight.header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST").send().await;
    assert_eq!(preflight.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://ops.example");
    assert_eq!(preflight.headers[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
}

#[tokio::test]
async fn whoever_is_nobody_cannot_tell_which_routes_exist() {
    let gateway = Gateway::new().await;
    let mut bodies = Vec::new();
    for (method, path) in [
        (Method::GET, "/api/keys"),
        (Method::GET, "/api/no-such-route"),
        (Method::DELETE, "/api/init"),
        (Method::POST, "/api/keys/anything/reveal"),
        (Method::GET, "/api"),
        (Method::PATCH, "/api/settings"),
    ] {
        let answer = gateway.call(method, path).anonymous().from(REMOTE).send().await;
        assert_eq!(answer.code(401), "AUTH_001", "{path}");
        assert!(!answer.headers.contains_key(header::ALLOW), "{path}");
        bodies.push(answer.json()["error"]["message"].clone());
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    let known = gateway.get("/api/no-such-route").await;
    assert_eq!(known.code(404), "RESOURCE_001");
    let method = gateway.call(Method::DELETE, "/api/init").send().await;
    assert_eq!(method.code(405), "RESOURCE_004");
}
