use serde_json::json;

use super::*;
use crate::ir::{CacheMark, CallKind, Effort, OutputFormat, Part, Role, Source, ToolChoice, ToolKind};

/// What Claude Code 2.1 sends in a tool loop, shortened.
const CLAUDE_CODE: &str = r#"{"model":"p/m","max_tokens":32000,"stream":true,
    "system":[
        {"type":"text","text":"x-anthropic-billing-header: cc_version=2.1.197.b78; cc_entrypoint=sdk-cli;"},
        {"type":"text","text":"You are a helper.","cache_control":{"type":"ephemeral"}},
        {"type":"text","text":"Long text.","cache_control":{"type":"ephemeral","ttl":"1h","scope":"global"}}],
    "messages":[
        {"role":"user","content":[{"type":"text","text":"context"},{"type":"text","text":"please run it"}]},
        {"role":"system","content":"Today is Monday."},
        {"role":"assistant","content":[
            {"type":"thinking","thinking":"Let me think.","signature":"EqQB"},
            {"type":"tool_use","id":"toolu_1","name":"Bash","input":{"command": "ls",  "n": 1.0},"caller":{"type":"direct"}}]},
        {"role":"user","content":[
            {"tool_use_id":"toolu_1","type":"tool_result","content":"omni-42","is_error":false,"cache_control":{"type":"ephemeral"}},
            {"type":"text","text":"<system-reminder>be quick</system-reminder>"}]}],
    "tools":[{"name":"Bash","description":"Runs","input_schema":{"type":"object"},"eager_input_streaming":true}],
    "metadata":{"user_id":"{\"device_id\":\"d\"}"},"thinking":{"type":"adaptive"},
    "context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},
    "output_config":{"effort":"high","task_budget":{"type":"tokens","total":9}}}"#;

