use std::sync::Arc;

use http::Method;
use omniroute_core::hash::token_fingerprint;
use omniroute_proto::v1::{self, resource::Body};
use serde_json::json;

use super::*;
use crate::{
    areas::oauth::{Need, Refreshed},
    run::renewals,
    store::testing::TestDatabase,
    tests::gateway::PASSWORD,
};

/// A control plane, a server, and an account.
struct Case {
    gateway: Gateway,
    server: AuthorizationServer,
    provider: String,
    id: String,
}

// === impl Case ===

impl Case {
    async fn new() -> Self {
        Self::on(TestDatabase::sqlite()).await
    }

    async fn on(database: TestDatabase) -> Self {
        let gateway = Gateway::with_database(database, &[("INITIAL_PASSWORD", PASSWORD)]).await;
        let server = AuthorizationServer::start().await;
        let provider = provider(&gateway, &server).await;
        let id = connection_of(&sign_in(&gateway, &server, &provider, "ada", None).await);
        settle(&gateway.on.background).await;
        Self { gateway, server, provider, id }
    }

    fn refresher(&self) -> &Arc<Refresher> {
        self.gateway.areas.oauth.refresher()
    }

    async fn token(&self) -> String {
        token(&self.gateway, &self.id).await
    }

    async fn status(&self) -> Value {
        status(&self.gateway, &self.provider, &self.id).await
    }

    fn counts(&self) -> (u64, u64) {
        let inner = self.server.inner.lock();
        (inner.refreshes, inner.reused)
    }

    /// Until the token is due.
    fn wait(&self) {
        self.gateway.clock.advance(Duration::from_secs(server::LIFETIME - 600));
    }

    async fn test(&self) -> Value {
        self.gateway.post(&format!("/api/providers/{}/test", self.id), json!({})).await.ok(200)
    }
}

