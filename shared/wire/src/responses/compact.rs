//! `/v1/responses/compact` where no upstream compacts: the model is asked for a summary, and the answer is told in the form
//! that the vendor's own has. The summary stands there as a message that everybody can read, since nothing here is sealed.

use serde_json::value::RawValue;

use super::{decode_content::within, history::input_items, stable_message_id};
use crate::{
    codec::WireError,
    object::{read, wire_object},
    text::Str,
    write::Writer,
};

/// The last thing that the model is told.
const REQUEST: &str = "Write a summary of this conversation for a model that will go on with it and will see nothing else of it. \
Keep what it needs: the user's wishes and rules in their own words, what was decided and why, what has been done (files, commands, \
results), what is still open, and the next step. Leave out what no longer matters. Answer with the summary alone, and call no tool.";

/// In front of a summary, so that the next model knows what it reads.
const HEADING: &str = "Summary of the conversation so far, whose messages have been left out:";

wire_object! {
    struct Body<'a> {
        model: &'a RawValue = "model",
        input: &'a RawValue = "input",
        instructions: &'a RawValue = "instructions",
        tools: &'a RawValue = "tools",
        cache_key: &'a RawValue = "prompt_cache_key",
        tier: &'a RawValue = "service_tier",
    }
}

wire_object! {
    struct Answer<'a> {
        id: Str<'a> = "id",
        created: &'a RawValue = "created_at",
        output: Vec<Item<'a>> = "output",
        usage: &'a RawValue = "usage",
    }
}

wire_object! {
    struct Item<'a> {
        kind: Str<'a> = "type",
        content: Vec<Piece<'a>> = "content",
    }
}

wire_object! {
    struct Piece<'a> {
        kind: Str<'a> = "type",
        text: Str<'a> = "text",
    }
}

/// The request for a summary that stands for a request to compact.
///
/// # Errors
/// When the body cannot be read, or has nothing in it to be compacted.
pub fn summary_request(body: &[u8]) -> Result<Vec<u8>, WireError> {
    let items = input_items(body)?;
    if items.is_empty() {
        return Err(WireError::field("input", "there is no `input` to be compacted"));
    }
    let fields: Body<'_> = read(body)?;
    let mut out = Vec::with_capacity(body.len() + REQUEST.len() + 256);
    Writer::new(&mut out).object(|w| {
        let mut given = |name: &str, raw: Option<&RawValue>| {
            if let Some(raw) = raw.filter(|raw| raw.get() != "null") {
                w.field_raw(name, raw.get());
            }
        };
        given("model", fields.model);
        given("instructions", fields.instructions);
        given("prompt_cache_key", fields.cache_key);
        given("service_tier", fields.tier);
        // A history with calls is refused by some that do not know the tools.
        given("tools", fields.tools);
        if fields.tools.is_some_and(|raw| !matches!(raw.get(), "null" | "[]")) {
            w.field_str("tool_choice", "none");
        }
        w.key("input").array(|w| {
            items.iter().for_each(|item| w.raw(item.as_str()));
            message(w, None, REQUEST);
        });
        w.field("store", &false);
    });
    Ok(out)
}

/// The answer to a request to compact, made of the answer to [`summary_request`].
///
/// # Errors
/// When that has no text.
pub fn compaction(answer: &[u8]) -> Result<Vec<u8>, WireError> {
    let answer: Answer<'_> = read(answer).map_err(|error| within("answer", error))?;
    let mut text = String::new();
    let messages = answer.output.unwrap_or_default().into_iter().filter(|item| item.kind.as_deref() == Some("message"));
    for piece in messages.flat_map(|item| item.content.unwrap_or_default()) {
        if let (Some("output_text"), Some(piece)) = (piece.kind.as_deref(), &piece.text) {
            text.push_str(piece);
        }
    }
    if text.trim().is_empty() {
        return Err(WireError::new("upstream_malformed", "the model gave no summary"));
    }
    let id = answer.id.unwrap_or_default();
    let mut out = Vec::with_capacity(text.len() + 512);
    Writer::new(&mut out).object(|w| {
        w.field_str("id", &id);
        w.field_str("object", "response.compaction");
        w.field_raw("created_at", answer.created.map_or("0", RawValue::get));
        w.key("output").array(|w| message(w, Some(&id), &format!("{HEADING}\n\n{text}")));
        if let Some(usage) = answer.usage {
            w.field_raw("usage", usage.get());
        }
    });
    Ok(out)
}

/// A message of the user's; as an item of an answer it has an id.
fn message(w: &mut Writer<'_>, answer: Option<&str>, text: &str) {
    w.object(|w| {
        w.field_str("type", "message");
        if let Some(answer) = answer {
            w.field_str("id", &stable_message_id(answer));
            w.field_str("status", "completed");
        }
        w.field_str("role", "user");
        w.key("content").array(|w| {
            w.object(|w| {
                w.field_str("type", "input_text");
                w.field_str("text", text);
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(body: &Value) -> Value {
        serde_json::from_slice(&summary_request(body.to_string().as_bytes()).expect("a request")).expect("JSON")
    }

    #[test]
    fn a_summary_is_asked_for_behind_the_whole_conversation() {
        let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
        let asked = written(&json!({
            "model": "m", "instructions": "Be brief.", "tools": [{"type": "function", "name": "f"}],
            "input": [{"role": "user", "content": "hi"}, call], "parallel_tool_calls": true, "stream": true,
            "text": {"format": {"type": "json_object"}}, "reasoning": null,
        }));
        let items = asked["input"].as_array().expect("items");
        assert_eq!((items.len(), &items[1]), (3, &call));
        assert_eq!(items[2]["content"][0]["text"], REQUEST);
        assert_eq!(
            (&asked["tool_choice"], &asked["store"], &asked["model"]),
            (&json!("none"), &json!(false), &json!("m"))
        );
        for gone in ["stream", "text", "parallel_tool_calls", "reasoning"] {
            assert!(asked.get(gone).is_none(), "{gone}: {asked}");
        }
        let plain = written(&json!({"model": "m", "input": "hi"}));
        assert_eq!((plain["input"].as_array().map(Vec::len), plain.get("tool_choice")), (Some(2), None));
        for empty in [json!({"model": "m"}), json!({"model": "m", "input": []})] {
            assert_eq!(
                summary_request(empty.to_string().as_bytes()).expect_err("empty").param.as_deref(),
                Some("input")
            );
        }
    }

    #[test]
    fn the_summary_is_a_message_that_can_be_sent_back() {
        let answer = json!({
            "id": "resp_1", "object": "response", "created_at": 7, "status": "completed", "usage": {"input_tokens": 3},
            "output": [
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "They want tea."}]},
            ],
        });
        let told = compaction(answer.to_string().as_bytes()).expect("a compaction");
        let told: Value = serde_json::from_slice(&told).expect("JSON");
        assert_eq!((&told["object"], &told["created_at"]), (&json!("response.compaction"), &json!(7)));
        assert_eq!(told["usage"], json!({"input_tokens": 3}));
        let text = told["output"][0]["content"][0]["text"].as_str().expect("a text");
        assert!(text.starts_with(HEADING) && text.ends_with("They want tea."), "{text}");
        let next = json!({"model": "m", "input": told["output"]}).to_string();
        let context = crate::codec::DecodeContext { sealer: &super::super::tests::PlainSealer, answer: "" };
        let request = super::super::decode_request(next.as_bytes(), &context).expect("a request");
        assert_eq!(request.turns[0].role, crate::ir::Role::User);
        assert!(compaction(br#"{"id":"resp_1","output":[]}"#).is_err());
    }
}
