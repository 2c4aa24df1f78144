//! Which model call a path stands for, and in which dialect.

use std::{borrow::Cow, time::Instant};

use http::{Method, Request};
use omniroute_core::error::GatewayError;
use omniroute_providers::Operation;
use omniroute_wire::{
    embeddings::EmbedDialect,
    gemini::{Action, Framing, parse_path},
    ollama::{Shape, Timing},
    translate::Dialect,
};
use percent_encoding::percent_decode_str;

use crate::snapshot::Snapshot;

/// A model call.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) operation: Operation,
    pub(super) dialect: Dialect,
    /// How embeddings are asked for.
    pub(super) embed: EmbedDialect,
    /// A conversation is to be made shorter, not answered.
    pub(super) compacts: bool,
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
        let route = |operation, dialect| Some(Self::new(operation, dialect));
        match path {
            "/v1/chat/completions" => route(Operation::Chat, Dialect::Chat),
            "/v1/embeddings" => route(Operation::Embeddings, Dialect::Chat),
            "/v1/images/generations" => route(Operation::Images, Dialect::Chat),
            "/v1/messages" => route(Operation::Chat, Dialect::Messages),
            "/v1/responses" => route(Operation::Chat, Dialect::Responses),
            "/v1/responses/compact" => Some(Self { compacts: true, ..Self::new(Operation::Chat, Dialect::Responses) }),
            "/v1/completions" => route(Operation::Chat, Dialect::Completions),
            "/api/chat" | "/v1/api/chat" => route(Operation::Chat, ollama(Shape::Chat)),
            "/api/generate" | "/v1/api/generate" => route(Operation::Chat, ollama(Shape::Generate)),
            "/api/embed" | "/v1/api/embed" => Some(ollama_embed(false)),
            "/api/embeddings" | "/v1/api/embeddings" => Some(ollama_embed(true)),
            _ if path.starts_with("/v1beta/") || path.starts_with("/v1/models/") => gemini(request),
            _ => of_provider(path.strip_prefix("/v1/providers/")?),
        }
    }

    fn new(operation: Operation, dialect: Dialect) -> Self {
        Self { operation, dialect, embed: EmbedDialect::OpenAi, compacts: false, provider: None }
    }

    /// The model, under the prefix of the path's provider where there is one.
    ///
    /// # Errors
    /// When the model names another provider.
    pub(super) fn model<'m>(&self, named: &'m str, snapshot: &Snapshot) -> Result<Cow<'m, str>, GatewayError> {
        let Some(provider) = &self.provider else {
            return Ok(Cow::Borrowed(named));
        };
        let whole = || Ok(Cow::Owned(format!("{provider}/{named}")));
        let Some((prefix, _)) = named.split_once('/') else { return whole() };
        if prefix == provider {
            return Ok(Cow::Borrowed(named));
        }
        let (Some(wanted), Some(other)) = (snapshot.resolve_prefix(provider), snapshot.resolve_prefix(prefix)) else {
            return whole();
        };
        if wanted.id == other.id {
            return Ok(Cow::Borrowed(named));
        }
        // The models of some providers have the names of others in front.
        if snapshot.has_slashes(wanted.id.as_str()) {
            return whole();
        }
        Err(GatewayError::bad_request("model_mismatch", "the model is another provider's than the path")
            .with_param("model")
            .with_hint("leave out the prefix, or call the path of its own provider"))
    }
}

fn ollama(shape: Shape) -> Dialect {
    let timing = Timing::default();
    timing.received(Instant::now());
    Dialect::Ollama { shape, timing }
}

fn ollama_embed(one: bool) -> Route {
    let timing = Timing::default();
    timing.received(Instant::now());
    let dialect = Dialect::Ollama { shape: Shape::Chat, timing: timing.clone() };
    Route { embed: EmbedDialect::Ollama { one, timing }, ..Route::new(Operation::Embeddings, dialect) }
}

fn gemini<B>(request: &Request<B>) -> Option<Route> {
    let path = percent_decode_str(request.uri().path()).decode_utf8().ok()?;
    let (model, action) = parse_path(path.strip_prefix("/v1beta/").or_else(|| path.strip_prefix("/v1/"))?)?;
    let (operation, stream) = match action {
        Action::GenerateContent => (Operation::Chat, false),
        Action::StreamGenerateContent => (Operation::Chat, true),
        Action::EmbedContent | Action::BatchEmbedContents => (Operation::Embeddings, false),
        Action::CountTokens => return None,
    };
    let asks_events = |query: &str| query.split('&').any(|pair| pair.eq_ignore_ascii_case("alt=sse"));
    let framing = if request.uri().query().is_some_and(asks_events) { Framing::Sse } else { Framing::JsonArray };
    let dialect = Dialect::Gemini { model: model.to_owned(), stream, framing };
    let embed = match operation {
        Operation::Embeddings => EmbedDialect::Gemini { batch: action == Action::BatchEmbedContents },
        _ => EmbedDialect::OpenAi,
    };
    Some(Route { embed, ..Route::new(operation, dialect) })
}

