//! `generationConfig`.

use serde_json::Value;

use super::tools;
use crate::mock_provider::{
    ask::Thinking,
    shape::{Checked, Fault, Field, Fields, Is, list, may, object, range},
};

const CONFIG: [Field; 19] = [
    may("candidateCount", Is::Whole),
    may("stopSequences", Is::Texts),
    may("maxOutputTokens", Is::Whole),
    may("temperature", Is::Number),
    may("topP", Is::Number),
    may("topK", Is::Number),
    may("seed", Is::Whole),
    may("presencePenalty", Is::Number),
    may("frequencyPenalty", Is::Number),
    may("responseLogprobs", Is::Flag),
    may("logprobs", Is::Whole),
    may("responseMimeType", Is::Text),
    may("responseSchema", Is::Object),
    may("responseJsonSchema", Is::Any),
    may("responseModalities", Is::Texts),
    may("thinkingConfig", Is::Object),
    may("mediaResolution", Is::Text),
    may("speechConfig", Is::Object),
    may("imageConfig", Is::Object),
];
const THINKING: [Field; 3] = [
    may("includeThoughts", Is::Flag),
    may("thinkingBudget", Is::Whole),
    may("thinkingLevel", Is::Word(&["minimal", "low", "medium", "high", "MINIMAL", "LOW", "MEDIUM", "HIGH"])),
];

#[derive(Default)]
pub(super) struct Config {
    pub limit: Option<u64>,
    pub n: usize,
    pub schema: Option<Value>,
    pub thinking: Thinking,
}

pub(super) fn read(fields: &Fields, model: &str) -> Checked<Config> {
    let Some(config) = fields.get("generationConfig") else { return Ok(Config::default()) };
    let at = "generation_config";
    let config = object(config, at, &CONFIG)?;
    range(config, at, "temperature", 0.0..=2.0)?;
    range(config, at, "topP", 0.0..=1.0)?;
    if list(config, "stopSequences").len() > 5 {
        return Err(Fault::said(
            "",
            "* GenerateContentRequest.generation_config.stop_sequences: at most 5 are allowed",
        ));
    }
    if config.get("maxOutputTokens").and_then(Value::as_i64).is_some_and(|limit| limit < 1) {
        return Err(Fault::said("", "max_output_tokens must be positive."));
    }
    let is_json = config.get("responseMimeType").is_some_and(|kind| kind == "application/json");
    let schemas: Vec<&Value> =
        ["responseSchema", "responseJsonSchema"].iter().filter_map(|name| config.get(*name)).collect();
    if !schemas.is_empty() && !is_json {
        return Err(Fault::said("", "response_schema is only supported with response mime type 'application/json'"));
    }
    if schemas.len() > 1 {
        return Err(Fault::said("", "only one of response_schema and response_json_schema may be set"));
    }
    if let Some(schema) = config.get("responseSchema") {
        tools::schema(schema, "generation_config.response_schema")?;
    }
    let has_functions = list(fields, "tools").iter().any(|tool| tool.get("functionDeclarations").is_some());
    if is_json && has_functions && !model.starts_with("gemini-3") {
        return Err(Fault::said("", "Function calling with a response mime type: 'application/json' is unsupported"));
    }
    Ok(Config {
        limit: config.get("maxOutputTokens").and_then(Value::as_u64),
        n: config.get("candidateCount").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
        schema: is_json.then(|| schemas.first().map(|schema| (*schema).clone()).unwrap_or_default()),
        thinking: thinking(config, model)?,
    })
}

fn thinking(config: &Fields, model: &str) -> Checked<Thinking> {
    let Some(thinking) = config.get("thinkingConfig") else { return Ok(Thinking::Off) };
    let thinking = object(thinking, "generation_config.thinking_config", &THINKING)?;
    let (budget, level) = (thinking.get("thinkingBudget").and_then(Value::as_i64), thinking.get("thinkingLevel"));
    if level.is_some() && budget.is_some() {
        return Err(Fault::said("", "You can only set one of thinking budget and thinking level."));
    }
    if level.is_some() && !model.starts_with("gemini-3") {
        return Err(Fault::said("", "Thinking level is not supported for this model."));
    }
    if budget.is_some_and(|budget| !(-1..=32_768).contains(&budget)) {
        return Err(Fault::said("", "The thinking budget is invalid. Please choose a value between 0 and 32768."));
    }
    let shown = thinking.get("includeThoughts") == Some(&Value::Bool(true));
    Ok(if shown && budget != Some(0) { Thinking::On } else { Thinking::Off })
}
