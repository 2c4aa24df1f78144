use serde_json::json;

use super::*;
use crate::ir::{CacheMark, CallKind, Source};

#[test]
fn an_agents_request_written_and_read_again_says_the_same() {
    let body = r#"{"contents":[
        {"role":"user","parts":[{"text":"go"},{"inlineData":{"mimeType":"image/png","data":"AA=="},"mediaResolution":{"level":"L"}}]},
        {"role":"model","parts":[{"text":"hm","thought":true},{"text":"on it","thoughtSignature":"QQ=="},{"functionCall":{"id":"a","name":"f","args":{"n": 1.50}},"thoughtSignature":"Qg=="}]},
        {"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"t": 1.0},"willContinue":false}}]}],
        "systemInstruction":{"parts":[{"text":"s"}]},"safetySettings":[{"category":"c","threshold":"OFF"}],"cachedContent":"cachedContents/1",
        "serviceTier":"flex","generationConfig":{"maxOutputTokens":99,"imageConfig":{"aspectRatio":"1:1"}}}"#;
    let request = decode(body).expect("a request");
    let names = name_table(&request);
    let profile = Profile::default();
    let target = EncodeTarget { model: "gemini-3-pro", profile: &profile, names: &names, stream: true };
    let mut losses = Losses::default();
    let encoded = encode_request(&request, &target, &mut losses).expect("encoded");
    assert!(losses.is_empty(), "{losses:?}");
    let text = String::from_utf8(encoded.body).expect("text");
    for part in [
        r#"{"inlineData":{"mimeType":"image/png","data":"AA=="},"mediaResolution":{"level":"L"}}"#,
        r#"{"text":"hm","thought":true}"#,
        r#"{"text":"on it","thoughtSignature":"QQ=="}"#,
        r#"{"functionCall":{"id":"a","name":"f","args":{"n": 1.50}},"thoughtSignature":"Qg=="}"#,
        r#"{"functionResponse":{"id":"a","name":"f","response":{"t": 1.0},"willContinue":false}}"#,
        r#""serviceTier":"flex""#,
        r#""imageConfig":{"aspectRatio":"1:1"}"#,
        r#""cachedContent":"cachedContents/1""#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let again = decode(&text).expect("read again");
    assert_eq!(again.turns, request.turns);
    assert_eq!(again.system, request.system);
}

#[test]
fn results_come_at_once_in_the_order_of_their_calls_and_texts_after() {
    let mut request = asks(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![call("a", "f", "{}"), call("b", "g", ""), call("c", "f", "not json")]),
        turn(Role::User, vec![Part::text("wait")]),
        turn(Role::Tool, vec![result("b", "[1, 2]")]),
        turn(Role::Tool, vec![result("a", "{\"x\": 1.0}")]),
        turn(Role::User, vec![Part::text("and?")]),
    ]);
    request.system.push(system("rules", 0));
    request.system.push(system("mid", 2));
    let (written, lost) = encode(&request);
    assert_eq!(lost, "tool_calls.result");
    assert_eq!(written["systemInstruction"], json!({"parts":[{"text":"rules"}]}));
    let contents = written["contents"].as_array().expect("contents");
    assert_eq!(
        contents.iter().map(|content| content["role"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        ["user", "model", "user"]
    );
    assert_eq!(contents[1]["parts"][2], json!({"functionCall":{"id":"c","name":"f","args":{"input":"not json"}}}));
    assert_eq!(
        contents[2]["parts"],
        json!([
            {"functionResponse":{"id":"a","name":"f","response":{"x":1.0}}},
            {"functionResponse":{"id":"b","name":"g","response":{"result":[1, 2]}}},
            {"functionResponse":{"id":"c","name":"f","response":{"error":"The call was interrupted before it had a result."}}},
            {"text":"<system>\nmid\n</system>"}, {"text":"wait"}, {"text":"and?"}
        ])
    );
}

#[test]
fn results_are_objects_and_errors_say_so() {
    let failed = Part::ToolResult {
        call_id: "a".into(),
        name: None,
        parts: vec![Part::text("{\"code\":1}")],
        is_error: true,
        cache: Some(CacheMark::FiveMinutes),
    };
    let request = asks(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![call("a", "f", "{}"), call("b", "f", "{}")]),
        turn(Role::Tool, vec![failed, result("b", "plain \"text\"")]),
        turn(Role::Tool, vec![result("zzz", "late")]),
    ]);
    let (written, lost) = encode(&request);
    assert_eq!(lost, "cache_control,tool_result.tool_use_id");
    let parts = &written["contents"][2]["parts"];
    assert_eq!(parts[0]["functionResponse"]["response"], json!({"error":{"code":1}}));
    assert_eq!(parts[1]["functionResponse"]["response"], json!({"result":"plain \"text\""}));
    assert_eq!(parts[2], json!({"text":"[Result of the tool `zzz`]\nlate"}));
}

