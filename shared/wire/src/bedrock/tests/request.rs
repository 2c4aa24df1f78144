use serde_json::json;

use super::{CLAUDE, LLAMA, NOVA, call, chat, encode, plain_profile, request, result, sent, turn};
use crate::ir::{Family, Json, Part, Profile, Role, SystemPart, SystemRole, VendorTool};

fn with(fields: &str) -> String {
    format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{}{fields}}}"#,
        if fields.is_empty() { "" } else { "," }
    )
}

#[test]
fn a_whole_request_gets_the_service_s_names() {
    let (body, losses) = chat(
        r#"{"model":"p/m","stream":true,"messages":[
        {"role":"system","content":"be brief"},
        {"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:image/jpg;base64,AA=="}}]},
        {"role":"assistant","content":"Let me see.","tool_calls":[{"id":"a|1","type":"function","function":{"name":"f.x","arguments":"{\"n\": 1.50}"}}]},
        {"role":"tool","tool_call_id":"a|1","content":"42"}],
        "tools":[{"type":"function","function":{"name":"f.x","description":"d","parameters":{"properties":{"n":{"type":"number"}}}}}],
        "tool_choice":{"type":"function","function":{"name":"f.x"}},"max_tokens":99,"temperature":0.5,"top_k":40,"stop":["END"],
        "service_tier":"flex","metadata":{"team":"a-b","odd":"\u00e9"},
        "guardrailConfig":{"guardrailIdentifier":"g","guardrailVersion":"1"},"performanceConfig":{"latency":"optimized"},
        "additionalModelRequestFields":{"anthropic_beta":["x"],"top_k":7}}"#,
        CLAUDE,
        &plain_profile(),
    )
    .expect("encoded");
    let id = body["messages"][1]["content"][1]["toolUse"]["toolUseId"].as_str().expect("an id").to_owned();
    assert_eq!(
        body,
        json!({
            "system": [{"text": "be brief"}],
            "messages": [
                {"role": "user", "content": [{"text": "look"}, {"image": {"format": "jpeg", "source": {"bytes": "AA=="}}}]},
                {"role": "assistant", "content": [{"text": "Let me see."},
                    {"toolUse": {"toolUseId": id, "name": "f_x", "input": {"n": 1.5}}}]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": id, "content": [{"text": "42"}]}}]}],
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "f_x", "description": "d",
                    "inputSchema": {"json": {"type": "object", "properties": {"n": {"type": "number"}}}}}}],
                "toolChoice": {"tool": {"name": "f_x"}}},
            "inferenceConfig": {"maxTokens": 99, "temperature": 0.5, "stopSequences": ["END"]},
            "additionalModelRequestFields": {"anthropic_beta": ["x"], "top_k": 7},
            "additionalModelResponseFieldPaths": ["/stop_sequence"],
            "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
            "performanceConfig": {"latency": "optimized"},
            "serviceTier": {"type": "flex"},
            "requestMetadata": {"team": "a-b"}
        })
    );
    assert_eq!(losses, ["metadata.odd"]);
}

