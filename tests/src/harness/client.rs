//! A client of `/v1` that looks at everything it gets.

use std::sync::Arc;

use futures_util::StreamExt as _;
use reqwest::header::{self, HeaderMap};
use serde_json::{Value, json};

/// Holds an API key of the gateway.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Where the proxy is, without `/v1`.
    base: String,
    key: String,
}

/// What came back, to its last byte.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// Talks to this machine only: no proxies, no TLS roots.
pub(super) fn http() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    builder.redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}

// === impl Client ===

impl Client {
    pub fn new(base: impl Into<String>, key: impl Into<String>) -> Self {
        Self { http: http(), base: base.into(), key: key.into() }
    }

    /// The same client with another key.
    pub fn with_key(&self, key: impl Into<String>) -> Self {
        Self { key: key.into(), ..self.clone() }
    }

    /// The same client at another proxy.
    pub fn at(&self, base: impl Into<String>) -> Self {
        Self { base: base.into(), ..self.clone() }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// A chat request for `model` that says `text`.
    pub fn chat_body(model: &str, text: &str, stream: bool) -> Value {
        let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": text }] });
        if stream {
            body["stream"] = json!(true);
        }
        body
    }

    pub async fn chat(&self, model: &str, text: &str) -> Answer {
        self.post("/v1/chat/completions", &Self::chat_body(model, text, false)).await
    }

    pub async fn stream(&self, model: &str, text: &str) -> Answer {
        self.post("/v1/chat/completions", &Self::chat_body(model, text, true)).await
    }

    /// # Panics
    /// When the connection breaks before the last byte.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_post(path, body).await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    /// # Errors
    /// When the connection breaks before the last byte.
    pub async fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<Answer> {
        Answer::of(self.request(path, body).send().await?).await
    }

    /// A request with the headers of another dialect, the key among them.
    ///
    /// # Panics
    /// When the connection breaks before the last byte.
    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut request = self.http.post(format!("{}{path}", self.base)).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        Answer::of(response).await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    /// # Panics
    /// When the connection breaks before the last byte.
    pub async fn get(&self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.base)).header(header::AUTHORIZATION, self.bearer());
        let response = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        Answer::of(response).await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    /// Starts a request and gives its answer once the head is there.
    ///
    /// # Panics
    /// When no head comes.
    pub async fn open(&self, path: &str, body: &Value) -> reqwest::Response {
        self.request(path, body).send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    fn request(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).header(header::AUTHORIZATION, self.bearer()).json(body)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.key)
    }
}

// === impl Answer ===

impl Answer {
    async fn of(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece?);
        }
        Ok(Self { status, headers, body: String::from_utf8(body).expect("UTF-8") })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// # Panics
    /// When there is none.
    pub fn request_id(&self) -> &str {
        self.header("x-request-id").unwrap_or_else(|| panic!("no x-request-id: {self:?}"))
    }

    /// # Panics
    /// When the body is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// # Panics
    /// When the status is not 200.
    pub fn ok(&self) -> &Self {
        assert_eq!(self.status, 200, "{}", self.body);
        self
    }

    /// The gateway's own code of an error in OpenAI's shape.
    pub fn error_code(&self) -> String {
        let error = &self.json()["error"];
        let code = error["omniroute"]["code"].as_str().or_else(|| error["code"].as_str());
        code.unwrap_or_default().to_owned()
    }

    /// The events of a stream, `[DONE]` left out.
    pub fn events(&self) -> Vec<Value> {
        let lines = self.body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        lines.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
    }

    /// Whether a stream came to its own end.
    pub fn is_done(&self) -> bool {
        self.body.trim_end().ends_with("data: [DONE]")
    }

    /// The text of a chat answer, streamed or not.
    pub fn text(&self) -> String {
        if !self.body.trim_start().starts_with("data:") {
            return self.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned();
        }
        let events = self.events();
        events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
    }
}