fn of_provider(rest: &str) -> Option<Route> {
    let (provider, call) = rest.split_once('/')?;
    let operation = match call {
        "chat/completions" => Operation::Chat,
        "embeddings" => Operation::Embeddings,
        "images/generations" => Operation::Images,
        _ => return None,
    };
    let provider = percent_decode_str(provider).decode_utf8().ok().filter(|provider| !provider.is_empty())?;
    Some(Route { provider: Some(provider.into_owned()), ..Route::new(operation, Dialect::Chat) })
}

/// The dialect in which somebody who calls this path is told of an error.
pub(super) fn dialect_of_path(path: &str) -> Dialect {
    if path.starts_with("/v1/messages") {
        Dialect::Messages
    } else if path.starts_with("/v1beta") || (path.starts_with("/v1/models/") && path.contains(':')) {
        Dialect::Gemini { model: String::new(), stream: false, framing: Framing::Sse }
    } else if is_ollamas(path) || path.starts_with("/v1/api/") {
        Dialect::Ollama { shape: Shape::Chat, timing: Timing::default() }
    } else {
        Dialect::Chat
    }
}

/// Under `/api`: what Ollama's client makes, fetches and deletes models with, of which a gateway has none. Besides, it uploads
/// `blobs/{digest}`.
pub(super) const MODEL_MANAGEMENT: [&str; 5] = ["pull", "push", "create", "copy", "delete"];

/// Whether this path under `/api` is Ollama's: the rest of that tree is the control plane's.
pub(super) fn is_ollamas(path: &str) -> bool {
    let names = ["chat", "generate", "tags", "show", "version", "ps", "embed", "embeddings"];
    let is_own = |name: &str| names.contains(&name) || MODEL_MANAGEMENT.contains(&name) || name.starts_with("blobs/");
    path.strip_prefix("/api/").is_some_and(is_own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::snapshot_with;

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
            ("/v1/responses/compact", "responses"),
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
        for path in [
            "/v1/models",
            "/api/keys",
            "/v1/messages/count_tokens",
            "/v1/responses/input_tokens",
            "/v1beta/models/x:countTokens",
            "/v1/x",
        ] {
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
    fn embeddings_and_images_have_paths_of_their_own() {
        for (path, operation) in [
            ("/v1/embeddings", Operation::Embeddings),
            ("/v1/providers/mock/embeddings", Operation::Embeddings),
            ("/v1beta/models/e:embedContent", Operation::Embeddings),
            ("/v1beta/models/mock/e:batchEmbedContents", Operation::Embeddings),
            ("/api/embed", Operation::Embeddings),
            ("/v1/api/embeddings", Operation::Embeddings),
            ("/v1/images/generations", Operation::Images),
            ("/v1/providers/mock/images/generations", Operation::Images),
        ] {
            assert_eq!(route(path).expect(path).operation, operation, "{path}");
        }
        let batch = route("/v1beta/models/e:batchEmbedContents").expect("a route").embed;
        assert!(matches!(batch, EmbedDialect::Gemini { batch: true }));
    }

    #[test]
    fn a_providers_path_adds_its_prefix_once_and_refuses_another_ones() {
        let snapshot = snapshot_with(|resources| {
            resources.node("mock", "http://127.0.0.1:9/v1");
            resources.node("other", "http://127.0.0.1:9/v1");
            resources.node("many", "http://127.0.0.1:9/v1");
            resources.model("many", "openai/gpt-4o", "chat");
        });
        let model = |path: &str, named: &str| {
            let route = route(path).expect("a route");
            route.model(named, &snapshot).map(Cow::into_owned).map_err(|error| error.code)
        };
        for (provider, named, expected) in [
            ("mock", "gpt-mock", Ok("mock/gpt-mock")),
            ("mock", "mock/gpt-mock", Ok("mock/gpt-mock")),
            ("mock", "vendor/gpt-mock", Ok("mock/vendor/gpt-mock")),
            ("mock", "other/gpt-mock", Err("model_mismatch")),
            ("mock", "openai/gpt-4o", Err("model_mismatch")),
            ("many", "openai/gpt-5", Ok("many/openai/gpt-5")),
            ("google", "gemini/gemini-2.5-pro", Ok("gemini/gemini-2.5-pro")),
            ("nobody", "openai/gpt-4o", Ok("nobody/openai/gpt-4o")),
        ] {
            let path = format!("/v1/providers/{provider}/chat/completions");
            assert_eq!(model(&path, named), expected.map(str::to_owned), "{path} {named}");
        }
    }
}
