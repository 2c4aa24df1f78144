//! Vectors as JSON lists of numbers and as OpenAI packs them: 32-bit floats, little endian, in base64.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use super::Middle;
use crate::{codec::WireError, write::Writer};

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
pub(super) fn write(
    vectors: &[&RawValue],
    model: &str,
    base64: bool,
    tokens: Option<u64>,
    estimate: u64,
) -> Result<Middle, WireError> {
    let vectors: Vec<Cow<'_, str>> = vectors
        .iter()
        .map(|raw| if base64 { packed(raw).map(Cow::Owned) } else { Ok(Cow::Borrowed(raw.get())) })
        .collect::<Result<_, _>>()?;
    let shown = tokens.unwrap_or(estimate);
    let mut body = Vec::with_capacity(256);
    Writer::new(&mut body).object(|w| {
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
            w.field("prompt_tokens", &shown);
            w.field("total_tokens", &shown);
        });
    });
    Ok(Middle { body, tokens })
}
