use serde_json::json;

use super::*;

#[tokio::test]
async fn signing_in_makes_a_connection_whose_token_counts_and_no_secret_comes_out() {
    let (gateway, server) = (Gateway::new().await, AuthorizationServer::start().await);
    let provider = provider(&gateway, &server).await;
    let answer = sign_in(&gateway, &server, &provider, "ada", None).await;
    let id = connection_of(&answer);
    assert_eq!(answer["connection"]["email"], "ada@example.com");
    let connection = shown(&gateway, &id).await;
    assert_eq!((&connection["authType"], &connection["hasApiKey"]), (&json!("oauth"), &json!(true)));
    assert_eq!((&connection["name"], &connection["testStatus"]), (&json!("ada@example.com"), &json!("active")));
    assert!(server.takes(&token(&gateway, &id).await));
    let test = gateway.post(&format!("/api/providers/{id}/test"), json!({})).await.ok(200);
    assert_eq!((&test["valid"], &test["refreshed"]), (&json!(true), &json!(false)), "{test}");
    settle(&gateway.on.background).await;
    let state = status(&gateway, &provider, &id).await;
    assert_eq!((&state["state"], &state["refreshes"]), (&json!("active"), &json!(true)));

    let mut secrets = server.refresh_tokens();
    secrets.extend([token(&gateway, &id).await, server::SECRET.to_owned()]);
    for path in [
        "/api/providers",
        "/api/oauth/clients",
        &format!("/api/oauth/{provider}/status"),
        &format!("/api/providers/{id}"),
    ] {
        let text = gateway.get(path).await.text;
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{path}: {text}");
    }
}

#[tokio::test]
async fn a_sign_in_ends_once_and_only_as_it_was_begun() {
    let (gateway, server) = (Gateway::new().await, AuthorizationServer::start().await);
    let provider = provider(&gateway, &server).await;
    let begun = gateway.get(&format!("/api/oauth/{provider}/authorize?redirect_uri={REDIRECT}")).await.ok(200);
    let (code, state) = server.approve(begun["authUrl"].as_str().expect("a URL"), "ada");
    let exchange = async |body: Value| gateway.post(&format!("/api/oauth/{provider}/exchange"), body).await;
    let good = json!({ "code": code, "state": state, "redirectUri": REDIRECT, "codeVerifier": begun["codeVerifier"] });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (field, value) in [
        ("state", json!("made-up")),
        ("redirectUri", json!("https://evil.example/")),
        ("codeVerifier", json!("made-up")),
    ] {
        assert_eq!(exchange(with(field, value)).await.fields(), [field]);
    }
    assert_eq!(exchange(json!({ "code": code })).await.fields(), ["state"]);
    assert_eq!(exchange(with("connectionId", json!("nobody"))).await.code(404), "RESOURCE_001");
    assert_eq!(server.inner.lock().token_requests, 0, "nothing of that reaches the provider");
    // As people paste it, and without what the gateway knows itself.
    let pasted = json!({ "code": format!("{code}#{state}") });
    assert_eq!(exchange(pasted.clone()).await.ok(200)["success"], true);
    assert_eq!(exchange(pasted).await.fields(), ["state"]);
    // A state is over after a while.
    let begun = gateway.get(&format!("/api/oauth/{provider}/authorize?redirect_uri={REDIRECT}")).await.ok(200);
    gateway.clock.advance(Duration::from_mins(11));
    let late = json!({ "code": "x", "state": begun["state"] });
    assert_eq!(exchange(late).await.fields(), ["state"]);
}

