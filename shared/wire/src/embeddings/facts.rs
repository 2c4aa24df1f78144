//! What has to be known of OpenAI's two bodies, whoever wrote them.

use serde_json::value::RawValue;

use crate::{
    codec::WireError,
    embedding_list::OpenAiEmbeddings,
    object::{read, wire_object},
    text::{Str, TextOr},
};

wire_object! {
    struct Request<'a> {
        input: TextOr<'a, &'a RawValue> = "input",
        encoding_format: Str<'a> = "encoding_format",
    }
}

wire_object! {
    struct Answer<'a> {
        data: Vec<&'a RawValue> = "data",
        usage: UsageField<'a> = lenient "usage",
    }
}

wire_object! {
    struct UsageField<'a> {
        prompt_tokens: u64 = lenient "prompt_tokens",
    }
}

/// What the way back depends on.
pub(super) struct Facts {
    pub(super) base64: bool,
    pub(super) count: usize,
}

/// # Errors
/// When there is nothing to embed, or the vectors are wanted in a form that does not exist.
pub(super) fn read_facts(body: &[u8]) -> Result<Facts, WireError> {
    let request: Request<'_> = read(body)?;
    let base64 = match request.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let message = format!("`{other}` is no format of vectors; use `float` or `base64`");
            return Err(WireError::field("encoding_format", message));
        }
    };
    let count = match request.input {
        Some(TextOr::Text(text)) if !text.is_empty() => 1,
        // A list of numbers is one text in token ids.
        Some(TextOr::List(items)) if items.first().is_some_and(|first| is_number(first)) => 1,
        Some(TextOr::List(items)) if !items.is_empty() => items.len(),
        _ => return Err(WireError::field("input", "`input` is required and must not be empty")),
    };
    Ok(Facts { base64, count })
}

fn is_number(raw: &RawValue) -> bool {
    raw.get().starts_with(|first: char| first.is_ascii_digit() || first == '-')
}

/// # Errors
/// When the answer is none.
pub(super) fn passed(body: &[u8]) -> Result<OpenAiEmbeddings, WireError> {
    let answer: Answer<'_> = read(body)?;
    if answer.data.is_none() {
        return Err(WireError::field("data", "the upstream's answer has no vectors"));
    }
    let tokens = answer.usage.and_then(|usage| usage.prompt_tokens);
    Ok(OpenAiEmbeddings { body: body.to_vec(), tokens })
}

/// # Errors
/// When vectors are missing, or there are too many: nobody could tell which belongs to which text.
pub(super) fn check_count(body: &[u8], wanted: usize) -> Result<(), WireError> {
    let answer: Answer<'_> = read(body)?;
    let count = answer.data.map_or(0, |data| data.len());
    if count == wanted {
        return Ok(());
    }
    Err(WireError::field("data", format!("the upstream's answer has {count} vectors where {wanted} were asked for")))
}
