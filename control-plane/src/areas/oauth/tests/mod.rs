//! Against an authorization server of our own, which keeps to the letter of the standard.

mod refresh;
mod repair;
mod server;
mod sign_in;

use std::{sync::Arc, time::Duration};

use omniroute_coordination::LocalCoordination;
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::server::AuthorizationServer;
use crate::{
    areas::{
        oauth::{Refresher, Variables},
        providers::connections::rows::Connections,
    },
    auth::token::Tokens,
    ledger::Ledger,
    publish::ProxyRegistry,
    run::{Areas, Foundations},
    store::testing::KEY,
    tests::{gateway::Gateway, resources::node},
};

/// The usual redirect of these tests.
const REDIRECT: &str = "https://app.example/callback";

/// A provider that is a node at the server, with the operator's client set. Its id.
async fn provider(gateway: &Gateway, server: &AuthorizationServer) -> String {
    let node = node(gateway, "mock", &server.base_url()).await;
    let id = node["id"].as_str().expect("an id").to_owned();
    set_client(gateway, server, &id).await;
    id
}

async fn set_client(gateway: &Gateway, server: &AuthorizationServer, provider: &str) {
    let client = json!({
        "clientId": server::CLIENT, "clientSecret": server::SECRET,
        "authorizationUrl": server.url("/authorize"), "tokenUrl": server.url("/token"),
        "deviceAuthorizationUrl": server.url("/device"), "scopes": ["openid", "inference"],
        "authorizeParameters": { "prompt": "consent", "state": "not-ours" },
    });
    let set = gateway.put(&format!("/api/oauth/{provider}/client"), client).await.ok(200);
    assert_eq!((&set["source"], &set["hasClientSecret"]), (&json!("settings"), &json!(true)));
}

/// Signs in as `account`, for a connection that there is, or for a new one. The answer to the exchange.
async fn sign_in(
    gateway: &Gateway,
    server: &AuthorizationServer,
    provider: &str,
    account: &str,
    connection: Option<&str>,
) -> Value {
    let renews = connection.map(|id| format!("&connectionId={id}")).unwrap_or_default();
    let path = format!("/api/oauth/{provider}/authorize?redirect_uri={REDIRECT}{renews}");
    let begun = gateway.get(&path).await.ok(200);
    let (code, state) = server.approve(begun["authUrl"].as_str().expect("a URL"), account);
    assert_eq!(state, begun["state"]);
    let body = json!({
        "code": code, "state": state, "redirectUri": REDIRECT, "codeVerifier": begun["codeVerifier"],
    });
    let answer = gateway.post(&format!("/api/oauth/{provider}/exchange"), body).await.ok(200);
    assert_eq!(answer["success"], true, "{answer}");
    answer
}

fn connection_of(answer: &Value) -> String {
    answer["connection"]["id"].as_str().expect("an id").to_owned()
}

/// The token that proxies are given.
async fn token(gateway: &Gateway, connection: &str) -> String {
    Connections::of(&gateway.on.store).secret(connection).await.expect("a secret").expose().to_owned()
}

async fn status(gateway: &Gateway, provider: &str, connection: &str) -> Value {
    let all = gateway.get(&format!("/api/oauth/{provider}/status")).await.ok(200);
    let tokens = all["tokens"].as_array().expect("tokens").clone();
    tokens.into_iter().find(|token| token["connectionId"] == connection).expect("a token")
}

async fn shown(gateway: &Gateway, connection: &str) -> Value {
    gateway.get(&format!("/api/providers/{connection}")).await.ok(200)["connection"].clone()
}

/// Waits for what goes on in the background.
async fn settle(tasks: &TaskTracker) {
    tasks.close();
    tokio::time::timeout(Duration::from_secs(60), tasks.wait()).await.expect("settled");
    tasks.reopen();
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Another control plane on the same database.
async fn replica(gateway: &Gateway) -> (Arc<Refresher>, TaskTracker) {
    let store = gateway.replica(KEY).await;
    let stopping = CancellationToken::new();
    let background = TaskTracker::new();
    let on = Foundations {
        ledger: Ledger::start(store.clone(), 90).await.expect("a ledger"),
        proxies: ProxyRegistry::start(store.clone(), stopping.clone()),
        coordination: Arc::new(LocalCoordination::new(Arc::new(gateway.clock.clone()))),
        tokens: Tokens::new("jwt-secret-for-tests-0123456789", Arc::new(gateway.clock.clone())),
        clock: Arc::new(gateway.clock.clone()),
        environment: Variables::default(),
        background: background.clone(),
        store,
        stopping,
    };
    let areas = Areas::build(&gateway.settings, &on).expect("areas");
    (Arc::clone(areas.oauth.refresher()), background)
}
