use serde_json::json;

use super::*;
use crate::{
    codec::WireError,
    ir::{Json, Part, Role},
};

fn raw(text: &str) -> Json<'static> {
    Json::from_string(text.to_owned()).expect("JSON")
}

fn nothing(_: &str) -> Option<Option<Json<'static>>> {
    None
}

#[test]
fn a_body_says_what_it_goes_on_from() {
    let found = continuation(br#"{"model":"m","previous_response_id":"resp_1","input":"x"}"#).expect("read");
    assert_eq!((found.previous_response_id.as_deref(), found.store), (Some("resp_1"), true));
    let body = br#"{"model":"m","store":false,"input":[{"type":"item_reference","id":"a"},{"id":"b"},{"id":"c","role":"user","content":"x"},
        {"id":"d","type":"reasoning","summary":[]}]}"#;
    let found = continuation(body).expect("read");
    assert_eq!((found.previous_response_id, found.store), (None, false));
    assert_eq!(found.references, ["a", "b"]);
    let error = continuation(br#"{"model":"m","input":"x","background":true}"#).expect_err("not supported");
    assert_eq!((error.code, error.param.as_deref()), ("unsupported_feature", Some("background")));
    assert!(continuation(b"[").is_err());
}

#[test]
fn a_body_that_has_been_scanned_says_the_same() {
    for body in [
        r#"{"model":"m","input":"x"}"#,
        r#"{"model":"m","input":"x","previous_response_id":"resp_1","store":false,"background":false}"#,
        r#"{"model":"m","input":"x","previous_response_id":"","store":null,"background":null,"conversation":null}"#,
        r#"{"model":"m","input":"x","previous_response_id":"resp_\u0031"}"#,
        r#"{"model":"m","input":[{"type":"item_reference","id":"a"},{"id":"b"}]}"#,
        r#"{"model":"m","input":"x","background":true}"#,
        r#"{"model":"m","input":"x","conversation":"conv_1"}"#,
        r#"{"model":"m","input":"x","store":"yes"}"#,
        r#"{"model":"m","input":"x","previous_response_id":7}"#,
    ] {
        let scanned = crate::scan::scan(body.as_bytes()).expect("scanned");
        let told = |error: WireError| (error.code, error.param, error.message);
        assert_eq!(
            continuation_of(body.as_bytes(), &scanned).map_err(told),
            continuation(body.as_bytes()).map_err(told),
            "{body}"
        );
    }
}

#[test]
fn stored_items_stand_in_front_and_the_rest_survives() {
    let body = br#"{"model":"m", "previous_response_id":"resp_1","input":"and now?","temperature":0.50,"store":true,"x":{"y": 1.0}}"#;
    let stored = [
        raw(r#"{"type":"message","role":"user","content":"first"}"#),
        raw(r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"answer"}]}"#),
    ];
    let whole = with_history(body, &stored, &nothing).expect("joined");
    let text = String::from_utf8(whole.clone()).expect("text");
    assert!(text.contains(r#""temperature":0.50"#) && text.contains(r#""x":{"y": 1.0}"#), "{text}");
    assert!(!text.contains("previous_response_id") && text.contains(r#""store":true"#));
    let request = decode_request(&whole, &CONTEXT).expect("a request");
    assert_eq!(
        request.turns.iter().map(|turn| turn.role).collect::<Vec<_>>(),
        [Role::User, Role::Assistant, Role::User]
    );
    assert_eq!(request.turns[2].parts, [Part::text("and now?")]);
}

#[test]
fn references_become_what_they_refer_to() {
    let body = br#"{"model":"m","input":[{"type":"item_reference","id":"msg_1"},{"type":"item_reference","id":"rs_1"},{"type":"item_reference","id":"gone"},{"role":"user","content":"x"}]}"#;
    let find = |id: &str| match id {
        "msg_1" => Some(Some(raw(r#"{"role":"assistant","content":"found"}"#))),
        // A thought that stays here.
        "rs_1" => Some(None),
        _ => None,
    };
    let whole = with_history(body, &[], &find).expect("joined");
    let value: Value = serde_json::from_slice(&whole).expect("JSON");
    assert_eq!(value["input"][0], json!({"role": "assistant", "content": "found"}));
    assert_eq!(value["input"][1], json!({"type": "item_reference", "id": "gone"}));
    assert_eq!(value["input"][2]["content"], "x");
}

#[test]
fn what_an_exchange_leaves_is_read_from_both_sides() {
    let items = input_items(br#"{"model":"m","input":"hi"}"#).expect("items");
    assert_eq!(
        items[0].to_value(),
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]})
    );
    let items = input_items(br#"{"model":"m","input":[{"role":"user","content":"a"}, {"role":"user","content":"b"}]}"#);
    assert_eq!(items.expect("items").len(), 2);
    assert!(input_items(br#"{"model":"m"}"#).expect("items").is_empty());
    let answer = br#"{"id":"r","output":[{"type":"message", "content":[]}]}"#;
    assert_eq!(output_items(answer).expect("items")[0].as_str(), r#"{"type":"message", "content":[]}"#);
    let event = br#"{"type":"response.completed","response":{"output":[{"type":"reasoning"}]}}"#;
    assert_eq!(output_items(event).expect("items").len(), 1);
    assert!(output_items(br#"{"error":{}}"#).is_err());
}
