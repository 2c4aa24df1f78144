use serde_json::json;

use super::*;
use crate::ir::{Effort, Modality, OutputFormat, Source, ToolChoice, ToolKind};

/// The request of a tool loop as Gemini CLI sends it, in this format's own spelling.
const AGENT: &str = r#"{"contents":[
    {"parts":[{"text":"context"},{"text":"please run it"}],"role":"user"},
    {"parts":[{"functionCall":{"id":"run_1","args":{"command":"expr 6 '*' 7"},"name":"run"},"thoughtSignature":"Z2VtaW5p"}],"role":"model"},
    {"parts":[{"functionResponse":{"name":"run","response":{"output":"42"},"id":"run_1"}}],"role":"user"}],
    "systemInstruction":{"parts":[{"text":"be brief"}],"role":"user"},
    "tools":[{"functionDeclarations":[{"name":"run","description":"d","parametersJsonSchema":{"type":"object","properties":{"command":{"type":"string"}}}}]}],
    "generationConfig":{"temperature":1,"topP":0.95,"topK":64,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":8192}}}"#;

#[test]
fn an_agents_request_is_understood() {
    let request = decode(AGENT).expect("a request");
    assert_eq!((request.model.as_ref(), request.stream), ("gemini-2.5-pro", false));
    assert_eq!(request.system, [system("be brief", 0)]);
    assert_eq!(
        request.turns.iter().map(|turn| turn.role).collect::<Vec<_>>(),
        [Role::User, Role::Assistant, Role::Tool]
    );
    let Part::ToolCall { id, arguments, signature, .. } = &request.turns[1].parts[0] else { panic!("a call") };
    assert_eq!((id.as_ref(), arguments.as_ref()), ("run_1", r#"{"command":"expr 6 '*' 7"}"#));
    assert_eq!(signature.as_ref().map(|own| (own.family, own.payload.as_ref())), Some((Family::Gemini, "Z2VtaW5p")));
    let Part::ToolResult { call_id, name, parts, is_error, .. } = &request.turns[2].parts[0] else {
        panic!("a result")
    };
    assert_eq!((call_id.as_ref(), name.as_deref(), *is_error), ("run_1", Some("run"), false));
    assert_eq!(parts, &[Part::text("42")]);
    let reasoning = request.reasoning.expect("reasoning");
    assert_eq!((reasoning.budget, reasoning.visible, reasoning.enabled), (Some(8192), Some(true), Some(true)));
    assert_eq!((request.sampling.top_k, request.sampling.top_p), (Some(64), Some(0.95)));
    assert!(request.extensions.is_empty());
}

#[test]
fn every_field_has_two_spellings_and_lists_of_one_need_no_brackets() {
    let snake = decode(
        r#"{"contents":{"parts":{"text":"hi"}},"system_instruction":{"parts":{"text":"s"}},
        "tools":{"function_declarations":{"name":"f","parameters_json_schema":{"type":"object"}}},
        "tool_config":{"function_calling_config":{"mode":"any","allowed_function_names":["f","g"]}},
        "generation_config":{"top_k":40.0,"top_p":1,"max_output_tokens":"100","stop_sequences":["x"],"candidate_count":2,
            "response_mime_type":"application/json","response_json_schema":{"type":"object"},"presence_penalty":0.5,
            "frequency_penalty":-0.5,"seed":3,"response_logprobs":true,"logprobs":4,"response_modalities":["text","IMAGE"],
            "thinking_config":{"thinking_level":"low","include_thoughts":false},"speech_config":{"a":1}},
        "safety_settings":[],"cached_content":"cachedContents/x"}"#,
    )
    .expect("a request");
    assert_eq!(snake.system, [system("s", 0)]);
    assert_eq!(snake.turns, [turn(Role::User, vec![Part::text("hi")])]);
    assert_eq!(snake.tools[0].name, "f");
    let names = vec!["f".into(), "g".into()];
    assert_eq!(snake.tool_choice, Some(ToolChoice::Allowed { names, required: true }));
    assert_eq!((snake.max_tokens, snake.sampling.top_k, snake.sampling.n), (Some(100), Some(40), Some(2)));
    assert_eq!(
        (snake.sampling.seed, snake.sampling.logprobs, snake.sampling.top_logprobs),
        (Some(3), Some(true), Some(4))
    );
    assert_eq!(snake.stop, ["x"]);
    assert_eq!(snake.modalities, [Modality::Text, Modality::Image]);
    assert!(matches!(snake.output, OutputFormat::Schema { .. }));
    let reasoning = snake.reasoning.expect("reasoning");
    assert_eq!((reasoning.effort, reasoning.visible), (Some(Effort::Low), Some(false)));
    let paths: Vec<_> = snake.extensions.iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["generationConfig.speechConfig", "safety_settings", "cached_content"]);
}

#[test]
fn calls_without_ids_get_stable_ones_and_results_match_by_name_and_order() {
    let body = r#"{"contents":[
        {"role":"user","parts":[{"text":"go"}]},
        {"role":"model","parts":[{"functionCall":{"name":"f","args":{"n":1}}},{"functionCall":{"name":"f","args":{"n":2}}},{"functionCall":{"name":"g"}}]},
        {"role":"function","parts":[{"functionResponse":{"name":"g","response":{"a":1}}},{"functionResponse":{"name":"f","response":{"n":1}}},{"functionResponse":{"name":"f","response":{"n":2}}}]},
        {"role":"model","parts":[{"functionCall":{"name":"f","args":{"n":1}}}]},
        {"role":"user","parts":[{"functionResponse":{"name":"f","response":{}}},{"text":"and?"}]}]}"#;
    let request = decode(body).expect("a request");
    let ids = |turn: usize| -> Vec<String> {
        let id = |part: &Part<'_>| match part {
            Part::ToolCall { id, .. } => Some(id.to_string()),
            Part::ToolResult { call_id, .. } => Some(call_id.to_string()),
            _ => None,
        };
        request.turns[turn].parts.iter().filter_map(id).collect()
    };
    let calls = ids(1);
    assert!(calls.iter().all(|id| id.starts_with("call_") && id.len() == 29), "{calls:?}");
    assert_eq!(ids(2), [calls[2].clone(), calls[0].clone(), calls[1].clone()]);
    assert_ne!(ids(3)[0], calls[0], "the same call in a later turn is another one");
    assert_eq!(ids(4), ids(3));
    assert_eq!(request.turns[4].role, Role::User, "a result beside a text is the user's turn");
    assert_eq!(decode(body).expect("again").turns, request.turns, "every proxy makes the same ids");
}

