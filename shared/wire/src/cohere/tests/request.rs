use serde_json::json;

use super::{chat, dropped, encode, refused, sent};
use crate::ir::{
    Annotation, CacheMark, CallKind, Family, Format, Json, OutputFormat, Part, Profile, Request, Role, Source,
    SystemPart, SystemRole, ThinkingStyle, Turn,
};

fn turn(role: Role, parts: Vec<Part<'_>>) -> Turn<'_> {
    Turn { role, parts, name: None }
}

fn call<'a>(id: &'a str, name: &'a str, arguments: &'a str) -> Part<'a> {
    Part::ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        kind: CallKind::Function,
        signature: None,
        cache: None,
    }
}

fn result<'a>(id: &'a str, parts: Vec<Part<'a>>, is_error: bool) -> Part<'a> {
    Part::ToolResult { call_id: id.into(), name: None, parts, is_error, cache: None }
}

fn image() -> Part<'static> {
    let source = Source::Inline { media_type: "image/png".into(), data: "AA==".into() };
    Part::Image { source, detail: None, cache: None }
}

fn document(source: Source<'_>, citations: bool) -> Part<'_> {
    Part::Document { source, name: Some("n.txt".into()), context: None, citations, cache: None }
}

fn request<'a>(turns: Vec<Turn<'a>>) -> Request<'a> {
    let mut request = Request::new(Format::Anthropic, "m");
    request.turns = turns;
    request
}

fn plain(request: &Request<'_>) -> (serde_json::Value, Vec<String>) {
    encode(request, &Profile::default(), false).expect("encoded")
}

#[test]
fn a_whole_request_gets_cohere_s_names() {
    let body = sent(
        r#"{"model":"p/m","stream":true,"messages":[
        {"role":"system","content":"be brief"},
        {"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}}]},
        {"role":"assistant","content":"I will look it up.","tool_calls":[{"id":"a","type":"function","function":{"name":"f.x","arguments":"{\"n\": 1.50}"}}]},
        {"role":"tool","tool_call_id":"a","content":"42"}],
        "tools":[{"type":"function","function":{"name":"f.x","description":"d","parameters":{"type":"object","properties":{"n":{"type":"number"}},"required":["n"]},"strict":true}}],
        "tool_choice":"required","max_tokens":99,"temperature":0.5,"top_p":0.9,"top_k":40,"stop":"END","seed":7,
        "frequency_penalty":0.25,"logprobs":true,"safety_mode":"STRICT","citation_options":{"mode":"FAST"}}"#,
    );
    assert_eq!(
        body,
        json!({
            "model": "command-a-03-2025",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}]},
                {"role": "assistant", "tool_plan": "I will look it up.",
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f_x", "arguments": "{\"n\": 1.50}"}}]},
                {"role": "tool", "tool_call_id": "a", "content": "42"}],
            "tools": [{"type": "function", "function": {"name": "f_x", "description": "d",
                "parameters": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}}}],
            "tool_choice": "REQUIRED", "strict_tools": true, "max_tokens": 99, "stop_sequences": ["END"],
            "temperature": 0.5, "p": 0.9, "k": 40, "seed": 7, "frequency_penalty": 0.25, "logprobs": true,
            "safety_mode": "STRICT", "citation_options": {"mode": "FAST"}, "stream": true
        })
    );
}

#[test]
fn what_has_no_place_is_listed_in_the_client_s_words() {
    let mut names = dropped(
        r#"{"model":"m","messages":[{"role":"user","content":"x","name":"bob"}],"user":"u","metadata":{"a":"b"},
        "service_tier":"flex","prompt_cache_key":"k","store":true,"logit_bias":{"1":2},"min_p":0.1,"repetition_penalty":1.1,
        "seed":-1,"temperature":1.5,"top_k":900,"frequency_penalty":0.5,"presence_penalty":0.5,"x_vendor":1,
        "stop":["1","2","3","4","5","6"],"reasoning_effort":"high","web_search_options":{},
        "tools":[{"type":"function","function":{"name":"f","strict":true}}],"parallel_tool_calls":false}"#,
    );
    names.sort();
    assert_eq!(
        names,
        [
            "logit_bias",
            "messages.name",
            "metadata",
            "min_p",
            "parallel_tool_calls",
            "presence_penalty",
            "prompt_cache_key",
            "reasoning",
            "repetition_penalty",
            "seed",
            "service_tier",
            "stop.5",
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
fn a_top_p_of_one_is_the_highest_that_cohere_takes_and_no_loss() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"top_p":1}"#;
    assert_eq!(sent(body)["p"], 0.99);
    assert!(dropped(body).is_empty());
}