#[test]
fn media_in_results_go_inside_on_new_models_and_behind_on_old_ones() {
    let image = Part::Image {
        source: Source::Inline { media_type: "image/png".into(), data: "AA==".into() },
        detail: None,
        cache: None,
    };
    let shown = Part::ToolResult { call_id: "a".into(), name: None, parts: vec![image], is_error: false, cache: None };
    let request = asks(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![call("a", "f", "{}")]),
        turn(Role::Tool, vec![shown]),
    ]);
    let inline = json!({"inlineData":{"mimeType":"image/png","data":"AA=="}});
    let (old, _) = encode(&request);
    assert_eq!(old["contents"][2]["parts"][1], inline);
    let (new, _) = encode_for(&request, "gemini-3-flash", &Profile::default()).expect("encoded");
    assert_eq!(new["contents"][2]["parts"][0]["functionResponse"]["parts"], json!([inline]));
    assert_eq!(new["contents"][2]["parts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_first_call_of_a_step_is_signed_or_excused_on_gemini_3_only() {
    let foreign = Signature { family: Family::Anthropic, payload: "x".into() };
    let own = Signature { family: Family::Gemini, payload: "c2ln".into() };
    let mut first = call("a", "f", "{}");
    if let Part::ToolCall { signature, .. } = &mut first {
        *signature = Some(foreign.clone());
    }
    let request = asks(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(
            Role::Assistant,
            vec![Part::Thinking { text: "t".into(), signature: Some(foreign) }, first, call("b", "f", "{}")],
        ),
        turn(Role::Tool, vec![result("a", "1"), result("b", "2")]),
        turn(Role::Assistant, vec![Part::RedactedThinking { data: own }, call("c", "f", "{}")]),
        turn(Role::Tool, vec![result("c", "3")]),
    ]);
    for (model, excuse) in
        [("gemini-2.5-pro", Value::Null), ("gemini-3-pro-preview", json!("skip_thought_signature_validator"))]
    {
        let (written, lost) = encode_for(&request, model, &Profile::default()).expect("encoded");
        assert_eq!(lost, "thinking");
        let parts = &written["contents"][1]["parts"];
        assert_eq!(parts[0]["thoughtSignature"], excuse, "{model}");
        assert_eq!(parts[1].get("thoughtSignature"), None, "none is made up for the others");
        let parts = &written["contents"][3]["parts"];
        assert_eq!(parts.as_array().map(Vec::len), Some(1));
        assert_eq!(parts[0]["thoughtSignature"], "c2ln", "one that stood alone is the call's");
    }
}

#[test]
fn conversations_begin_and_end_as_the_upstream_wants() {
    let only_system = {
        let mut request = asks(Vec::new());
        request.system.push(system("just this", 0));
        request
    };
    let (written, _) = encode(&only_system);
    assert_eq!(written, json!({"contents":[{"role":"user","parts":[{"text":"just this"}]}]}));
    let prefill = asks(vec![turn(Role::User, vec![Part::text("go")]), turn(Role::Assistant, vec![Part::text("{")])]);
    assert_eq!(encode(&prefill).0["contents"].as_array().map(Vec::len), Some(2));
    let (written, lost) = encode_for(&prefill, "gemini-3-pro", &Profile::default()).expect("encoded");
    assert_eq!((written["contents"].as_array().map(Vec::len), lost.as_str()), (Some(1), "assistant_prefill"));
    // A model that has no place for system texts reads them first.
    let gemma = Profile { system_text: false, ..Profile::default() };
    let mut instructed =
        asks(vec![turn(Role::User, vec![Part::text("go")]), turn(Role::Assistant, vec![Part::text("gone")])]);
    instructed.system.push(system("be brief", 0));
    instructed.system.push(system("be kind", 0));
    let (written, lost) = encode_for(&instructed, "gemma-3-27b-it", &gemma).expect("encoded");
    let said = json!([{"text": "be brief"}, {"text": "be kind"}, {"text": "go"}]);
    assert_eq!((&written["contents"][0], lost.as_str()), (&json!({"role": "user", "parts": said}), ""));
    assert!(written.get("systemInstruction").is_none());
    instructed.turns.remove(0);
    let (written, _) = encode_for(&instructed, "gemma-3-27b-it", &gemma).expect("encoded");
    assert_eq!(written["contents"][0]["parts"].as_array().map(Vec::len), Some(2));
    assert_eq!((&written["contents"][0]["role"], &written["contents"][1]["role"]), (&json!("user"), &json!("model")));
    let trimmed =
        asks(vec![turn(Role::Assistant, vec![call("a", "f", "{}")]), turn(Role::Tool, vec![result("a", "1")])]);
    assert_eq!(encode(&trimmed).0["contents"][0]["role"], "user", "a call follows something of the user's");
    let nothing = asks(vec![turn(Role::User, vec![Part::text("")])]);
    assert!(encode_for(&nothing, "m", &Profile::default()).is_err());
    let billing = {
        let mut request = asks(vec![turn(Role::User, vec![Part::text("go")])]);
        request.system.push(system("x-anthropic-billing-header: cc=1", 0));
        request
    };
    let (written, lost) = encode(&billing);
    assert_eq!((written.get("systemInstruction"), lost.as_str()), (None, "system.billing_header"));
    let mut goes_on = billing.clone();
    goes_on.system = vec![system("x-anthropic-billing-header: cc=1\nBe kind.", 0)];
    let (written, lost) = encode(&goes_on);
    assert_eq!(written["systemInstruction"]["parts"][0]["text"], "Be kind.");
    assert_eq!(lost, "system.billing_header");
}

