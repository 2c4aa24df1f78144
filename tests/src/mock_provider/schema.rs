//! What OpenAI checks in a request, in its order and its words. Fields that nobody knows are let through, as most
//! compatible hosts do, unless the provider is told to be strict as OpenAI itself.

use serde_json::{Map, Value};

use super::{error::ApiError, order};

const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// Top-level fields of `POST /chat/completions`.
const CHAT_FIELDS: [&str; 35] = [
    "messages",
    "model",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];
const EMBEDDINGS_FIELDS: [&str; 5] = ["input", "model", "encoding_format", "dimensions", "user"];

type Fields = Map<String, Value>;

/// The body as a JSON object, and the model it names.
pub(super) fn object(body: &[u8]) -> Result<(Value, String), ApiError> {
    let parsed: Value = serde_json::from_slice(body).map_err(|_| {
        ApiError::bad_request(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP \
             library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
        )
    })?;
    let Some(fields) = parsed.as_object() else {
        return Err(ApiError::wrong_type("body", "an object", &parsed));
    };
    let model = match fields.get("model") {
        None | Some(Value::Null) => return Err(ApiError::bad_request("you must provide a model parameter")),
        Some(Value::String(model)) => model.clone(),
        Some(other) => return Err(ApiError::wrong_type("model", "a string", other)),
    };
    Ok((parsed, model))
}

/// Checks the body of `POST /chat/completions`.
pub(super) fn chat(body: &Value, strict: bool) -> Result<(), ApiError> {
    let Some(fields) = body.as_object() else {
        return Err(ApiError::wrong_type("body", "an object", body));
    };
    known(fields, &CHAT_FIELDS, strict)?;
    messages(fields)?;
    let stream = flag(fields, "stream")?.unwrap_or(false);
    match given(fields, "stream_options") {
        None => {}
        Some(_) if !stream => {
            let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
            return Err(ApiError::bad_request(message).param("stream_options"));
        }
        Some(Value::Object(options)) => {
            flag(options, "include_usage")?;
        }
        Some(other) => return Err(ApiError::wrong_type("stream_options", "an object", other)),
    }
    number(fields, "temperature", 0.0..=2.0)?;
    number(fields, "top_p", 0.0..=1.0)?;
    number(fields, "frequency_penalty", -2.0..=2.0)?;
    number(fields, "presence_penalty", -2.0..=2.0)?;
    whole(fields, "max_tokens", 1)?;
    whole(fields, "max_completion_tokens", 1)?;
    if fields.contains_key("max_tokens") && fields.contains_key("max_completion_tokens") {
        let message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
        return Err(ApiError::bad_request(message).code("invalid_parameter_combination"));
    }
    whole(fields, "n", 1)?;
    tools(fields)?;
    order::chat(body)
}

pub(super) use order::ask;

/// Checks the body of `POST /embeddings`.
pub(super) fn embeddings(body: &Value, strict: bool) -> Result<(), ApiError> {
    let Some(fields) = body.as_object() else {
        return Err(ApiError::wrong_type("body", "an object", body));
    };
    known(fields, &EMBEDDINGS_FIELDS, strict)?;
    let input = given(fields, "input").ok_or_else(|| ApiError::missing("input"))?;
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let are_tokens = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_u64));
    let fits = is_text(input)
        || input.as_array().is_some_and(|items| {
            !items.is_empty() && (items.iter().all(is_text) || items.iter().all(are_tokens) || are_tokens(input))
        });
    if !fits {
        return Err(ApiError::bad_request("'$.input' is invalid. Please check the API reference."));
    }
    match given(fields, "encoding_format") {
        None => {}
        Some(Value::String(format)) if format == "float" || format == "base64" => {}
        Some(other) => {
            let message = format!("Invalid value: {other}. Supported values are: 'base64' and 'float'.");
            return Err(ApiError::bad_request(message).param("encoding_format").code("invalid_value"));
        }
    }
    whole(fields, "dimensions", 1)
}

fn known(fields: &Fields, names: &[&str], strict: bool) -> Result<(), ApiError> {
    match fields.keys().find(|name| strict && !names.contains(&name.as_str())) {
        Some(name) => Err(ApiError::bad_request(format!("Unrecognized request argument supplied: {name}"))),
        None => Ok(()),
    }
}

fn messages(fields: &Fields) -> Result<(), ApiError> {
    let messages = match given(fields, "messages") {
        None => return Err(ApiError::missing("messages")),
        Some(Value::Array(messages)) => messages,
        Some(other) => return Err(ApiError::wrong_type("messages", "an array of objects", other)),
    };
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty \
                       array instead.";
        return Err(ApiError::bad_request(message).param("messages").code("empty_array"));
    }
    messages.iter().enumerate().try_for_each(|(index, value)| message(&format!("messages[{index}]"), value))
}

