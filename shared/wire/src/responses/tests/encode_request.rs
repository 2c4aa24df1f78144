use serde_json::json;

use super::*;
use crate::ir::Json;
use crate::ir::{
    CallKind, Effort, EffortScale, Format, Modality, OutputFormat, Part, Reasoning, Role, Source, SystemPart,
    SystemRole, ThinkingStyle, Tool, ToolChoice, ToolKind, Turn, VendorTool,
};

fn turn(role: Role, parts: Vec<Part<'static>>) -> Turn<'static> {
    Turn { role, parts, name: None }
}

fn call(id: &'static str, kind: CallKind) -> Part<'static> {
    Part::ToolCall { id: id.into(), name: "f".into(), arguments: "".into(), kind, signature: None, cache: None }
}

fn result(id: &'static str, parts: Vec<Part<'static>>, is_error: bool) -> Part<'static> {
    Part::ToolResult { call_id: id.into(), name: None, parts, is_error, cache: None }
}

fn chat() -> Request<'static> {
    Request::new(Format::OpenAiChat, "m")
}

fn system(text: &'static str, role: SystemRole, position: usize) -> SystemPart<'static> {
    SystemPart { text: text.into(), role, position, cache: None }
}

fn ok(request: &Request<'_>) -> (Value, Losses) {
    encoded(request, &Profile::default()).expect("encoded")
}

#[test]
fn a_body_of_the_same_format_comes_back_the_same() {
    let body = json!({
        "model": "up",
        "instructions": "be brief",
        "input": [
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "look", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_image", "image_url": "https://x/a.png", "detail": "high"},
                {"type": "input_file", "file_id": "file_1"},
            ]},
            {"type": "reasoning", "summary": [], "encrypted_content": "enc"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}], "phase": "commentary"},
            {"type": "function_call", "call_id": "c1", "name": "g", "namespace": "ns", "arguments": "{\"n\": 1.50}"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "a\nb"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "mid"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "and now?"}]},
        ],
        "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true, "defer_loading": true},
            {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "s"}},
            {"type": "namespace", "name": "ns", "description": "group", "tools": [
                {"type": "function", "name": "g", "parameters": {"type": "object"}},
            ]},
            {"type": "mcp", "server_label": "s", "server_url": "https://s"},
        ],
        "tool_choice": "required",
        "parallel_tool_calls": false,
        "max_output_tokens": 50,
        "temperature": 0.5,
        "reasoning": {"effort": "low", "summary": "concise"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true}, "verbosity": "low"},
        "include": ["reasoning.encrypted_content", "web_search_call.action.sources"],
        "user": "u",
        "store": false,
        "metadata": {"a": "b"},
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "truncation": "auto",
        "max_tool_calls": 2,
        "previous_response_id": "resp_0",
        "prompt": {"id": "p"},
        "client_metadata": {"t": "1"},
    });
    let (back, losses) = through(&body.to_string());
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(back, body);
}

#[test]
fn arguments_are_never_reprinted() {
    let body = r#"{"model":"m","input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{\"b\": 1.0 , \"a\":[ ]}"}]}"#;
    let (back, _) = through(body);
    assert_eq!(back["input"][0]["arguments"], "{\"b\": 1.0 , \"a\":[ ]}");
}

#[test]
fn system_texts_in_front_are_instructions_and_later_ones_keep_their_place() {
    let mut request = chat();
    request.system = vec![
        system("a", SystemRole::System, 0),
        system("b", SystemRole::System, 0),
        system("late", SystemRole::Developer, 1),
    ];
    request.turns = vec![turn(Role::User, vec![Part::text("x")]), turn(Role::User, vec![Part::text("y")])];
    let (body, losses) = ok(&request);
    assert!(losses.is_empty());
    assert_eq!(body["instructions"], "a\n\nb");
    let roles: Vec<_> = body["input"].as_array().expect("items").iter().map(|item| item["role"].clone()).collect();
    assert_eq!(roles, ["user", "system", "user"]);
    let developer = Profile { developer_role: true, ..Profile::default() };
    assert_eq!(encoded(&request, &developer).expect("encoded").0["input"][1]["role"], "developer");
}

