//! Conversations that go on from stored items: `previous_response_id` and `item_reference`.
//!
//! The store is the gateway's. Here is what it needs to know of a body, how stored items are put in front of the input, and
//! which items an exchange leaves to be stored. Items are raw JSON throughout.

use std::borrow::Cow;

use memchr::memmem;
use serde_json::value::RawValue;

use super::decode_content::within;
use crate::{
    codec::WireError,
    ir::Json,
    object::{read, wire_object},
    scan::{RequestScan, StoredFields},
    text::{Str, TextOr},
    write::Writer,
};

wire_object! {
    struct Body<'a> {
        input: &'a RawValue = "input",
        previous_response_id: Str<'a> = "previous_response_id",
        store: bool = "store",
        background: bool = "background",
        conversation: &'a RawValue = "conversation",
    }
}

wire_object! {
    struct Reference<'a> {
        kind: Str<'a> = "type",
        id: Str<'a> = "id",
        role: &'a RawValue = "role",
    }
}

wire_object! {
    struct Answer<'a> {
        output: Vec<&'a RawValue> = "output",
        response: &'a RawValue = "response",
    }
}

/// What a body says about stored items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation<'a> {
    /// The answer that the conversation goes on from.
    pub previous_response_id: Option<Cow<'a, str>>,
    /// Whether the answer is to be kept; true unless the client says no.
    pub store: bool,
    /// Ids of items that stand in the input by reference only.
    pub references: Vec<Cow<'a, str>>,
}

pub(super) fn no_background() -> WireError {
    WireError::unsupported("background", "`background: true` is not supported; leave it out and wait for the answer")
}

/// Reads what the gateway has to know before a request of either mode goes on.
///
/// # Errors
/// When the body cannot be read, or asks for a background run or a stored conversation.
pub fn continuation(body: &[u8]) -> Result<Continuation<'_>, WireError> {
    let body: Body<'_> = read(body)?;
    if body.background == Some(true) {
        return Err(no_background());
    }
    if body.conversation.is_some_and(|raw| raw.get() != "null") {
        return Err(WireError::unsupported(
            "conversation",
            "`conversation` is not supported; go on from an answer with `previous_response_id`, or send the items in `input`",
        ));
    }
    let mut references = Vec::new();
    // Almost no body has one: a look for the word spares the walk through the items.
    if let Some(raw) = body.input.filter(|raw| may_refer(raw.get())) {
        let input: TextOr<'_, &RawValue> = read(raw.get().as_bytes()).map_err(|error| within("input", error))?;
        if let TextOr::List(items) = input {
            references.extend(items.into_iter().filter_map(reference));
        }
    }
    Ok(Continuation {
        previous_response_id: body.previous_response_id.map(Into::into).filter(|id: &Cow<'_, str>| !id.is_empty()),
        store: body.store.unwrap_or(true),
        references,
    })
}

/// As [`continuation`], of a body that has been scanned: nearly all of them need not be read again for it.
///
/// # Errors
/// As [`continuation`].
pub fn continuation_of<'a>(body: &'a [u8], scan: &RequestScan<'a>) -> Result<Continuation<'a>, WireError> {
    let StoredFields { input, previous_response_id, store, background, conversation } = scan.stored;
    let previous = match previous_response_id {
        None | Some("null") => Some(None),
        Some(raw) => plain(raw).map(Some),
    };
    let store = match store {
        None | Some("null" | "true") => Some(true),
        Some("false") => Some(false),
        Some(_) => None,
    };
    let is_usual = matches!(background, None | Some("null" | "false"))
        && matches!(conversation, None | Some("null"))
        && !input.is_some_and(may_refer);
    match (previous, store) {
        (Some(previous), Some(store)) if is_usual => Ok(Continuation {
            previous_response_id: previous.filter(|id| !id.is_empty()).map(Cow::Borrowed),
            store,
            references: Vec::new(),
        }),
        _ => continuation(body),
    }
}

/// The text of a JSON string without escapes.
fn plain(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains('\\'))
}

/// A reference may be written `{"id": "…"}` without a type.
fn may_refer(input: &str) -> bool {
    input.contains("item_reference") || input.split('{').any(|rest| rest.trim_start().starts_with("\"id\""))
}

/// Asks for a compaction.
const TRIGGER: &str = "compaction_trigger";

