//! OpenAI's shape.

use serde_json::{Value, json};

use super::Listed;

/// The list.
pub(crate) fn list<'l>(listed: impl IntoIterator<Item = &'l Listed>) -> Value {
    let models: Vec<Value> = listed.into_iter().map(one).collect();
    json!({"object": "list", "data": models})
}

/// The list for Codex, which asks with `client_version` and wants its own kind of entries under `models`. There are none: they
/// would have to carry the program's own instructions. An empty list makes it use what it has built in.
pub(crate) fn list_for_codex<'l>(listed: impl IntoIterator<Item = &'l Listed>) -> Value {
    let mut list = list(listed);
    list["models"] = json!([]);
    list
}

/// One model.
pub(crate) fn one(listed: &Listed) -> Value {
    let Listed { id, provider, model } = listed;
    let mut described = json!({
        "id": id,
        "object": "model",
        "created": model.created,
        "owned_by": provider.prefix,
        "permission": [],
        "root": model.model,
        "parent": null,
        "type": model.kind,
    });
    // Each client reads another name: OpenRouter's and LiteLLM's, vLLM's, Groq's.
    let limits = [
        ("context_length", model.context_window),
        ("context_window", model.context_window),
        ("max_model_len", model.context_window),
        ("max_input_tokens", model.context_window),
        ("max_output_tokens", model.max_output_tokens),
        ("max_completion_tokens", model.max_output_tokens),
    ];
    for (name, limit) in limits {
        if let Some(limit) = limit {
            described[name] = limit.into();
        }
    }
    if let Some(known) = listed.known() {
        described["capabilities"] = json!({
            "tool_calling": known.can("tools"),
            "reasoning": known.can("reasoning"),
            "vision": known.can("vision"),
        });
    }
    described
}
