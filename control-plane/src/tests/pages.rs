use std::collections::BTreeSet;

use http::{Method, StatusCode, header};
use serde_json::json;

use super::gateway::{Gateway, REMOTE};

async fn page(gateway: &Gateway, path: &str) -> super::gateway::Answer {
    gateway.call(Method::GET, path).anonymous().from(REMOTE).send().await
}

#[tokio::test]
async fn the_dashboard_needs_no_inline_code_and_nothing_from_elsewhere() {
    let gateway = Gateway::new().await;
    let index = page(&gateway, "/dashboard").await;
    assert_eq!(index.status, StatusCode::OK);
    assert_eq!(index.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = index.headers[header::CONTENT_SECURITY_POLICY].to_str().expect("a text");
    assert!(!policy.contains("unsafe"), "{policy}");
    for forbidden in ["<script>", "onclick", "style=", "http://", "https://", "<style"] {
        assert!(!index.text.contains(forbidden), "{forbidden}");
    }
    for (path, content_type) in [("app.js", "text/javascript"), ("style.css", "text/css")] {
        let file = page(&gateway, &format!("/dashboard/{path}")).await;
        assert_eq!(file.status, StatusCode::OK);
        assert!(file.headers[header::CONTENT_TYPE].to_str().expect("a text").starts_with(content_type));
        assert!(!file.text.contains("innerHTML"), "{path}");
    }
    assert_eq!(page(&gateway, "/dashboard/").await.status, StatusCode::OK);
    assert_eq!(page(&gateway, "/dashboard/no-such-file").await.code(404), "RESOURCE_001");
    let root = page(&gateway, "/").await;
    assert_eq!(root.headers[header::LOCATION], "/dashboard");
}

#[tokio::test]
async fn whatever_the_dashboards_script_asks_for_is_there() {
    let gateway = Gateway::new().await;
    let index = page(&gateway, "/dashboard").await.text;
    let script: String = page(&gateway, "/dashboard/app.js").await.text.split_whitespace().collect();
    let named = |calls: &[&str]| -> BTreeSet<String> {
        let of = |call: &&str| script.split(&format!("{call}('")).skip(1).map(str::to_owned).collect::<Vec<_>>();
        calls.iter().flat_map(of).filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned())).collect()
    };
    let ids = named(&["$", "fill", "define"]);
    assert!(ids.len() > 10, "{ids:?}");
    for id in ids {
        assert!(index.contains(&format!("id=\"{id}\"")), "no element `{id}`");
    }
    let paths = named(&["rest", "post"]);
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        let answer = gateway.get(&path).await;
        assert_ne!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_api_page_comes_from_the_program_itself() {
    let gateway = Gateway::new().await;
    assert_eq!(page(&gateway, "/api/docs").await.headers[header::LOCATION], "/api/docs/");
    let index = page(&gateway, "/api/docs/").await;
    assert_eq!(index.status, StatusCode::OK);
    assert!(index.text.contains("swagger-ui"));
    let start = page(&gateway, "/api/docs/swagger-initializer.js").await;
    assert!(start.text.contains("/api/openapi.json"), "{}", start.text);
    assert_eq!(page(&gateway, "/api/docs/swagger-ui.css").await.status, StatusCode::OK);
    assert_eq!(page(&gateway, "/api/docs/nothing.js").await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn probes_need_no_credential() {
    let gateway = Gateway::new().await;
    assert_eq!(page(&gateway, "/healthz").await.status, StatusCode::OK);
    assert_eq!(page(&gateway, "/readyz").await.status, StatusCode::OK);
    assert_eq!(page(&gateway, "/api/init").await.ok(200)["initialized"], true);
    let metrics = page(&gateway, "/metrics").await;
    assert!(metrics.headers[header::CONTENT_TYPE].to_str().expect("a text").starts_with("text/plain"));
    gateway.on.stopping.cancel();
    assert_eq!(page(&gateway, "/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page(&gateway, "/healthz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_its_database_it_is_alive_but_not_ready_and_says_so() {
    let gateway = Gateway::new().await;
    gateway.on.store.close().await;
    assert_eq!(page(&gateway, "/healthz").await.status, StatusCode::OK);
    assert_eq!(page(&gateway, "/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let init = page(&gateway, "/api/init").await;
    assert_eq!(init.code(503), "INTERNAL_002");
    assert!(init.headers.contains_key(header::RETRY_AFTER));
    let health = page(&gateway, "/api/monitoring/health").await.ok(200);
    assert_eq!((&health["status"], &health["setupComplete"]), (&json!("unhealthy"), &json!(true)));
    let health = gateway.get("/api/monitoring/health").await.ok(200);
    assert_eq!((&health["database"]["status"], &health["revision"]), (&json!("unhealthy"), &json!(null)));
    assert!(health["database"]["error"].is_string() && health["database"]["since"].is_string(), "{health}");
    assert_eq!(gateway.get("/api/keys").await.code(503), "INTERNAL_002");
}
