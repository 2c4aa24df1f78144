//! The smallest question that a model can be asked, in its upstream's format: it tells whether a credential works where no
//! list of models does.

use http::HeaderValue;
use omniroute_core::error::GatewayError;
use omniroute_wire::{
    codec::{DecodeContext, EncodeTarget, Sealer},
    ir::{Losses, Signature},
    translate::{Dialect, encode_request, name_table},
};

use crate::{ChatApiSelector, CompileError, Upstream};

/// OpenAI's Responses take no smaller limit.
const MAX_TOKENS: u64 = 16;

/// Why a question cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    #[error("the provider does not chat")]
    DoesNotChat,
    #[error("{}", .0.message)]
    Wire(GatewayError),
    #[error(transparent)]
    Path(#[from] CompileError),
}

/// No question of ours has a signature.
struct NoSealer;

impl Sealer for NoSealer {
    fn seal(&self, _: &Signature<'_>, _: &str) -> String {
        String::new()
    }

    fn open(&self, _: &str) -> Option<Signature<'static>> {
        None
    }
}

/// The request that asks `model` to answer "ping" in a few tokens, with the connection's headers but unsigned.
///
/// # Errors
/// When the upstream does not chat, or the model's name cannot be used with it.
pub fn ping(upstream: &Upstream, model: &str) -> Result<http::Request<Vec<u8>>, PingError> {
    let selector = ChatApiSelector::plain(Dialect::Chat.format());
    let format = upstream.chat_format_for(model, &selector).ok_or(PingError::DoesNotChat)?;
    let question = serde_json::json!({
        "model": model,
        "messages": [{ "role": "user", "content": "ping" }],
        "max_tokens": MAX_TOKENS,
        "stream": false,
    })
    .to_string();
    let wire = |error: omniroute_wire::codec::WireError| PingError::Wire(error.into());
    let asked = Dialect::Chat
        .decode_request(question.as_bytes(), &DecodeContext { sealer: &NoSealer, answer: "" })
        .map_err(wire)?;
    let names = name_table(format, &asked);
    let profile = upstream.profile(format, model);
    let target = EncodeTarget { model, profile: &profile, names: &names, stream: false };
    let encoded = encode_request(format, &asked, &target, &mut Losses::default()).map_err(wire)?;
    let envelope = upstream.envelope(format, model);
    let body = match envelope.as_ref().and_then(|envelope| envelope.apply(&encoded.body)) {
        Some(changed) => changed,
        None => encoded.body,
    };
    let mut request = http::Request::new(upstream.in_its_words(format, body.into()).into());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = upstream.chat_uri(format, model, false)?;
    *request.headers_mut() = upstream.headers().clone();
    for (name, value) in encoded.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            request.headers_mut().insert(name, value);
        }
    }
    for (name, value) in envelope.iter().flat_map(|envelope| envelope.headers()) {
        request.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    request.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(request)
}

#[cfg(test)]
mod tests {
    use omniroute_core::address::AddressPolicy;
    use serde_json::{Value, json};

    use super::*;
    use crate::{ConnectionSpec, NodeSpec, upstream::tests::spec};

    #[test]
    fn every_format_is_asked_in_its_own_words() {
        let node = NodeSpec {
            kind: "openai-compatible",
            api_type: "responses",
            base_url: "https://n.example/v1",
            chat_path: "",
            models_path: "",
        };
        let cases = [
            (
                ConnectionSpec { provider: "openai", ..spec() },
                "/v1/chat/completions",
                "/messages/0/content",
                json!("ping"),
            ),
            (
                ConnectionSpec { provider: "n", node: Some(node), ..spec() },
                "/v1/responses",
                "/max_output_tokens",
                json!(16),
            ),
            (ConnectionSpec { provider: "anthropic", ..spec() }, "/v1/messages", "/max_tokens", json!(16)),
            (
                ConnectionSpec { provider: "gemini", ..spec() },
                "/v1beta/models/m:generateContent",
                "/contents/0/parts/0/text",
                json!("ping"),
            ),
            (
                ConnectionSpec { provider: "ollama", base_url: "http://127.0.0.1:1", ..spec() },
                "/api/chat",
                "/options/num_predict",
                json!(16),
            ),
            (ConnectionSpec { provider: "cohere", ..spec() }, "/v2/chat", "/model", json!("m")),
            (
                ConnectionSpec { provider: "bedrock", ..spec() },
                "/model/m/converse",
                "/inferenceConfig/maxTokens",
                json!(16),
            ),
        ];
        for (spec, path, field, value) in cases {
            let upstream = Upstream::compile(&spec, AddressPolicy::AllowPrivate).expect(spec.provider);
            let request = ping(&upstream, "m").expect(spec.provider);
            assert_eq!(request.uri().path(), path);
            let body: Value = serde_json::from_slice(request.body()).expect("JSON");
            assert_eq!(body.pointer(field), Some(&value), "{}: {body}", spec.provider);
        }
        let openai = Upstream::compile(&spec(), AddressPolicy::PublicOnly).expect("compiled");
        let request = ping(&openai, "gpt-5.2-pro").expect("a question");
        assert_eq!(request.uri().path(), "/v1/responses", "the API that alone has the model");
    }
}
