//! What Gemini checks in a request: no field that it does not know, and the order of turns.

use serde_json::Value;

use super::{config, tools};
use crate::mock_provider::{
    ask::{self, Ask, Kind, sign},
    shape::{Checked, Fault, Field, Is, is_base64, list, may, must, object},
};

const REQUEST: [Field; 8] = [
    must("contents", Is::List),
    may("systemInstruction", Is::Object),
    may("tools", Is::List),
    may("toolConfig", Is::Object),
    may("generationConfig", Is::Object),
    may("safetySettings", Is::List),
    may("cachedContent", Is::Text),
    may("serviceTier", Is::Text),
];
const CONTENT: [Field; 2] = [may("role", Is::Word(&["user", "model"])), must("parts", Is::List)];
const PART: [Field; 12] = [
    may("text", Is::Text),
    may("inlineData", Is::Object),
    may("fileData", Is::Object),
    may("functionCall", Is::Object),
    may("functionResponse", Is::Object),
    may("executableCode", Is::Object),
    may("codeExecutionResult", Is::Object),
    may("toolCall", Is::Object),
    may("toolResponse", Is::Object),
    may("thought", Is::Flag),
    may("thoughtSignature", Is::Text),
    may("videoMetadata", Is::Object),
];
/// The fields of a part of which it has exactly one.
const DATA: [&str; 9] = [
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];
/// What stands for a signature that is gone.
const SKIP: [&str; 2] = ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];

pub(super) fn request(body: &Value, model: &str) -> Checked<Ask> {
    let fields = object(body, "", &REQUEST)?;
    let contents = list(fields, "contents");
    if contents.is_empty() {
        return Err(Fault::missing("contents"));
    }
    for (index, one) in contents.iter().enumerate() {
        content(one, &format!("contents[{index}]"))?;
    }
    if let Some(system) = fields.get("systemInstruction") {
        content(system, "system_instruction")?;
    }
    for (index, setting) in list(fields, "safetySettings").iter().enumerate() {
        object(
            setting,
            &format!("safety_settings[{index}]"),
            &[must("category", Is::Text), must("threshold", Is::Text)],
        )?;
    }
    turns(contents)?;
    if model.starts_with("gemini-3") {
        signatures(contents)?;
    }
    let tools = tools::tools(fields)?;
    let choice = tools::choice(fields)?;
    let config = config::read(fields, model)?;
    Ok(Ask {
        text: contents.last().map(last_text).unwrap_or_default(),
        tools,
        choice,
        rounds: ask::rounds(contents.iter().map(kind)),
        limit: config.limit,
        n: config.n,
        schema: config.schema,
        thinking: config.thinking,
        prompt: ask::cost(fields, &["systemInstruction", "contents", "tools"]),
        stream: false,
    })
}

fn parts(content: &Value) -> &[Value] {
    content["parts"].as_array().map_or(&[], Vec::as_slice)
}

fn kind(content: &Value) -> Kind {
    if content["role"] == "model" {
        Kind::Assistant
    } else if parts(content).iter().any(|part| part["functionResponse"].is_object()) {
        Kind::Results
    } else {
        Kind::User
    }
}