#[test]
fn for_json_output_the_system_text_stays_in_the_input() {
    // OpenAI wants the word "JSON" in the input, and does not look for it in the instructions.
    let mut request = chat();
    request.system = vec![system("answer in JSON", SystemRole::System, 0)];
    request.turns = vec![turn(Role::User, vec![Part::text("x")])];
    request.output = OutputFormat::Json;
    let (body, _) = ok(&request);
    assert!(body.get("instructions").is_none());
    assert_eq!(body["input"][0]["content"][0]["text"], "answer in JSON");
    assert_eq!(body["text"]["format"]["type"], "json_object");
}

#[test]
fn defaults_that_differ_between_the_dialects_are_written() {
    let mut request = chat();
    request.turns = vec![turn(Role::User, vec![Part::text("x")])];
    request.max_tokens = Some(1);
    request.tools = vec![Tool {
        name: "f".into(),
        description: None,
        kind: ToolKind::Function { schema: None, strict: None },
        namespace: None,
        cache: None,
    }];
    let (body, _) = ok(&request);
    assert_eq!(body["store"], false, "nobody asked for the answer to be kept");
    assert_eq!(body["tools"][0]["strict"], false, "here it would be true");
    assert_eq!(body["tools"][0]["parameters"], json!({"type": "object", "properties": {}}));
    assert_eq!(body["max_output_tokens"], 16, "less is refused");
    assert!(body.get("stream_options").is_none(), "usage always comes");
}

#[test]
fn results_stand_before_what_else_the_turn_says() {
    let mut request = Request::new(Format::Anthropic, "m");
    request.turns = vec![
        turn(Role::Assistant, vec![call("a", CallKind::Function), call("b", CallKind::Custom)]),
        turn(
            Role::User,
            vec![Part::text("note"), result("a", vec![], false), result("b", vec![Part::text("no")], true)],
        ),
    ];
    let (body, _) = ok(&request);
    let kinds: Vec<_> = body["input"].as_array().expect("items").iter().map(|item| item["type"].clone()).collect();
    assert_eq!(
        kinds,
        ["function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output", "message"]
    );
    assert_eq!(body["input"][0]["arguments"], "{}");
    assert_eq!(body["input"][2]["output"], "");
    assert_eq!(body["input"][3]["output"], "Error: no", "there is no flag for a failure");
}

#[test]
fn images_in_results_go_up_inside_them() {
    let mut request = Request::new(Format::Anthropic, "m");
    let image = Part::Image {
        source: Source::Inline { media_type: "image/png".into(), data: "AA==".into() },
        detail: None,
        cache: None,
    };
    request.turns = vec![turn(Role::Tool, vec![result("a", vec![Part::text("see"), image], true)])];
    let (body, _) = ok(&request);
    assert_eq!(
        body["input"][0]["output"],
        json!([
            {"type": "input_text", "text": "Error:"},
            {"type": "input_text", "text": "see"},
            {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
        ])
    );
}

#[test]
fn long_ids_of_other_vendors_are_shortened_on_both_sides_of_the_round() {
    let long = "x".repeat(200);
    let mut request = Request::new(Format::Gemini, "m");
    let id = || std::borrow::Cow::Owned(long.clone());
    request.turns = vec![
        turn(
            Role::Assistant,
            vec![Part::ToolCall {
                id: id(),
                name: "f".into(),
                arguments: "{}".into(),
                kind: CallKind::Function,
                signature: None,
                cache: None,
            }],
        ),
        turn(
            Role::Tool,
            vec![Part::ToolResult { call_id: id(), name: None, parts: vec![], is_error: false, cache: None }],
        ),
    ];
    let (body, _) = ok(&request);
    let short = body["input"][0]["call_id"].as_str().expect("an id");
    assert_eq!((short.len(), &body["input"][1]["call_id"]), (37, &body["input"][0]["call_id"]));
}

#[test]
fn thoughts_go_back_only_to_who_can_read_them() {
    let thought = |family, text: &'static str| Part::Thinking {
        text: text.into(),
        signature: Some(Signature { family, payload: "sig".into() }),
    };
    let mut request = chat();
    request.turns = vec![
        turn(
            Role::Assistant,
            vec![
                thought(Family::OpenAi, "mine"),
                thought(Family::Anthropic, "foreign"),
                Part::RedactedThinking { data: Signature { family: Family::Anthropic, payload: "blob".into() } },
                Part::text("so"),
                thought(Family::OpenAi, "trailing"),
            ],
        ),
        turn(Role::User, vec![Part::text("go on")]),
    ];
    let (body, losses) = ok(&request);
    let items = body["input"].as_array().expect("items");
    assert_eq!(items.len(), 3, "a thought that nothing follows is refused upstream, so it is left out: {items:?}");
    assert_eq!(
        items[0],
        json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "mine"}], "encrypted_content": "sig"}),
        "without an id: one that is not the vendor's own is refused"
    );
    assert_eq!(losses.names().collect::<Vec<_>>(), ["thinking", "redacted_thinking"]);
    let back = Profile { reasoning_content_back: true, ..Profile::default() };
    let (body, _) = encoded(&request, &back).expect("encoded");
    assert_eq!(body["input"][1]["content"][0], json!({"type": "reasoning_text", "text": "foreign"}));
}