fn message(at: &str, value: &Value) -> Result<(), ApiError> {
    let Some(fields) = value.as_object() else {
        return Err(ApiError::wrong_type(at, "an object", value));
    };
    let role = match given(fields, "role") {
        None => return Err(ApiError::missing(&format!("{at}.role"))),
        Some(Value::String(role)) => role.as_str(),
        Some(other) => return Err(ApiError::wrong_type(&format!("{at}.role"), "a string", other)),
    };
    if !ROLES.contains(&role) {
        let roles = ROLES.map(|role| format!("'{role}'")).join(", ");
        return Err(ApiError::bad_request(format!("Invalid value: '{role}'. Supported values are: {roles}."))
            .param(format!("{at}.role"))
            .code("invalid_value"));
    }
    if role == "tool" && !fields.get("tool_call_id").is_some_and(Value::is_string) {
        return Err(ApiError::missing(&format!("{at}.tool_call_id")));
    }
    let calls = fields.contains_key("tool_calls") || fields.contains_key("function_call");
    match given(fields, "content") {
        None if role == "assistant" && (calls || fields.contains_key("refusal")) => Ok(()),
        None => {
            Err(ApiError::wrong_type(&format!("{at}.content"), "one of a string or array of objects", &Value::Null))
        }
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) => parts.iter().enumerate().try_for_each(|(index, part)| {
            let at = format!("{at}.content[{index}]");
            let Some(kind) = part.get("type").and_then(Value::as_str) else {
                return Err(ApiError::missing(&format!("{at}.type")));
            };
            match part.get(kind) {
                Some(_) => Ok(()),
                None => Err(ApiError::missing(&format!("{at}.{kind}"))),
            }
        }),
        Some(other) => {
            Err(ApiError::wrong_type(&format!("{at}.content"), "one of a string or array of objects", other))
        }
    }
}

fn tools(fields: &Fields) -> Result<(), ApiError> {
    let tools = match given(fields, "tools") {
        None => None,
        Some(Value::Array(tools)) if tools.is_empty() => {
            let message = "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty \
                           array instead.";
            return Err(ApiError::bad_request(message).param("tools").code("empty_array"));
        }
        Some(Value::Array(tools)) => Some(tools),
        Some(other) => return Err(ApiError::wrong_type("tools", "an array of objects", other)),
    };
    for (index, tool) in tools.into_iter().flatten().enumerate() {
        match tool.get("type").and_then(Value::as_str) {
            Some("function") if tool["function"]["name"].is_string() => {}
            Some("custom") if tool["custom"]["name"].is_string() => {}
            Some(kind @ ("function" | "custom")) => {
                return Err(ApiError::missing(&format!("tools[{index}].{kind}.name")));
            }
            _ => return Err(ApiError::missing(&format!("tools[{index}].type"))),
        }
    }
    if tools.is_none() && given(fields, "tool_choice").is_some() {
        let message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.";
        return Err(ApiError::bad_request(message).param("tool_choice"));
    }
    Ok(())
}

/// A field that is there and not null.
fn given<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn flag(fields: &Fields, name: &str) -> Result<Option<bool>, ApiError> {
    match given(fields, name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(ApiError::wrong_type(name, "a boolean", other)),
    }
}

fn number(fields: &Fields, name: &str, range: std::ops::RangeInclusive<f64>) -> Result<(), ApiError> {
    let Some(value) = given(fields, name) else { return Ok(()) };
    let Some(number) = value.as_f64() else {
        return Err(ApiError::wrong_type(name, "a decimal", value));
    };
    if range.contains(&number) {
        return Ok(());
    }
    let (bound, side) =
        if number < *range.start() { (range.start(), "below minimum") } else { (range.end(), "above maximum") };
    let message =
        format!("Invalid '{name}': decimal {side} value. Expected a value within {bound}, but got {number} instead.");
    Err(ApiError::bad_request(message).param(name).code("decimal_out_of_range"))
}

fn whole(fields: &Fields, name: &str, least: i64) -> Result<(), ApiError> {
    let Some(value) = given(fields, name) else { return Ok(()) };
    match value.as_i64() {
        Some(number) if number >= least => Ok(()),
        Some(number) => {
            let message = format!(
                "Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {number} instead."
            );
            Err(ApiError::bad_request(message).param(name).code("integer_below_min_value"))
        }
        None => Err(ApiError::wrong_type(name, "an integer", value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(change: impl FnOnce(&mut Value)) -> Option<(Option<String>, Option<&'static str>)> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        change(&mut body);
        chat(&body, true).err().map(|error| (error.param, error.code))
    }

    #[test]
    fn a_right_request_passes_and_each_wrong_one_names_its_field() {
        assert_eq!(fault(|_| {}), None);
        let param = |change: fn(&mut Value)| fault(change).expect("a fault").0;
        assert_eq!(param(|body| body["messages"] = json!("hi")).as_deref(), Some("messages"));
        assert_eq!(param(|body| body["messages"] = json!([])).as_deref(), Some("messages"));
        assert_eq!(param(|body| body["messages"][0]["role"] = json!("boss")).as_deref(), Some("messages[0].role"));
        assert_eq!(param(|body| body["messages"][0]["content"] = json!(5)).as_deref(), Some("messages[0].content"));
        assert_eq!(param(|body| body["stream_options"] = json!({})).as_deref(), Some("stream_options"));
        assert_eq!(param(|body| body["temperature"] = json!(3)).as_deref(), Some("temperature"));
        assert_eq!(param(|body| body["tool_choice"] = json!("auto")).as_deref(), Some("tool_choice"));
        assert_eq!(fault(|body| body["no_such_field"] = json!(1)), Some((None, None)));
    }
}
