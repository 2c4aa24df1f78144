use serde_json::{Value, json};

use super::{CLAUDE, LLAMA, NOVA, chat, encode, plain_profile, request, turn};
use crate::ir::{CacheMark, Format, Part, Profile, Request, Role, Source, SystemPart, SystemRole, Tool, ToolKind};

fn text(text: &'static str, cache: Option<CacheMark>) -> Part<'static> {
    Part::Text { text: text.into(), annotations: Vec::new(), cache }
}

fn tool(cache: Option<CacheMark>) -> Tool<'static> {
    Tool {
        name: "f".into(),
        description: None,
        kind: ToolKind::Function { schema: None, strict: None },
        namespace: None,
        cache,
    }
}

fn document(media_type: &'static str, cache: Option<CacheMark>) -> Part<'static> {
    let source = Source::Inline { media_type: media_type.into(), data: "AA==".into() };
    Part::Document { source, name: None, context: None, citations: false, cache }
}

fn marked() -> Request<'static> {
    let five = Some(CacheMark::FiveMinutes);
    let mut request = request(vec![
        turn(Role::User, vec![text("one", five)]),
        turn(Role::Assistant, vec![Part::text("two")]),
        turn(Role::User, vec![text("three", five)]),
        turn(Role::Assistant, vec![Part::text("four")]),
        turn(Role::User, vec![text("five", five)]),
    ]);
    request.tools.push(tool(Some(CacheMark::OneHour)));
    request.system.push(SystemPart { text: "s".into(), role: SystemRole::System, position: 0, cache: five });
    request
}

fn points(value: &Value) -> usize {
    value.to_string().matches("cachePoint").count()
}

#[test]
fn marks_of_the_client_are_points_behind_what_they_mark_and_never_more_than_four() {
    let (body, losses) = encode(&marked(), CLAUDE, &Profile::default()).expect("encoded");
    assert_eq!(body["toolConfig"]["tools"][1], json!({"cachePoint": {"type": "default", "ttl": "1h"}}));
    assert_eq!(body["system"][1], json!({"cachePoint": {"type": "default"}}));
    assert_eq!(points(&body), 4);
    assert_eq!(points(&body["messages"][0]), 0, "the oldest of the conversation goes");
    assert_eq!(body["messages"][4]["content"][1], json!({"cachePoint": {"type": "default"}}));
    assert_eq!(losses, ["cache_control"]);
}

#[test]
fn nova_caches_texts_for_five_minutes_and_others_nothing() {
    let (body, losses) = encode(&marked(), NOVA, &Profile::default()).expect("encoded");
    assert_eq!((points(&body["toolConfig"]), points(&body)), (0, 4));
    assert_eq!(losses, ["cache_control"]);
    let (body, losses) = encode(&marked(), LLAMA, &Profile::default()).expect("encoded");
    assert_eq!((points(&body), losses), (0, vec!["cache_control".to_owned()]));
    let hour = request(vec![turn(Role::User, vec![text("x", Some(CacheMark::OneHour))])]);
    let (body, losses) = encode(&hour, NOVA, &Profile::default()).expect("encoded");
    assert_eq!(body["messages"][0]["content"][1], json!({"cachePoint": {"type": "default"}}));
    assert_eq!(losses, ["cache_control.ttl"]);
}

#[test]
fn dialects_without_marks_get_them_where_it_pays() {
    let long = r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"1"},{"role":"assistant","content":"2"},
        {"role":"user","content":"3"},{"role":"assistant","content":"4"},{"role":"user","content":"5"}],
        "tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]}"#;
    let (body, losses) = chat(long, CLAUDE, &Profile::default()).expect("encoded");
    assert_eq!(points(&body), 4);
    for place in [
        &body["toolConfig"]["tools"][2],
        &body["system"][1],
        &body["messages"][2]["content"][1],
        &body["messages"][4]["content"][1],
    ] {
        assert_eq!(place, &json!({"cachePoint": {"type": "default"}}));
    }
    assert!(losses.is_empty());
    let (body, _) = chat(long, LLAMA, &Profile::default()).expect("encoded");
    assert_eq!(points(&body), 0);
    let (body, _) = chat(long, CLAUDE, &plain_profile()).expect("encoded");
    assert_eq!(points(&body), 0, "a setting turns it off");
    let short = r#"{"model":"m","messages":[{"role":"user","content":"1"}]}"#;
    assert_eq!(points(&chat(short, CLAUDE, &Profile::default()).expect("encoded").0), 0);
    // A client whose dialect has marks, and that set none, wants none.
    let mut unmarked = marked();
    unmarked.tools[0].cache = None;
    unmarked.system[0].cache = None;
    for turn in &mut unmarked.turns {
        turn.parts.iter_mut().filter_map(Part::cache_mut).for_each(|cache| *cache = None);
    }
    assert_eq!(points(&encode(&unmarked, CLAUDE, &Profile::default()).expect("encoded").0), 0);
    unmarked.format = Format::Gemini;
    assert_eq!(points(&encode(&unmarked, CLAUDE, &Profile::default()).expect("encoded").0), 4);
}

#[test]
fn no_point_stands_behind_a_document_that_becomes_text() {
    let five = Some(CacheMark::FiveMinutes);
    let content = |parts: Vec<Part<'static>>| {
        let (body, losses) =
            encode(&request(vec![turn(Role::User, parts)]), CLAUDE, &Profile::default()).expect("encoded");
        let blocks = body["messages"][0]["content"].as_array().expect("blocks").clone();
        let kinds: Vec<String> = blocks.iter().filter_map(|block| block.as_object()?.keys().next().cloned()).collect();
        (kinds.join(" "), losses)
    };
    assert_eq!(content(vec![text("a", None), document("text/csv", five)]).0, "text cachePoint document");
    assert_eq!(content(vec![text("a", None), document("application/pdf", five)]).0, "text document cachePoint");
    let two = vec![text("a", None), document("text/csv", None), document("text/html", five)];
    assert_eq!(content(two).0, "text cachePoint document document");
    let (kinds, losses) = content(vec![document("text/csv", five), text("a", None)]);
    assert_eq!((kinds.as_str(), losses), ("document text", vec!["cache_control".to_owned()]));
}

#[test]
fn a_mark_inside_a_result_counts_for_the_result() {
    let five = Some(CacheMark::FiveMinutes);
    let (body, _) = encode(
        &request(vec![
            turn(Role::User, vec![Part::text("go")]),
            turn(Role::Assistant, vec![super::call("a", "f", "{}")]),
            turn(Role::Tool, vec![super::result("a", vec![text("1", five)], false)]),
        ]),
        CLAUDE,
        &Profile::default(),
    )
    .expect("encoded");
    assert_eq!(body["messages"][2]["content"][1], json!({"cachePoint": {"type": "default"}}));
}