#[test]
fn effort_is_clamped_and_budgets_become_efforts() {
    let mut request = Request::new(Format::Anthropic, "m");
    request.turns = vec![turn(Role::User, vec![Part::text("x")])];
    for (reasoning, effort, summary) in [
        (Reasoning { effort: Some(Effort::Max), ..Reasoning::default() }, Some("high"), Some("auto")),
        (Reasoning { budget: Some(10_000), ..Reasoning::default() }, Some("medium"), Some("auto")),
        (Reasoning { adaptive: true, ..Reasoning::default() }, None, Some("auto")),
        (Reasoning { visible: Some(false), effort: Some(Effort::Low), ..Reasoning::default() }, Some("low"), None),
    ] {
        request.reasoning = Some(reasoning);
        let (body, losses) = ok(&request);
        let moved = reasoning.effort == Some(Effort::Max);
        assert_eq!(losses.names().collect::<Vec<_>>(), if moved { vec!["reasoning_effort"] } else { vec![] });
        assert_eq!(body["reasoning"]["effort"].as_str(), effort, "{reasoning:?}");
        assert_eq!(body["reasoning"]["summary"].as_str(), summary, "{reasoning:?}");
    }
    let wide = Profile { efforts: EffortScale(Effort::ALL.to_vec()), ..Profile::default() };
    for (effort, word) in [(Effort::XHigh, "xhigh"), (Effort::Max, "max")] {
        request.reasoning = Some(Reasoning { effort: Some(effort), ..Reasoning::default() });
        let (body, losses) = encoded(&request, &wide).expect("encoded");
        assert_eq!((&body["reasoning"]["effort"], losses.is_empty()), (&json!(word), true));
    }
    let (body, _) = encoded(&request, &wide).expect("encoded");
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]), "signatures are asked for");
    let without = Profile { thinking: ThinkingStyle::None, ..Profile::default() };
    let (body, losses) = encoded(&request, &without).expect("encoded");
    assert!(body.get("reasoning").is_none() && body.get("include").is_none());
    assert_eq!(losses.names().collect::<Vec<_>>(), ["reasoning"]);
}