fn last_text(content: &Value) -> String {
    let said = parts(content).iter().map(|part| match &part["functionResponse"]["response"] {
        Value::Null => part["text"].as_str().unwrap_or_default().to_owned(),
        Value::Object(fields) => fields
            .values()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    });
    said.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

fn content(value: &Value, at: &str) -> Checked {
    object(value, at, &CONTENT)?;
    let all = parts(value);
    if all.is_empty() {
        return Err(Fault::said("", format!("* GenerateContentRequest.{at}.parts: contents.parts must not be empty.")));
    }
    all.iter().enumerate().try_for_each(|(index, value)| part(value, &format!("{at}.parts[{index}]")))
}

fn part(value: &Value, at: &str) -> Checked {
    let part = object(value, at, &PART)?;
    if DATA.iter().filter(|name| part.contains_key(**name)).count() != 1 {
        return Err(Fault::said("", format!("{at}: required oneof field 'data' must have one initialized field")));
    }
    if let Some(signature) = part.get("thoughtSignature").and_then(Value::as_str)
        && !SKIP.contains(&signature)
        && !is_base64(signature)
    {
        return Err(Fault::said(
            "",
            format!("Invalid value at '{at}.thought_signature' (TYPE_BYTES), Base64 decoding failed"),
        ));
    }
    let inner = |name: &str| format!("{at}.{name}");
    if let Some(data) = part.get("inlineData") {
        let at = inner("inline_data");
        let data =
            object(data, &at, &[must("mimeType", Is::Filled), must("data", Is::Base64), may("displayName", Is::Text)])?;
        let kind = data["mimeType"].as_str().unwrap_or_default();
        if !["image/", "audio/", "video/", "text/", "application/pdf"].iter().any(|known| kind.starts_with(known)) {
            return Err(Fault::said("", format!("Unsupported MIME type: {kind}")));
        }
    }
    if let Some(data) = part.get("fileData") {
        object(
            data,
            &inner("file_data"),
            &[may("mimeType", Is::Text), must("fileUri", Is::Filled), may("displayName", Is::Text)],
        )?;
    }
    if let Some(call) = part.get("functionCall") {
        object(
            call,
            &inner("function_call"),
            &[may("id", Is::Text), must("name", Is::Filled), may("args", Is::Object)],
        )?;
    }
    if let Some(response) = part.get("functionResponse") {
        let own = [
            may("id", Is::Text),
            must("name", Is::Filled),
            must("response", Is::Object),
            may("parts", Is::List),
            may("willContinue", Is::Flag),
            may("scheduling", Is::Text),
        ];
        object(response, &inner("function_response"), &own)?;
    }
    Ok(())
}

/// Calls come after a user or after results; results come right after calls, as many as those, under the same names.
fn turns(contents: &[Value]) -> Checked {
    let names = |content: &Value, field: &str| -> Vec<String> {
        let of = parts(content).iter().filter_map(|part| part[field]["name"].as_str());
        of.map(str::to_owned).collect()
    };
    for (index, one) in contents.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &contents[before]);
        let calls = names(one, "functionCall");
        let results = names(one, "functionResponse");
        if !calls.is_empty() {
            if one["role"] != "model" || before.is_none_or(|before| before["role"] == "model") {
                let words = "Please ensure that function call turn comes immediately after a user turn or after a function \
                             response turn.";
                return Err(Fault::said("", words));
            }
            let answered = contents.get(index + 1).is_some_and(|next| !names(next, "functionResponse").is_empty());
            if !answered {
                return Err(Fault::said(
                    "",
                    "Please ensure that function response turn comes immediately after a function call turn.",
                ));
            }
        }
        if !results.is_empty() {
            let Some(asked) = before.map(|before| names(before, "functionCall")).filter(|asked| !asked.is_empty())
            else {
                return Err(Fault::said(
                    "",
                    "Please ensure that function response turn comes immediately after a function call turn.",
                ));
            };
            if asked.len() != results.len() {
                let words = "Please ensure that the number of function response parts is equal to the number of function \
                             call parts of the function call turn.";
                return Err(Fault::said("", words));
            }
            let (mut asked, mut results) = (asked, results);
            asked.sort();
            results.sort();
            if asked != results {
                return Err(Fault::said("", "Function response names do not match the function calls."));
            }
        }
    }
    Ok(())
}

/// In the turn that is going on, the first call of each step carries the signature that it came with.
fn signatures(contents: &[Value]) -> Checked {
    let start = contents.iter().rposition(|one| kind(one) == Kind::User).unwrap_or(0);
    for (index, one) in contents.iter().enumerate().skip(start) {
        let Some((at, part)) = parts(one).iter().enumerate().find(|(_, part)| part["functionCall"].is_object()) else {
            continue;
        };
        let name = part["functionCall"]["name"].as_str().unwrap_or_default();
        match part["thoughtSignature"].as_str() {
            None => {
                return Err(Fault::said(
                    "",
                    format!(
                        "Function call is missing a thought_signature in functionCall parts. This is required for tools \
                         to work correctly. Function call `{name}`, position {at} of contents[{index}]."
                    ),
                ));
            }
            Some(signature) if SKIP.contains(&signature) || signature == sign("gemini", name) => {}
            Some(_) => return Err(Fault::said("", "Thought signature is not valid.")),
        }
    }
    Ok(())
}
