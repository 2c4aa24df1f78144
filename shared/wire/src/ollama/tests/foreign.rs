//! Requests of other dialects, written for Ollama.

use serde_json::json;

use super::*;
use crate::ir::{
    CallKind, Effort, Format, OutputFormat, Part, Reasoning, Role, Source, SystemRole, ThinkingStyle, Tool, ToolChoice,
    ToolKind, Turn, VendorTool, replace_url, url_sources,
};

fn user(parts: Vec<Part<'static>>) -> Request<'static> {
    let mut request = Request::new(Format::Anthropic, "m");
    request.turns.push(Turn { role: Role::User, parts, name: None });
    request
}

fn image(source: Source<'static>) -> Part<'static> {
    Part::Image { source, detail: None, cache: None }
}

fn document(source: Source<'static>) -> Part<'static> {
    Part::Document { source, name: Some("notes.txt".into()), context: None, citations: false, cache: None }
}

fn inline(media_type: &'static str, data: &'static str) -> Source<'static> {
    Source::Inline { media_type: media_type.into(), data: data.into() }
}

#[test]
fn what_it_cannot_say_and_what_matters_is_refused() {
    let refused = |request: &Request<'_>| encode_with(request, &Profile::default()).expect_err("refused");
    for (part, param) in [
        (image(Source::Url("https://a/b.png".into())), "image"),
        (image(Source::File { id: "file-1".into(), owner: crate::ir::Family::OpenAi }), "image"),
        (document(inline("application/pdf", "AA==")), "document"),
        (Part::Video { source: inline("video/mp4", "AA==") }, "video"),
    ] {
        let error = refused(&user(vec![part]));
        assert_eq!((error.code, error.param.as_deref()), ("unsupported_feature", Some(param)));
    }
    let mut request = user(vec![Part::text("x")]);
    request.sampling.n = Some(2);
    assert_eq!(refused(&request).param.as_deref(), Some("n"));
    let mut request = user(vec![Part::text("x")]);
    request.modalities = vec![crate::ir::Modality::Audio];
    assert_eq!(refused(&request).param.as_deref(), Some("modalities"));
    let mut request = user(vec![Part::text("x")]);
    request.tool_choice = Some(ToolChoice::Vendor("web_search".into()));
    assert_eq!(refused(&request).param.as_deref(), Some("tool_choice"));
    let mut request = user(vec![Part::text("x")]);
    request.tool_choice = Some(ToolChoice::Required);
    let toolless = Profile { tools: false, ..Profile::default() };
    assert_eq!(encode_with(&request, &toolless).expect_err("refused").param.as_deref(), Some("tool_choice"));
}

#[test]
fn a_url_is_taken_once_it_has_been_fetched() {
    let mut request = user(vec![image(Source::Url("https://a/b.png".into()))]);
    let profile = Profile::default();
    let urls: Vec<String> =
        url_sources(&request, Format::Ollama, &profile).into_iter().map(|source| source.url.to_owned()).collect();
    assert_eq!(urls, ["https://a/b.png"]);
    replace_url(&mut request, &urls[0], "image/png", "QUJD");
    assert_eq!(encode(&request).0["messages"][0]["images"], json!(["QUJD"]));
}

#[test]
fn text_documents_become_text_and_sounds_travel_as_images() {
    let sound = Part::Audio { source: inline("audio/wav", "UklGRg=="), format: None, transcript: None };
    let request = user(vec![
        document(inline("text/plain", "aGVsbG8=")),
        document(Source::Text("more".into())),
        sound,
        Part::text("?"),
    ]);
    let (body, _) = encode(&request);
    assert_eq!(body["messages"][0]["content"], "notes.txt\nhello\nnotes.txt\nmore\n?");
    assert_eq!(body["messages"][0]["images"], json!(["UklGRg=="]));
}

#[test]
fn results_with_images_and_errors_are_told_apart() {
    let result = |call: &'static str, parts, is_error| Part::ToolResult {
        call_id: call.into(),
        name: Some("shot".into()),
        parts,
        is_error,
        cache: None,
    };
    let request = user(vec![
        Part::text("after"),
        result("a", vec![Part::text("seen: "), image(inline("image/png", "AA=="))], false),
        result("b", vec![Part::text("no such file")], true),
    ]);
    let (body, losses) = encode(&request);
    let messages = body["messages"].as_array().expect("messages");
    assert_eq!(messages[0]["content"], "seen: [image: see the next user message]");
    assert_eq!(messages[1]["content"], "Error: no such file");
    assert_eq!(messages[2], json!({"role":"user","content":"after","images":["AA=="]}));
    assert!(losses.is_empty(), "{losses:?}");
}

#[test]
fn turns_with_nothing_to_say_are_left_out() {
    let mut request = user(vec![Part::text("x")]);
    request.system.push(crate::ir::SystemPart {
        text: "last".into(),
        role: SystemRole::System,
        position: 9,
        cache: Some(crate::ir::CacheMark::OneHour),
    });
    let data = Signature { family: crate::ir::Family::Anthropic, payload: "s".into() };
    let raw = crate::ir::Json::from_string("{}".into()).expect("JSON");
    let parts = vec![
        Part::RedactedThinking { data },
        Part::ServerTool { family: crate::ir::Family::Anthropic, raw: raw.clone() },
    ];
    request.turns.push(Turn { role: Role::Assistant, parts, name: None });
    request.vendor_tools.push(VendorTool { family: crate::ir::Family::Anthropic, name: "bash_2025".into(), raw });
    let (body, losses) = encode(&request);
    let roles: Vec<_> = body["messages"].as_array().expect("messages").iter().map(|own| &own["role"]).collect();
    assert_eq!(roles, ["user"], "what is said last joins what was said before");
    assert_eq!(losses, ["redacted_thinking", "server_tool", "tools.bash_2025", "cache_control"]);
}

#[test]
fn tools_are_offered_as_the_choice_allows() {
    let offered = |choice: Option<ToolChoice<'static>>, tools: bool| {
        let mut request = user(vec![Part::text("x")]);
        for name in ["a", "b"] {
            let kind = if name == "a" {
                ToolKind::Function { schema: None, strict: None }
            } else {
                ToolKind::Custom { grammar: None }
            };
            request.tools.push(Tool { name: name.into(), description: None, kind, namespace: None, cache: None });
        }
        request.tool_choice = choice;
        let (body, losses) = encode_with(&request, &Profile { tools, ..Profile::default() }).expect("encoded");
        (body["tools"].as_array().map_or(0, Vec::len), losses)
    };
    assert_eq!(offered(None, true), (2, vec![]));
    assert_eq!(offered(Some(ToolChoice::None), true), (0, vec![]));
    assert_eq!(offered(Some(ToolChoice::Required), true), (2, vec!["tool_choice".to_owned()]));
    let allowed = ToolChoice::Allowed { names: vec!["b".into()], required: false };
    assert_eq!(offered(Some(allowed), true), (1, vec![]));
    assert_eq!(offered(None, false), (0, vec!["tools".to_owned()]));
}