#[test]
fn what_would_change_the_meaning_is_refused_before_anything_is_spent() {
    for (fields, param) in [
        (r#""n":2"#, "n"),
        (r#""logprobs":true,"top_logprobs":3"#, "top_logprobs"),
        (r#""modalities":["text","audio"]"#, "modalities"),
        (r#""stop":[""]"#, "stop"),
        (r#""tool_choice":"required""#, "tool_choice"),
        (
            r#""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}"#,
            "tool_choice",
        ),
        (r#""tool_choice":{"type":"web_search_preview"}"#, "tool_choice"),
    ] {
        let error = refused(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{fields}}}"#));
        assert_eq!(error.param.as_deref(), Some(param), "{fields}");
    }
    for part in [
        r#"{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}"#,
        r#"{"type":"video_url","video_url":{"url":"https://x/y.mp4"}}"#,
        r#"{"type":"file","file":{"file_id":"file-1"}}"#,
        r#"{"type":"file","file":{"file_data":"data:application/pdf;base64,AA==","filename":"a.pdf"}}"#,
    ] {
        let error = refused(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{part}]}}]}}"#));
        assert_eq!(error.code, "unsupported_feature", "{part}");
    }
    let error = refused(r#"{"model":"m","messages":[{"role":"user","content":"  "}]}"#);
    assert_eq!(error.param.as_deref(), Some("messages"));
}

#[test]
fn every_form_of_tool_choice_says_what_it_means() {
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]"#;
    for (choice, word, names) in [
        (r#""auto""#, json!(null), vec!["f", "g"]),
        (r#""none""#, json!("NONE"), vec!["f", "g"]),
        (r#""required""#, json!("REQUIRED"), vec!["f", "g"]),
        (r#"{"type":"function","function":{"name":"g"}}"#, json!("REQUIRED"), vec!["g"]),
        (
            r#"{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"f"}}]}}"#,
            json!(null),
            vec!["f"],
        ),
        (
            r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}}]}}"#,
            json!("REQUIRED"),
            vec!["f"],
        ),
    ] {
        let body = sent(&format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{tools},"tool_choice":{choice}}}"#
        ));
        assert_eq!(body["tool_choice"], word, "{choice}");
        let sent: Vec<_> =
            body["tools"].as_array().expect("tools").iter().map(|tool| &tool["function"]["name"]).collect();
        assert_eq!(sent, names, "{choice}");
    }
}

#[test]
fn a_model_without_tools_gets_none_unless_one_is_forced() {
    let profile = Profile { tools: false, ..Profile::default() };
    let body = |choice: &str| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"f"}}}}],"tool_choice":"{choice}"}}"#
        )
    };
    let (sent, losses) = chat(&body("auto"), &profile).expect("encoded");
    assert_eq!((sent.get("tools"), losses), (None, vec!["tools".to_owned()]));
    assert_eq!(chat(&body("required"), &profile).expect_err("forced").code, "unsupported_feature");
}

#[test]
fn results_of_a_round_stand_together_and_their_images_follow() {
    let mut request = request(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![call("a", "f", "{}"), call("b", "g", "")]),
        turn(Role::Tool, vec![result("a", vec![Part::text("see"), image()], false)]),
        turn(Role::Tool, vec![result("b", Vec::new(), true)]),
        turn(Role::User, vec![Part::text("next")]),
    ]);
    request.system.push(SystemPart {
        text: "mid".into(),
        role: SystemRole::Developer,
        position: 3,
        cache: Some(CacheMark::OneHour),
    });
    let (body, losses) = plain(&request);
    let messages = body["messages"].as_array().expect("messages");
    let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().expect("a role")).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "user", "user", "user"]);
    assert_eq!(messages[1]["tool_calls"][1]["function"]["arguments"], "{}", "no arguments are an empty object");
    assert_eq!(messages[2]["content"], "see[image: see the next user message]");
    assert_eq!(messages[3]["content"], "Error: (no output)");
    assert_eq!(messages[4]["content"][0]["image_url"]["url"], "data:image/png;base64,AA==");
    assert_eq!(messages[5]["content"], "<system>\nmid\n</system>");
    assert_eq!(messages[6]["content"], "next");
    assert_eq!(losses, ["cache_control"]);
}

#[test]
fn results_and_text_in_one_turn_come_out_results_first() {
    let request = request(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![call("a", "f", "{}")]),
        turn(Role::User, vec![Part::text("and"), result("a", vec![image()], false)]),
    ]);
    let messages = &plain(&request).0["messages"];
    assert_eq!(messages[2]["role"], "tool");
    assert_eq!(messages[3]["role"], "user", "the image");
    assert_eq!(messages[4]["content"], "and");
}

#[test]
fn documents_that_may_be_cited_stand_beside_the_conversation() {
    let text = || Source::Text("facts".into());
    let turns = || {
        let inline = Source::Inline { media_type: "text/plain".into(), data: "Zm9v".into() };
        vec![turn(Role::User, vec![document(text(), true), document(inline, false), Part::text("sum up")])]
    };
    let body = plain(&request(turns())).0;
    assert_eq!(body["documents"], json!([{"data": {"title": "n.txt", "text": "facts"}}]));
    assert_eq!(body["messages"][0]["content"][0]["text"], "<document>\nn.txt\nfoo\n</document>");
    // Cohere refuses documents beside a format of the answer: they stay in the text then.
    let mut structured = request(turns());
    structured.output = OutputFormat::Json;
    let (body, losses) = plain(&structured);
    assert_eq!(body.get("documents"), None);
    assert_eq!(body["messages"][0]["content"].as_array().map(Vec::len), Some(3));
    assert_eq!(losses, ["document.citations"]);
}

