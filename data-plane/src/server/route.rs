//! Which model call a path stands for, and in which dialect.

use std::{borrow::Cow, time::Instant};

use http::{Method, Request};
use omniroute_core::error::GatewayError;
use omniroute_providers::Operation;
use omniroute_wire::{
    gemini::{Action, Framing, parse_path},
    ollama::{Shape, Timing},
    translate::Dialect,
};
use percent_encoding::percent_decode_str;

/// A model call.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) operation: Operation,
    pub(super) dialect: Dialect,
    /// Of `/v1/providers/{provider}/…`: the only provider that may answer.
    provider: Option<String>,
}

// === impl Route ===

impl Route {
    /// `None`: not a model call.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        if request.method() != Method::POST {
            return None;
        }
        let path = request.uri().path();
        let route = |operation, dialect| Some(Self { operation, dialect, provider: None });
        match path {
            "/v1/chat/completions" => route(Operation::Chat, Dialect::Chat),
            "/v1/embeddings" => route(Operation::Embeddings, Dialect::Chat),
            "/v1/messages" => route(Operation::Chat, Dialect::Messages),
            "/v1/responses" => route(Operation::Chat, Dialect::Responses),
            "/v1/completions" => route(Operation::Chat, Dialect::Completions),
            "/api/chat" | "/v1/api/chat" => route(Operation::Chat, ollama(Shape::Chat)),
            "/api/generate" | "/v1/api/generate" => route(Operation::Chat, ollama(Shape::Generate)),
            _ if path.starts_with("/v1beta/") || path.starts_with("/v1/models/") => gemini(request),
            _ => of_provider(path.strip_prefix("/v1/providers/")?),
        }
    }

    /// The model, under the prefix of the path's provider where there is one.
    ///
    /// # Errors
    /// When the model names another provider.
    pub(super) fn model<'m>(&self, named: &'m str) -> Result<Cow<'m, str>, GatewayError> {
        let Some(provider) = &self.provider else {
            return Ok(Cow::Borrowed(named));
        };
        match named.split_once('/') {
            Some((prefix, _)) if prefix == provider => Ok(Cow::Borrowed(named)),
            _ => Ok(Cow::Owned(format!("{provider}/{named}"))),
        }
    }
}

fn ollama(shape: Shape) -> Dialect {
    let timing = Timing::default();
    timing.received(Instant::now());
    Dialect::Ollama { shape, timing }
}

fn gemini<B>(request: &Request<B>) -> Option<Route> {
    let path = percent_decode_str(request.uri().path()).decode_utf8().ok()?;
    let (model, action) = parse_path(path.strip_prefix("/v1beta/").or_else(|| path.strip_prefix("/v1/"))?)?;
    let stream = match action {
        Action::GenerateContent => false,
        Action::StreamGenerateContent => true,
        _ => return None,
    };
    let asks_events = |query: &str| query.split('&').any(|pair| pair.eq_ignore_ascii_case("alt=sse"));
    let framing = if request.uri().query().is_some_and(asks_events) { Framing::Sse } else { Framing::JsonArray };
    let dialect = Dialect::Gemini { model: model.to_owned(), stream, framing };
    Some(Route { operation: Operation::Chat, dialect, provider: None })
}

fn of_provider(rest: &str) -> Option<Route> {
    let (provider, call) = rest.split_once('/')?;
    let operation = match call {
        "chat/completions" => Operation::Chat,
        "embeddings" => Operation::Embeddings,
        _ => return None,
    };
    let provider = percent_decode_str(provider).decode_utf8().ok().filter(|provider| !provider.is_empty())?;
    Some(Route { operation, dialect: Dialect::Chat, provider: Some(provider.into_owned()) })
}

/// The dialect in which somebody who calls this path is told of an error.
pub(super) fn dialect_of_path(path: &str) -> Dialect {
    if path.starts_with("/v1/messages") {
        Dialect::Messages
    } else if path.starts_with("/v1beta") || (path.starts_with("/v1/models/") && path.contains(':')) {
        Dialect::Gemini { model: String::new(), stream: false, framing: Framing::Sse }
    } else if matches!(path, "/api/chat" | "/api/generate" | "/api/tags" | "/api/show" | "/api/version" | "/api/ps")
        || path.starts_with("/v1/api/")
    {
        Dialect::Ollama { shape: Shape::Chat, timing: Timing::default() }
    } else {
        Dialect::Chat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Option<Route> {
        Route::of(&Request::post(path).body(()).expect("a request"))
    }

    #[test]
    fn every_dialect_has_its_paths() {
        for (path, expected) in [
            ("/v1/chat/completions", "openai"),
            ("/v1/providers/mock/chat/completions", "openai"),
            ("/v1/completions", "openai"),
            ("/v1/responses", "responses"),
            ("/v1/messages?beta=true", "anthropic"),
            ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini"),
            ("/v1beta/models/mock/gpt-mock:streamGenerateContent?alt=sse", "gemini"),
            ("/v1beta/mock/gpt-mock:generateContent", "gemini"),
            ("/v1/models/mock/gpt-mock:generateContent", "gemini"),
            ("/api/chat", "ollama"),
            ("/v1/api/chat", "ollama"),
            ("/api/generate", "ollama"),
        ] {
            let route = route(path).expect(path);
            assert_eq!(route.dialect.format().as_str(), expected, "{path}");
        }
        for path in ["/v1/models", "/api/keys", "/v1/messages/count_tokens", "/v1beta/models/x:countTokens", "/v1/x"] {
            assert!(route(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_gemini_path_holds_the_model_and_the_wish_to_stream() {
        let route = route("/v1beta/models/mock%2Fgpt-mock:streamGenerateContent").expect("a route");
        let Dialect::Gemini { model, stream, framing } = route.dialect else { panic!("another dialect") };
        assert_eq!((model.as_str(), stream, framing), ("mock/gpt-mock", true, Framing::JsonArray));
    }

    #[test]
    fn a_providers_path_adds_its_prefix_once() {
        let route = route("/v1/providers/mock/chat/completions").expect("a route");
        assert_eq!(route.model("gpt-mock").expect("a model"), "mock/gpt-mock");
        assert_eq!(route.model("mock/gpt-mock").expect("a model"), "mock/gpt-mock");
        assert_eq!(route.model("vendor/gpt-mock").expect("a model"), "mock/vendor/gpt-mock");
    }
}