#[test]
fn custom_calls_travel_as_functions() {
    let mut request = user(vec![Part::text("x")]);
    let call = Part::ToolCall {
        id: "c".into(),
        name: "apply_patch".into(),
        arguments: "*** Begin".into(),
        kind: CallKind::Custom,
        signature: None,
        cache: None,
    };
    request.turns.push(Turn { role: Role::Assistant, parts: vec![call], name: None });
    let (body, _) = encode(&request);
    assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["arguments"], json!({"input":"*** Begin"}));
}

#[test]
fn thinking_is_asked_for_in_the_models_own_way() {
    let think = |reasoning: Reasoning, thinking: ThinkingStyle| {
        let mut request = user(vec![Part::text("x")]);
        request.reasoning = Some(reasoning);
        let (body, losses) = encode_with(&request, &Profile { thinking, ..Profile::default() }).expect("encoded");
        (body["think"].clone(), losses)
    };
    let on = Reasoning { enabled: Some(true), ..Reasoning::default() };
    let off = Reasoning { enabled: Some(false), ..Reasoning::default() };
    let high = Reasoning { effort: Some(Effort::Max), ..Reasoning::default() };
    let budget = Reasoning { budget: Some(4_096), ..Reasoning::default() };
    assert_eq!(think(on, ThinkingStyle::Effort), (json!(true), vec![]));
    assert_eq!(think(off, ThinkingStyle::Effort), (json!(false), vec![]));
    assert_eq!(think(high, ThinkingStyle::Effort), (json!("high"), vec!["reasoning_effort".to_owned()]), "clamped");
    assert_eq!(think(budget, ThinkingStyle::Effort), (json!("low"), vec![]));
    assert_eq!(think(high, ThinkingStyle::Adaptive), (json!(true), vec!["reasoning.effort".to_owned()]));
    assert_eq!(think(on, ThinkingStyle::None), (json!(null), vec!["reasoning".to_owned()]));
    assert_eq!(think(off, ThinkingStyle::None), (json!(null), vec![]));
    let shown = Reasoning { visible: Some(true), ..Reasoning::default() };
    assert_eq!(think(shown, ThinkingStyle::Effort), (json!(null), vec![]), "nothing was asked for");
}

#[test]
fn schemas_for_the_answer_go_through_as_they_are() {
    let mut request = user(vec![Part::text("x")]);
    let schema = crate::ir::Json::from_string(r#"{"type":"object", "a": 1.0}"#.into()).expect("JSON");
    request.output =
        OutputFormat::Schema { name: Some("n".into()), description: Some("d".into()), schema, strict: Some(true) };
    let (body, losses) = encode(&request);
    assert_eq!(body["format"], json!({"type":"object","a":1.0}));
    assert_eq!(losses, ["response_format.json_schema.description"]);
    let plain = Profile { json_schema: false, ..Profile::default() };
    let (body, losses) = encode_with(&request, &plain).expect("encoded");
    assert_eq!(body["format"], "json");
    assert_eq!(losses, ["response_format.json_schema"]);
}