#[test]
fn arguments_are_never_reprinted() {
    let turns = vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![call("a", "f", "{ \"z\": 1.0, \"a\":1e400 }")]),
        turn(Role::Tool, vec![result("a", vec![Part::text("1")], false)]),
    ];
    let request = request(turns);
    let names = crate::codec::NameTable::default();
    let target = crate::codec::EncodeTarget { model: CLAUDE, profile: &plain_profile(), names: &names, stream: false };
    let encoded = super::super::encode_request(&request, &target, &mut crate::ir::Losses::default()).expect("encoded");
    let text = String::from_utf8(encoded.body).expect("text");
    assert!(text.contains(r#""input":{ "z": 1.0, "a":1e400 }"#), "{text}");
}

#[test]
fn arguments_that_are_no_object_do_not_break_the_conversation_for_good() {
    for arguments in ["{\"a\":", "[1]", "\"x\"", "nonsense"] {
        let (body, losses) = sent(&request(vec![
            turn(Role::User, vec![Part::text("go")]),
            turn(Role::Assistant, vec![call("a", "f", arguments)]),
            turn(Role::Tool, vec![result("a", vec![Part::text("1")], false)]),
        ]));
        let input = &body["messages"][1]["content"][0]["toolUse"]["input"];
        assert_eq!(input["invalid_arguments"], arguments);
        assert_eq!(losses, ["tool_calls.arguments"]);
    }
}

#[test]
fn what_has_no_place_is_listed_in_the_client_s_words() {
    let (_, mut losses) = chat(
        &with(
            r#""user":"u","service_tier":"scale","prompt_cache_key":"k","store":true,"logit_bias":{"1":2},"min_p":0.1,
            "repetition_penalty":1.1,"seed":1,"temperature":1.5,"top_p":0.5,"frequency_penalty":0.5,"presence_penalty":0.5,
            "x_vendor":1,"reasoning_effort":"high","web_search_options":{},"parallel_tool_calls":false,"top_k":3,
            "tools":[{"type":"function","function":{"name":"f","strict":true}}],"response_format":{"type":"json_object"}"#,
        ),
        LLAMA,
        &Profile { json_schema: false, ..plain_profile() },
    )
    .expect("encoded");
    losses.sort();
    assert_eq!(
        losses,
        [
            "frequency_penalty",
            "logit_bias",
            "min_p",
            "parallel_tool_calls",
            "presence_penalty",
            "prompt_cache_key",
            "reasoning",
            "repetition_penalty",
            "response_format",
            "seed",
            "service_tier",
            "store",
            "temperature",
            "tools.strict",
            "tools.web_search_options",
            "top_k",
            "user",
            "x_vendor"
        ]
    );
}

#[test]
fn what_would_change_the_meaning_is_refused_before_anything_is_spent() {
    for (fields, param) in [
        (r#""n":2"#, "n"),
        (r#""logprobs":true"#, "logprobs"),
        (r#""modalities":["audio"]"#, "modalities"),
        (r#""stop":["\n"]"#, "stop"),
        (r#""stop":[""]"#, "stop"),
        (r#""tool_choice":"required""#, "tool_choice"),
        (r#""tool_choice":{"type":"web_search_preview"}"#, "tool_choice"),
        (
            r#""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}"#,
            "tool_choice",
        ),
        (
            r#""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"string"}}}]"#,
            "tools.0.parameters",
        ),
        (r#""additionalModelRequestFields":[1]"#, "additionalModelRequestFields"),
    ] {
        let error = chat(&with(fields), CLAUDE, &plain_profile()).expect_err(fields);
        assert_eq!(error.param.as_deref(), Some(param), "{fields}");
    }
    let error = encode(&request(vec![turn(Role::User, vec![Part::text(" \n")])]), CLAUDE, &plain_profile());
    assert_eq!(error.expect_err("blank").param.as_deref(), Some("messages"));
}

#[test]
fn a_white_space_stop_sequence_is_only_claude_s_trouble() {
    let (body, _) = chat(&with(r#""stop":["\n"]"#), LLAMA, &plain_profile()).expect("encoded");
    assert_eq!(body["inferenceConfig"]["stopSequences"], json!(["\n"]));
    assert_eq!(body.get("additionalModelResponseFieldPaths"), None);
}

#[test]
fn every_form_of_tool_choice_says_what_it_means() {
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]"#;
    let named = r#"{"type":"function","function":{"name":"g"}}"#;
    let allowed = |mode: &str| {
        format!(
            r#"{{"type":"allowed_tools","allowed_tools":{{"mode":"{mode}","tools":[{{"type":"function","function":{{"name":"f"}}}}]}}}}"#
        )
    };
    for (model, choice, expected, names) in [
        (CLAUDE, "\"auto\"".to_owned(), json!(null), vec!["f", "g"]),
        (CLAUDE, "\"required\"".to_owned(), json!({"any": {}}), vec!["f", "g"]),
        (CLAUDE, named.to_owned(), json!({"tool": {"name": "g"}}), vec!["f", "g"]),
        (LLAMA, named.to_owned(), json!({"any": {}}), vec!["g"]),
        (CLAUDE, allowed("auto"), json!(null), vec!["f"]),
        (CLAUDE, allowed("required"), json!({"any": {}}), vec!["f"]),
        (CLAUDE, "\"none\"".to_owned(), json!(null), vec![]),
    ] {
        let (body, losses) =
            chat(&with(&format!(r#"{tools},"tool_choice":{choice}"#)), model, &plain_profile()).expect("encoded");
        assert_eq!(body["toolConfig"]["toolChoice"], expected, "{choice}");
        let sent = body["toolConfig"]["tools"].as_array().cloned().unwrap_or_default();
        let sent: Vec<_> = sent.iter().map(|tool| tool["toolSpec"]["name"].as_str().expect("a name")).collect();
        assert_eq!((sent, losses.is_empty()), (names, true), "{choice}");
    }
}

#[test]
fn tools_stay_declared_while_the_history_has_calls() {
    let body = |fields: &str| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"x"}},
            {{"role":"assistant","content":null,"tool_calls":[{{"id":"a","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}},
            {{"role":"tool","tool_call_id":"a","content":"1"}}]{fields}}}"#
        )
    };
    // No tools at all: what the history names is declared.
    let (sent, losses) = chat(&body(""), CLAUDE, &plain_profile()).expect("encoded");
    let spec = &sent["toolConfig"]["tools"][0]["toolSpec"];
    assert_eq!(
        (&spec["name"], &spec["inputSchema"]["json"]),
        (&json!("f"), &json!({"type": "object", "properties": {}}))
    );
    assert!(losses.is_empty());
    // `none`: they stay, and the model is asked.
    let fields = r#","tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none""#;
    let (sent, losses) = chat(&body(fields), CLAUDE, &plain_profile()).expect("encoded");
    assert_eq!(sent["toolConfig"]["tools"][0]["toolSpec"]["name"], "f");
    assert_eq!(sent["toolConfig"].get("toolChoice"), None);
    assert_eq!(sent["system"], json!([{"text": "Answer without calling any tool."}]));
    assert_eq!(losses, ["tool_choice"]);
    // A result whose call is gone is text, which the model can read and the service takes.
    let orphan = request(vec![turn(Role::User, vec![result("a", vec![Part::text("1")], false)])]);
    let (sent, losses) = super::sent(&orphan);
    let text = sent["messages"][0]["content"][0]["text"].as_str().expect("text");
    assert!(text.ends_with("\n1"), "{text}");
    assert_eq!(losses, ["tool_result.tool_use_id"]);
}

#[test]
fn a_format_of_the_answer_is_native_where_the_model_has_it() {
    let body = with(
        r#""response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","strict":true,
        "schema":{"type":"object","properties":{"z":{"type":"string","maxLength":5},"a":{"type":"integer"}},"required":["z"]}}}"#,
    );
    let (sent, losses) = chat(&body, CLAUDE, &plain_profile()).expect("encoded");
    assert_eq!(
        sent["outputConfig"],
        json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"name": "n", "description": "d",
            "schema": r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}},"required":["z"],"additionalProperties":false}"#}}}})
    );
    assert_eq!(losses, ["response_format.maxLength"]);
}

#[test]
fn elsewhere_a_forced_tool_stands_for_the_format() {
    let profile = Profile { json_schema: false, ..plain_profile() };
    let format = r#""response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object","properties":{"a":{}}}}}"#;
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
    let (sent, losses) = chat(&with(format), CLAUDE, &profile).expect("encoded");
    assert_eq!(sent["toolConfig"]["toolChoice"], json!({"tool": {"name": "omniroute_json_answer"}}));
    assert_eq!(sent["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"]["properties"], json!({"a": {}}));
    assert!(losses.is_empty());
    // Beside the client's tools the model may call one of those first.
    let (sent, _) = chat(&with(&format!("{format},{tools}")), CLAUDE, &profile).expect("encoded");
    assert_eq!(sent["toolConfig"]["toolChoice"], json!({"any": {}}));
    assert_eq!(sent["toolConfig"]["tools"].as_array().map(Vec::len), Some(2));
    // A tool that the client forces comes first.
    let (sent, losses) =
        chat(&with(&format!(r#"{format},{tools},"tool_choice":"required""#)), CLAUDE, &profile).expect("encoded");
    assert_eq!(sent["toolConfig"]["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!(losses, ["response_format"]);
}

#[test]
fn metadata_of_the_client_s_own_words_win_over_ours() {
    let (sent, losses) =
        chat(&with(r#""metadata":{"a":"b"},"requestMetadata":{"c":"d"},"serviceTier":{"type":"reserved"},"service_tier":"flex""#), CLAUDE, &plain_profile())
            .expect("encoded");
    assert_eq!((&sent["requestMetadata"], &sent["serviceTier"]), (&json!({"c": "d"}), &json!({"type": "reserved"})));
    assert_eq!(losses, ["service_tier", "metadata"]);
    let (sent, losses) =
        chat(&with(r#""metadata":[1,2]"#), CLAUDE, &plain_profile()).expect("odd metadata are no error");
    assert_eq!((sent.get("requestMetadata"), losses.is_empty()), (None, false));
}

#[test]
fn system_texts_keep_their_place() {
    let system = |text: &'static str, position| SystemPart {
        text: text.into(),
        role: SystemRole::System,
        position,
        cache: None,
    };
    let mut request = request(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![call("a", "f", "{}"), call("b", "f", "{}")]),
        turn(Role::Tool, vec![result("a", vec![Part::text("1")], false)]),
        turn(Role::Tool, vec![result("b", vec![Part::text("2")], false)]),
        turn(Role::User, vec![Part::text("on")]),
    ]);
    request.system = vec![
        system("x-anthropic-billing-header: v=1", 0),
        system("front", 0),
        system(" ", 0),
        system("between", 3),
        system("last", 5),
    ];
    let (body, losses) = sent(&request);
    assert_eq!(body["system"], json!([{"text": "front"}]));
    let last = &body["messages"][2]["content"];
    let texts: Vec<_> = last.as_array().expect("blocks").iter().filter_map(|block| block["text"].as_str()).collect();
    assert_eq!(texts, ["<system>\nbetween\n</system>", "on", "<system>\nlast\n</system>"]);
    assert!(last[0].get("toolResult").is_some() && last[1].get("toolResult").is_some(), "results first");
    assert_eq!(losses, ["system.billing_header"]);
    let profile = Profile { mid_conversation_system: true, ..plain_profile() };
    let (body, _) = encode(&request, CLAUDE, &profile).expect("encoded");
    let roles: Vec<_> =
        body["messages"].as_array().expect("messages").iter().map(|message| message["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "system", "user", "system"].map(Some));
}

#[test]
fn vendor_tools_are_listed_and_a_server_s_blocks_go_back_to_this_family_only() {
    let raw = |text: &str| Json::from_string(text.to_owned()).expect("JSON");
    let block = r#"{"toolUse":{"toolUseId":"s","name":"nova_grounding","input":{},"type":"server_tool_use"}}"#;
    let mut request = request(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(
            Role::Assistant,
            vec![
                Part::ServerTool { family: Family::Bedrock, raw: raw(block) },
                Part::ServerTool { family: Family::Anthropic, raw: raw("{}") },
                Part::text("done"),
            ],
        ),
        turn(Role::User, vec![Part::text("on")]),
    ]);
    request.vendor_tools.push(VendorTool { family: Family::OpenAi, name: "web_search".into(), raw: raw("{}") });
    let (body, losses) = encode(&request, NOVA, &plain_profile()).expect("encoded");
    assert_eq!(body["messages"][1]["content"][0], raw(block).to_value());
    assert_eq!(losses, ["tools.web_search", "server_tool"]);
}