#[test]
fn what_cannot_be_said_is_refused_or_listed() {
    let mut request = chat();
    request.turns = vec![turn(Role::User, vec![Part::text("x")])];
    request.stop = vec!["END".into()];
    request.sampling.seed = Some(1);
    request.sampling.top_k = Some(1);
    request.sampling.temperature = Some(1.0);
    request.extensions.push("prediction", Json::from_string("{}".into()).expect("JSON"));
    request.extensions.push("verbosity", Json::from_string("\"low\"".into()).expect("JSON"));
    let fixed = Profile { fixed_sampling: true, ..Profile::default() };
    let (body, losses) = encoded(&request, &fixed).expect("encoded");
    assert_eq!(losses.names().collect::<Vec<_>>(), ["temperature", "stop", "top_k", "seed", "prediction"]);
    assert_eq!(body["text"]["verbosity"], "low");
    for (change, param) in [
        (Box::new(|request: &mut Request<'_>| request.sampling.n = Some(2)) as Box<dyn Fn(&mut Request<'_>)>, "n"),
        (Box::new(|request| request.modalities = vec![Modality::Audio]), "modalities"),
        (Box::new(|request| request.tool_choice = Some(ToolChoice::Vendor("google_search".into()))), "tool_choice"),
        (
            Box::new(|request| request.turns[0].parts = vec![Part::Video { source: Source::Url("https://x".into()) }]),
            "video",
        ),
    ] {
        let mut request = chat();
        request.turns = vec![turn(Role::User, vec![Part::text("x")])];
        change(&mut request);
        let error = encoded(&request, &Profile::default()).expect_err(param);
        assert_eq!((error.code, error.param.as_deref()), ("unsupported_feature", Some(param)));
    }
}

#[test]
fn a_file_of_another_vendor_is_refused() {
    let mut request = Request::new(Format::Anthropic, "m");
    let source = || Source::File { id: "f".into(), owner: Family::Anthropic };
    for part in [
        Part::Image { source: source(), detail: None, cache: None },
        Part::Document { source: source(), name: None, context: None, citations: false, cache: None },
    ] {
        request.turns = vec![turn(Role::User, vec![part])];
        assert!(encoded(&request, &Profile::default()).is_err());
    }
}

#[test]
fn tools_of_vendors_pass_within_the_family_only() {
    let raw = |text: &str| Json::from_string(text.to_owned()).expect("JSON");
    let mut request = chat();
    request.turns = vec![turn(Role::User, vec![Part::text("x")])];
    request.vendor_tools = vec![VendorTool {
        family: Family::OpenAi,
        name: "web_search_options".into(),
        raw: raw(
            r#"{"search_context_size":"low","user_location":{"type":"approximate","approximate":{"city":"Bern"}}}"#,
        ),
    }];
    let (body, losses) = ok(&request);
    assert!(losses.is_empty());
    assert_eq!(
        body["tools"],
        json!([{"type": "web_search", "search_context_size": "low", "user_location": {"type": "approximate", "city": "Bern"}}])
    );
    request.format = Format::Anthropic;
    request.vendor_tools[0] =
        VendorTool { family: Family::Anthropic, name: "web_search_20250305".into(), raw: raw("{}") };
    request.turns[0].parts.push(Part::ServerTool { family: Family::Anthropic, raw: raw("{}") });
    let (body, losses) = ok(&request);
    assert!(body.get("tools").is_none());
    assert_eq!(losses.names().collect::<Vec<_>>(), ["server_tool", "tools.web_search_20250305"]);
}

#[test]
fn a_grammar_in_chats_form_is_unfolded() {
    let mut request = chat();
    request.turns = vec![turn(Role::User, vec![Part::text("x")])];
    let grammar = r#"{"type":"grammar","grammar":{"syntax":"regex","definition":"a\"b"}}"#;
    request.tools = vec![Tool {
        name: "c".into(),
        description: None,
        kind: ToolKind::Custom { grammar: Json::from_string(grammar.into()) },
        namespace: None,
        cache: None,
    }];
    request.tool_choice = Some(ToolChoice::Named("c".into()));
    let (body, _) = ok(&request);
    assert_eq!(body["tools"][0]["format"], json!({"type": "grammar", "syntax": "regex", "definition": "a\"b"}));
    assert_eq!(body["tool_choice"], json!({"type": "custom", "name": "c"}));
}

#[test]
fn a_line_that_changes_with_every_request_is_left_out() {
    let mut request = Request::new(Format::Anthropic, "m");
    request.system =
        vec![system("x-anthropic-billing-header: v=1", SystemRole::System, 0), system("rules", SystemRole::System, 0)];
    request.turns = vec![turn(Role::User, vec![Part::text("x")])];
    let (body, losses) = ok(&request);
    assert_eq!(body["instructions"], "rules");
    assert!(!losses.is_empty());
}
