//! The rules of extended thinking.

use serde_json::Value;

use crate::mock_provider::{
    ask::sign,
    shape::{Checked, Fault, Fields, Is, list, may, must, object},
};

/// Checks the request's thinking and the thoughts in its history; says whether the model is to think.
pub(super) fn check(fields: &Fields, model: &str) -> Checked<bool> {
    let thinks = mode(fields, model)?;
    let all = list(fields, "messages");
    for (index, message) in all.iter().enumerate() {
        for (at, block) in message["content"].as_array().into_iter().flatten().enumerate() {
            let thought = block["thinking"].as_str().unwrap_or_default();
            if block["type"] == "thinking" && block["signature"] != sign("claude", thought).as_str() {
                let at = format!("messages.{index}.content.{at}");
                return Err(Fault::said(at, "Invalid `signature` in `thinking` block"));
            }
        }
    }
    // A model that decides itself whether to think takes turns without thoughts.
    if fields.get("thinking").is_some_and(|thinking| thinking["type"] == "enabled")
        && let Some((index, first)) = open_loop(all)
    {
        let kind = first["type"].as_str().unwrap_or("text");
        if !matches!(kind, "thinking" | "redacted_thinking") {
            let words = format!(
                "Expected `thinking` or `redacted_thinking`, but found `{kind}`. When `thinking` is enabled, a final \
                 `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and \
                 `tool_result` blocks)."
            );
            return Err(Fault::said(format!("messages.{index}.content.0.type"), words));
        }
    }
    Ok(thinks)
}

fn mode(fields: &Fields, model: &str) -> Checked<bool> {
    let is_adaptive_model = model.contains("opus-4-6");
    let Some(thinking) = fields.get("thinking").filter(|thinking| !thinking.is_null()) else {
        return Ok(false);
    };
    let kind = must("type", Is::Text);
    let display = may("display", Is::Word(&["summarized", "omitted"]));
    match thinking["type"].as_str() {
        Some("disabled") => return object(thinking, "thinking", &[kind]).map(|_| false),
        Some("adaptive") if is_adaptive_model => {
            object(thinking, "thinking", &[kind, display])?;
        }
        Some("adaptive") => return Err(Fault::said("", "adaptive thinking is not supported on this model")),
        Some("enabled") => {
            let thinking = object(thinking, "thinking.enabled", &[kind, must("budget_tokens", Is::Whole), display])?;
            let budget = thinking["budget_tokens"].as_i64().unwrap_or_default();
            if budget < 1024 {
                let words = "Input should be greater than or equal to 1024";
                return Err(Fault::said("thinking.enabled.budget_tokens", words));
            }
            if fields.get("max_tokens").and_then(Value::as_i64).is_some_and(|limit| limit <= budget) {
                return Err(Fault::said("", "`max_tokens` must be greater than `thinking.budget_tokens`."));
            }
        }
        _ => {
            return Err(Fault::said(
                "thinking",
                "Input tag does not match any of the expected tags: 'disabled', 'enabled', 'adaptive'",
            ));
        }
    }
    if fields.get("temperature").and_then(Value::as_f64).is_some_and(|number| (number - 1.0).abs() > f64::EPSILON) {
        return Err(Fault::said("", "`temperature` may only be set to 1 when thinking is enabled."));
    }
    if fields.contains_key("top_k") {
        return Err(Fault::said("", "`top_k` must be unset when thinking is enabled."));
    }
    if fields.get("top_p").and_then(Value::as_f64).is_some_and(|number| number < 0.95) {
        return Err(Fault::said(
            "",
            "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.",
        ));
    }
    let forced = fields.get("tool_choice").is_some_and(|choice| choice["type"] == "any" || choice["type"] == "tool");
    if forced {
        return Err(Fault::said("", "Thinking may not be enabled when tool_choice forces tool use."));
    }
    if list(fields, "messages").last().is_some_and(|last| last["role"] == "assistant") {
        return Err(Fault::said("", "Prefilling the assistant message is not supported when thinking is enabled."));
    }
    Ok(true)
}

/// The first block of the last assistant message, when results have come and it goes on.
fn open_loop(messages: &[Value]) -> Option<(usize, &Value)> {
    let spoken = || messages.iter().enumerate().rev().filter(|(_, one)| one["role"] != "system");
    let is = |message: &Value, kind: &str| {
        message["content"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == kind))
    };
    let (_, last) = spoken().next()?;
    if !is(last, "tool_result") {
        return None;
    }
    let (index, assistant) = spoken().find(|(_, one)| one["role"] == "assistant")?;
    Some((index, &assistant["content"][0]))
}