#[test]
fn everything_that_claude_code_sends_is_understood() {
    let request = read(CLAUDE_CODE);
    assert_eq!((request.model.as_ref(), request.max_tokens, request.stream), ("p/m", Some(32_000), true));
    let systems: Vec<_> = request.system.iter().map(|part| (part.text.as_ref(), part.position, part.cache)).collect();
    assert_eq!(
        systems,
        [
            ("You are a helper.", 0, Some(CacheMark::FiveMinutes)),
            ("Long text.", 0, Some(CacheMark::OneHour)),
            ("Today is Monday.", 1, None),
        ]
    );
    let roles: Vec<_> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::User]);
    let Part::Thinking { signature: Some(signature), .. } = &request.turns[1].parts[0] else { panic!("no thought") };
    assert_eq!((signature.family, signature.payload.as_ref()), (Family::Anthropic, "EqQB"));
    let Part::ToolCall { arguments, kind, .. } = &request.turns[1].parts[1] else { panic!("no call") };
    assert_eq!((arguments.as_ref(), *kind), (r#"{"command": "ls",  "n": 1.0}"#, CallKind::Function));
    let Part::ToolResult { name, parts, cache, .. } = &request.turns[2].parts[0] else { panic!("no result") };
    assert_eq!((name.as_deref(), parts.len(), *cache), (Some("Bash"), 1, Some(CacheMark::FiveMinutes)));
    let reasoning = request.reasoning.expect("thinks");
    assert_eq!((reasoning.enabled, reasoning.adaptive, reasoning.effort), (Some(true), true, Some(Effort::High)));
    assert_eq!(request.user.as_deref(), Some("{\"device_id\":\"d\"}"));
    let mut kept: Vec<_> = request.extensions.iter().map(|(path, _)| path).collect();
    kept.sort_unstable();
    assert_eq!(
        kept,
        [
            "context_management",
            "output_config.task_budget",
            "system.1.cache_control",
            "system.billing_header",
            "tools.Bash.eager_input_streaming",
        ]
    );
}

#[test]
fn what_claude_code_sends_goes_back_to_anthropic_with_nothing_lost() {
    let request = read(CLAUDE_CODE);
    let profile = Profile { thinking: ThinkingStyle::Adaptive, mid_conversation_system: true, ..profile() };
    let (body, header, losses) = encode(&request, &profile);
    assert_eq!(losses, Vec::<String>::new());
    assert_eq!(header, "mid-conversation-system-2026-04-07,context-management-2025-06-27");
    let mut expected: Value = serde_json::from_str(CLAUDE_CODE).expect("JSON");
    expected["model"] = json!("claude");
    // The same in other words: a text as a block, a default unsaid.
    expected["messages"][1]["content"] = json!([{"type": "text", "text": "Today is Monday."}]);
    expected["messages"][2]["content"][1].as_object_mut().expect("a call").remove("caller");
    expected["messages"][3]["content"][0].as_object_mut().expect("a result").remove("is_error");
    assert_eq!(body, expected);
}

#[test]
fn of_a_system_text_that_goes_on_behind_the_billing_line_only_that_is_cut() {
    let line = "x-anthropic-billing-header: cc_version=2; cch=1;";
    let whole = format!("{line}\nYou are Claude Code.");
    for (system, texts) in [
        (json!(whole), &["You are Claude Code."][..]),
        (
            json!([{"type": "text", "text": whole}, {"type": "text", "text": "More."}]),
            &["You are Claude Code.", "More."],
        ),
        (json!(line), &[]),
    ] {
        let body =
            json!({"model": "m", "max_tokens": 9, "system": system, "messages": [{"role": "user", "content": "hi"}]});
        let body = body.to_string();
        let request = read(&body);
        assert_eq!(request.system.iter().map(|part| part.text.as_ref()).collect::<Vec<_>>(), texts, "{system}");
        let (back, _, losses) = encode(&request, &profile());
        assert_eq!((&back["system"][0]["text"], losses.len()), (&json!(line), 0), "{back}");
        let written: Vec<_> = back["system"].as_array().expect("blocks")[1..].iter().map(|own| &own["text"]).collect();
        assert_eq!(written, texts, "Anthropic gets all of it");
        let names = NameTable::default();
        let own = Profile::default();
        let target = EncodeTarget { model: "m", profile: &own, names: &names, stream: false };
        let mut losses = Losses::default();
        let chat = openai::encode_request(&request, &target, &mut losses).expect("encoded").body;
        let chat = String::from_utf8(chat).expect("text");
        assert!(!chat.contains("billing") && texts.iter().all(|text| chat.contains(text)), "{chat}");
        assert_eq!(losses.names().collect::<Vec<_>>(), ["system.billing_header"]);
    }
}

#[test]
fn what_claude_code_sends_reaches_another_family_without_its_billing_header() {
    let request = read(CLAUDE_CODE);
    let names = NameTable::default();
    let profile = Profile::default();
    let target = EncodeTarget { model: "m", profile: &profile, names: &names, stream: true };
    let mut losses = Losses::default();
    let encoded = openai::encode_request(&request, &target, &mut losses).expect("encoded");
    let body = String::from_utf8(encoded.body).expect("text");
    assert!(!body.contains("billing"), "{body}");
    let names: Vec<_> = losses.names().collect();
    for lost in ["system.billing_header", "context_management", "output_config.task_budget", "thinking"] {
        assert!(names.contains(&lost), "{lost} in {names:?}");
    }
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let roles: Vec<_> = body["messages"].as_array().expect("messages").iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "user"], "the roles by turns");
    assert_eq!(body["reasoning_effort"], "high");
}