#[test]
fn a_round_that_was_given_up_takes_no_results_of_the_next() {
    let request = decode(
        r#"{"contents":[
        {"role":"model","parts":[{"functionCall":{"name":"f","args":{"n":1}}}]},
        {"role":"user","parts":[{"text":"stop"}]},
        {"role":"model","parts":[{"functionCall":{"name":"f","args":{"n":2}}}]},
        {"role":"user","parts":[{"functionResponse":{"name":"f","response":{"ok":true}}}]}]}"#,
    )
    .expect("a request");
    let Part::ToolCall { id, .. } = &request.turns[2].parts[0] else { panic!("a call") };
    let Part::ToolResult { call_id, .. } = &request.turns[3].parts[0] else { panic!("a result") };
    assert_eq!(id, call_id);
}

#[test]
fn results_are_unwrapped_and_their_media_kept() {
    for (response, text, is_error) in [
        (r#"{"output":"a\nb"}"#, "a\nb", false),
        (r#"{"result":[1, 2]}"#, "[1, 2]", false),
        (r#"{"error":"boom"}"#, "boom", true),
        (r#"{"temp": 20,"unit":"C"}"#, r#"{"temp": 20,"unit":"C"}"#, false),
        (r"{}", "{}", false),
    ] {
        let body = format!(
            r#"{{"contents":[{{"parts":[{{"functionResponse":{{"name":"f","response":{response},"parts":[{{"inlineData":{{"mimeType":"image/png","data":"AA=="}}}}]}}}}]}}]}}"#
        );
        let request = decode(&body).expect("a request");
        let Part::ToolResult { parts, is_error: failed, .. } = &request.turns[0].parts[0] else { panic!("a result") };
        assert_eq!((&parts[0], *failed), (&Part::text(text), is_error), "{response}");
        assert!(matches!(parts[1], Part::Image { .. }));
    }
}

#[test]
fn media_are_told_apart_and_base64_becomes_standard() {
    let request = decode(
        r#"{"contents":[{"parts":[
        {"inlineData":{"mimeType":"image/png","data":"-_-_"}},
        {"inline_data":{"mime_type":"audio/wav","data":"-_8"}},
        {"inlineData":{"mimeType":"application/pdf","data":"AA==","displayName":"a.pdf"}},
        {"fileData":{"mimeType":"video/mp4","fileUri":"https://generativelanguage.googleapis.com/v1beta/files/x"},"videoMetadata":{"fps":2}},
        {"fileData":{"fileUri":"https://youtu.be/abc"}},
        {"fileData":{"fileUri":"https://example.com/a.JPG?x=1"}},
        {"fileData":{"fileUri":"gs://b/o","mimeType":"audio/mpeg"}}]}]}"#,
    )
    .expect("a request");
    let parts = &request.turns[0].parts;
    let inline = |media_type: &'static str, data: &'static str| Source::Inline {
        media_type: media_type.into(),
        data: data.into(),
    };
    assert_eq!(parts[0], Part::Image { source: inline("image/png", "+/+/"), detail: None, cache: None });
    assert!(
        matches!(&parts[1], Part::Audio { source, format: Some(format), .. } if *source == inline("audio/wav", "+/8=") && format == "wav")
    );
    assert!(matches!(&parts[2], Part::Document { name: Some(name), .. } if name == "a.pdf"));
    assert!(matches!(&parts[3], Part::Video { source: Source::File { owner: Family::Gemini, .. } }));
    assert!(matches!(&parts[4], Part::Video { source: Source::Url(_) }));
    assert!(matches!(&parts[5], Part::Image { source: Source::Url(_), .. }));
    assert!(matches!(&parts[6], Part::Audio { source: Source::File { owner: Family::Gemini, .. }, .. }));
    assert_eq!(
        request.extensions.get("contents.0.parts.3.videoMetadata").map(crate::ir::Json::as_str),
        Some(r#"{"fps":2}"#)
    );
}

#[test]
fn thoughts_come_in_pieces_and_signatures_are_opened() {
    use base64::Engine as _;
    let sealed = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode("sealed:anthropic:m:sig?>~");
    let body = format!(
        r#"{{"contents":[{{"role":"model","parts":[
        {{"text":"a","thought":true}},{{"text":"b","thought":true}},{{"text":"","thought":true,"thoughtSignature":"{sealed}"}},
        {{"text":"hello","thoughtSignature":"AbC="}},{{"text":"","thoughtSignature":"skip_thought_signature_validator"}},
        {{"functionCall":{{"name":"f"}},"thought_signature":"context_engineering_is_the_way_to_go"}}]}}]}}"#
    );
    let request = decode(&body).expect("a request");
    let signature = |family, payload: &'static str| Signature { family, payload: payload.into() };
    let parts = &request.turns[0].parts;
    assert_eq!(parts[0], Part::Thinking { text: "ab".into(), signature: Some(signature(Family::Anthropic, "sig?>~")) });
    assert_eq!(parts[1], Part::text("hello"));
    assert_eq!(parts[2], Part::RedactedThinking { data: signature(Family::Gemini, "AbC=") });
    assert!(
        matches!(&parts[3], Part::ToolCall { signature: None, arguments, .. } if arguments == "{}"),
        "a sentinel proves nothing"
    );
    assert_eq!(parts.len(), 4);
}

