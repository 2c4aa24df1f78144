use serde_json::json;

use super::*;

fn asking(rest: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"q"}}]{rest}}}"#)
}

const TWO: &str = r#","tools":[{"type":"function","function":{"name":"f.x","description":"d","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}},{"type":"function","function":{"name":"g"}}]"#;

#[test]
fn every_choice_has_its_word() {
    for (choice, expected) in [
        (r#""auto""#, json!({"type": "auto"})),
        (r#""none""#, json!({"type": "none"})),
        (r#""required""#, json!({"type": "any"})),
        (r#"{"type":"function","function":{"name":"f.x"}}"#, json!({"type": "tool", "name": "f_x"})),
    ] {
        let body = asking(&format!(r#"{TWO},"tool_choice":{choice}"#));
        let (written, _, losses) = encode(&chat(&body), &profile());
        assert_eq!(written["tool_choice"], expected);
        assert_eq!(written["tools"][0]["name"], "f_x");
        assert_eq!(written["tools"][1]["input_schema"], json!({"type": "object", "properties": {}}));
        assert!(losses.is_empty());
    }
    let body = asking(&format!(r#"{TWO},"parallel_tool_calls":false"#));
    let (written, ..) = encode(&chat(&body), &profile());
    assert_eq!(written["tool_choice"], json!({"type": "auto", "disable_parallel_tool_use": true}));
    let body = asking(&format!(r#"{TWO},"parallel_tool_calls":true"#));
    assert!(encode(&chat(&body), &profile()).0.get("tool_choice").is_none());
}

#[test]
fn tools_that_are_not_allowed_are_not_shown() {
    let body = asking(&format!(
        r#"{TWO},"tool_choice":{{"type":"allowed_tools","allowed_tools":{{"mode":"required","tools":[{{"type":"function","function":{{"name":"g"}}}}]}}}}"#
    ));
    let (written, ..) = encode(&chat(&body), &profile());
    assert_eq!(written["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!((&written["tools"][0]["name"], &written["tool_choice"]["type"]), (&json!("g"), &json!("any")));
}

#[test]
fn tools_that_another_vendor_runs_are_dropped_and_refused_when_forced() {
    let body = asking(r#","tools":[{"type":"web_search"},{"type":"function","function":{"name":"g"}}]"#);
    let (written, _, losses) = encode(&chat(&body), &profile());
    assert_eq!(written["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!(losses, ["tools.web_search"]);
    let body = asking(r#","tools":[{"type":"web_search"}],"tool_choice":{"type":"web_search"}"#);
    let error = try_encode(&chat(&body), &profile()).expect_err("forced");
    assert_eq!((error.code, error.param.as_deref()), ("unsupported_feature", Some("tool_choice")));
}

#[test]
fn a_model_without_tools_takes_none_and_cannot_be_forced() {
    let toolless = Profile { tools: false, ..profile() };
    let (written, _, losses) = encode(&chat(&asking(TWO)), &toolless);
    assert!(written.get("tools").is_none());
    assert_eq!(losses, ["tools"]);
    let body = asking(&format!(r#"{TWO},"tool_choice":"required""#));
    let error = try_encode(&chat(&body), &toolless).expect_err("forced");
    assert_eq!(error.param.as_deref(), Some("tool_choice"));
}

#[test]
fn anthropics_own_tools_pass_with_the_flags_they_need() {
    let body = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"q"}],
        "tools":[{"type":"web_search_20250305","name":"web_search","max_uses":5},{"type":"computer_20250124","name":"computer","display_width_px":1}],
        "mcp_servers":[{"type":"url","url":"https://x","name":"s"}],"container":{"skills":[]},"speed":"fast","service_tier":"standard_only"}"#;
    let (written, header, losses) = encode(&read(body), &profile());
    assert_eq!(losses, Vec::<String>::new());
    let given: Value = serde_json::from_str(body).expect("JSON");
    for field in ["tools", "mcp_servers", "container", "speed", "service_tier"] {
        assert_eq!(written[field], given[field], "{field}");
    }
    for flag in ["mcp-client-2025-11-20", "skills-2025-10-02", "fast-mode-2026-02-01", "computer-use-2025-01-24"] {
        assert!(header.split(',').any(|own| own == flag), "{flag} in {header}");
    }
}

#[test]
fn a_custom_tool_is_a_function_with_one_string() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"q"},
        {"role":"assistant","tool_calls":[{"id":"a","type":"custom","custom":{"name":"patch","input":"line\n\"q\""}}]},
        {"role":"tool","tool_call_id":"a","content":"ok"}],
        "tools":[{"type":"custom","custom":{"name":"patch","format":{"type":"grammar"}}}]}"#;
    let (written, _, losses) = encode(&chat(body), &profile());
    assert_eq!(written["tools"][0]["input_schema"]["required"], json!(["input"]));
    assert_eq!(written["messages"][1]["content"][0]["input"], json!({"input": "line\n\"q\""}));
    assert_eq!(losses, ["tools.format"]);
}

#[test]
fn arguments_are_never_reprinted_and_garbage_is_wrapped() {
    let call = |arguments: &str| {
        json!({"model": "m", "messages": [{"role": "user", "content": "q"},
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}]},
            {"role": "tool", "tool_call_id": "a", "content": "ok"}]})
        .to_string()
    };
    let body = call("{\"n\": 1.50,  \"x\":1e3}");
    let (encoded, losses) = try_encode(&chat(&body), &profile()).expect("encoded");
    assert!(String::from_utf8(encoded.body).expect("text").contains("\"input\":{\"n\": 1.50,  \"x\":1e3}"));
    assert!(losses.is_empty());
    for (arguments, input, lost) in [
        ("", json!({}), false),
        ("{\"cut\": ", json!({"input": "{\"cut\": "}), true),
        ("[1]", json!({"input": "[1]"}), true),
        ("} , \"x\": {", json!({"input": "} , \"x\": {"}), true),
    ] {
        let body = call(arguments);
        let (written, _, losses) = encode(&chat(&body), &profile());
        assert_eq!(written["messages"][1]["content"][0]["input"], input);
        assert_eq!(!losses.is_empty(), lost, "{arguments}: {losses:?}");
    }
}

#[test]
fn calls_of_a_history_without_tools_are_declared() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"q"},
        {"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f.x","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"a","content":"ok"}]}"#;
    let (written, ..) = encode(&chat(body), &profile());
    assert_eq!(written["tools"], json!([{"name": "f_x", "input_schema": {"type": "object"}}]));
    assert_eq!(written["tool_choice"], json!({"type": "none"}));
}

#[test]
fn strict_tools_are_held_to_a_schema_that_the_model_takes() {
    let tool = |name: &str| {
        format!(
            r#"{{"type":"function","function":{{"name":"{name}","strict":true,"parameters":{{"type":"object","properties":{{"n":{{"type":"integer","minimum":1}}}},"required":["n"],"additionalProperties":false}}}}}}"#
        )
    };
    let body = asking(&format!(r#","tools":[{}]"#, tool("f")));
    let (written, _, losses) = encode(&chat(&body), &profile());
    assert_eq!(written["tools"][0]["strict"], true);
    assert_eq!(
        written["tools"][0]["input_schema"]["properties"]["n"],
        json!({"type": "integer", "description": "{minimum: 1}"})
    );
    assert_eq!(losses, ["tools.strict.minimum"]);
    let many: Vec<String> = (0..21).map(|number| tool(&format!("f{number}"))).collect();
    let body = asking(&format!(r#","tools":[{}]"#, many.join(",")));
    let (written, _, losses) = encode(&chat(&body), &profile());
    assert!(written["tools"][0].get("strict").is_none());
    assert_eq!(written["tools"][0]["input_schema"]["properties"]["n"]["minimum"], 1);
    assert_eq!(losses, ["tools.strict"]);
}

const SCHEMA: &str = r#","response_format":{"type":"json_schema","json_schema":{"name":"r","description":"the result","schema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}}}"#;

#[test]
fn structured_output_is_native_where_the_model_has_it() {
    let (written, _, losses) = encode(&chat(&asking(SCHEMA)), &profile());
    let format = &written["output_config"]["format"];
    assert_eq!((&format["type"], &format["schema"]["additionalProperties"]), (&json!("json_schema"), &json!(false)));
    assert_eq!(losses, ["response_format.json_schema.description"], "there is no field for it");
    assert!(written.get("tools").is_none());
}

#[test]
fn structured_output_is_a_forced_tool_elsewhere() {
    let old = Profile { json_schema: false, ..profile() };
    let (written, ..) = encode(&chat(&asking(SCHEMA)), &old);
    assert_eq!(written["tool_choice"], json!({"type": "tool", "name": STRUCTURED_TOOL}));
    assert_eq!(written["tools"][0]["description"], "the result");
    assert_eq!(written["tools"][0]["input_schema"]["required"], json!(["n"]));
    assert!(written.get("output_config").is_none());
    // Beside tools of the client's: the answer or one of them.
    let body = asking(&format!("{SCHEMA}{TWO}"));
    let (written, ..) = encode(&chat(&body), &old);
    assert_eq!(written["tool_choice"], json!({"type": "any", "disable_parallel_tool_use": true}));
    assert_eq!(written["tools"].as_array().map(Vec::len), Some(3));
    // A tool that the client forces is the answer.
    let body = asking(&format!(r#"{SCHEMA}{TWO},"tool_choice":"required""#));
    let (written, ..) = encode(&chat(&body), &old);
    assert_eq!(
        (written["tools"].as_array().map(Vec::len), &written["tool_choice"]),
        (Some(2), &json!({"type": "any"}))
    );
    // And it goes without thinking.
    let body = asking(&format!(r#"{SCHEMA},"reasoning_effort":"low""#));
    let (written, _, losses) = encode(&chat(&body), &old);
    assert_eq!(
        (&written["thinking"]["type"], losses.as_slice()),
        (&json!("disabled"), ["reasoning".to_owned()].as_slice())
    );
}

#[test]
fn any_json_object_needs_the_tool_on_every_model() {
    let body = asking(r#","response_format":{"type":"json_object"}"#);
    let (written, ..) = encode(&chat(&body), &profile());
    assert_eq!(written["tool_choice"]["name"], STRUCTURED_TOOL);
}

#[test]
fn a_schema_that_is_no_object_is_refused_where_it_would_be_a_tool() {
    let body = asking(
        r#","response_format":{"type":"json_schema","json_schema":{"name":"r","schema":{"type":"array","items":{"type":"string"}}}}"#,
    );
    assert!(try_encode(&chat(&body), &profile()).is_ok());
    let old = Profile { json_schema: false, ..profile() };
    let error = try_encode(&chat(&body), &old).expect_err("no object");
    assert_eq!((error.code, error.param.as_deref()), ("unsupported_feature", Some("response_format")));
}