/// Two control planes, both asked for everything at once, fifty times over.
async fn fifty_rotations(case: &Case) {
    let (other, background) = replica(&case.gateway).await;
    let here = case.refresher();
    for round in 1..=50 {
        let before = case.token().await;
        let refused = Need::Refused(token_fingerprint(&before));
        if round % 2 == 0 {
            // The clock asks, and the button, on both.
            case.wait();
        } else {
            // The provider has taken the token back, and every proxy says so.
            case.server.revoke_access(&before);
        }
        let (by_time, by_button) = (Need::Use, refused);
        let (_, _, one, two, three, four) = tokio::join!(
            here.refresh_due(),
            other.refresh_due(),
            here.refresh(&case.id, by_button),
            other.refresh(&case.id, by_button),
            here.refresh(&case.id, by_time),
            other.refresh(&case.id, by_time),
        );
        for outcome in [one, two, three, four] {
            let is_good = matches!(outcome, Refreshed::Renewed | Refreshed::Current);
            assert!(is_good, "round {round}: {outcome:?}");
        }
        assert_eq!(case.counts(), (round, 0), "one refresh a round, and no refresh token twice");
        let after = case.token().await;
        assert_ne!(before, after, "round {round}");
        assert!(case.server.takes(&after), "round {round}");
    }
    assert_eq!(case.status().await["state"], "active");
    assert_eq!(case.test().await["valid"], true);
    settle(&background).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_rotations_by_two_replicas_send_no_refresh_token_twice_on_sqlite() {
    fifty_rotations(&Case::new().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_rotations_by_two_replicas_send_no_refresh_token_twice_on_postgres() {
    fifty_rotations(&Case::on(TestDatabase::postgres().await).await).await;
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_and_not_before() {
    let case = Case::new().await;
    let first = case.token().await;
    case.refresher().refresh_due().await;
    assert_eq!(case.refresher().refresh(&case.id, Need::Use).await, Refreshed::Current);
    assert_eq!(case.counts(), (0, 0));
    case.wait();
    case.refresher().refresh_due().await;
    assert_eq!(case.counts(), (1, 0));
    assert_ne!(case.token().await, first);
    // A proxy that says so of the first one is late.
    let late = Need::Refused(token_fingerprint(&first));
    assert_eq!(case.refresher().refresh(&case.id, late).await, Refreshed::Current);
    assert_eq!(case.counts(), (1, 0));
    let asked =
        case.gateway.post(&format!("/api/oauth/{}/refresh", case.provider), json!({ "connectionId": case.id })).await;
    assert_eq!(asked.ok(200), json!({ "success": true, "refreshed": true, "expired": false }));
    let nobody = json!({ "connectionId": "nobody" });
    let path = format!("/api/oauth/{}/refresh", case.provider);
    assert_eq!(case.gateway.post(&path, nobody).await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn the_test_button_renews_a_token_that_is_over_and_one_that_was_taken_back() {
    let case = Case::new().await;
    case.gateway.clock.advance(Duration::from_secs(server::LIFETIME + 1));
    let test = case.test().await;
    assert_eq!((&test["valid"], &test["refreshed"]), (&json!(true), &json!(true)), "{test}");
    case.server.revoke_access(&case.token().await);
    let test = case.test().await;
    assert_eq!((&test["valid"], &test["refreshed"]), (&json!(true), &json!(true)), "{test}");
    assert_eq!(case.counts(), (2, 0));
    assert_eq!(shown(&case.gateway, &case.id).await["testStatus"], "active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asked_may_leave_and_what_came_is_stored() {
    let case = Case::new().await;
    let before = case.token().await;
    case.server.inner.lock().gated = true;
    let (refresher, id) = (Arc::clone(case.refresher()), case.id.clone());
    let asking = tokio::spawn(async move { refresher.refresh(&id, Need::Now).await });
    until("the provider is asked", async || case.server.inner.lock().waiting == 1).await;
    asking.abort();
    assert!(asking.await.expect_err("aborted").is_cancelled());
    case.server.gate.add_permits(1);
    until("the new token is stored", async || case.token().await != before).await;
    assert!(case.server.takes(&case.token().await));
    case.server.inner.lock().gated = false;
    case.wait();
    settle(&case.gateway.on.background).await;
    case.refresher().refresh_due().await;
    assert_eq!(case.counts(), (2, 0), "its refresh token was stored with it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_ends_meanwhile_counts() {
    let case = Case::new().await;
    case.server.inner.lock().gated = true;
    case.refresher().request(&case.id, Need::Now);
    until("the provider is asked", async || case.server.inner.lock().waiting == 1).await;
    sign_in(&case.gateway, &case.server, &case.provider, "grace", Some(&case.id)).await;
    let signed_in = case.token().await;
    case.server.inner.lock().gated = false;
    case.server.gate.add_permits(1);
    settle(&case.gateway.on.background).await;
    assert_eq!(case.token().await, signed_in);
    case.wait();
    case.refresher().refresh_due().await;
    assert_eq!(case.server.inner.lock().reused, 0);
    assert!(case.server.takes(&case.token().await));
}

#[tokio::test]
async fn expired_is_what_only_signing_in_helps() {
    let case = Case::new().await;
    case.server.inner.lock().refuse_with = Some((400, json!({ "error": "invalid_grant" })));
    case.wait();
    case.refresher().refresh_due().await;
    let connection = shown(&case.gateway, &case.id).await;
    assert_eq!((&connection["testStatus"], &connection["errorCode"]), (&json!("expired"), &json!("token_expired")));
    let state = case.status().await;
    assert_eq!((&state["state"], &state["refreshes"]), (&json!("expired"), &json!(false)));
    let asked = case.server.inner.lock().token_requests;
    case.wait();
    case.refresher().refresh_due().await;
    assert!(matches!(case.refresher().refresh(&case.id, Need::Now).await, Refreshed::Expired(_)));
    assert_eq!(case.server.inner.lock().token_requests, asked, "it is not tried again");
    case.server.revoke_access(&case.token().await);
    let test = case.test().await;
    assert_eq!(
        (&test["valid"], test["error"].as_str().expect("words").contains("sign in again")),
        (&json!(false), true)
    );
    assert_eq!(shown(&case.gateway, &case.id).await["testStatus"], "expired");
    case.server.inner.lock().refuse_with = None;
    sign_in(&case.gateway, &case.server, &case.provider, "ada", Some(&case.id)).await;
    assert_eq!(shown(&case.gateway, &case.id).await["testStatus"], "active");
    assert_eq!(case.status().await["state"], "active");
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again_and_nothing_is_called_expired() {
    let case = Case::new().await;
    let before = case.token().await;
    for refusal in [
        (503, json!({})),
        (429, json!({ "error": "slow_down" })),
        (200, json!({})),
        (401, json!({ "error": "invalid_client" })),
    ] {
        case.server.inner.lock().refuse_with = Some(refusal.clone());
        assert!(matches!(case.refresher().refresh(&case.id, Need::Now).await, Refreshed::Failed(_)), "{refusal:?}");
        assert_eq!(case.status().await["state"], "failing");
        let connection = shown(&case.gateway, &case.id).await;
        assert_eq!(connection["testStatus"], "active", "the token there still counts: {connection}");
        assert_eq!(case.token().await, before, "requests go on with it");
    }
    // Those who wait do not storm the provider.
    let asked = case.server.inner.lock().token_requests;
    let refused = Need::Refused(token_fingerprint(&before));
    assert!(matches!(case.refresher().refresh(&case.id, refused).await, Refreshed::Failed(_)));
    assert_eq!(case.server.inner.lock().token_requests, asked);
    case.gateway.clock.advance(Duration::from_secs(server::LIFETIME + 600));
    case.refresher().refresh_due().await;
    assert_eq!(shown(&case.gateway, &case.id).await["testStatus"], "error");
    // The operator corrects the client: it is tried at once.
    case.server.inner.lock().refuse_with = None;
    set_client(&case.gateway, &case.server, &case.provider).await;
    case.refresher().refresh_due().await;
    assert_eq!(case.status().await["state"], "active");
    assert_eq!(shown(&case.gateway, &case.id).await["testStatus"], "active");
    assert!(case.server.takes(&case.token().await));
}

#[tokio::test]
async fn a_refresh_token_is_sent_to_no_other_host() {
    let case = Case::new().await;
    let elsewhere = AuthorizationServer::start().await;
    set_client(&case.gateway, &elsewhere, &case.provider).await;
    case.wait();
    case.refresher().refresh_due().await;
    assert_eq!(elsewhere.inner.lock().token_requests, 0);
    let state = case.status().await;
    assert!(state["state"] == "failing" && state["error"].as_str().expect("words").contains("another host"), "{state}");
    set_client(&case.gateway, &case.server, &case.provider).await;
    case.refresher().refresh_due().await;
    assert_eq!((case.status().await["state"].clone(), case.counts()), (json!("active"), (1, 0)));
}

#[tokio::test]
async fn a_refresh_token_that_comes_back_unchanged_goes_on_to_count() {
    let case = Case::new().await;
    case.server.inner.lock().keep_refresh_token = true;
    for round in 1..=3 {
        case.wait();
        case.refresher().refresh_due().await;
        assert_eq!(case.counts(), (round, 0));
        assert!(case.server.takes(&case.token().await));
    }
}

#[tokio::test]
async fn a_token_without_a_refresh_token_counts_until_it_is_over() {
    let gateway = Gateway::new().await;
    let server = AuthorizationServer::start().await;
    server.inner.lock().omit_refresh_token = true;
    let provider = provider(&gateway, &server).await;
    let id = connection_of(&sign_in(&gateway, &server, &provider, "ada", None).await);
    settle(&gateway.on.background).await;
    let refresher = gateway.areas.oauth.refresher();
    gateway.clock.advance(Duration::from_secs(server::LIFETIME - 1));
    refresher.refresh_due().await;
    assert_eq!(shown(&gateway, &id).await["testStatus"], "active");
    gateway.clock.advance(Duration::from_secs(1));
    refresher.refresh_due().await;
    assert_eq!(shown(&gateway, &id).await["testStatus"], "expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proxy_says_of_a_refused_token_renews_it() {
    let case = Case::new().await;
    let before = case.token().await;
    case.server.revoke_access(&before);
    let renews = renewals(&case.gateway.areas);
    for _ in 0..5 {
        renews.refused(&case.id, token_fingerprint(&before));
    }
    renews.refused("nobody", [0; 16]);
    settle(&case.gateway.on.background).await;
    assert_eq!(case.counts(), (1, 0));
    assert!(case.server.takes(&case.token().await));
}

#[tokio::test]
async fn proxies_hear_whether_a_token_is_renewed() {
    let case = Case::new().await;
    let published = async || published(&case.gateway, &case.id).await;
    let first = published().await;
    assert_eq!((first.auth_type.as_str(), first.refreshes, &first.secret), ("oauth", true, &case.token().await));
    case.wait();
    case.refresher().refresh_due().await;
    let second = published().await;
    assert!(second.refreshes && second.secret == case.token().await && second.secret != first.secret);
    case.server.inner.lock().refuse_with = Some((400, json!({ "error": "invalid_grant" })));
    case.wait();
    case.refresher().refresh_due().await;
    let last = published().await;
    assert_eq!((last.refreshes, last.secret), (false, second.secret));
    let by_hand = case.gateway.call(Method::PATCH, &format!("/api/providers/{}", case.id));
    by_hand.json(json!({ "apiKey": "sk-by-hand" })).send().await.ok(200);
    assert_eq!(published().await.auth_type, "apikey");
}

/// The connection as proxies are sent it.
async fn published(gateway: &Gateway, id: &str) -> v1::Connection {
    let resources = crate::publish::resources(&gateway.on.store, crate::run::KINDS).await.expect("resources");
    let found = resources.into_iter().find(|resource| resource.id == id).and_then(|resource| resource.body);
    let Some(Body::Connection(connection)) = found else { panic!("no connection") };
    connection
}
