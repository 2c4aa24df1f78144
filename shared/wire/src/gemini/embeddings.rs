//! `embedContent` and `batchEmbedContents` ↔ OpenAI's `/v1/embeddings`, both ways.
//!
//! Vectors pass as raw JSON; only where one side wants base64 (32-bit floats, little endian, as OpenAI packs them) are they
//! taken apart.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    message::{Content, OneOrMany, WholeNumber},
    path::{Action, plain_model},
};
use crate::{
    codec::{Encoded, WireError},
    embedding_list::{packed, plain, read_list, texts, write_list},
    ir::Losses,
    object::{read, wire_object},
    text::{Str, TextOr},
    write::Writer,
};

wire_object! {
    struct BatchBody<'a> {
        requests: OneOrMany<EmbedBody<'a>> = "requests",
    }
}

wire_object! {
    struct EmbedBody<'a> {
        content: Content<'a> = "content",
        dimensions: WholeNumber = "outputDimensionality" | "output_dimensionality",
        // The path says it.
        model: &'a RawValue = "model",
    }
}

wire_object! {
    struct OwnBatch<'a> {
        requests: OneOrMany<OwnRequest<'a>> = "requests",
    }
}

wire_object! {
    struct OwnRequest<'a> {
        model: &'a RawValue = "model",
    }
}

wire_object! {
    struct GeminiAnswer<'a> {
        embedding: Vector<'a> = "embedding",
        embeddings: OneOrMany<Vector<'a>> = "embeddings",
        usage: super::usage::UsageField<'a> = lenient "usageMetadata" | "usage_metadata",
        error: &'a RawValue = "error",
    }
}

wire_object! {
    struct Vector<'a> {
        values: &'a RawValue = "values",
    }
}

wire_object! {
    struct OpenAiBody<'a> {
        input: TextOr<'a, &'a RawValue> = "input",
        dimensions: u64 = "dimensions",
        encoding_format: Str<'a> = "encoding_format",
        model: &'a RawValue = "model",
    }
}

/// Texts to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedRequest<'a> {
    pub texts: Vec<Cow<'a, str>>,
    pub dimensions: Option<u64>,
    /// The client asked for a list, also of one.
    pub batch: bool,
}

/// Reads a client's request.
///
/// # Errors
/// Names the field that is missing or cannot be embedded.
pub fn decode_embed_request<'a>(
    body: &'a [u8],
    action: Action,
    losses: &mut Losses,
) -> Result<EmbedRequest<'a>, WireError> {
    let batch = action == Action::BatchEmbedContents;
    let requests = if batch {
        let body: BatchBody<'a> = read(body)?;
        body.rest.iter().for_each(|(name, _)| losses.drop_field(name.clone().into_owned()));
        body.requests.unwrap_or_default().0
    } else {
        vec![read(body)?]
    };
    if requests.is_empty() {
        return Err(WireError::field("requests", "`requests` must have at least one request"));
    }
    let mut request = EmbedRequest { texts: Vec::with_capacity(requests.len()), dimensions: None, batch };
    for (index, own) in requests.into_iter().enumerate() {
        let path = if batch { format!("requests.{index}.") } else { String::new() };
        let dimensions = own.dimensions.and_then(WholeNumber::count);
        if index > 0 && dimensions != request.dimensions {
            let message = "all requests of a batch must want the same `outputDimensionality`";
            return Err(WireError::unsupported(format!("{path}outputDimensionality"), message));
        }
        request.dimensions = dimensions;
        request.texts.push(text_of(own.content, &path)?);
        for (name, _) in own.rest {
            losses.drop_field(name.into_owned());
        }
    }
    Ok(request)
}

fn text_of<'a>(content: Option<Content<'a>>, path: &str) -> Result<Cow<'a, str>, WireError> {
    let parts = content.and_then(|content| content.parts).unwrap_or_default().0;
    let mut text: Option<Cow<'a, str>> = None;
    for (index, part) in parts.into_iter().enumerate() {
        let Some(piece) = part.text else {
            let param = format!("{path}content.parts.{index}");
            return Err(WireError::unsupported(param, "only texts can be embedded here"));
        };
        match &mut text {
            Some(text) => text.to_mut().push_str(&piece),
            None => text = Some(piece.into()),
        }
    }
    text.ok_or_else(|| WireError::field(format!("{path}content"), "there is nothing to embed"))
}

// === impl EmbedRequest ===

impl EmbedRequest<'_> {
    /// The same as a body for `/v1/embeddings`.
    pub fn to_openai(&self, model: &str) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        Writer::new(&mut body).object(|w| {
            w.field_str("model", model);
            w.field("input", &self.texts);
            w.field_opt("dimensions", self.dimensions.as_ref());
            w.field_str("encoding_format", "float");
        });
        body
    }
}

