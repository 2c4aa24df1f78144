//! Conversations made shorter where no upstream does it: the model is asked for a summary, and the answer is told in the form
//! that the vendor's own has.
//!
//! `/v1/responses/compact` answers with a message that everybody can read. A request whose last item is a
//! `compaction_trigger` is answered with one `compaction` item and nothing else; the summary is sealed in it, and stands
//! for itself again when the item comes back.

use serde_json::value::RawValue;

use super::{
    decode_content::within, decode_tools::RAW_CHOICE, history::input_items, stable_message_id, write_response::Status,
};
use crate::{
    codec::{ResponseContext, Sealer, WireError},
    ir::{Choice, Family, FinishReason, OutputFormat, Part, Request, Response, Role, Signature, ToolChoice, Turn},
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

/// In front of a sealed payload that is a summary.
const SEALED_SUMMARY: &str = "summary:";

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

wire_object! {
    struct Compaction<'a> {
        encrypted_content: Str<'a> = lenient "encrypted_content",
    }
}

/// Makes of a request with a trigger one for a summary.
pub(super) fn ask_for_summary(request: &mut Request<'_>) {
    request.turns.push(Turn { role: Role::User, parts: vec![Part::text(REQUEST)], name: None });
    if !request.tools.is_empty() || !request.vendor_tools.is_empty() {
        request.tool_choice = Some(ToolChoice::None);
    }
    request.extensions.0.retain(|(path, _)| path != RAW_CHOICE);
    request.output = OutputFormat::Text;
}

/// The text that a `compaction` item stands for; `None` where it is the vendor's own.
///
/// # Errors
/// When another gateway made it.
pub(super) fn summary_in(item: &RawValue, sealer: &dyn Sealer, path: &str) -> Result<Option<String>, WireError> {
    let item: Compaction<'_> = read(item.get().as_bytes()).map_err(|error| within(path, error))?;
    let Some(signature) = item.encrypted_content.and_then(|token| sealer.open(&token)) else { return Ok(None) };
    let Some(summary) = signature.payload.strip_prefix(SEALED_SUMMARY) else {
        let field = format!("{path}.encrypted_content");
        return Err(WireError::field(field, "this summary was not made here, and cannot be read"));
    };
    Ok(Some(format!("{HEADING}\n\n{summary}")))
}

/// The summary that an answer gives; `None` where it says nothing, or refuses.
pub(super) fn summary_of(choice: &Choice<'_>) -> Option<String> {
    let mut summary = String::new();
    for part in &choice.parts {
        match part {
            Part::Text { text, .. } => summary.push_str(text),
            Part::Refusal { .. } => return None,
            _ => {}
        }
    }
    (!summary.trim().is_empty()).then_some(summary)
}

/// Whether an answer came to its end without the summary that was asked for.
pub fn misses_summary(response: &Response<'_>) -> bool {
    response.choices.first().is_none_or(|choice| {
        let status = Status::of(choice.finish.unwrap_or(FinishReason::End));
        matches!(status, Status::Completed) && summary_of(choice).is_none()
    })
}

/// The item that an answer consists of.
pub(super) fn compaction_item(w: &mut Writer<'_>, id: &str, summary: &str, exchange: &ResponseContext) {
    let payload = format!("{SEALED_SUMMARY}{summary}");
    let signature = Signature { family: Family::OpenAi, payload: payload.into() };
    w.object(|w| {
        w.field_str("id", id);
        w.field_str("type", "compaction");
        w.field_str("encrypted_content", &exchange.sealer.seal(&signature, &exchange.model));
    });
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