#[test]
fn media_of_every_source_are_read() {
    let request = read(
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[
        {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}},
        {"type":"image","source":{"type":"url","url":"https://x/i.png"}},
        {"type":"image","source":{"type":"file","file_id":"file_1"}},
        {"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"BB=="},"title":"T","context":"C","citations":{"enabled":true}},
        {"type":"document","source":{"type":"text","media_type":"text/plain","data":"plain"}},
        {"type":"document","source":{"type":"content","content":[{"type":"text","text":"one"},{"type":"text","text":"two"}]}},
        {"type":"document","source":{"type":"content","content":"whole"}},
        {"type":"search_result","source":"https://x","title":"S","content":[{"type":"text","text":"found"}],"citations":{"enabled":true}},
        {"type":"container_upload","file_id":"file_2"}]}]}"#,
    );
    let parts = &request.turns[0].parts;
    let source = |at: usize| match &parts[at] {
        Part::Image { source, .. } | Part::Document { source, .. } => source.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(source(0), Source::Inline { media_type: "image/png".into(), data: "AA==".into() });
    assert_eq!(source(1), Source::Url("https://x/i.png".into()));
    assert_eq!(source(2), Source::File { id: "file_1".into(), owner: Family::Anthropic });
    assert_eq!(source(4), Source::Text("plain".into()));
    assert_eq!(source(5), Source::Text("one\n\ntwo".into()));
    assert_eq!(source(6), Source::Text("whole".into()));
    assert_eq!(source(7), Source::Text("found".into()));
    let Part::Document { name, context, citations, .. } = &parts[3] else { panic!("no document") };
    assert_eq!((name.as_deref(), context.as_deref(), *citations), (Some("T"), Some("C"), true));
    assert!(matches!(&parts[8], Part::ServerTool { family: Family::Anthropic, .. }));
    let (body, header, losses) = encode(&request, &profile());
    assert_eq!(losses, Vec::<String>::new());
    assert_eq!(header, "files-api-2025-04-14");
    let written = &body["messages"][0]["content"];
    assert_eq!(written[5]["source"]["content"][1]["text"], "two", "blocks of a document keep their borders");
    assert_eq!(written[7]["type"], "search_result");
    assert_eq!(written[8], json!({"type": "container_upload", "file_id": "file_2"}));
}

#[test]
fn results_hold_text_images_documents_and_errors() {
    let request = read(
        r#"{"model":"m","max_tokens":9,"messages":[
        {"role":"user","content":"go"},
        {"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}},{"type":"tool_use","id":"b","name":"g","input":{}}]},
        {"role":"user","content":[
            {"type":"tool_result","tool_use_id":"a","is_error":true,"content":[
                {"type":"text","text":"seen"},
                {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}},
                {"type":"tool_reference","tool_name":"h"},
                {"type":"search_result","source":"s","title":"t","content":[{"type":"text","text":"x"}]},
                {"type":"made_tomorrow","text":{"odd":[1.0]}}]},
            {"type":"tool_result","tool_use_id":"b"}]}]}"#,
    );
    let Part::ToolResult { parts, is_error: true, .. } = &request.turns[2].parts[0] else { panic!("no error") };
    assert_eq!(parts.len(), 5);
    let (body, _, losses) = encode(&request, &profile());
    assert_eq!(losses, Vec::<String>::new());
    let result = &body["messages"][2]["content"][0];
    assert_eq!(result["content"][1]["source"]["data"], "AA==");
    assert_eq!(result["content"][2], json!({"type": "tool_reference", "tool_name": "h"}));
    assert_eq!(result["content"][3]["type"], "search_result");
    assert_eq!(result["content"][4], json!({"type": "made_tomorrow", "text": {"odd": [1.0]}}));
    assert_eq!(result["is_error"], true);
    assert_eq!(body["messages"][2]["content"][1], json!({"type": "tool_result", "tool_use_id": "b"}));
}

#[test]
fn blocks_of_server_tools_and_of_unknown_kinds_go_through_to_the_byte() {
    let blocks = [
        r#"{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":  "x"}}"#,
        r#"{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","encrypted_content":"e"}]}"#,
        r#"{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":{"type":"web_search_tool_result_error"}}"#,
        r#"{"type":"compaction","content":"sum"}"#,
        r#"{"type":"made_tomorrow","text":{"odd":[1.0]}}"#,
        r#"{"type":"text","text":"cited","citations":[{"type":"char_location","cited_text":"c","document_index":0,"document_title":"D","start_char_index":0,"end_char_index":1}]}"#,
    ];
    let body = format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":[{}]}},{{"role":"user","content":"more"}}]}}"#,
        blocks.join(",")
    );
    let request = read(&body);
    let (encoded, losses) = try_encode(&request, &profile()).expect("encoded");
    assert!(losses.is_empty(), "{losses:?}");
    let text = String::from_utf8(encoded.body).expect("text");
    for block in blocks {
        assert!(text.contains(block), "{block} in {text}");
    }
}

