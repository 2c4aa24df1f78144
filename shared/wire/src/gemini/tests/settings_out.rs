use serde_json::json;

use super::*;
use crate::ir::{
    Effort, Json, Modality, OutputFormat, Reasoning, ThinkingStyle, Tool, ToolChoice, ToolKind, VendorTool,
};

fn function<'a>(name: &'a str, schema: Option<&str>) -> Tool<'a> {
    let schema = schema.map(|text| Json::from_string(text.to_owned()).expect("JSON"));
    let kind = ToolKind::Function { schema, strict: None };
    Tool { name: name.into(), description: None, kind, namespace: None, cache: None }
}

#[test]
fn tools_are_declared_in_the_form_that_the_model_takes() {
    let mut request = asks(vec![turn(Role::User, vec![Part::text("go")])]);
    let schema = r##"{"type":"object","$defs":{"a":{"type":"string"}},"properties":{"z":{"$ref":"#/$defs/a"}},"additionalProperties":false}"##;
    request.tools.push(function("1st tool", Some(schema)));
    request.tools.push(function("ns:fine.name", Some(r#"{"type":"object","properties":{}}"#)));
    request.tools.push(function("bare", None));
    let kind = ToolKind::Custom { grammar: Some(Json::from_string("{}".to_owned()).expect("JSON")) };
    request.tools.push(Tool {
        name: "patch".into(),
        description: Some("d".into()),
        kind,
        namespace: None,
        cache: None,
    });
    request.vendor_tools.push(VendorTool {
        family: Family::OpenAi,
        name: "web_search".into(),
        raw: Json::from_string("{}".to_owned()).expect("JSON"),
    });
    request.tool_choice = Some(ToolChoice::Named("1st tool".into()));
    request.parallel_tool_calls = Some(false);
    let (full, lost) = encode(&request);
    assert_eq!(lost, "tools.web_search,tools.format,parallel_tool_calls");
    let functions = &full["tools"][0]["functionDeclarations"];
    assert_eq!(functions[0]["name"], "_st_tool");
    assert_eq!(functions[0]["parametersJsonSchema"], serde_json::from_str::<Value>(schema).expect("JSON"));
    assert_eq!(functions[1]["name"], "ns:fine.name");
    assert_eq!(functions[2], json!({"name":"bare"}));
    assert_eq!(functions[3]["parametersJsonSchema"]["required"], json!(["input"]));
    assert_eq!(full["toolConfig"], json!({"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["_st_tool"]}}));
    let subset = Profile { full_json_schema: false, ..Profile::default() };
    let (lowered, _) = encode_for(&request, "gemini-2.0-flash", &subset).expect("encoded");
    let functions = &lowered["tools"][0]["functionDeclarations"];
    assert_eq!(functions[0]["parameters"], json!({"type":"OBJECT","properties":{"z":{"type":"STRING"}}}));
    assert_eq!(functions[1], json!({"name":"ns:fine.name"}), "an object without properties is refused upstream");
    assert_eq!(
        functions[3]["parameters"],
        json!({"type":"OBJECT","properties":{"input":{"type":"STRING"}},"required":["input"]})
    );
}

#[test]
fn every_tool_choice_has_its_mode() {
    let names = vec!["f".into(), "g".into()];
    for (choice, expected) in [
        (ToolChoice::Auto, json!({"mode":"AUTO"})),
        (ToolChoice::None, json!({"mode":"NONE"})),
        (ToolChoice::Required, json!({"mode":"ANY"})),
        (ToolChoice::Named("f".into()), json!({"mode":"ANY","allowedFunctionNames":["f"]})),
        (
            ToolChoice::Allowed { names: names.clone(), required: true },
            json!({"mode":"ANY","allowedFunctionNames":["f","g"]}),
        ),
        (ToolChoice::Allowed { names, required: false }, json!({"mode":"VALIDATED","allowedFunctionNames":["f","g"]})),
    ] {
        let mut request = asks(vec![turn(Role::User, vec![Part::text("go")])]);
        request.tools.push(function("f", None));
        request.tool_choice = Some(choice.clone());
        let (written, _) = encode(&request);
        assert_eq!(written["toolConfig"]["functionCallingConfig"], expected);
        let body = written.to_string();
        assert_eq!(decode(&body).expect("read again").tool_choice, Some(choice));
    }
    let mut request = asks(vec![turn(Role::User, vec![Part::text("go")])]);
    request.tool_choice = Some(ToolChoice::Vendor("web_search".into()));
    assert_eq!(encode_for(&request, "m", &Profile::default()).expect_err("forced").code, "unsupported_feature");
    request.tools.push(function("f", None));
    request.tool_choice = Some(ToolChoice::Required);
    let without = Profile { tools: false, ..Profile::default() };
    assert_eq!(encode_for(&request, "m", &without).expect_err("forced").param.as_deref(), Some("tool_choice"));
    request.tool_choice = Some(ToolChoice::Auto);
    let (written, lost) = encode_for(&request, "m", &without).expect("encoded");
    assert_eq!((written.get("tools"), written.get("toolConfig"), lost.as_str()), (None, None, "tools"));
}

#[test]
fn thinking_is_told_by_level_or_by_budget() {
    let budget = |can_disable| ThinkingStyle::Budget { min: 128, max: 32_768, can_disable };
    let effort = |effort| Reasoning { effort: Some(effort), ..Reasoning::default() };
    let off = Reasoning { enabled: Some(false), ..Reasoning::default() };
    let tokens = |tokens| Reasoning { enabled: Some(true), budget: Some(tokens), ..Reasoning::default() };
    let adaptive = Reasoning { enabled: Some(true), adaptive: true, ..Reasoning::default() };
    let hidden = Reasoning { visible: Some(false), ..effort(Effort::Low) };
    for (style, reasoning, expected, lost) in [
        (
            ThinkingStyle::Effort,
            effort(Effort::Max),
            json!({"thinkingLevel":"HIGH","includeThoughts":true}),
            "reasoning_effort",
        ),
        (
            ThinkingStyle::Effort,
            effort(Effort::Minimal),
            json!({"thinkingLevel":"LOW","includeThoughts":true}),
            "reasoning_effort",
        ),
        (ThinkingStyle::Effort, off, json!({"thinkingLevel":"LOW"}), "reasoning"),
        (ThinkingStyle::Effort, tokens(9_000), json!({"thinkingLevel":"MEDIUM","includeThoughts":true}), ""),
        (ThinkingStyle::Effort, adaptive, json!({"includeThoughts":true}), ""),
        (ThinkingStyle::Effort, hidden, json!({"thinkingLevel":"LOW","includeThoughts":false}), ""),
        (budget(true), off, json!({"thinkingBudget":0}), ""),
        (budget(false), off, json!({"thinkingBudget":128}), "reasoning"),
        (budget(true), tokens(99_999), json!({"thinkingBudget":32_768,"includeThoughts":true}), ""),
        (budget(true), effort(Effort::Medium), json!({"thinkingBudget":10_000,"includeThoughts":true}), ""),
        (budget(true), adaptive, json!({"thinkingBudget":-1,"includeThoughts":true}), ""),
        (ThinkingStyle::None, effort(Effort::High), Value::Null, "reasoning"),
        (ThinkingStyle::None, off, Value::Null, ""),
    ] {
        let mut request = asks(vec![turn(Role::User, vec![Part::text("go")])]);
        request.reasoning = Some(reasoning);
        let profile = Profile { thinking: style, ..Profile::default() };
        let (written, losses) = encode_for(&request, "m", &profile).expect("encoded");
        assert_eq!(
            (&written["generationConfig"]["thinkingConfig"], losses.as_str()),
            (&expected, lost),
            "{style:?} {reasoning:?}"
        );
    }
}

#[test]
fn every_knob_is_written_listed_or_refused() {
    let mut request = asks(vec![turn(Role::User, vec![Part::text("go")])]);
    request.max_tokens = Some(90_000);
    request.stop = (0..6).map(|number| number.to_string().into()).collect();
    request.sampling.temperature = Some(0.5);
    request.sampling.top_p = Some(0.9);
    request.sampling.top_k = Some(40);
    request.sampling.min_p = Some(0.1);
    request.sampling.frequency_penalty = Some(0.1);
    request.sampling.presence_penalty = Some(0.2);
    request.sampling.repeat_penalty = Some(1.1);
    request.sampling.seed = Some(7);
    request.sampling.n = Some(2);
    request.sampling.logprobs = Some(true);
    request.sampling.top_logprobs = Some(5);
    request.sampling.logit_bias = Json::from_string("{}".to_owned());
    request.user = Some("u".into());
    request.metadata = Json::from_string("{}".to_owned());
    request.cache_key = Some("k".into());
    request.store = Some(true);
    request.service_tier = Some("priority".into());
    request.extensions.push("verbosity", Json::from_string("\"low\"".to_owned()).expect("JSON"));
    request.output = OutputFormat::Json;
    let profile = Profile { max_output_tokens: Some(65_536), ..Profile::default() };
    let (written, lost) = encode_for(&request, "m", &profile).expect("encoded");
    assert_eq!(
        written["generationConfig"],
        json!({"maxOutputTokens":65_536,"stopSequences":["0","1","2","3","4"],"temperature":0.5,"topP":0.9,"presencePenalty":0.2,
            "frequencyPenalty":0.1,"topK":40,"seed":7,"candidateCount":2,"responseLogprobs":true,"logprobs":5,
            "responseMimeType":"application/json"})
    );
    assert_eq!(written["serviceTier"], "priority");
    assert_eq!(
        lost,
        "stop.5,min_p,repetition_penalty,logit_bias,max_tokens,verbosity,user,metadata,prompt_cache_key,store"
    );
    for (change, param) in [
        ((|request: &mut Request<'_>| request.sampling.n = Some(9)) as fn(&mut Request<'_>), "n"),
        (|request| request.sampling.top_logprobs = Some(21), "top_logprobs"),
        (|request| request.modalities = vec![Modality::Text, Modality::Audio], "modalities"),
        (
            |request| {
                let schema = Json::from_string("[]".to_owned()).expect("JSON");
                request.output = OutputFormat::Schema { name: None, description: None, schema, strict: None };
            },
            "response_format.json_schema.schema",
        ),
    ] {
        let mut refused = request.clone();
        change(&mut refused);
        assert_eq!(encode_for(&refused, "m", &profile).expect_err(param).param.as_deref(), Some(param));
    }
}

#[test]
fn structured_output_takes_the_form_that_the_model_knows() {
    let schema = Json::from_string(
        r#"{"type":"object","properties":{"b":{"const":"x"},"a":{"type":["integer","null"]}}}"#.to_owned(),
    )
    .expect("JSON");
    let mut request = asks(vec![turn(Role::User, vec![Part::text("go")])]);
    request.output = OutputFormat::Schema { name: Some("n".into()), description: None, schema, strict: Some(true) };
    let (full, lost) = encode(&request);
    assert_eq!((full["generationConfig"]["responseMimeType"].as_str(), lost.as_str()), (Some("application/json"), ""));
    assert_eq!(full["generationConfig"]["responseJsonSchema"]["properties"]["b"], json!({"const":"x"}));
    let subset = Profile { full_json_schema: false, ..Profile::default() };
    let (lowered, _) = encode_for(&request, "m", &subset).expect("encoded");
    assert_eq!(
        lowered["generationConfig"]["responseSchema"],
        json!({"type":"OBJECT","properties":{"b":{"type":"STRING","enum":["x"]},"a":{"type":"INTEGER","nullable":true}},"propertyOrdering":["b","a"]})
    );
    let none = Profile { json_schema: false, ..Profile::default() };
    let (plain, lost) = encode_for(&request, "m", &none).expect("encoded");
    assert_eq!(plain["generationConfig"], json!({"responseMimeType":"application/json"}));
    assert_eq!(lost, "response_format.json_schema");
}
