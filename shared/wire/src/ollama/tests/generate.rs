use serde_json::json;

use super::*;
use crate::ir::{Format, Part, Role};

fn decode(body: &str) -> Request<'_> {
    decode_generate_request(body.as_bytes(), &CONTEXT).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn a_prompt_is_a_chat_of_one_turn() {
    let request = decode(
        r#"{"model":"m","prompt":"why?","system":"be brief","images":["AA=="],"template":"","context":[],
            "raw":false,"think":true,"format":"json","options":{"num_predict":5},"keep_alive":0}"#,
    );
    assert_eq!((request.format, request.stream, request.max_tokens), (Format::Ollama, true, Some(5)));
    assert_eq!((request.system.len(), request.turns.len()), (1, 1));
    assert_eq!(request.turns[0].role, Role::User);
    assert!(matches!(request.turns[0].parts.as_slice(), [Part::Image { .. }, Part::Text { .. }]));
    let (body, losses) = encode(&request);
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(body["messages"][1], json!({"role":"user","content":"why?","images":["AA=="]}));
    assert_eq!(body["keep_alive"], 0);
}

#[test]
fn a_suffix_is_said_in_words() {
    let request = decode(r#"{"model":"m","prompt":"def f(","suffix":"return 1","system":"python"}"#);
    assert_eq!(request.system.len(), 2);
    let (body, _) = encode(&request);
    assert_eq!(body["messages"][2]["content"], "<prefix>def f(</prefix><suffix>return 1</suffix>");
    assert!(preload(&request).is_none());
    assert!(preload(&decode(r#"{"model":"m","prompt":"","suffix":"x"}"#)).is_none(), "a cursor at the start");
}

#[test]
fn what_means_nothing_elsewhere_is_refused_or_listed() {
    for (body, param) in [
        (r#"{"model":"m","prompt":"x","raw":true}"#, "raw"),
        (r#"{"model":"m","prompt":"x","context":[1,2]}"#, "context"),
    ] {
        let error = decode_generate_request(body.as_bytes(), &CONTEXT).expect_err(body);
        assert_eq!((error.code, error.param.as_deref()), ("unsupported_feature", Some(param)));
    }
    let request = decode(r#"{"model":"m","prompt":"x","template":"{{ .Prompt }}"}"#);
    assert_eq!(encode(&request).1, ["template"]);
    for (body, param) in [
        (r#"{"prompt":"x"}"#, "model"),
        (r#"{"model":"m","prompt":["x"]}"#, "prompt"),
        (r#"{"model":"m","context":"x"}"#, "context"),
    ] {
        let error = decode_generate_request(body.as_bytes(), &CONTEXT).expect_err(body);
        assert_eq!(error.param.as_deref(), Some(param), "{error}");
    }
}

#[test]
fn requests_without_a_prompt_load_the_model() {
    let chat = |body: &str| preload(&decode_request(body.as_bytes(), &CONTEXT).expect("a request"));
    assert_eq!(preload(&decode(r#"{"model":"m"}"#)), Some(Preload::Load));
    assert_eq!(preload(&decode(r#"{"model":"m","prompt":"","system":"s"}"#)), Some(Preload::Load));
    assert_eq!(chat(r#"{"model":"m","messages":[],"keep_alive":0}"#), Some(Preload::Unload));
    assert_eq!(chat(r#"{"model":"m","keep_alive":"0s"}"#), Some(Preload::Unload));
    assert_eq!(chat(r#"{"model":"m","keep_alive":"10m"}"#), Some(Preload::Load));
    assert_eq!(chat(r#"{"model":"m","messages":[{"role":"system","content":"s"}]}"#), None);
    for (shape, field) in [(Shape::Chat, "message"), (Shape::Generate, "response")] {
        let mut out = Vec::new();
        encode_preload(Preload::Unload, &exchange(), shape, &mut out);
        let answer: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!((&answer["done"], &answer["done_reason"]), (&json!(true), &json!("unload")));
        assert!(answer.get(field).is_some(), "{answer}");
    }
}
