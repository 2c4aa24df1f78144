//! Clouds that are strict about what the vendors' own SDKs and the gateway have to agree on: the path, the version, where the
//! credential stands, what a body must and must not have.
//!
//! An accepted request is kept under the name of who sent it; [`Clouds::accepted`] shows the paths of both side by side.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The key of the Azure resource.
pub const AZURE_KEY: &str = "azure-key-0123456789abcdef";
/// The token of Google's account.
pub const GOOGLE_TOKEN: &str = "ya29.token-of-the-account";

/// The servers, at one address; they stop when this is dropped.
#[derive(Debug)]
pub struct Clouds {
    address: SocketAddr,
    accepted: Accepted,
    task: JoinHandle<()>,
}

type Accepted = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

// === impl Clouds ===

impl Clouds {
    /// # Errors
    /// When there is no port.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepted = Accepted::default();
        let shared = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let accepted = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, Arc::clone(&accepted)));
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    // A client that hangs up is no matter of the server's.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, accepted, task })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was accepted, by who sent it (`gateway` or `sdk`): paths in their order.
    pub fn accepted(&self) -> BTreeMap<String, Vec<String>> {
        self.accepted.lock().clone()
    }
}

impl Drop for Clouds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(request: Request<Incoming>, accepted: Accepted) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text =
        |name: header::HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = head.headers.get("api-key").and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).strip_prefix("Bearer ").filter(|token| !token.is_empty());
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let asked = Asked { method: &head.method, path: &path, key, bearer, body: &body };
    let (status, said) = asked.judge();
    if status == 200 && path != "/token" {
        let sender = if text(header::USER_AGENT).starts_with("omniroute/") { "gateway" } else { "sdk" };
        // Google has the same call in several versions of its API.
        let call = path.replace("/v1beta1/projects/", "/v1/projects/");
        accepted.lock().entry(sender.to_owned()).or_default().push(call);
    }
    let mut response = Response::new(Full::new(Bytes::from(said.to_string())));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

struct Asked<'a> {
    method: &'a Method,
    path: &'a str,
    key: Option<&'a str>,
    bearer: Option<&'a str>,
    body: &'a Bytes,
}

// === impl Asked ===

impl Asked<'_> {
    fn judge(&self) -> (u16, Value) {
        if self.path == "/token" {
            let is_refresh = self.body.windows(24).any(|part| part == b"grant_type=refresh_token");
            return match is_refresh {
                true => (200, json!({ "access_token": GOOGLE_TOKEN, "expires_in": 3600, "token_type": "Bearer" })),
                false => (400, json!({ "error": "unsupported_grant_type" })),
            };
        }
        if *self.method != Method::POST {
            return (404, json!({ "error": { "code": "404", "message": "Resource not found" } }));
        }
        let body: Value = serde_json::from_slice(self.body).unwrap_or_default();
        match self.path {
            path if path.starts_with("/openai/") => self.azure(&body),
            "/anthropic/v1/messages" => self.foundry(&body),
            path if path.contains("/projects/project-1/locations/europe-west4/") => self.vertex(&body),
            _ => (404, json!({ "error": { "code": 404, "message": "no such path", "status": "NOT_FOUND" } })),
        }
    }

    fn azure(&self, body: &Value) -> (u16, Value) {
        if self.key != Some(AZURE_KEY) || self.bearer.is_some() {
            let message = "Access denied due to invalid subscription key or wrong API endpoint.";
            return (401, json!({ "error": { "code": "401", "message": message } }));
        }
        let is_dated = self.path == "/openai/deployments/prod/chat/completions?api-version=2024-10-21";
        let is_newer = self.path == "/openai/v1/chat/completions" && body["model"] == "prod";
        if !(is_dated || is_newer) || !body["messages"].is_array() {
            let message = "The API deployment for this resource does not exist.";
            return (404, json!({ "error": { "code": "DeploymentNotFound", "message": message } }));
        }
        (200, completion())
    }

    fn foundry(&self, body: &Value) -> (u16, Value) {
        let is_known = self.key == Some(AZURE_KEY) && self.bearer.is_none();
        match is_known && body["model"] == "claude-opus-4-6" && body["max_tokens"].is_u64() {
            true => (200, message()),
            false => (400, anthropics("invalid_request_error", "the request is none of this API's")),
        }
    }

    fn vertex(&self, body: &Value) -> (u16, Value) {
        if self.bearer != Some(GOOGLE_TOKEN) {
            let message = "Request had invalid authentication credentials.";
            return (401, json!({ "error": { "code": 401, "message": message, "status": "UNAUTHENTICATED" } }));
        }
        if self.path.ends_with("/publishers/google/models/gemini-2.5-pro:generateContent") {
            return match body.get("model").is_none() && body["contents"].is_array() {
                true => (200, generated()),
                false => (
                    400,
                    json!({ "error": { "code": 400, "message": "Invalid JSON payload", "status": "INVALID_ARGUMENT" } }),
                ),
            };
        }
        if self.path.ends_with("/publishers/anthropic/models/claude-opus-4-6:rawPredict") {
            // The SDK names the API's version since its second edition, the documentation that of the platform.
            let has_version =
                ["vertex-2023-10-16", "2026-10-21"].iter().any(|known| body["anthropic_version"] == *known);
            return match body.get("model").is_none() && has_version {
                true => (200, message()),
                false => (400, anthropics("invalid_request_error", "model: Extra inputs are not permitted")),
            };
        }
        (404, json!({ "error": { "code": 404, "message": "Publisher Model was not found", "status": "NOT_FOUND" } }))
    }
}

fn anthropics(kind: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}

fn completion() -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hello!" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18 },
    })
}

fn message() -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-6",
        "content": [{ "type": "text", "text": "Hello!" }], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": { "input_tokens": 11, "output_tokens": 7 },
    })
}

fn generated() -> Value {
    json!({
        "candidates": [{ "content": { "role": "model", "parts": [{ "text": "Hello!" }] }, "finishReason": "STOP" }],
        "usageMetadata": { "promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18 },
    })
}
