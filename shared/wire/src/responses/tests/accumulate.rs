//! What the stream helpers of SDKs do with the events.

use serde_json::{Value, json};

/// Builds the output as SDKs do: announced items, filled by deltas. Checks that what is said at the end agrees.
pub(super) fn accumulate(frames: &[Value]) -> Vec<Value> {
    assert_eq!(frames[0]["type"], "response.created");
    assert_eq!(frames[1]["type"], "response.in_progress");
    let mut items: Vec<Option<Value>> = Vec::new();
    let mut done: Vec<Option<Value>> = Vec::new();
    for frame in frames {
        let at = frame["output_index"].as_u64().unwrap_or(0) as usize;
        let content = frame["content_index"].as_u64().unwrap_or(0) as usize;
        let kind = frame["type"].as_str().expect("a type");
        if kind == "response.output_item.added" {
            assert_eq!(items.len(), at, "places are given in order");
            items.push(Some(frame["item"].clone()));
            done.push(None);
            continue;
        }
        if frame.get("item_id").is_some() {
            let item = items[at].as_ref().expect("announced");
            assert_eq!(frame["item_id"], item["id"], "ids are stable: {frame}");
            assert!(done[at].is_none(), "nothing after the item is whole: {frame}");
        }
        let append = |slot: &mut Value| {
            let all = slot.as_str().unwrap_or_default().to_owned() + frame["delta"].as_str().expect("a delta");
            *slot = all.into();
        };
        match kind {
            "response.content_part.added" => {
                let item = items[at].as_mut().expect("announced");
                let parts = item["content"].as_array_mut().expect("a list");
                assert_eq!(parts.len(), content);
                parts.push(frame["part"].clone());
            }
            "response.output_text.delta" => {
                append(&mut items[at].as_mut().expect("announced")["content"][content]["text"])
            }
            "response.refusal.delta" => {
                append(&mut items[at].as_mut().expect("announced")["content"][content]["refusal"])
            }
            "response.function_call_arguments.delta" => {
                append(&mut items[at].as_mut().expect("announced")["arguments"])
            }
            "response.custom_tool_call_input.delta" => append(&mut items[at].as_mut().expect("announced")["input"]),
            "response.reasoning_summary_part.added" => {
                let item = items[at].as_mut().expect("announced");
                item["summary"].as_array_mut().expect("a list").push(frame["part"].clone());
            }
            "response.reasoning_summary_text.delta" => {
                append(&mut items[at].as_mut().expect("announced")["summary"][0]["text"]);
            }
            "response.output_item.done" => done[at] = Some(frame["item"].clone()),
            _ => {}
        }
    }
    for (built, whole) in items.iter().zip(&done) {
        let (built, whole) = (built.as_ref().expect("built"), whole.as_ref().expect("whole"));
        for field in ["id", "type", "call_id", "name", "arguments", "input", "summary"] {
            assert_eq!(built.get(field), whole.get(field), "{field} of {whole}");
        }
        let texts = |item: &Value| -> Vec<Value> {
            let list = item["content"].as_array().cloned().unwrap_or_default();
            list.iter().map(|part| json!([part["type"], part["text"], part["refusal"]])).collect()
        };
        assert_eq!(texts(built), texts(whole));
    }
    let done: Vec<Value> = done.into_iter().flatten().collect();
    if let Some(last) = frames.last().filter(|last| last["type"] != "response.failed") {
        assert_eq!(last["response"]["output"], json!(done));
    }
    done
}