#[test]
fn system_text_inside_a_turn_keeps_its_place() {
    let request = read(
        r#"{"model":"m","max_tokens":9,"messages":[
        {"role":"user","content":[{"type":"text","text":"q"},{"type":"mid_conv_system","content":[{"type":"text","text":"now brief"}]}]},
        {"role":"assistant","content":"a"},{"role":"user","content":"q2"}]}"#,
    );
    assert_eq!(request.system.len(), 1);
    assert_eq!((request.system[0].text.as_ref(), request.system[0].position), ("now brief", 1));
}

#[test]
fn choices_and_output_formats_are_read() {
    let with = |rest: &str| {
        format!(
            r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"q"}}],"tools":[{{"name":"f","input_schema":{{}},"strict":true}},{{"type":"web_search_20250305","name":"web_search"}}],{rest}}}"#
        )
    };
    for (rest, choice) in [
        (r#""tool_choice":{"type":"auto"}"#, ToolChoice::Auto),
        (r#""tool_choice":{"type":"any"}"#, ToolChoice::Required),
        (r#""tool_choice":{"type":"none"}"#, ToolChoice::None),
        (r#""tool_choice":{"type":"tool","name":"f"}"#, ToolChoice::Named("f".into())),
        (r#""tool_choice":{"type":"tool","name":"web_search"}"#, ToolChoice::Vendor("web_search_20250305".into())),
    ] {
        let body = with(rest);
        let request = read(&body);
        assert_eq!(request.tool_choice, Some(choice));
        assert!(matches!(request.tools[0].kind, ToolKind::Function { strict: Some(true), .. }));
        assert_eq!(request.vendor_tools[0].name, "web_search_20250305");
        let given: Value = serde_json::from_str(&body).expect("JSON");
        let (written, ..) = encode(&request, &profile());
        assert_eq!(written["tool_choice"], given["tool_choice"]);
    }
    let body = with(r#""tool_choice":{"type":"any","disable_parallel_tool_use":true}"#);
    assert_eq!(read(&body).parallel_tool_calls, Some(false));
    for rest in [
        r#""output_format":{"type":"json_schema","schema":{"type":"object"}}"#,
        r#""output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}"#,
    ] {
        let body = with(rest);
        let request = read(&body);
        assert!(
            matches!(&request.output, OutputFormat::Schema { schema, .. } if schema.as_str() == r#"{"type":"object"}"#)
        );
        let (written, ..) = encode(&request, &profile());
        assert_eq!(written["output_config"]["format"]["schema"], json!({"type": "object"}));
    }
}

#[test]
fn a_count_needs_no_limit_and_sends_only_what_shapes_the_prompt() {
    let body = CLAUDE_CODE.replace("\"max_tokens\":32000,", "\"temperature\":1.0,\"container\":\"c\",");
    let request = decode_count_tokens(body.as_bytes(), &CONTEXT).expect("a request");
    let names = NameTable::default();
    let profile = Profile { thinking: ThinkingStyle::Adaptive, ..profile() };
    let target = EncodeTarget { model: "claude", profile: &profile, names: &names, stream: false };
    let encoded = encode_count_tokens(&request, &target, &mut Losses::default()).expect("encoded");
    let written: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    let mut fields: Vec<_> = written.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["context_management", "messages", "model", "output_config", "system", "thinking", "tools"]);
    assert_eq!(decode_count_tokens_response(br#"{"input_tokens":42,"context_management":null}"#), Ok(42));
    assert!(decode_count_tokens_response(b"{}").is_err());
    let mut out = Vec::new();
    encode_count_tokens_response(42, &mut out);
    assert_eq!(out, br#"{"input_tokens":42}"#);
}
