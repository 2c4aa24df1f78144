//! Ollama's side, in both directions.

use serde_json::value::RawValue;

use crate::{
    codec::WireError,
    embedding_list::{self, OpenAiEmbeddings},
    ir::Losses,
    object::{read, wire_object},
    ollama::{EmbedRequest, Embeddings, decode_embed_request, decode_embeddings_request, encode_embed_request},
    text::{Str, TextOr},
    write::Writer,
};

wire_object! {
    struct OpenAiRequest<'a> {
        input: TextOr<'a, &'a RawValue> = "input",
        dimensions: u64 = "dimensions",
        // Said elsewhere.
        encoding_format: &'a RawValue = "encoding_format",
        model: &'a RawValue = "model",
    }
}

wire_object! {
    struct Answer<'a> {
        embeddings: Vec<&'a RawValue> = "embeddings",
        prompt_tokens: u64 = lenient "prompt_eval_count",
        error: Str<'a> = "error",
    }
}

fn decode_client(body: &[u8], one: bool) -> Result<EmbedRequest<'_>, WireError> {
    let request = if one { decode_embeddings_request(body) } else { decode_embed_request(body) }?;
    if request.inputs.is_empty() {
        let field = if one { "prompt" } else { "input" };
        return Err(WireError::field(field, format!("`{field}` is required and must not be empty")));
    }
    Ok(request)
}

/// A client's body as one for `/v1/embeddings`.
pub(super) fn to_openai(body: &[u8], one: bool, model: &str, losses: &mut Losses) -> Result<Vec<u8>, WireError> {
    let request = decode_client(body, one)?;
    for (name, _) in &request.extensions {
        losses.drop_field(name.clone().into_owned());
    }
    if request.truncate.is_some() {
        losses.drop_field("truncate");
    }
    let mut out = Vec::with_capacity(body.len() + 64);
    Writer::new(&mut out).object(|w| {
        w.field_str("model", model);
        w.field("input", &request.inputs);
        w.field_opt("dimensions", request.dimensions.as_ref());
        w.field_str("encoding_format", "float");
    });
    Ok(out)
}

/// A client's body for an upstream of the same format, with all its fields.
pub(super) fn own_body(body: &[u8], one: bool, model: &str) -> Result<Vec<u8>, WireError> {
    Ok(encode_embed_request(&decode_client(body, one)?, model))
}

/// OpenAI's body for `/api/embed`.
pub(super) fn encode(openai: &[u8], model: &str, losses: &mut Losses) -> Result<Vec<u8>, WireError> {
    let own: OpenAiRequest<'_> = read(openai)?;
    let inputs = embedding_list::texts(own.input)?;
    for (name, _) in own.rest {
        losses.drop_field(name.into_owned());
    }
    let request = EmbedRequest { inputs, dimensions: own.dimensions, ..EmbedRequest::default() };
    Ok(encode_embed_request(&request, model))
}

/// An answer of `/api/embed` in OpenAI's form.
pub(super) fn decode(body: &[u8], model: &str, base64: bool, estimate: u64) -> Result<OpenAiEmbeddings, WireError> {
    let answer: Answer<'_> = read(body)?;
    if let Some(message) = answer.error {
        return Err(WireError::new("upstream_error", message.0.into_owned()));
    }
    let Some(vectors) = answer.embeddings else {
        return Err(WireError::field("embeddings", "the upstream's answer has no embeddings"));
    };
    embedding_list::write(&vectors, model, base64, answer.prompt_tokens, estimate)
}

/// OpenAI's answer as a client is shown it.
pub(super) fn embeddings(openai: &[u8], model: &str, tokens: Option<u64>) -> Result<Embeddings, WireError> {
    let vectors =
        embedding_list::read_list(openai)?.0.into_iter().map(embedding_list::floats).collect::<Result<_, _>>()?;
    Ok(Embeddings { model: model.to_owned(), vectors, prompt_tokens: tokens })
}