#[test]
fn a_document_in_a_result_stays_one() {
    let parts = vec![Part::text("found"), document(Source::Text("facts".into()), false)];
    let request = request(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![call("a", "f", "{}")]),
        turn(Role::Tool, vec![result("a", parts, false)]),
    ]);
    assert_eq!(
        plain(&request).0["messages"][2]["content"],
        json!([{"type": "text", "text": "found"},
            {"type": "document", "document": {"data": {"title": "n.txt", "text": "facts"}}}])
    );
}

#[test]
fn own_citations_go_back_and_others_are_listed() {
    let annotation = |family, raw: Option<&str>| Annotation {
        url: None,
        title: None,
        cited_text: None,
        start: Some(0),
        end: Some(1),
        family,
        raw: raw.and_then(|raw| Json::from_string(raw.to_owned())),
    };
    let annotations =
        vec![annotation(Family::Cohere, Some(r#"{"start":0,"end":1}"#)), annotation(Family::OpenAi, None)];
    let request = request(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![Part::Text { text: "It".into(), annotations, cache: None }]),
        turn(Role::User, vec![Part::text("on")]),
    ]);
    let (body, losses) = plain(&request);
    assert_eq!(
        body["messages"][1],
        json!({"role": "assistant", "content": "It", "citations": [{"start": 0, "end": 1}]})
    );
    assert_eq!(losses, ["annotations"]);
}

#[test]
fn thoughts_go_back_only_to_models_that_want_them() {
    let turns = || {
        vec![
            turn(Role::User, vec![Part::text("go")]),
            turn(
                Role::Assistant,
                vec![Part::Thinking { text: "hm".into(), signature: None }, Part::text("plan"), call("a", "f", "{}")],
            ),
            turn(Role::Tool, vec![result("a", vec![Part::text("1")], false)]),
        ]
    };
    let (body, losses) = plain(&request(turns()));
    assert_eq!(body["messages"][1].get("content"), None);
    assert_eq!((body["messages"][1]["tool_plan"].as_str(), losses), (Some("plan"), vec!["thinking".to_owned()]));
    let profile = Profile { reasoning_content_back: true, ..Profile::default() };
    let (body, losses) = encode(&request(turns()), &profile, false).expect("encoded");
    assert_eq!(body["messages"][1]["content"], json!([{"type": "thinking", "thinking": "hm"}]));
    assert!(losses.is_empty());
}

#[test]
fn thinking_is_a_budget() {
    let profile =
        Profile { thinking: ThinkingStyle::Budget { min: 1, max: 31_000, can_disable: true }, ..Profile::default() };
    for (fields, expected) in [
        (r#""reasoning_effort":"medium","max_tokens":20000"#, json!({"type": "enabled", "token_budget": 10_000})),
        (r#""reasoning_effort":"none""#, json!({"type": "disabled"})),
        (r#""reasoning":{"enabled":true}"#, json!({"type": "enabled"})),
        (r#""reasoning":{"max_tokens":99000}"#, json!({"type": "enabled", "token_budget": 31_000})),
        (r#""reasoning":{"max_tokens":5000},"max_tokens":2000"#, json!({"type": "enabled", "token_budget": 1999})),
        (r#""thinking":{"type":"adaptive"}"#, json!({"type": "enabled"})),
        (r#""reasoning":{"exclude":true}"#, json!(null)),
    ] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{fields}}}"#);
        let (sent, losses) = chat(&body, &profile).expect("encoded");
        assert_eq!(sent["thinking"], expected, "{fields}");
        assert!(losses.is_empty(), "{losses:?}");
    }
}

#[test]
fn a_schema_of_the_answer_is_native_where_the_model_has_it() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema",
        "json_schema":{"name":"n","schema":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}}}"#;
    assert_eq!(sent(body)["response_format"]["json_schema"]["required"], json!(["a"]));
    let profile = Profile { json_schema: false, ..Profile::default() };
    let (sent, losses) = chat(body, &profile).expect("encoded");
    assert_eq!(sent["response_format"], json!({"type": "json_object"}));
    assert_eq!(losses, ["response_format.json_schema"]);
}

#[test]
fn the_line_that_changes_with_every_request_does_not_break_a_prompt_cache() {
    let mut request = request(vec![turn(Role::User, vec![Part::text("x")])]);
    for text in ["x-anthropic-billing-header: cc_version=1", "be brief", "", "be kind"] {
        request.system.push(SystemPart { text: text.into(), role: SystemRole::System, position: 0, cache: None });
    }
    let (body, losses) = plain(&request);
    assert_eq!(
        body["messages"][0]["content"],
        json!([{"type": "text", "text": "be brief"}, {"type": "text", "text": "be kind"}])
    );
    assert_eq!(losses, ["system.billing_header"]);
}

#[test]
fn a_tool_s_name_gets_legal_letters() {
    let names: String =
        "9a-b.cé".chars().enumerate().map(|(i, c)| if super::super::is_name_char(i, c) { c } else { '_' }).collect();
    assert_eq!(names, "_a_b_c_");
}
