use serde_json::json;

use super::*;
use crate::ir::{CallKind, Effort, Format, OutputFormat, Part, Role, Source, SystemRole, ToolChoice, ToolKind};

/// What Codex sends in a tool loop, shortened.
pub(super) const CODEX: &str = r#"{"model":"m1","stream":true,"input":[
    {"type":"message","id":"msg_1","role":"developer","content":[{"type":"input_text","text":"rules"},{"type":"input_text","text":"more"}]},
    {"type":"message","id":"msg_2","role":"user","content":[{"type":"input_text","text":"please run it"}]},
    {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Let me think"}],"content":null,"encrypted_content":"gAAAA-enc"},
    {"type":"function_call","status":"completed","id":"fc_1","name":"exec_command","arguments":"{\"cmd\": \"ls\"}","call_id":"call_1"},
    {"type":"custom_tool_call","status":"completed","call_id":"call_2","name":"apply_patch","input":"*** Begin\n"},
    {"type":"function_call","name":"spawn_agent","namespace":"multi_agent_v1","arguments":"{}","call_id":"call_3"},
    {"type":"function_call_output","id":"fco_1","call_id":"call_1","output":"a\nb"},
    {"type":"custom_tool_call_output","call_id":"call_2","output":"Done!"},
    {"type":"function_call_output","call_id":"call_3","output":[{"type":"input_text","text":"seen"},{"type":"input_image","image_url":"data:image/png;base64,AA=="}]}],
    "tools":[{"type":"function","name":"exec_command","description":"runs","strict":false,"parameters":{"type":"object"}},
        {"type":"custom","name":"apply_patch","description":"edits","format":{"type":"grammar","syntax":"lark","definition":"start: x"}},
        {"type":"namespace","name":"multi_agent_v1","description":"agents","tools":[{"type":"function","name":"spawn_agent","strict":false,"parameters":{"type":"object"}}]},
        {"type":"web_search","external_web_access":true}],
    "tool_choice":"auto","parallel_tool_calls":true,"reasoning":{"summary":"auto"},"store":false,
    "include":["reasoning.encrypted_content"],"prompt_cache_key":"k","client_metadata":{"turn_id":"t"}}"#;

#[test]
fn items_of_one_speaker_make_one_turn() {
    let request = request(CODEX);
    let roles: Vec<_> = request.turns.iter().map(|turn| (turn.role, turn.parts.len())).collect();
    assert_eq!(roles, [(Role::User, 1), (Role::Assistant, 4), (Role::Tool, 3)]);
    let system: Vec<_> = request.system.iter().map(|part| (part.text.as_ref(), part.role, part.position)).collect();
    assert_eq!(system, [("rules", SystemRole::Developer, 0), ("more", SystemRole::Developer, 0)]);
    assert_eq!((request.format, request.store, request.stream), (Format::OpenAiResponses, Some(false), true));
    assert_eq!(request.cache_key.as_deref(), Some("k"));
    let Part::ToolResult { name, parts, is_error, .. } = &request.turns[2].parts[2] else { panic!("a result") };
    assert_eq!((name.as_deref(), parts.len(), *is_error), (Some("multi_agent_v1__spawn_agent"), 2, false));
}

