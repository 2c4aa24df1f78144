//! The requests.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;
use serde_json::json;

use super::{conversation, dialect::Dialect};

/// So many bytes of a body tell its kind.
pub(super) const TELLING: usize = 48;

/// Prefix of the upstream behind TLS.
pub(super) const SECURE_PREFIX: &str = "bench-tls";

/// How the upstream answers. It goes by the name of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 1 KB of JSON.
    Chat,
    /// A stream at full speed.
    Stream,
    /// A stream that takes its time.
    Slow,
    /// The JSON, once two requests of this kind are there as a whole.
    Held,
}

/// What is asked, how long it is in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prompt {
    /// One message.
    Plain(usize),
    /// An agent's conversation, with tools.
    Conversation(usize),
}

/// What kind of request is sent, and which way it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) kind: Kind,
    pub(super) prompt: Prompt,
    /// What the client speaks.
    pub(super) client: Dialect,
    /// What the upstream speaks.
    pub(super) upstream: Dialect,
    /// The upstream is behind TLS, where it speaks HTTP/2.
    pub(super) secure: bool,
}

/// A request that is sent again and again.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) kind: Kind,
    pub(super) dialect: Dialect,
    headers: [(HeaderName, HeaderValue); 3],
    body: Bytes,
}

// === impl Kind ===

impl Kind {
    pub(super) const fn model(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Stream => "stream",
            Self::Slow => "slow",
            Self::Held => "held",
        }
    }

    /// The kind whose model is named at the start of a body.
    pub(super) fn of_body(start: &[u8]) -> Self {
        let start = &start[..start.len().min(TELLING)];
        let names = |kind: Self| start.windows(kind.model().len()).any(|window| window == kind.model().as_bytes());
        [Self::Stream, Self::Slow, Self::Held].into_iter().find(|kind| names(*kind)).unwrap_or(Self::Chat)
    }

    pub(super) const fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::Slow)
    }
}

// === impl Ask ===

impl Ask {
    /// A prompt of about `bytes` from a Chat client to a Chat upstream.
    pub(super) const fn chat(kind: Kind, bytes: usize) -> Self {
        Self { kind, prompt: Prompt::Plain(bytes), client: Dialect::Chat, upstream: Dialect::Chat, secure: false }
    }

    /// The same to the upstream behind TLS.
    pub(super) const fn securely(self) -> Self {
        Self { secure: true, ..self }
    }

    /// The same where nothing translates: the upstream is asked in its own words.
    pub(super) const fn untranslated(self) -> Self {
        Self { client: self.upstream, ..self }
    }

    fn prefix(&self) -> &'static str {
        if self.secure { SECURE_PREFIX } else { self.upstream.prefix() }
    }

    fn body(&self) -> String {
        // The model comes first, as SDKs send it, and so that the upstream need not look far.
        let model = format!("{{\"model\":\"{}/{}\",", self.prefix(), self.kind.model());
        let stream = self.kind.is_stream();
        let rest = match self.prompt {
            Prompt::Plain(bytes) => self.plain(bytes),
            Prompt::Conversation(bytes) => conversation::fields(self.client, bytes),
        };
        format!("{model}{rest},\"temperature\":0.7,\"stream\":{stream}}}")
    }

    fn plain(&self, bytes: usize) -> String {
        const SYSTEM: &str = "You are brief.";
        const SENTENCE: &str = "The quick brown fox jumps over the lazy dog, says \\\"hello\\\", and goes on its way. ";
        let content = SENTENCE.repeat(bytes.div_ceil(SENTENCE.len()));
        let content = &content[..bytes];
        let user = json!({"role": "user", "content": content});
        match self.client {
            Dialect::Chat => format!("\"messages\":{}", json!([{"role": "system", "content": SYSTEM}, user])),
            Dialect::Messages => {
                format!("\"max_tokens\":1024,\"system\":{},\"messages\":{}", json!(SYSTEM), json!([user]))
            }
            Dialect::Responses => {
                format!("\"instructions\":{},\"input\":{},\"store\":false", json!(SYSTEM), json!([user]))
            }
        }
    }
}

// === impl Question ===

impl Question {
    /// To whoever listens at `address`.
    pub(super) fn new(ask: &Ask, address: SocketAddr, key: &str) -> anyhow::Result<Self> {
        let credential = match ask.client {
            Dialect::Chat | Dialect::Responses => {
                (header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {key}"))?)
            }
            Dialect::Messages => (HeaderName::from_static("x-api-key"), HeaderValue::try_from(key)?),
        };
        let client = match ask.client {
            Dialect::Chat | Dialect::Responses => {
                (header::USER_AGENT, HeaderValue::from_static("OpenAI/Python 1.99.0"))
            }
            Dialect::Messages => (HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01")),
        };
        let host = (header::HOST, HeaderValue::try_from(address.to_string())?);
        Ok(Self { kind: ask.kind, dialect: ask.client, headers: [host, credential, client], body: ask.body().into() })
    }

    pub(super) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(self.dialect.path());
        let headers = request.headers_mut();
        headers.extend(self.headers.iter().cloned());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 4] = [Kind::Chat, Kind::Stream, Kind::Slow, Kind::Held];

    #[test]
    fn the_upstream_finds_the_kind_with_and_without_the_prefix() {
        for kind in KINDS {
            for (client, upstream) in [
                (Dialect::Chat, Dialect::Chat),
                (Dialect::Messages, Dialect::Messages),
                (Dialect::Responses, Dialect::Chat),
            ] {
                let body = Ask { client, upstream, ..Ask::chat(kind, 900) }.body();
                assert!((900..1150).contains(&body.len()), "{}", body.len());
                let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                assert_eq!(json["stream"], kind.is_stream());
                assert_eq!(Kind::of_body(body.as_bytes()), kind);
                let without = body.replace(&format!("{}/", upstream.prefix()), "");
                assert_eq!(Kind::of_body(without.as_bytes()), kind);
            }
        }
    }

    #[test]
    fn each_dialect_has_its_path_and_credential() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let ask = Ask { client: Dialect::Messages, ..Ask::chat(Kind::Chat, 900) };
        let request = Question::new(&ask, address, "k").expect("a question").request();
        assert_eq!(request.uri(), "/v1/messages");
        assert_eq!(request.headers()["x-api-key"], "k");
        assert!(!request.headers().contains_key(header::AUTHORIZATION));
        let request = Question::new(&ask.untranslated(), address, "k").expect("a question").request();
        assert_eq!(request.uri(), "/v1/chat/completions");
        assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer k");
    }
}