#[test]
fn vendor_tools_and_their_blocks_are_kept_whole() {
    let request = decode(
        r#"{"contents":[{"parts":[{"text":"x"}]},{"role":"model","parts":[{"executableCode":{"language":"PYTHON","code":"1"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK"}},{"futureThing":{"a":1}}]}],
        "tools":[{"google_search":{}},{"codeExecution":{},"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","properties":{"a":{"type":"STRING","nullable":true}}},"behavior":"BLOCKING"}]},{"urlContext":{}},{"googleMaps":{"enableWidget":true}}],
        "toolConfig":{"functionCallingConfig":{"mode":"VALIDATED","allowedFunctionNames":["f"],"streamFunctionCallArguments":true},"retrievalConfig":{"languageCode":"de"}}}"#,
    )
    .expect("a request");
    let tools: Vec<_> = request.vendor_tools.iter().map(|tool| (tool.name.as_ref(), tool.raw.as_str())).collect();
    assert_eq!(
        tools,
        [
            ("googleSearch", "{}"),
            ("codeExecution", "{}"),
            ("urlContext", "{}"),
            ("googleMaps", r#"{"enableWidget":true}"#)
        ]
    );
    let blocks =
        request.turns[1].parts.iter().filter(|part| matches!(part, Part::ServerTool { family: Family::Gemini, .. }));
    assert_eq!(blocks.count(), 3);
    let ToolKind::Function { schema: Some(schema), .. } = &request.tools[0].kind else { panic!("a schema") };
    assert_eq!(schema.as_str(), r#"{"type":"object","properties":{"a":{"type":["string","null"]}}}"#);
    assert_eq!(request.tool_choice, Some(ToolChoice::Allowed { names: vec!["f".into()], required: false }));
    let (written, lost) = encode(&request);
    assert_eq!(lost, "toolConfig.functionCallingConfig.streamFunctionCallArguments");
    assert_eq!(
        written["tools"],
        json!([{"functionDeclarations":[{"name":"f","parametersJsonSchema":{"type":"object","properties":{"a":{"type":["string","null"]}}},"behavior":"BLOCKING"}]},
            {"googleSearch":{}},{"codeExecution":{}},{"urlContext":{}},{"googleMaps":{"enableWidget":true}}])
    );
    assert_eq!(
        written["toolConfig"],
        json!({"functionCallingConfig":{"mode":"VALIDATED","allowedFunctionNames":["f"]},"retrievalConfig":{"languageCode":"de"}})
    );
    assert_eq!(written["contents"][1]["parts"][2], json!({"futureThing":{"a":1}}));
}

#[test]
fn bad_fields_are_named() {
    for (body, param) in [
        ("{}", "contents"),
        (r#"{"contents":[]}"#, "contents"),
        (r#"{"contents":7}"#, "contents"),
        (r#"{"contents":[{"role":"robot","parts":[{"text":"x"}]}]}"#, "contents.0.role"),
        (r#"{"contents":[{"parts":[{"text":7}]}]}"#, "contents[0].parts[0].text"),
        (r#"{"contents":[{"parts":[{"functionCall":{"args":{}}}]}]}"#, "contents.0.parts.0.functionCall.name"),
        (
            r#"{"contents":[{"parts":[{"functionCall":{"name":"f","args":[]}}]}]}"#,
            "contents.0.parts.0.functionCall.args",
        ),
        (
            r#"{"contents":[{"parts":[{"functionResponse":{"response":{}}}]}]}"#,
            "contents.0.parts.0.functionResponse.name",
        ),
        (r#"{"contents":[{"parts":[{"inlineData":{"data":"AA=="}}]}]}"#, "contents.0.parts.0.inlineData.mimeType"),
        (r#"{"contents":[{"parts":[{"fileData":{}}]}]}"#, "contents.0.parts.0.fileData.fileUri"),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"temperature":9}}"#,
            "generationConfig.temperature",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"candidateCount":0}}"#,
            "generationConfig.candidateCount",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"responseMimeType":"image/png"}}"#,
            "generationConfig.responseMimeType",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"responseModalities":["SMELL"]}}"#,
            "generationConfig.responseModalities",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"thinkingConfig":{"thinkingBudget":-2}}}"#,
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"thinkingConfig":{"thinkingLevel":"huge"}}}"#,
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"topK":"many"}}"#, "generationConfig.topK"),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"tools":[{"functionDeclarations":[{}]}]}"#,
            "tools.0.functionDeclarations.0.name",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":[]}]}]}"#,
            "tools.0.functionDeclarations.0.parameters",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"toolConfig":{"functionCallingConfig":{"mode":"MAYBE"}}}"#,
            "toolConfig.functionCallingConfig.mode",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"systemInstruction":{"parts":[{"inlineData":{}}]}}"#,
            "systemInstruction.parts.0",
        ),
    ] {
        let error = decode(body).expect_err(body);
        assert_eq!(error.param.as_deref(), Some(param), "{body}: {error}");
    }
    assert_eq!(decode_request(b"{}", "models/", false, &CONTEXT).expect_err("no model").code, "missing_model");
}