#[test]
fn thoughts_calls_and_arguments_come_in_to_the_byte() {
    let request = request(CODEX);
    let parts = &request.turns[1].parts;
    assert_eq!(
        parts[0],
        Part::Thinking {
            text: "Let me think".into(),
            signature: Some(Signature { family: Family::OpenAi, payload: "gAAAA-enc".into() }),
        }
    );
    let calls: Vec<_> = parts[1..]
        .iter()
        .map(|part| match part {
            Part::ToolCall { id, name, arguments, kind, .. } => (id.as_ref(), name.as_ref(), arguments.as_ref(), *kind),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        calls,
        [
            ("call_1", "exec_command", "{\"cmd\": \"ls\"}", CallKind::Function),
            ("call_2", "apply_patch", "*** Begin\n", CallKind::Custom),
            ("call_3", "multi_agent_v1__spawn_agent", "{}", CallKind::Function),
        ]
    );
}

#[test]
fn tools_of_groups_are_flat_and_tools_of_the_vendor_are_apart() {
    let request = request(CODEX);
    let tools: Vec<_> = request.tools.iter().map(|tool| (tool.name.as_ref(), tool.namespace.as_deref())).collect();
    assert_eq!(
        tools,
        [("exec_command", None), ("apply_patch", None), ("multi_agent_v1__spawn_agent", Some("multi_agent_v1"))]
    );
    assert!(matches!(&request.tools[1].kind, ToolKind::Custom { grammar: Some(_) }));
    assert!(matches!(&request.tools[0].kind, ToolKind::Function { strict: Some(false), .. }));
    assert_eq!(request.vendor_tools[0].name, "web_search");
    assert_eq!(request.reasoning.and_then(|reasoning| reasoning.visible), Some(true));
    let kept: Vec<_> = request.extensions.iter().map(|(path, _)| path).collect();
    assert_eq!(kept, ["tools.multi_agent_v1.description", "client_metadata"]);
}

#[test]
fn a_plain_text_is_a_users_turn() {
    let request = request(r#"{"model":"m","input":"hi","instructions":"be brief","max_output_tokens":9}"#);
    assert_eq!(request.turns[0].parts, [Part::text("hi")]);
    assert_eq!((request.system[0].text.as_ref(), request.system[0].position), ("be brief", 0));
    assert_eq!(request.max_tokens, Some(9));
}

#[test]
fn system_texts_keep_their_place() {
    let request = request(
        r#"{"model":"m","input":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"developer","content":"mid"},{"role":"user","content":"c"}]}"#,
    );
    assert_eq!((request.turns.len(), request.system[0].position), (3, 2));
}

#[test]
fn two_messages_of_the_assistant_are_two_turns_unless_a_call_binds_them() {
    let apart =
        request(r#"{"model":"m","input":[{"role":"assistant","content":"a"},{"role":"assistant","content":"b"}]}"#);
    assert_eq!(apart.turns.len(), 2);
    let bound = request(
        r#"{"model":"m","input":[{"role":"assistant","content":"a"},{"type":"function_call","call_id":"1","name":"f","arguments":"{}"},
            {"role":"assistant","content":"b"},{"type":"function_call","call_id":"2","name":"f","arguments":"{}"}]}"#,
    );
    assert_eq!((bound.turns.len(), bound.turns[0].parts.len()), (1, 4));
}

#[test]
fn media_are_read_in_every_form() {
    let request = request(
        r#"{"model":"m","input":[{"role":"user","content":[
            {"type":"input_image","image_url":"https://x/a.png","detail":"low"},
            {"type":"input_image","file_id":"file_1"},
            {"type":"image_url","image_url":{"url":"data:image/gif;base64,AA=="}},
            {"type":"input_file","file_data":"data:application/pdf;base64,AA==","filename":"a.pdf"},
            {"type":"input_file","file_url":"https://x/a.pdf"},
            {"type":"input_file","file_id":"file_2"},
            {"type":"input_audio","input_audio":{"data":"AA==","format":"mp3"}},
            {"type":"input_video","video_url":"https://x/a.mp4"}]}]}"#,
    );
    let sources: Vec<_> = request.turns[0]
        .parts
        .iter()
        .map(|part| match part {
            Part::Image { source, .. }
            | Part::Document { source, .. }
            | Part::Audio { source, .. }
            | Part::Video { source } => source.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let inline = |media_type: &'static str| Source::Inline { media_type: media_type.into(), data: "AA==".into() };
    let file = |id: &'static str| Source::File { id: id.into(), owner: Family::OpenAi };
    assert_eq!(
        sources,
        [
            Source::Url("https://x/a.png".into()),
            file("file_1"),
            inline("image/gif"),
            inline("application/pdf"),
            Source::Url("https://x/a.pdf".into()),
            file("file_2"),
            inline("audio/mpeg"),
            Source::Url("https://x/a.mp4".into()),
        ]
    );
}

#[test]
fn results_are_strings_parts_or_objects() {
    for (output, texts, failed) in [
        (r#""plain""#, vec!["plain"], false),
        (r#""""#, vec![], false),
        (r#"[{"type":"input_text","text":"a"},{"type":"output_text","text":"b"}]"#, vec!["a", "b"], false),
        (r#"{"content":"no such file","success":false}"#, vec!["no such file"], true),
        (r#"{"content":"fine","success":true}"#, vec!["fine"], false),
        (r#"{"rows": [1, 2]}"#, vec![r#"{"rows": [1, 2]}"#], false),
        ("42", vec!["42"], false),
    ] {
        let body =
            format!(r#"{{"model":"m","input":[{{"type":"function_call_output","call_id":"c","output":{output}}}]}}"#);
        let request = request(&body);
        let Part::ToolResult { parts, is_error, .. } = &request.turns[0].parts[0] else { panic!("a result") };
        let expected: Vec<_> = texts.into_iter().map(Part::text).collect();
        assert_eq!((parts, *is_error), (&expected, failed), "{output}");
    }
}

#[test]
fn items_of_the_vendors_tools_are_carried_whole() {
    let kinds = [
        "item_reference",
        "local_shell_call",
        "local_shell_call_output",
        "web_search_call",
        "image_generation_call",
        "code_interpreter_call",
        "file_search_call",
        "computer_call",
        "computer_call_output",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "compaction",
        "shell_call",
        "apply_patch_call",
        "tool_search_call",
        "something_new",
    ];
    let items: Vec<_> = kinds
        .iter()
        .map(|kind| format!(r#"{{"type":"{kind}", "id":"i", "output":[{{"odd": 1.0}}], "content": 7, "role": 3}}"#))
        .collect();
    let body = format!(r#"{{"model":"m","input":[{}]}}"#, items.join(","));
    let request = request(&body);
    let raws: Vec<_> = request.turns[0]
        .parts
        .iter()
        .map(|part| if let Part::ServerTool { family: Family::OpenAi, raw } = part { raw.as_str() } else { "" })
        .collect();
    assert_eq!(raws, items);
    let (back, losses) = encoded(&request, &Profile::default()).expect("encoded");
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(
        back["input"],
        json!(items.iter().map(|i| serde_json::from_str(i).expect("JSON")).collect::<Vec<Value>>())
    );
}

#[test]
fn a_reference_needs_no_type() {
    let request = request(r#"{"model":"m","input":[{"id":"msg_1"}]}"#);
    assert!(matches!(request.turns[0].parts[0], Part::ServerTool { .. }));
    let error = check_portable(&request, Format::Anthropic).expect_err("not stored");
    assert_eq!(error.param.as_deref(), Some("input"));
    check_portable(&request, Format::OpenAiResponses).expect("the same format");
}

#[test]
fn what_only_the_vendor_can_give_is_refused_for_others() {
    for (field, param) in [
        (r#""prompt":{"id":"pmpt_1","variables":{"a":"b"}}"#, "prompt"),
        (r#""conversation":"conv_1""#, "conversation"),
        (r#""previous_response_id":"resp_1""#, "previous_response_id"),
        (r#""input":"x","tools":[{"type":"web_search"}],"tool_choice":{"type":"web_search"}"#, "tool_choice"),
    ] {
        let body = format!(r#"{{"model":"m",{field}}}"#);
        let request = request(&body);
        let error = check_portable(&request, Format::Gemini).expect_err(field);
        assert_eq!((error.code, error.param.as_deref()), ("unsupported_feature", Some(param)));
        check_portable(&request, Format::OpenAiResponses).expect("the same format");
    }
    let codex = request(CODEX);
    check_portable(&codex, Format::Anthropic).expect("tools that are not forced are dropped, not refused");
}

#[test]
fn all_forms_of_tool_choice_are_read() {
    let tools = r#"[{"type":"function","name":"f","parameters":{}},{"type":"custom","name":"c"},{"type":"namespace","name":"ns","description":"d","tools":[{"type":"function","name":"g"}]}]"#;
    let named = |name: &'static str| ToolChoice::Named(name.into());
    for (choice, expected) in [
        (r#""auto""#, ToolChoice::Auto),
        (r#""none""#, ToolChoice::None),
        (r#""required""#, ToolChoice::Required),
        (r#"{"type":"function","name":"f"}"#, named("f")),
        (r#"{"type":"custom","name":"c"}"#, named("c")),
        (r#"{"type":"function","function":{"name":"f"}}"#, named("f")),
        (r#"{"type":"function","name":"g","namespace":"ns"}"#, named("ns__g")),
        (r#"{"type":"function","name":"g"}"#, named("ns__g")),
        (r#"{"type":"web_search_preview"}"#, ToolChoice::Vendor("web_search_preview".into())),
        (r#"{"type":"mcp","server_label":"s","name":"t"}"#, ToolChoice::Vendor("mcp".into())),
        (
            r#"{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"},{"type":"function","name":"g"}]}"#,
            ToolChoice::Allowed { names: vec!["f".into(), "ns__g".into()], required: true },
        ),
        (
            r#"{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"},{"type":"mcp","server_label":"s"}]}"#,
            ToolChoice::Allowed { names: vec!["f".into()], required: false },
        ),
    ] {
        let body = format!(r#"{{"model":"m","input":"x","tools":{tools},"tool_choice":{choice}}}"#);
        let request = request(&body);
        assert_eq!(request.tool_choice.as_ref(), Some(&expected), "{choice}");
        let (back, losses) = encoded(&request, &Profile::default()).expect("encoded");
        assert!(losses.is_empty(), "{choice}: {losses:?}");
        let same: Value = serde_json::from_str(choice).expect("JSON");
        if !choice.contains('g') && !choice.contains("\"function\":{") {
            assert_eq!(back["tool_choice"], same);
        }
    }
}

#[test]
fn reasoning_text_and_sampling_are_read() {
    let request = request(
        r#"{"model":"m","input":"x","temperature":0.5,"top_p":0.9,"top_logprobs":3,"safety_identifier":"u","user":"old",
            "reasoning":{"effort":"minimal","summary":"detailed"},"service_tier":"flex","metadata":{"a":"b"},
            "text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"},"strict":true},"verbosity":"low"},
            "truncation":"auto","max_tool_calls":3,"stream_options":{"include_obfuscation":false},"x_vendor":null}"#,
    );
    let sampling = &request.sampling;
    assert_eq!((sampling.temperature, sampling.top_p), (Some(0.5), Some(0.9)));
    assert_eq!((sampling.logprobs, sampling.top_logprobs), (Some(true), Some(3)));
    assert_eq!(request.user.as_deref(), Some("u"));
    assert_eq!(request.reasoning.and_then(|reasoning| reasoning.effort), Some(Effort::Minimal));
    assert!(matches!(&request.output, OutputFormat::Schema { strict: Some(true), .. }));
    let kept: Vec<_> = request.extensions.iter().map(|(path, _)| path).collect();
    assert_eq!(kept, ["reasoning.summary", "verbosity", "truncation", "max_tool_calls", "stream_options"]);
}

#[test]
fn sealed_signatures_are_opened_and_go_where_they_belong() {
    let request = request(
        r#"{"model":"m","input":[
            {"type":"reasoning","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}],"encrypted_content":"sealed|anthropic|sig"},
            {"type":"reasoning","summary":[],"encrypted_content":"sealed|anthropic|redacted:blob"},
            {"type":"reasoning","summary":[],"encrypted_content":"sealed|gemini|call:c1\nthought"},
            {"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},
            {"type":"reasoning","id":"rs_9","summary":[]}]}"#,
    );
    let parts = &request.turns[0].parts;
    let signature = |family, payload: &'static str| Signature { family, payload: payload.into() };
    assert_eq!(
        parts[0],
        Part::Thinking { text: "a\n\nb".into(), signature: Some(signature(Family::Anthropic, "sig")) }
    );
    assert_eq!(parts[1], Part::RedactedThinking { data: signature(Family::Anthropic, "blob") });
    let Part::ToolCall { signature: own, .. } = &parts[2] else { panic!("a call") };
    assert_eq!(own.as_ref(), Some(&signature(Family::Gemini, "thought")));
    assert_eq!(parts.len(), 3);
    assert!(request.extensions.get("input.reasoning").is_some(), "the empty one is a loss");
}

#[test]
fn bad_fields_are_named() {
    for (body, code, param) in [
        (r#"{"input":"x"}"#, "missing_model", "model"),
        (r#"{"model":"m"}"#, "invalid_field", "input"),
        (r#"{"model":"m","input":7}"#, "invalid_field", "input"),
        (r#"{"model":"m","input":[]}"#, "invalid_field", "input"),
        (r#"{"model":"m","input":["x"]}"#, "invalid_field", "input.0"),
        (r#"{"model":"m","input":[{}]}"#, "invalid_field", "input.0.type"),
        (r#"{"model":"m","input":[{"role":"robot","content":"x"}]}"#, "invalid_field", "input.0.role"),
        (r#"{"model":"m","input":[{"type":"message","role":"user"}]}"#, "invalid_field", "input.0.content"),
        (r#"{"model":"m","input":[{"role":"user","content":7}]}"#, "invalid_field", "input.0.content"),
        (
            r#"{"model":"m","input":[{"role":"user","content":[{"type":"smell"}]}]}"#,
            "invalid_field",
            "input.0.content.0.type",
        ),
        (
            r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_image"}]}]}"#,
            "invalid_field",
            "input.0.content.0.image_url",
        ),
        (
            r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":[]}]}]}"#,
            "invalid_field",
            "input.0.content.0.image_url",
        ),
        (
            r#"{"model":"m","input":[{"role":"system","content":[{"type":"input_image","file_id":"f"}]}]}"#,
            "invalid_field",
            "input.0.content",
        ),
        (r#"{"model":"m","input":[{"type":"function_call","name":"f"}]}"#, "invalid_field", "input.0.call_id"),
        (r#"{"model":"m","input":[{"type":"function_call","call_id":"c"}]}"#, "invalid_field", "input.0.name"),
        (r#"{"model":"m","input":[{"type":"function_call_output","output":"x"}]}"#, "invalid_field", "input.0.call_id"),
        (r#"{"model":"m","input":"x","tools":[{"type":"function"}]}"#, "invalid_field", "tools.0.name"),
        (
            r#"{"model":"m","input":"x","tools":[{"type":"namespace","name":"n","tools":[{"type":"function"}]}]}"#,
            "invalid_field",
            "tools.0.tools.0.name",
        ),
        (
            r#"{"model":"m","input":"x","tools":[{"type":"namespace","name":"n","tools":[{"type":"namespace","name":"o"}]}]}"#,
            "invalid_field",
            "tools.0.tools.0",
        ),
        (r#"{"model":"m","input":"x","tool_choice":"sometimes"}"#, "invalid_field", "tool_choice"),
        (r#"{"model":"m","input":"x","tool_choice":{"type":"function"}}"#, "invalid_field", "tool_choice"),
        (r#"{"model":"m","input":"x","temperature":9}"#, "invalid_field", "temperature"),
        (r#"{"model":"m","input":"x","top_logprobs":21}"#, "invalid_field", "top_logprobs"),
        (r#"{"model":"m","input":"x","reasoning":{"effort":"some"}}"#, "invalid_field", "reasoning.effort"),
        (r#"{"model":"m","input":"x","text":{"format":{"type":"xml"}}}"#, "invalid_field", "text.format.type"),
        (
            r#"{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"n"}}}"#,
            "invalid_field",
            "text.format.schema",
        ),
        (r#"{"model":"m","input":"x","background":true}"#, "unsupported_feature", "background"),
        (r#"{"model":"m","input":"x","text":{"format":3}}"#, "invalid_field", "text.format"),
    ] {
        let error = refusal_of(body);
        assert_eq!((error.code, error.param.as_deref()), (code, Some(param)), "{body}: {error}");
    }
}
