//! A provider to ask: lists two models to whoever brings the right key.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const KEY: &str = "sk-vendor-0123456789abcdef";

/// A running provider.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let router = Router::new()
            .route("/v1/models", get(models))
            .route("/v1/chat/completions", post(chat))
            .route("/html/models", get(|| async { "<html>not an API</html>" }))
            .route("/moved/models", get(|| async { axum::response::Redirect::temporary("/v1/models") }))
            .route(
                "/broken/models",
                get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "key sk-vendor-0123456789abcdef") }),
            )
            .route("/chat-only/chat/completions", post(chat))
            .with_state(Arc::clone(&asked));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// How often somebody asked, with or without the right key.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn refuse(headers: &HeaderMap) -> Option<Response> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given == Some(&format!("Bearer {KEY}")) {
        return None;
    }
    let body = json!({ "error": { "message": format!("Incorrect API key provided: {}", given.unwrap_or("none")) } });
    Some((StatusCode::UNAUTHORIZED, Json(body)).into_response())
}

async fn models(State(asked): State<Arc<AtomicUsize>>, headers: HeaderMap) -> Response {
    asked.fetch_add(1, Ordering::SeqCst);
    let models = json!({ "object": "list", "data": [
        { "id": "gpt-4o-mini", "object": "model", "created": 1_700_000_000, "owned_by": "mock" },
        { "id": "text-embedding-3-small", "object": "model", "created": 1_700_000_001, "owned_by": "mock" },
    ]});
    refuse(&headers).unwrap_or_else(|| Json(models).into_response())
}

async fn chat(State(asked): State<Arc<AtomicUsize>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    asked.fetch_add(1, Ordering::SeqCst);
    let answer = json!({ "id": "1", "object": "chat.completion", "model": body["model"], "choices": [] });
    refuse(&headers).unwrap_or_else(|| Json(answer).into_response())
}
