use serde_json::json;

use super::*;
use crate::{
    ir::{Choice, FinishReason, Part, PartKind, Role, ToolChoice},
    responses::{encode_response, input_items, misses_summary},
};

/// As Codex sends it.
const TRIGGERED: &str = r#"{"model":"p/m","stream":true,"store":false,"instructions":"Rules.",
    "tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],"tool_choice":"auto",
    "text":{"format":{"type":"json_object"}},
    "input":[{"role":"user","content":"hi"},{"type":"compaction_trigger"}]}"#;

fn compacting() -> ResponseContext {
    ResponseContext { compacts: true, ..exchange() }
}

fn events(kind: PartKind<'static>, text: &'static str, reason: FinishReason) -> [Event<'static>; 7] {
    [
        Event::Start { id: "up".into(), model: "m".into(), created: Some(5) },
        Event::PartStart { choice: 0, part: 0, kind: PartKind::Thinking },
        Event::PartStop { choice: 0, part: 0 },
        Event::PartStart { choice: 0, part: 1, kind },
        Event::TextDelta { choice: 0, part: 1, text: text.into() },
        Event::PartStop { choice: 0, part: 1 },
        Event::Finish { choice: 0, reason, stop_sequence: None },
    ]
}

#[test]
fn a_trigger_makes_of_a_request_one_for_a_summary() {
    let request = request(TRIGGERED);
    assert!(request.compacts);
    let roles: Vec<_> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::User]);
    let Part::Text { text, .. } = &request.turns[1].parts[0] else { panic!("a text") };
    assert!(text.starts_with("Write a summary"), "{text}");
    assert_eq!(request.tool_choice, Some(ToolChoice::None));
    let (written, losses) = encoded(&request, &Profile::default()).expect("encoded");
    assert_eq!((&written["tool_choice"], written.get("text")), (&json!("none"), None));
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(input_items(TRIGGERED.as_bytes()).expect("items").len(), 1, "it is not stored");
}

#[test]
fn the_answer_is_one_item_and_nothing_else() {
    let frames = frames(&written(compacting(), &events(PartKind::Text, "They want tea.", FinishReason::End)));
    assert_eq!(
        kinds(&frames),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let item =
        json!({"id": "cmp_1_0", "type": "compaction", "encrypted_content": "sealed|openai|summary:They want tea."});
    assert_eq!((&frames[3]["item"], &frames[4]["response"]["output"]), (&item, &json!([item])));

    let parts = vec![Part::Thinking { text: "hm".into(), signature: None }, Part::text("They want tea.")];
    let choice = Choice { parts, finish: Some(FinishReason::End), ..Choice::default() };
    let response = Response { id: "up".into(), choices: vec![choice], ..Response::default() };
    let mut out = Vec::new();
    encode_response(&response, &compacting(), &mut out);
    let whole: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!((&whole["status"], &whole["output"]), (&json!("completed"), &json!([item])));
    assert!(!misses_summary(&response));
}

#[test]
fn half_a_summary_is_not_told_and_none_is_a_failure() {
    for (kind, text, reason, last) in [
        (PartKind::Text, "They", FinishReason::MaxTokens, "response.incomplete"),
        (PartKind::Text, " \n", FinishReason::End, "response.failed"),
        (PartKind::Refusal, "I cannot.", FinishReason::Refusal, "response.failed"),
    ] {
        let frames = frames(&written(compacting(), &events(kind, text, reason)));
        let end = frames.last().expect("an end");
        assert_eq!((&end["type"], &end["response"]["output"]), (&json!(last), &json!([])), "{text}");
    }
    let of = |parts, finish| {
        let choice = Choice { parts, finish: Some(finish), ..Choice::default() };
        misses_summary(&Response { choices: vec![choice], ..Response::default() })
    };
    assert!(of(vec![], FinishReason::End) && of(vec![Part::Refusal { text: "no".into() }], FinishReason::Refusal));
    assert!(!of(vec![Part::text("They")], FinishReason::MaxTokens));
}

#[test]
fn the_item_stands_for_its_summary_when_it_comes_back() {
    let body = |sealed: &str| {
        json!({"model": "m", "input": [
            {"role": "user", "content": "hi"},
            {"type": "compaction", "id": "cmp_1_0", "encrypted_content": sealed},
            {"role": "user", "content": "go on"},
        ]})
        .to_string()
    };
    let ours = body("sealed|openai|summary:They want tea.");
    let again = request(&ours);
    let Part::Text { text, .. } = &again.turns[1].parts[0] else { panic!("a text") };
    assert!(again.turns[1].role == Role::User && text.ends_with("\n\nThey want tea."), "{text}");
    assert!(!again.compacts);
    let vendors = body("gAAAA");
    let (written, _) = through(&vendors);
    assert_eq!(written["input"][1]["encrypted_content"], "gAAAA", "the vendor's own stays as it is");
    let refused = refusal_of(&body("sealed|openai|something else"));
    assert_eq!(refused.param.as_deref(), Some("input.1.encrypted_content"));
}
