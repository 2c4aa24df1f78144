//! Thought signatures: Google's own pass as they are, those of other families inside a sealed token.
//!
//! The field is `bytes` in Google's SDKs: what stands in it must be base64, and a client may send it back in the other
//! base64 alphabet. A sealed token is therefore wrapped in base64 once more, and read in any alphabet, padded or not.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};

use crate::{
    codec::{DecodeContext, ResponseContext, signature_for},
    ir::{Family, Signature},
};

/// What Gemini 3 takes in place of a signature that is gone.
pub(super) const SENTINEL: &str = "skip_thought_signature_validator";
/// Its older spelling, which clients still send.
const OLD_SENTINEL: &str = "context_engineering_is_the_way_to_go";

/// What a client or an upstream sent in `thoughtSignature`. A sentinel is no signature: the encoder sets its own.
pub(super) fn read<'a>(field: Cow<'a, str>, context: &DecodeContext<'_>) -> Option<Signature<'a>> {
    if field.is_empty() || field == SENTINEL || field == OLD_SENTINEL {
        return None;
    }
    if let Some(signature) = context.sealer.open(&field) {
        return Some(signature);
    }
    if let Some(text) = decoded_text(&field) {
        if text == SENTINEL || text == OLD_SENTINEL {
            return None;
        }
        if let Some(signature) = context.sealer.open(&text) {
            return Some(signature);
        }
    }
    Some(Signature { family: Family::Gemini, payload: field })
}

/// The reverse of [`read`].
pub(super) fn write<'a>(signature: &'a Signature<'a>, exchange: &ResponseContext) -> Cow<'a, str> {
    if signature.family == Family::Gemini {
        return Cow::Borrowed(&signature.payload);
    }
    let token = signature_for(signature, Family::Gemini, exchange);
    Cow::Owned(STANDARD.encode(token.as_bytes()))
}

/// Google's signatures are binary; ours is the only text that can be in there.
fn decoded_text(field: &str) -> Option<String> {
    let plain: String = standard_alphabet(Cow::Borrowed(field)).trim_end_matches('=').to_owned();
    String::from_utf8(STANDARD_NO_PAD.decode(plain).ok()?).ok()
}

/// Google's Python SDK writes base64 in the URL-safe alphabet; other families take only the standard one.
pub(super) fn standard_alphabet(data: Cow<'_, str>) -> Cow<'_, str> {
    if memchr::memchr2(b'-', b'_', data.as_bytes()).is_none() {
        return data;
    }
    let mut text: String = data
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    // The URL-safe form may come without its padding.
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    Cow::Owned(text)
}
