//! Items and responses on their way into the store and out of it.

use std::borrow::Cow;

use serde_json::{Value, json, value::RawValue};

use crate::{
    ir::Json,
    object::{read, wire_object},
    text::Str,
    write::Writer,
};

wire_object! {
    struct Item<'a> {
        id: Str<'a> = "id",
        kind: Str<'a> = "type",
        encrypted_content: &'a RawValue = "encrypted_content",
    }
}

wire_object! {
    struct Response<'a> {
        previous: &'a RawValue = "previous_response_id",
    }
}

/// The id of an item.
pub fn item_id<'j>(item: &'j Json<'_>) -> Option<Cow<'j, str>> {
    let item: Item<'j> = serde_json::from_str(item.as_str()).ok()?;
    item.id.map(Into::into).filter(|id: &Cow<'_, str>| !id.is_empty())
}

/// An item with an id: its own, else the one that `new` makes from the item's type.
pub fn with_id<'j>(item: Json<'j>, new: impl FnOnce(&str) -> String) -> Json<'j> {
    let Ok(fields) = serde_json::from_str::<Item<'_>>(item.as_str()) else { return item };
    if fields.id.as_deref().is_some_and(|id| !id.is_empty()) {
        return item;
    }
    let id = new(fields.kind.as_deref().unwrap_or("message"));
    let mut out = Vec::with_capacity(item.as_str().len() + id.len() + 8);
    Writer::new(&mut out).object(|w| {
        w.field_str("id", &id);
        write_rest(w, &fields);
    });
    json_of(out).unwrap_or(item)
}

/// What begins the ids that the gateway gives to items of kinds that it does not know.
pub const NAMELESS: &str = "item";

/// Kinds that go without their ids.
const WITHOUT_ID: [&str; 6] =
    ["message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"];

/// A stored item as it goes up again, or nothing. Ids stay here where they can: an upstream would look for what it stored
/// under them itself, and another account, or another upstream, has nothing there. For the same reason thinking goes only
/// where it is carried along. What a tool of the vendor's did is refused without the id that the vendor gave it.
pub fn replayed<'j>(item: &'j Json<'_>) -> Option<Json<'j>> {
    let fields: Item<'j> = serde_json::from_str(item.as_str()).ok()?;
    let carried = fields.encrypted_content.is_some_and(|raw| raw.get() != "null" && raw.get() != "\"\"");
    if fields.kind.as_deref() == Some("reasoning") && !carried {
        return None;
    }
    let goes_without = fields.kind.as_deref().is_none_or(|kind| WITHOUT_ID.contains(&kind));
    let is_ours = |id: &str| id.strip_prefix(NAMELESS).is_some_and(|rest| rest.starts_with('_'));
    let id = fields.id.as_deref().filter(|id| !goes_without && !is_ours(id));
    let mut out = Vec::with_capacity(item.as_str().len());
    Writer::new(&mut out).object(|w| {
        w.field_str_opt("id", id);
        write_rest(w, &fields);
    });
    json_of(out)
}

fn write_rest(w: &mut Writer<'_>, fields: &Item<'_>) {
    w.field_str_opt("type", fields.kind.as_deref());
    if let Some(raw) = fields.encrypted_content {
        w.field_raw("encrypted_content", raw.get());
    }
    for (name, raw) in &fields.rest {
        w.field_raw(name, raw.get());
    }
}

fn json_of(text: Vec<u8>) -> Option<Json<'static>> {
    Json::from_string(String::from_utf8(text).ok()?)
}

/// An item as a list of input items shows it: what a client may leave out is written out.
pub fn to_list(item: &Json<'_>) -> Value {
    let mut value = item.to_value();
    let Some(fields) = value.as_object_mut() else { return value };
    if fields.contains_key("role") && !fields.contains_key("type") {
        fields.insert("type".to_owned(), json!("message"));
    }
    if fields.get("type").is_some_and(|kind| kind == "message") {
        let written = fields.get("role").is_some_and(|role| role == "assistant");
        if let Some(text) = fields.get("content").filter(|content| content.is_string()).cloned() {
            let kind = if written { "output_text" } else { "input_text" };
            let mut part = json!({"type": kind, "text": text});
            if written {
                part["annotations"] = json!([]);
            }
            fields.insert("content".to_owned(), json!([part]));
        }
        fields.entry("status").or_insert_with(|| json!("completed"));
    }
    value
}

/// A response that says from which answer it went on.
pub fn with_previous(response: &[u8], previous: &str) -> Option<Vec<u8>> {
    let fields: Response<'_> = read(response).ok()?;
    if fields.previous.is_some_and(|raw| raw.get() != "null") {
        return None;
    }
    let mut out = Vec::with_capacity(response.len() + previous.len() + 32);
    Writer::new(&mut out).object(|w| {
        for (name, raw) in &fields.rest {
            w.field_raw(name, raw.get());
        }
        w.field_str("previous_response_id", previous);
    });
    Some(out)
}