#[test]
fn neighbouring_turns_of_one_role_are_merged() {
    let request = asks(vec![
        turn(Role::User, vec![Part::text("a")]),
        turn(Role::User, vec![Part::text("b")]),
        turn(Role::Assistant, vec![call("1", "f", "{}")]),
        turn(Role::Assistant, vec![call("2", "g", "{}")]),
        turn(Role::Tool, vec![result("1", "x")]),
        turn(Role::Tool, vec![result("2", "y")]),
    ]);
    let (written, _) = encode(&request);
    let sizes: Vec<_> = written["contents"]
        .as_array()
        .expect("contents")
        .iter()
        .map(|content| content["parts"].as_array().map(Vec::len))
        .collect();
    assert_eq!(sizes, [Some(2), Some(2), Some(2)]);
}

#[test]
fn media_come_as_base64_or_as_an_address() {
    let url =
        |url: &'static str| Part::Image { source: Source::Url(url.into()), detail: Some("high".into()), cache: None };
    let document = Part::Document {
        source: Source::Text("body".into()),
        name: Some("title".into()),
        context: Some("intro".into()),
        citations: true,
        cache: None,
    };
    let request = asks(vec![turn(Role::User, vec![url("https://x/a.png"), url("https://x/a"), document])]);
    let (written, lost) = encode(&request);
    assert_eq!(lost, "image_url.detail,document.citations");
    assert_eq!(
        written["contents"][0]["parts"],
        json!([{"fileData":{"mimeType":"image/png","fileUri":"https://x/a.png"}},{"fileData":{"fileUri":"https://x/a"}},
            {"text":"title"},{"text":"intro"},{"text":"body"}])
    );
    let bytes_only = Profile { media_urls: false, ..Profile::default() };
    assert_eq!(encode_for(&request, "m", &bytes_only).expect_err("a URL").code, "unsupported_feature");
    let foreign = Source::File { id: "file-1".into(), owner: Family::OpenAi };
    let request = asks(vec![turn(Role::User, vec![Part::Image { source: foreign, detail: None, cache: None }])]);
    assert_eq!(encode_for(&request, "m", &Profile::default()).expect_err("a file").param.as_deref(), Some("image"));
}

#[test]
fn a_custom_call_is_a_function_with_one_string() {
    let mut patch = call("a", "patch", "*** Begin\n\"x\"");
    if let Part::ToolCall { kind, .. } = &mut patch {
        *kind = CallKind::Custom;
    }
    let request = asks(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![patch]),
        turn(Role::Tool, vec![result("a", "ok")]),
    ]);
    let (written, _) = encode(&request);
    assert_eq!(written["contents"][1]["parts"][0]["functionCall"]["args"], json!({"input":"*** Begin\n\"x\""}));
}

#[test]
fn extensions_whose_place_is_gone_are_listed() {
    let mut request = decode(
        r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://youtu.be/x"},"videoMetadata":{"fps":1}},{"text":"t","partMetadata":{}}]}],
        "tools":[{"functionDeclarations":[{"name":"f","response":{}}]}]}"#,
    )
    .expect("a request");
    let (written, lost) = encode(&request);
    assert_eq!(lost, "");
    assert_eq!(written["contents"][0]["parts"][0]["videoMetadata"], json!({"fps":1}));
    // Something in front was rewritten: what belongs to a film must not land on a text.
    request.turns.insert(0, turn(Role::User, vec![Part::text("memory")]));
    request.tools.clear();
    let (written, lost) = encode(&request);
    assert_eq!(
        lost,
        "contents.0.parts.0.videoMetadata,contents.0.parts.1.partMetadata,tools.functionDeclarations.f.response"
    );
    assert!(!written.to_string().contains("fps"));
}
