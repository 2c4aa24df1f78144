use serde_json::json;

use super::*;
use crate::ir::Json;

fn raw(text: &str) -> Json<'static> {
    Json::from_string(text.to_owned()).expect("JSON")
}

const DONE: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"output\":[]}}\n\n",
    "data: {\"type\":\"response.output_text.delta\",\"delta\":\"the words \\\"response.completed\\\" in a text\"}\r\n\r\n",
    "data: {\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"id\":\"b\"}}\n\n",
    "data: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"id\":\"a\"}}\n\n",
);

fn harvested(text: &str, step: usize, limit: usize) -> Option<Value> {
    let mut harvest = Harvest::new(true, limit);
    for piece in text.as_bytes().chunks(step) {
        harvest.feed(piece);
    }
    harvest.end();
    harvest.take().map(|whole| serde_json::from_slice(&whole).expect("JSON"))
}

#[test]
fn the_last_event_holds_the_response_however_it_is_split() {
    let last =
        "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"output\":[{\"id\":\"z\"}],\"x\":1}}\n\n";
    let text = format!("{DONE}{last}");
    for step in 1..40 {
        let whole = harvested(&text, step, 10_000).expect("whole");
        assert_eq!(whole, json!({"id": "r", "output": [{"id": "z"}], "x": 1}), "{step}");
    }
    assert_eq!(harvested(&text, 7, 60), None, "too large");
    assert_eq!(harvested(DONE, 7, 10_000), None, "broken off");
    let failed = format!("{DONE}data: {{\"type\":\"response.failed\",\"response\":{{\"id\":\"r\"}}}}\n\n");
    assert_eq!(harvested(&failed, 9, 10_000), None);
}

#[test]
fn items_that_the_last_event_leaves_out_are_put_back() {
    let last = "data: {\"type\":\"response.incomplete\",\"response\":{\"id\":\"r\",\"status\":\"incomplete\",\"output\":[],\"x\":1}}";
    let whole = harvested(&format!("{DONE}{last}"), 11, 10_000).expect("whole");
    assert_eq!(whole, json!({"id": "r", "status": "incomplete", "output": [{"id": "a"}, {"id": "b"}], "x": 1}));
}

#[test]
fn a_document_is_a_response_when_it_came_to_an_end() {
    let harvest = |text: &str| {
        let mut harvest = Harvest::new(false, 1_000);
        harvest.feed(text.as_bytes());
        harvest.end();
        harvest.take()
    };
    let whole = r#"{"id":"r","status":"completed","output":[]}"#;
    assert_eq!(harvest(whole), Some(whole.as_bytes().to_vec()));
    for other in [r#"{"id":"r","status":"failed","output":[]}"#, r#"{"error":{}}"#, r#"{"id":"r","outp"#] {
        assert_eq!(harvest(other), None, "{other}");
    }
}

#[test]
fn items_get_an_id_in_the_store_and_leave_it_there() {
    let item = with_id(raw(r#"{"role":"user","content":"hi","n":1.50}"#), |kind| format!("{kind}_1"));
    assert_eq!(item.as_str(), r#"{"id":"message_1","role":"user","content":"hi","n":1.50}"#);
    assert_eq!(item_id(&item).as_deref(), Some("message_1"));
    let kept = with_id(raw(r#"{"id":"own","type":"function_call"}"#), |_| "new".to_owned());
    assert_eq!(item_id(&kept).as_deref(), Some("own"));
    assert_eq!(replayed(&item).expect("goes up").as_str(), r#"{"role":"user","content":"hi","n":1.50}"#);
    assert_eq!(replayed(&raw(r#"{"id":"rs_1","type":"reasoning","summary":[]}"#)), None);
    assert_eq!(replayed(&raw(r#"{"id":"rs_1","type":"reasoning","encrypted_content":null}"#)), None);
    let sealed = raw(r#"{"id":"rs_1","type":"reasoning","encrypted_content":"x"}"#);
    assert_eq!(replayed(&sealed).expect("goes up").as_str(), r#"{"type":"reasoning","encrypted_content":"x"}"#);
    assert_eq!(replayed(&raw("17")), None);
}

#[test]
fn what_a_tool_of_the_vendors_did_keeps_the_id_that_the_vendor_gave_it() {
    let search =
        r#"{"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"x"}}"#;
    assert_eq!(replayed(&raw(search)).expect("goes up").to_value(), raw(search).to_value());
    let picture = r#"{"id":"ig_1","type":"image_generation_call","status":"completed","result":"AAAA"}"#;
    assert_eq!(replayed(&raw(picture)).expect("goes up").to_value(), raw(picture).to_value());
    // A client's own item has none but the one that it got here.
    let output =
        with_id(raw(r#"{"type":"computer_call_output","call_id":"c","output":{}}"#), |_| "item_r_i0".to_owned());
    assert_eq!(
        replayed(&output).expect("goes up").to_value(),
        json!({"type": "computer_call_output", "call_id": "c", "output": {}})
    );
    let call = raw(r#"{"id":"fc_1","type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#);
    assert_eq!(item_id(&replayed(&call).expect("goes up")), None);
}

#[test]
fn a_listed_item_says_everything() {
    let listed = to_list(&raw(r#"{"id":"m","role":"user","content":"hi"}"#));
    let content = json!([{"type": "input_text", "text": "hi"}]);
    assert_eq!(
        listed,
        json!({"id": "m", "type": "message", "role": "user", "status": "completed", "content": content})
    );
    let call = r#"{"id":"f","type":"function_call","name":"x"}"#;
    assert_eq!(to_list(&raw(call)), serde_json::from_str::<Value>(call).expect("JSON"));
}

#[test]
fn a_response_says_what_it_went_on_from() {
    let told = with_previous(br#"{"id":"r","previous_response_id":null,"t":1.0}"#, "p").expect("told");
    assert_eq!(told, br#"{"id":"r","t":1.0,"previous_response_id":"p"}"#);
    assert_eq!(with_previous(br#"{"id":"r","previous_response_id":"own"}"#, "p"), None);
}

#[test]
fn a_stored_conversation_is_refused() {
    let error = continuation(br#"{"model":"m","input":"x","conversation":"conv_1"}"#).expect_err("not supported");
    assert_eq!((error.code, error.param.as_deref()), ("unsupported_feature", Some("conversation")));
    assert!(continuation(br#"{"model":"m","input":"x","conversation":null}"#).is_ok());
}
