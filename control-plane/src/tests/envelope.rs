use http::{Method, header};
use serde_json::json;

use super::gateway::{Gateway, PASSWORD};

#[tokio::test]
async fn bodies_that_are_no_json_objects_get_their_own_errors() {
    let gateway = Gateway::with(&[("INITIAL_PASSWORD", PASSWORD), ("REST_MAX_BODY", "4KiB")]).await;
    let post = |content_type: &'static str, body: String| {
        gateway.call(Method::POST, "/api/keys").raw(content_type, body).send()
    };
    for body in ["{", "", "nonsense", "[1,2]", "\"text\"", "null", "{\"name\":\"\u{1}\"}"] {
        assert_eq!(post("application/json", body.to_owned()).await.fields(), ["body"], "{body}");
    }
    let nested = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    assert_eq!(post("application/json", format!("{{\"name\":{nested}}}")).await.fields(), ["body"]);
    assert_eq!(post("text/plain", "{}".into()).await.code(415), "VALID_005");
    let without = gateway.call(Method::POST, "/api/keys").send().await;
    assert_eq!(without.code(415), "VALID_005");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(5000));
    assert_eq!(post("application/json", large).await.code(413), "VALID_004");
    post("application/vnd.api+json; charset=utf-8", json!({ "name": "x" }).to_string()).await.ok(201);
}

#[tokio::test]
async fn every_answer_carries_an_id_and_a_usable_one_of_the_caller_is_kept() {
    let gateway = Gateway::new().await;
    for path in ["/healthz", "/api/keys", "/api/nothing", "/dashboard", "/api/docs/"] {
        let answer = gateway.get(path).await;
        assert!(answer.headers.contains_key("x-request-id"), "{path}");
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
    }
    let with = |id: &'static str| gateway.call(Method::GET, "/api/nothing").header("x-request-id", id).send();
    let kept = with("abc-1.2_3").await;
    assert_eq!(kept.headers["x-request-id"], "abc-1.2_3");
    assert_eq!(kept.code(404), "RESOURCE_001");
    for id in ["with space", "<script>", ""] {
        assert_ne!(with(id).await.headers["x-request-id"], id);
    }
}

#[tokio::test]
async fn answers_are_not_cached_and_errors_are_json_outside_the_api_too() {
    let gateway = Gateway::new().await;
    let keys = gateway.get("/api/keys").await;
    assert_eq!(keys.headers[header::CACHE_CONTROL], "no-store");
    let elsewhere = gateway.call(Method::GET, "/favicon.ico").anonymous().send().await;
    assert_eq!(elsewhere.code(404), "RESOURCE_001");
    let unauthenticated = gateway.call(Method::GET, "/api/keys").anonymous().send().await;
    assert_eq!(unauthenticated.headers[header::WWW_AUTHENTICATE], "Bearer");
    let method = gateway.call(Method::DELETE, "/api/keys").send().await;
    assert_eq!(method.code(405), "RESOURCE_004");
    assert!(method.headers[header::ALLOW].to_str().expect("a text").contains("POST"));
}

#[tokio::test]
async fn paths_that_decode_to_nothing_sensible_are_404() {
    let gateway = Gateway::new().await;
    assert_eq!(gateway.get("/api/keys/%ff%fe").await.code(404), "RESOURCE_001");
    assert_eq!(gateway.get("/api/keys/..%2f..%2fetc").await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn a_panic_is_an_answer_and_says_nothing_of_its_cause() {
    let gateway = Gateway::new().await;
    let panics = || async {
        if true {
            panic!("secret-of-the-implementation");
        }
    };
    let router = axum::Router::new().route("/panics", axum::routing::get(panics));
    let answer = gateway.through(router).call(Method::GET, "/panics").send().await;
    assert_eq!(answer.code(500), "INTERNAL_001");
    assert!(!answer.text.contains("secret"), "{}", answer.text);
}

#[tokio::test]
async fn a_route_that_nobody_thought_of_is_for_managers() {
    let gateway = Gateway::new().await;
    let router = axum::Router::new().route("/new", axum::routing::get(|| async { "hello" }));
    let gateway = gateway.through(router);
    assert_eq!(gateway.call(Method::GET, "/new").anonymous().send().await.code(401), "AUTH_001");
    assert_eq!(gateway.call(Method::GET, "/new").send().await.text, "hello");
}
