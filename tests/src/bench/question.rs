//! The requests.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use serde_json::json;

/// The gateway's connection has this prefix; the upstream is asked without it.
pub(super) const PREFIX: &str = "bench";

/// How the upstream answers. It goes by the name of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 1 KB of JSON.
    Chat,
    /// A stream at full speed.
    Stream,
    /// A stream that takes its time.
    Slow,
}

/// A request that is sent again and again.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) kind: Kind,
    host: HeaderValue,
    authorization: HeaderValue,
    body: Bytes,
}

// === impl Kind ===

impl Kind {
    pub(super) fn model(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Stream => "stream",
            Self::Slow => "slow",
        }
    }

    /// The kind whose model is named at the start of a body.
    pub(super) fn of_body(start: &[u8]) -> Self {
        let start = &start[..start.len().min(48)];
        let names = |kind: Self| start.windows(kind.model().len()).any(|window| window == kind.model().as_bytes());
        if names(Self::Stream) {
            Self::Stream
        } else if names(Self::Slow) {
            Self::Slow
        } else {
            Self::Chat
        }
    }
}

// === impl Question ===

impl Question {
    /// A prompt of about `bytes` to whoever listens at `address`.
    pub(super) fn new(kind: Kind, bytes: usize, address: SocketAddr, key: &str) -> anyhow::Result<Self> {
        const SENTENCE: &str = "The quick brown fox jumps over the lazy dog, says \\\"hello\\\", and goes on its way. ";
        let content = SENTENCE.repeat(bytes.div_ceil(SENTENCE.len()));
        let content = &content[..bytes];
        let stream = kind != Kind::Chat;
        // The model comes first, as SDKs send it, and so that the upstream need not look far.
        let body = format!(
            "{{\"model\":\"{PREFIX}/{}\",\"messages\":{},\"temperature\":0.7,\"stream\":{stream}}}",
            kind.model(),
            json!([{"role": "system", "content": "You are brief."}, {"role": "user", "content": content}]),
        );
        Ok(Self {
            kind,
            host: HeaderValue::try_from(address.to_string())?,
            authorization: HeaderValue::try_from(format!("Bearer {key}"))?,
            body: body.into(),
        })
    }

    pub(super) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static("/v1/chat/completions");
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("OpenAI/Python 1.99.0"));
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_finds_the_kind_with_and_without_the_prefix() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        for kind in [Kind::Chat, Kind::Stream, Kind::Slow] {
            let question = Question::new(kind, 900, address, "k").expect("a question");
            assert!((900..1100).contains(&question.body.len()), "{}", question.body.len());
            assert!(serde_json::from_slice::<serde_json::Value>(&question.body).is_ok());
            assert_eq!(Kind::of_body(&question.body), kind);
            let without = String::from_utf8_lossy(&question.body).replace("bench/", "");
            assert_eq!(Kind::of_body(without.as_bytes()), kind);
        }
    }
}