#[tokio::test]
async fn the_answer_must_be_for_this_sign_in() {
    let (gateway, server) = (Gateway::new().await, AuthorizationServer::start().await);
    let provider = provider(&gateway, &server).await;
    server.inner.lock().wrong_nonce = true;
    let begun = gateway.get(&format!("/api/oauth/{provider}/authorize?redirect_uri={REDIRECT}")).await.ok(200);
    let (code, state) = server.approve(begun["authUrl"].as_str().expect("a URL"), "ada");
    let answer =
        gateway.post(&format!("/api/oauth/{provider}/exchange"), json!({ "code": code, "state": state })).await;
    assert_eq!(answer.fields(), ["code"]);
    assert_eq!(gateway.get("/api/providers").await.ok(200)["total"], 0);
    // A code that the provider does not know.
    let begun = gateway.get(&format!("/api/oauth/{provider}/authorize?redirect_uri={REDIRECT}")).await.ok(200);
    let body = json!({ "code": "made-up", "state": begun["state"] });
    let answer = gateway.post(&format!("/api/oauth/{provider}/exchange"), body).await;
    assert_eq!(answer.fields(), ["code"]);
    assert!(answer.text.contains("invalid_grant"), "{}", answer.text);
}

#[tokio::test]
async fn signing_in_again_renews_the_connection_and_a_second_account_leaves_the_first_alone() {
    let (gateway, server) = (Gateway::new().await, AuthorizationServer::start().await);
    let provider = provider(&gateway, &server).await;
    // The same e-mail address twice: what tells connections apart is their id.
    let first = connection_of(&sign_in(&gateway, &server, &provider, "ada", None).await);
    let second = connection_of(&sign_in(&gateway, &server, &provider, "ada", None).await);
    assert_ne!(first, second);
    let (before, untouched) = (token(&gateway, &first).await, token(&gateway, &second).await);
    let again = sign_in(&gateway, &server, &provider, "grace", Some(&first)).await;
    assert_eq!(connection_of(&again), first);
    assert_eq!(gateway.get("/api/providers").await.ok(200)["total"], 2);
    assert_ne!(token(&gateway, &first).await, before);
    assert_eq!(token(&gateway, &second).await, untouched);
    for id in [&first, &second] {
        assert!(server.takes(&token(&gateway, id).await), "{id}");
    }
    settle(&gateway.on.background).await;
    gateway.clock.advance(Duration::from_secs(server::LIFETIME));
    gateway.areas.oauth.refresher().refresh_due().await;
    for id in [&first, &second] {
        assert!(server.takes(&token(&gateway, id).await), "{id}");
        assert_eq!(status(&gateway, &provider, id).await["state"], "active");
    }
    let (refreshes, reused) = {
        let inner = server.inner.lock();
        (inner.refreshes, inner.reused)
    };
    assert_eq!((refreshes, reused), (2, 0));
    // A connection of somebody else cannot be renewed.
    let other = gateway.get(&format!("/api/oauth/openai/authorize?connectionId={first}")).await;
    assert_eq!(other.fields(), ["provider"], "there is no client");
    let other = gateway.get(&format!("/api/oauth/{provider}/authorize?connectionId=nobody")).await;
    assert_eq!(other.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn a_device_code_is_asked_for_no_more_often_than_the_provider_wants() {
    let (gateway, server) = (Gateway::new().await, AuthorizationServer::start().await);
    let provider = provider(&gateway, &server).await;
    let begun = gateway.get(&format!("/api/oauth/{provider}/device-code?name=Laptop")).await.ok(200);
    assert_eq!((&begun["user_code"], &begun["interval"]), (&json!("ABCD-EFGH"), &json!(5)));
    let handle = begun["device_code"].clone();
    assert!(!handle.as_str().expect("a handle").starts_with("device-code"), "the provider's own stays here");
    let poll = async || {
        let path = format!("/api/oauth/{provider}/poll");
        gateway.post(&path, json!({ "deviceCode": handle, "codeVerifier": null })).await.ok(200)
    };
    let pending = poll().await;
    assert_eq!((&pending["pending"], &pending["error"]), (&json!(true), &json!("authorization_pending")));
    assert_eq!((poll().await["pending"].clone(), server.inner.lock().polls), (json!(true), 1), "not its turn");
    gateway.clock.advance(Duration::from_secs(5));
    server.change_device(false, true);
    assert_eq!(poll().await["error"], "slow_down");
    server.change_device(false, false);
    server.approve_device("ada");
    gateway.clock.advance(Duration::from_secs(9));
    assert_eq!((poll().await["pending"].clone(), server.inner.lock().polls), (json!(true), 2), "it has slowed down");
    gateway.clock.advance(Duration::from_secs(1));
    let done = poll().await;
    assert_eq!((&done["success"], &done["connection"]["name"]), (&json!(true), &json!("Laptop")), "{done}");
    assert!(server.takes(&token(&gateway, &connection_of(&done)).await));
    let over = poll().await;
    assert_eq!(
        (&over["success"], &over["pending"], &over["error"]),
        (&json!(false), &json!(false), &json!("expired_token"))
    );

    let begun = gateway.get(&format!("/api/oauth/{provider}/device-code")).await.ok(200);
    server.change_device(true, false);
    let body = json!({ "deviceCode": begun["device_code"] });
    let denied = gateway.post(&format!("/api/oauth/{provider}/poll"), body).await.ok(200);
    assert_eq!((&denied["pending"], &denied["error"]), (&json!(false), &json!("access_denied")));
}

#[tokio::test]
async fn a_browser_may_come_back_to_a_port_of_this_machine_or_to_the_gateway() {
    let (gateway, server) = (Gateway::new().await, AuthorizationServer::start().await);
    let provider = provider(&gateway, &server).await;
    let poll = async |body: Value| gateway.post(&format!("/api/oauth/{provider}/poll-callback"), body).await.ok(200);
    assert_eq!(poll(json!({})).await["error"], "no_server");

    let begun = gateway.get(&format!("/api/oauth/{provider}/start-callback-server")).await.ok(200);
    let port = begun["serverPort"].as_u64().expect("a port");
    assert_eq!(begun["redirectUri"], format!("http://localhost:{port}/auth/callback"));
    assert_eq!(poll(json!({})).await, json!({ "success": false, "pending": true }));
    // The browser goes to the provider and is sent back.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let browser = reqwest::Client::builder().no_proxy().build().expect("a client");
    let page = browser.get(begun["authUrl"].as_str().expect("a URL")).send().await.expect("an answer");
    assert_eq!(page.status().as_u16(), 200);
    assert!(page.text().await.expect("a page").contains("You are signed in"));
    let done = poll(json!({})).await;
    assert_eq!(
        (&done["success"], &done["connection"]["email"]),
        (&json!(true), &json!("browser@example.com")),
        "{done}"
    );
    assert_eq!(poll(json!({ "state": begun["state"] })).await["error"], "expired_token");

    // The usual redirect is the gateway's own.
    let begun = gateway.get(&format!("/api/oauth/{provider}/authorize")).await.ok(200);
    assert_eq!(begun["callbackPath"], "/api/oauth/callback");
    let (code, state) = server.approve(begun["authUrl"].as_str().expect("a URL"), "ada");
    let back = async |query: String| {
        let call = gateway.call(http::Method::GET, &format!("/api/oauth/callback?{query}"));
        call.anonymous().from(crate::tests::gateway::REMOTE).send().await.text
    };
    assert!(back("code=x&state=made-up".to_owned()).await.contains("Nobody waits"));
    assert!(back(format!("code={code}&state={state}")).await.contains("You are signed in"));
    assert!(back(format!("code=forged&state={state}")).await.contains("Nobody waits"), "what came first counts");
    assert_eq!(poll(json!({ "state": state })).await["success"], true);

    let begun = gateway.get(&format!("/api/oauth/{provider}/authorize")).await.ok(200);
    let state = begun["state"].as_str().expect("a state").to_owned();
    let refused = back(format!("error=access_denied&error_description=no&state={state}")).await;
    assert!(refused.contains("did not let you in"), "{refused}");
    let over = poll(json!({ "state": state })).await;
    assert_eq!((&over["error"], &over["errorDescription"]), (&json!("access_denied"), &json!("no")));
}

#[tokio::test]
async fn what_is_lacking_is_said() {
    let (gateway, server) = (Gateway::new().await, AuthorizationServer::start().await);
    let answer = gateway.get("/api/oauth/claude-code/authorize").await;
    assert_eq!(answer.fields(), ["provider"]);
    assert!(answer.text.contains("CLAUDE_CODE_OAUTH_CLIENT_ID"), "{}", answer.text);
    assert_eq!(gateway.get("/api/oauth/nobody/authorize").await.code(404), "RESOURCE_001");
    // A client where the vendor documents no endpoints.
    gateway.put("/api/oauth/codex/client", json!({ "clientId": "mine" })).await.ok(200);
    let answer = gateway.get("/api/oauth/openai/authorize").await;
    assert!(answer.fields() == ["provider"] && answer.text.contains("authorizationUrl"), "{}", answer.text);
    let listed = gateway.get("/api/oauth/clients").await.ok(200);
    let of = |id: &str| {
        listed["clients"].as_array().expect("clients").iter().find(|one| one["provider"] == id).expect("one")
    };
    assert_eq!((&of("openai")["source"], &of("openai")["flows"]), (&json!("settings"), &json!([])));
    assert_eq!((&of("gemini")["source"], &of("gemini")["flows"]), (&Value::Null, &json!(["authorization_code"])));
    gateway.delete("/api/oauth/openai/client").await.ok(200);
    assert_eq!(gateway.delete("/api/oauth/openai/client").await.code(404), "RESOURCE_001");

    let provider = provider(&gateway, &server).await;
    for bad in ["ftp://x/", "not a url", "https://x/%23#fragment"] {
        let path =
            format!("/api/oauth/{provider}/authorize?redirect_uri={}", bad.replace('#', "%23").replace(' ', "%20"));
        assert_eq!(gateway.get(&path).await.fields(), ["redirect_uri"], "{bad}");
    }
    let metadata = json!({ "clientId": "x", "tokenUrl": "http://169.254.169.254/token" });
    let path = format!("/api/oauth/{provider}/client");
    assert_eq!(gateway.put(&path, metadata).await.fields(), ["tokenUrl"]);
    assert_eq!(gateway.put(&path, json!({ "clientID": "x" })).await.fields(), ["clientId", "clientID"]);
}

#[tokio::test]
async fn a_key_that_is_entered_by_hand_ends_a_sign_in() {
    let (gateway, server) = (Gateway::new().await, AuthorizationServer::start().await);
    let provider = provider(&gateway, &server).await;
    let id = connection_of(&sign_in(&gateway, &server, &provider, "ada", None).await);
    let path = format!("/api/providers/{id}");
    let edited = gateway.patch(&path, json!({ "apiKey": "sk-by-hand" })).await.ok(200)["connection"].clone();
    assert_eq!(edited["authType"], "apikey");
    gateway.clock.advance(Duration::from_secs(2 * server::LIFETIME));
    gateway.areas.oauth.refresher().refresh_due().await;
    assert_eq!(token(&gateway, &id).await, "sk-by-hand", "nobody else's token takes its place");
    assert_eq!(gateway.get(&format!("/api/oauth/{provider}/status")).await.ok(200), json!({ "tokens": [] }));
    // And signing in takes it back.
    sign_in(&gateway, &server, &provider, "ada", Some(&id)).await;
    assert_eq!(shown(&gateway, &id).await["authType"], "oauth");
    // Its tokens go with a connection.
    gateway.delete(&path).await.ok(200);
    assert_eq!(gateway.get(&format!("/api/oauth/{provider}/status")).await.ok(200), json!({ "tokens": [] }));
}