/// Writes an answer of `/v1/embeddings` for a Gemini client.
///
/// # Errors
/// When it is no such answer.
pub fn encode_embed_response(openai: &[u8], batch: bool, out: &mut Vec<u8>) -> Result<(), WireError> {
    let (vectors, tokens) = read_list(openai)?;
    let vectors = vectors.into_iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    let (true, Some(first)) = (batch || vectors.len() == 1, vectors.first()) else {
        return Err(WireError::field("data", "the upstream's answer does not have as many vectors as were asked for"));
    };
    Writer::new(out).object(|w| {
        if batch {
            w.key("embeddings").array(|w| {
                vectors.iter().for_each(|vector| w.object(|w| w.field_raw("values", vector)));
            });
        } else {
            w.key("embedding").object(|w| w.field_raw("values", first));
        }
        if let Some(tokens) = tokens {
            w.key("usageMetadata").object(|w| w.field("promptTokenCount", &tokens));
        }
    });
    Ok(())
}

/// A client's body for an upstream of the same format: a batch, in which only the model's name is another.
///
/// # Errors
/// When it is no request.
pub(crate) fn own_embed_body(body: &[u8], batch: bool, model: &str) -> Result<Vec<u8>, WireError> {
    let requests = if batch {
        read::<OwnBatch<'_>>(body)?.requests.unwrap_or_default().0
    } else {
        vec![read::<OwnRequest<'_>>(body)?]
    };
    let model = format!("models/{}", plain_model(model));
    let mut out = Vec::with_capacity(body.len() + 64);
    Writer::new(&mut out).object(|w| {
        w.key("requests").array(|w| {
            for request in &requests {
                w.object(|w| {
                    w.field_str("model", &model);
                    request.rest.iter().for_each(|(name, raw)| w.field_raw(name, raw.get()));
                });
            }
        });
    });
    Ok(out)
}

/// A body of `/v1/embeddings` as a `batchEmbedContents` body, and whether the client wants its vectors in base64.
///
/// # Errors
/// Names the field that is missing or cannot be embedded.
pub fn encode_embed_request(openai: &[u8], model: &str, losses: &mut Losses) -> Result<(Encoded, bool), WireError> {
    let own: OpenAiBody<'_> = read(openai)?;
    let texts = texts(own.input)?;
    let base64 = own.encoding_format.as_deref() == Some("base64");
    for (name, _) in own.rest {
        losses.drop_field(name.into_owned());
    }
    let model = format!("models/{}", plain_model(model));
    let mut body = Vec::with_capacity(openai.len() + 128);
    Writer::new(&mut body).object(|w| {
        w.key("requests").array(|w| {
            for text in &texts {
                w.object(|w| {
                    w.field_str("model", &model);
                    w.key("content").object(|w| {
                        w.key("parts").array(|w| w.object(|w| w.field_str("text", text)));
                    });
                    w.field_opt("outputDimensionality", own.dimensions.as_ref());
                });
            }
        });
    });
    Ok((Encoded { body, ..Encoded::default() }, base64))
}

/// An answer of an upstream as an answer of `/v1/embeddings`. `estimate` stands in for a count that the upstream does not
/// give. Returns the upstream's own count of the prompt's tokens.
///
/// # Errors
/// When it is no answer.
pub fn decode_embed_response(
    body: &[u8],
    model: &str,
    base64: bool,
    estimate: u64,
    out: &mut Vec<u8>,
) -> Result<Option<u64>, WireError> {
    let answer: GeminiAnswer<'_> = read(body)?;
    if let Some(raw) = answer.error {
        return Err(WireError::new("upstream_error", super::error::message_of(raw)));
    }
    let all = answer.embeddings.map_or_else(|| answer.embedding.into_iter().collect(), |all| all.0);
    let mut vectors = Vec::with_capacity(all.len());
    for vector in &all {
        let raw = vector.values.ok_or_else(|| WireError::field("embeddings.values", "a vector is missing"))?;
        vectors.push(if base64 { Cow::Owned(packed(raw)?) } else { Cow::Borrowed(raw.get()) });
    }
    if vectors.is_empty() {
        return Err(WireError::field("embeddings", "the upstream's answer has no vectors"));
    }
    let counted = answer.usage.map(|usage| usage.disjoint()).filter(|usage| !usage.is_unknown());
    let counted = counted.map(|usage| usage.total_input());
    write_list(&vectors, model, counted.unwrap_or(estimate), out);
    Ok(counted)
}
