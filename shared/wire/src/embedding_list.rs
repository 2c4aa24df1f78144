//! OpenAI's list of embeddings, which stands in the middle: vectors as JSON lists of numbers and as OpenAI packs them (32-bit floats, little endian, in base64), and what OpenAI has
//! around them.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use crate::{
    codec::WireError,
    object::{read, wire_object},
    text::{Str, TextOr},
    write::Writer,
};

wire_object! {
    struct List<'a> {
        data: Vec<Listed<'a>> = "data",
        usage: UsageField<'a> = "usage",
    }
}

wire_object! {
    struct UsageField<'a> {
        prompt_tokens: u64 = "prompt_tokens",
    }
}

wire_object! {
    struct Listed<'a> {
        index: u64 = "index",
        embedding: &'a RawValue = "embedding",
    }
}

/// An upstream's answer in OpenAI's form.
pub(crate) struct OpenAiEmbeddings {
    pub(crate) body: Vec<u8>,
    pub(crate) tokens: Option<u64>,
}

/// A vector as a list of numbers, from either form.
///
/// # Errors
/// When it has neither.
pub(crate) fn plain(raw: &RawValue) -> Result<Cow<'_, str>, WireError> {
    if raw.get().starts_with('[') {
        return Ok(raw.get().into());
    }
    let floats = unpacked(raw)?;
    serde_json::to_string(&floats).map(Into::into).map_err(|_| broken())
}

/// A vector's numbers, from either form.
///
/// # Errors
/// When it has neither.
pub(crate) fn floats(raw: &RawValue) -> Result<Vec<f32>, WireError> {
    if raw.get().starts_with('[') { serde_json::from_str(raw.get()).map_err(|_| broken()) } else { unpacked(raw) }
}

fn unpacked(raw: &RawValue) -> Result<Vec<f32>, WireError> {
    let text: String = serde_json::from_str(raw.get()).map_err(|_| broken())?;
    let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| broken())?;
    let (floats, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(broken());
    }
    Ok(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// A list of numbers as a JSON string of base64.
///
/// # Errors
/// When something in it is no number.
pub(crate) fn packed(raw: &RawValue) -> Result<String, WireError> {
    let numbers: Vec<f32> = serde_json::from_str(raw.get()).map_err(|_| broken())?;
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Ok(format!("\"{}\"", STANDARD.encode(bytes)))
}

fn broken() -> WireError {
    WireError::field("embeddings", "a vector is neither a list of numbers nor base64")
}

/// OpenAI's answer around these vectors.
///
/// # Errors
/// When one of them is none.
pub(crate) fn write(
    vectors: &[&RawValue],
    model: &str,
    base64: bool,
    tokens: Option<u64>,
    estimate: u64,
) -> Result<OpenAiEmbeddings, WireError> {
    let vectors: Vec<Cow<'_, str>> = vectors
        .iter()
        .map(|raw| if base64 { packed(raw).map(Cow::Owned) } else { Ok(Cow::Borrowed(raw.get())) })
        .collect::<Result<_, _>>()?;
    let mut body = Vec::with_capacity(256);
    write_list(&vectors, model, tokens.unwrap_or(estimate), &mut body);
    Ok(OpenAiEmbeddings { body, tokens })
}

/// An answer of `/v1/embeddings`.
pub(crate) fn write_list(vectors: &[Cow<'_, str>], model: &str, tokens: u64, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| {
        w.field_str("object", "list");
        w.key("data").array(|w| {
            for (index, vector) in vectors.iter().enumerate() {
                w.object(|w| {
                    w.field_str("object", "embedding");
                    w.field("index", &index);
                    w.field_raw("embedding", vector);
                });
            }
        });
        w.field_str("model", model);
        w.key("usage").object(|w| {
            w.field("prompt_tokens", &tokens);
            w.field("total_tokens", &tokens);
        });
    });
}

/// The vectors of an answer of `/v1/embeddings`, in the order of their texts, and its count of tokens.
///
/// # Errors
/// When it is no such answer.
pub(crate) fn read_list(openai: &[u8]) -> Result<(Vec<&RawValue>, Option<u64>), WireError> {
    let answer: List<'_> = read(openai)?;
    let mut data = answer.data.unwrap_or_default();
    data.sort_by_key(|vector| vector.index.unwrap_or(u64::MAX));
    let missing = || WireError::field("data.embedding", "a vector is missing");
    let vectors = data.iter().map(|own| own.embedding.ok_or_else(missing)).collect::<Result<_, _>>()?;
    Ok((vectors, answer.usage.and_then(|usage| usage.prompt_tokens)))
}

/// The texts of OpenAI's `input`.
///
/// # Errors
/// When there are none, or token ids.
pub(crate) fn texts<'a>(input: Option<TextOr<'a, &'a RawValue>>) -> Result<Vec<Cow<'a, str>>, WireError> {
    let text = |raw: &'a RawValue| {
        serde_json::from_str::<Str<'a>>(raw.get())
            .map(Into::into)
            .map_err(|_| WireError::unsupported("input", "this upstream embeds texts only, no token ids"))
    };
    let texts = match input {
        Some(TextOr::Text(text)) => vec![text],
        Some(TextOr::List(all)) => all.into_iter().map(text).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    if texts.is_empty() {
        return Err(WireError::field("input", "`input` is required"));
    }
    Ok(texts)
}
