//! Embeddings: `/api/embed` on both sides, and the older `/api/embeddings` for clients.

use std::borrow::Cow;

use super::{Timing, decode_request::model_name};
use crate::{
    codec::WireError,
    ir::Json,
    object::{read, wire_object},
    text::{Str, TextOr},
    write::Writer,
};

/// What is to be embedded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedRequest<'a> {
    pub model: Cow<'a, str>,
    pub inputs: Vec<Cow<'a, str>>,
    pub truncate: Option<bool>,
    pub dimensions: Option<u64>,
    /// Fields that only Ollama knows (`options`, `keep_alive`…), as they came.
    pub extensions: Vec<(Cow<'a, str>, Json<'a>)>,
}

/// One vector per input, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    pub model: String,
    pub vectors: Vec<Vec<f32>>,
    pub prompt_tokens: Option<u64>,
}

wire_object! {
    struct EmbedBody<'a> {
        model: Str<'a> = "model",
        input: TextOr<'a, Str<'a>> = "input",
        truncate: bool = "truncate",
        dimensions: u64 = "dimensions",
    }
}

wire_object! {
    struct EmbeddingsBody<'a> {
        model: Str<'a> = "model",
        prompt: Str<'a> = "prompt",
    }
}

wire_object! {
    struct EmbedAnswer<'a> {
        model: Str<'a> = "model",
        embeddings: Vec<Vec<f32>> = "embeddings",
        prompt_eval_count: u64 = "prompt_eval_count",
        error: Str<'a> = "error",
    }
}

/// Reads an `/api/embed` request.
///
/// # Errors
/// Names the field that is missing or of the wrong type.
pub fn decode_embed_request(body: &[u8]) -> Result<EmbedRequest<'_>, WireError> {
    let body: EmbedBody<'_> = read(body)?;
    let inputs = match body.input {
        Some(TextOr::Text(text)) if text.is_empty() => Vec::new(),
        Some(TextOr::Text(text)) => vec![text],
        Some(TextOr::List(all)) => all.into_iter().map(Into::into).collect(),
        None => Vec::new(),
    };
    Ok(EmbedRequest {
        model: model_name(body.model)?,
        inputs,
        truncate: body.truncate,
        dimensions: body.dimensions.filter(|number| *number > 0),
        extensions: body.rest.into_iter().map(|(name, raw)| (name, raw.into())).collect(),
    })
}

/// Reads an `/api/embeddings` request: one text, under another name.
///
/// # Errors
/// Names the field that is missing or of the wrong type.
pub fn decode_embeddings_request(body: &[u8]) -> Result<EmbedRequest<'_>, WireError> {
    let body: EmbeddingsBody<'_> = read(body)?;
    Ok(EmbedRequest {
        model: model_name(body.model)?,
        inputs: body.prompt.filter(|text| !text.is_empty()).map(Into::into).into_iter().collect(),
        extensions: body.rest.into_iter().map(|(name, raw)| (name, raw.into())).collect(),
        ..EmbedRequest::default()
    })
}

/// Writes a request for an upstream's `/api/embed`.
pub fn encode_embed_request(request: &EmbedRequest<'_>, model: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    Writer::new(&mut body).object(|w| {
        w.field_str("model", model);
        w.field("input", &request.inputs);
        w.field_opt("truncate", request.truncate.as_ref());
        w.field_opt("dimensions", request.dimensions.as_ref());
        for (name, raw) in &request.extensions {
            w.field_raw(name, raw.as_str());
        }
    });
    body
}

/// Reads an answer of `/api/embed`.
///
/// # Errors
/// When it has no vectors.
pub fn decode_embed_response(body: &[u8]) -> Result<Embeddings, WireError> {
    let answer: EmbedAnswer<'_> = read(body)?;
    if let Some(message) = answer.error {
        return Err(WireError::new("upstream_error", message.0.into_owned()));
    }
    let Some(vectors) = answer.embeddings else {
        return Err(WireError::field("embeddings", "the upstream's answer has no embeddings"));
    };
    let model = answer.model.map(|model| model.0.into_owned()).unwrap_or_default();
    Ok(Embeddings { model, vectors, prompt_tokens: answer.prompt_eval_count })
}

/// Writes the answer of `/api/embed`.
pub fn encode_embed_response(embeddings: &Embeddings, timing: &Timing, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| {
        w.field_str("model", &embeddings.model);
        w.field("embeddings", &embeddings.vectors);
        timing.write_totals(w);
        w.field_opt("prompt_eval_count", embeddings.prompt_tokens.as_ref());
    });
}

/// Writes the answer of `/api/embeddings`: the first vector.
pub fn encode_embeddings_response(embeddings: &Embeddings, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| {
        w.field("embedding", embeddings.vectors.first().map(Vec::as_slice).unwrap_or_default());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_and_many_are_both_lists() {
        let one = decode_embed_request(br#"{"model":"m","input":"a","options":{"num_ctx":1}}"#).expect("a request");
        assert_eq!((one.inputs.len(), one.extensions.len()), (1, 1));
        let many = decode_embed_request(br#"{"model":"m","input":["a","b"],"dimensions":4}"#).expect("a request");
        assert_eq!((many.inputs.len(), many.dimensions), (2, Some(4)));
        let old = decode_embeddings_request(br#"{"model":"m","prompt":"a"}"#).expect("a request");
        assert_eq!(old.inputs, ["a"]);
        let again = encode_embed_request(&one, "n");
        assert_eq!(String::from_utf8(again).expect("text"), r#"{"model":"n","input":["a"],"options":{"num_ctx":1}}"#);
        assert!(decode_embed_request(br#"{"model":"m","input":[1]}"#).is_err());
    }

    #[test]
    fn vectors_keep_their_digits() {
        let answer = br#"{"model":"m","embeddings":[[0.010071029,-0.0017594862]],"prompt_eval_count":8}"#;
        let embeddings = decode_embed_response(answer).expect("an answer");
        assert_eq!(embeddings.prompt_tokens, Some(8));
        let mut out = Vec::new();
        encode_embed_response(&embeddings, &Timing::default(), &mut out);
        assert_eq!(out, answer);
        out.clear();
        encode_embeddings_response(&embeddings, &mut out);
        assert_eq!(String::from_utf8(out).expect("text"), r#"{"embedding":[0.010071029,-0.0017594862]}"#);
        assert_eq!(decode_embed_response(br#"{"error":"no"}"#).expect_err("an error").message, "no");
    }
}
