//! The management API, as a script uses it.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::client::http;

/// A manager's session at one control plane, or at a proxy that forwards to it.
#[derive(Clone, Debug)]
pub struct Rest {
    http: reqwest::Client,
    base: String,
    cookie: Option<String>,
}

// === impl Rest ===

impl Rest {
    /// Nobody in particular.
    pub fn anonymous(base: impl Into<String>) -> Self {
        Self { http: http(), base: base.into(), cookie: None }
    }

    /// Logs in.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn login(base: impl Into<String>, password: &str) -> Self {
        let mut rest = Self::anonymous(base);
        let answer = rest.send(Method::POST, "/api/auth/login", Some(&json!({ "password": password }))).await;
        assert_eq!(answer.status(), 200, "login at {}", rest.base);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().expect("text");
        rest.cookie = Some(cookie.split(';').next().unwrap_or_default().to_owned());
        rest
    }

    pub async fn get(&self, path: &str) -> Value {
        self.ok(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.ok(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Value {
        self.ok(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Value {
        self.ok(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Value {
        self.ok(Method::DELETE, path, None).await
    }

    /// The status and the text of an answer that may be an error.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, String) {
        let answer = self.send(method, path, body).await;
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("a body"))
    }

    /// The text of a page and its next cursor, for lists that have one.
    pub async fn page(&self, path: &str) -> (Value, Option<String>) {
        let answer = self.send(Method::GET, path, None).await;
        assert_eq!(answer.status(), 200, "GET {path}");
        let next =
            answer.headers().get("x-omniroute-next-cursor").map(|value| value.to_str().expect("text").to_owned());
        (answer.json().await.expect("JSON"), next)
    }

    async fn ok(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let (status, text) = self.call(method.clone(), path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error} in {text}"))
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::Response {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }
}
