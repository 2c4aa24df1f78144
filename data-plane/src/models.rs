//! The lists of models, in OpenAI's shape.

use omniroute_core::error::{ErrorClass, GatewayError};
use serde_json::{Value, json};

use crate::{
    admit::Caller,
    snapshot::{Index, ModelEntry, ProviderEntry},
};

/// Every model that the caller may use and `wanted` picks.
pub(crate) fn list(index: &Index, caller: &Caller, wanted: impl Fn(&ModelEntry) -> bool) -> Value {
    let models: Vec<Value> = index
        .models()
        .iter()
        .filter(|(_, model)| wanted(model))
        .filter_map(|(provider, model)| {
            let id = format!("{}/{}", provider.prefix, model.model);
            may_use(index, caller, provider, &id, &model.model).then(|| describe(&id, provider, model))
        })
        .collect();
    json!({"object": "list", "data": models})
}

/// One model, named with its prefix or without.
///
/// # Errors
/// When there is none of that name that the caller may use.
pub(crate) fn one(index: &Index, caller: &Caller, id: &str) -> Result<Value, GatewayError> {
    index
        .models()
        .iter()
        .filter(|(_, model)| id.ends_with(&model.model))
        .find_map(|(provider, model)| {
            let whole = format!("{}/{}", provider.prefix, model.model);
            let is_it = whole == id || model.model == id;
            (is_it && may_use(index, caller, provider, &whole, &model.model)).then(|| describe(&whole, provider, model))
        })
        .ok_or_else(|| {
            GatewayError::new(ErrorClass::NotFound, "model_not_found", "there is no model of that name")
                .with_param("model")
                .with_hint("GET /v1/models lists the models")
        })
}

fn may_use(index: &Index, caller: &Caller, provider: &ProviderEntry, id: &str, bare: &str) -> bool {
    let connections = index.connections(provider.id.as_str());
    (caller.allows_model(id) || caller.allows_model(bare))
        && connections.iter().any(|connection| caller.allows_connection(connection.id.as_str()))
}

fn describe(id: &str, provider: &ProviderEntry, model: &ModelEntry) -> Value {
    let mut described = json!({
        "id": id,
        "object": "model",
        "created": model.created,
        "owned_by": provider.id.as_str(),
        "permission": [],
        "root": model.model,
        "parent": null,
        "type": model.kind,
    });
    if let Some(fields) = described.as_object_mut() {
        let limits = [("context_length", model.context_window), ("max_output_tokens", model.max_output_tokens)];
        for (name, limit) in limits {
            if let Some(limit) = limit {
                fields.insert(name.to_owned(), limit.into());
            }
        }
    }
    described
}