/// Whether a body asks for a compaction.
pub fn has_trigger(body: &[u8]) -> bool {
    let items = |body| Some(split_input(read::<Body<'_>>(body).ok()?.input?).ok()?);
    memmem::find(body, TRIGGER.as_bytes()).is_some()
        && items(body).is_some_and(|items| items.iter().any(|item| is_trigger(&item.json)))
}

fn is_trigger(item: &Json<'_>) -> bool {
    let kind = |raw: &str| Some(serde_json::from_str::<Reference<'_>>(raw).ok()?.kind?.0 == TRIGGER);
    // Almost no item is one: a look for the word spares the reading.
    item.as_str().contains(TRIGGER) && kind(item.as_str()) == Some(true)
}

/// The id that an item refers to, when it is a reference.
fn reference(raw: &RawValue) -> Option<Cow<'_, str>> {
    let item: Reference<'_> = serde_json::from_str(raw.get()).ok()?;
    match item.kind.as_deref() {
        Some("item_reference") => {}
        None if item.role.is_none() && item.rest.is_empty() => {}
        _ => return None,
    }
    item.id.map(Into::into)
}

/// The body with stored items in front of its own input, references replaced by what they refer to, and without
/// `previous_response_id`. A reference that `find` does not know stays; one to an item that does not go up goes.
///
/// # Errors
/// When the body cannot be read.
pub fn with_history<'j>(
    body: &[u8],
    stored: &[Json<'_>],
    find: &dyn Fn(&str) -> Option<Option<Json<'j>>>,
) -> Result<Vec<u8>, WireError> {
    let fields: Body<'_> = read(body)?;
    let mut out = Vec::with_capacity(body.len() + stored.iter().map(|item| item.as_str().len() + 1).sum::<usize>());
    let input = fields.input.map(split_input).transpose()?.unwrap_or_default();
    Writer::new(&mut out).object(|w| {
        w.key("input").array(|w| {
            for item in stored {
                w.raw(item.as_str());
            }
            for item in &input {
                match item.reference.as_deref().and_then(find) {
                    Some(Some(found)) => w.raw(found.as_str()),
                    Some(None) => {}
                    None => w.raw(item.json.as_str()),
                }
            }
        });
        w.field_opt("store", fields.store.as_ref());
        w.field_opt("background", fields.background.as_ref());
        for (name, raw) in &fields.rest {
            w.field_raw(name, raw.get());
        }
    });
    Ok(out)
}

struct InputItem<'a> {
    json: Json<'a>,
    reference: Option<Cow<'a, str>>,
}

fn split_input(raw: &RawValue) -> Result<Vec<InputItem<'_>>, WireError> {
    let input: TextOr<'_, &RawValue> = read(raw.get().as_bytes()).map_err(|error| within("input", error))?;
    Ok(match input {
        TextOr::Text(text) => {
            let message = serde_json::json!({
                "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}],
            });
            Json::from_value(&message).map(|json| InputItem { json, reference: None }).into_iter().collect()
        }
        TextOr::List(items) => {
            items.into_iter().map(|raw| InputItem { json: raw.into(), reference: reference(raw) }).collect()
        }
    })
}

/// The items of a body's input, as they are to be stored; a plain text becomes a message. What asks for a compaction does so
/// once.
///
/// # Errors
/// When the body cannot be read.
pub fn input_items(body: &[u8]) -> Result<Vec<Json<'_>>, WireError> {
    let body: Body<'_> = read(body)?;
    let items = body.input.map(split_input).transpose()?.unwrap_or_default();
    Ok(items.into_iter().map(|item| item.json).filter(|item| !is_trigger(item)).collect())
}

/// The output items of a finished answer: a whole response, or the data of the event that ends a stream.
///
/// # Errors
/// When it cannot be read, or has no output.
pub fn output_items(answer: &[u8]) -> Result<Vec<Json<'_>>, WireError> {
    let answer: Answer<'_> = read(answer)?;
    let output = match (answer.output, answer.response) {
        (Some(output), _) => Some(output),
        (None, Some(raw)) => read::<Answer<'_>>(raw.get().as_bytes())?.output,
        (None, None) => None,
    };
    let Some(output) = output else {
        return Err(WireError::field("output", "the answer has no output"));
    };
    Ok(output.into_iter().map(Into::into).collect())
}