#[test]
fn malformed_bodies_are_refused_without_a_panic() {
    let deep = format!(r#"{{"contents":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let deep_parts = format!(r#"{{"contents":[{{"parts":{}1{}}}]}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for body in ["", "{", "[]", "null", "7", "{\"contents\":", &deep, &deep_parts] {
        assert!(decode(body).is_err(), "{}", &body[..body.len().min(40)]);
    }
    assert!(decode_request(b"{\"contents\":[{\"parts\":[{\"text\":\"\xff\"}]}]}", "m", false, &CONTEXT).is_err());
    // Arguments are carried as text, however deep they are.
    let args = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let body =
        format!(r#"{{"contents":[{{"role":"model","parts":[{{"functionCall":{{"name":"f","args":{args}}}}}]}}]}}"#);
    let request = decode(&body).expect("a request");
    assert!(matches!(&request.turns[0].parts[0], Part::ToolCall { arguments, .. } if *arguments == args));
}

#[test]
fn unknown_and_null_fields_are_no_errors() {
    let request = decode(
        r#"{"contents":[{"parts":[{"text":"x","newThing":1},{}],"y":2}],"model":"models/other","labels":{"a":"b"},"generationConfig":{"temperature":null,"futureKnob":[1, 2]},"tools":null,"systemInstruction":null}"#,
    )
    .expect("a request");
    assert_eq!(request.turns[0].parts, [Part::text("x")]);
    let (written, lost) = encode(&request);
    assert_eq!(lost, "");
    assert_eq!(written["labels"], json!({"a":"b"}));
    assert_eq!(written["generationConfig"], json!({"futureKnob":[1, 2]}));
    assert_eq!(written["contents"][0]["parts"][0], json!({"text":"x","newThing":1}));
    assert!(written.get("model").is_none(), "the path says it");
}

#[test]
fn words_that_no_other_format_has_are_kept_or_said_otherwise() {
    let body = r#"{"contents":[{"parts":[{"text":"x"}]}],"tools":[{"functionDeclarations":[{"name":"f"},{"name":"g"}]}],
        "toolConfig":{"functionCallingConfig":{"mode":"VALIDATED"}},
        "generationConfig":{"responseMimeType":"text/x.enum","responseSchema":{"type":"STRING","enum":["a","b"]}}}"#;
    let request = decode(body).expect("a request");
    let names = vec!["f".into(), "g".into()];
    assert_eq!(request.tool_choice, Some(ToolChoice::Allowed { names, required: false }));
    assert_eq!(request.output, OutputFormat::Text);
    let (written, lost) = encode(&request);
    assert_eq!(lost, "");
    let expected = json!({"responseMimeType":"text/x.enum","responseSchema":{"type":"STRING","enum":["a","b"]}});
    assert_eq!(written["generationConfig"], expected);
}
