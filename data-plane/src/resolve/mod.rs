//! From a model's name to the connections that may serve it.
//!
//! `prefix/model` names a provider: a node by its prefix, a provider of the catalog by its id or alias. A bare id
//! means every provider that lists the model. What follows a prefix is the provider's own business and goes on whether
//! it is listed or not. An alias stands for either, and comes before both.

mod nearest;

use std::sync::Arc;

use omniroute_core::error::{ErrorClass, GatewayError};

use crate::{
    request::{Caller, Plan, Providers},
    snapshot::Index,
};

/// Bytes of a model's name. It comes back in a header of the answer, which clients and proxies in front bound, and stays
/// in the ledger.
const MAX_NAME: usize = 256;

/// Finds the connections for the model that the client named.
///
/// # Errors
/// When the name can be no model's, nobody has the model, nobody is connected, or the key may not use it.
pub(crate) fn resolve(index: &Arc<Index>, caller: &Caller, requested: &str) -> Result<Plan, GatewayError> {
    check(requested)?;
    let meant = index.alias(requested).cloned();
    let (providers, model_at) = find(index, caller, requested, meant.as_deref().unwrap_or(requested))?;
    let plan = Plan::new(Arc::clone(index), caller.clone(), providers, requested.to_owned(), meant, model_at);
    if plan.targets().next().is_none() {
        return Err(without_connection(&plan));
    }
    Ok(plan)
}

fn without_connection(plan: &Plan) -> GatewayError {
    if plan.is_unpriced() {
        return GatewayError::new(
            ErrorClass::Forbidden,
            "model_unpriced",
            format!("the model `{}` has no price, and its connections refuse such models", shown(plan.requested())),
        )
        .with_param("model")
        .with_hint(
            "give it a price with PATCH /api/pricing, or set the connection's `unpriced` to `allow` or `price`",
        );
    }
    if plan.is_connected() {
        return GatewayError::new(
            ErrorClass::Forbidden,
            "connection_forbidden",
            format!("this API key may not use any connection that has `{}`", shown(plan.requested())),
        );
    }
    GatewayError::new(
        ErrorClass::NotFound,
        "provider_not_connected",
        format!("no connection is configured for the provider of `{}`", shown(plan.requested())),
    )
    .with_param("model")
    .with_hint("add one under /api/providers, or with `omniroute providers add`")
}

fn check(requested: &str) -> Result<(), GatewayError> {
    let fault = if requested.len() > MAX_NAME {
        format!("the model's name is longer than {MAX_NAME} bytes")
    } else if requested.chars().any(char::is_control) {
        "the model's name has control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(GatewayError::bad_request("invalid_model", fault)
        .with_param("model")
        .with_hint("GET /v1/models lists the models"))
}

/// `name`: what `requested` stands for. A key may be limited to either.
fn find(index: &Index, caller: &Caller, requested: &str, name: &str) -> Result<(Providers, usize), GatewayError> {
    let is_allowed = caller.allows_model(requested) || caller.allows_model(name);
    let named = name.split_once('/').filter(|(_, model)| !model.is_empty());
    if let Some((prefix, _)) = named
        && let Some(provider) = index.resolve_prefix(prefix)
    {
        if !is_allowed {
            return Err(forbidden_model(requested));
        }
        return Ok((Providers::One(provider), prefix.len() + 1));
    }
    // Some models have a slash of their own, so an id with an unknown prefix may still be a bare one.
    let mut offering = index.providers_of_model(name);
    if offering.is_empty() {
        return Err(unknown_model(index, caller, name));
    }
    if !is_allowed {
        // The key may be limited to the model under the prefix of one provider.
        offering.retain(|id| {
            let provider = index.provider(id.as_str());
            provider.is_some_and(|provider| caller.allows_model(&format!("{}/{name}", provider.prefix)))
        });
    }
    if offering.is_empty() { Err(forbidden_model(requested)) } else { Ok((Providers::Several(offering), 0)) }
}

fn forbidden_model(requested: &str) -> GatewayError {
    GatewayError::new(
        ErrorClass::Forbidden,
        "model_forbidden",
        format!("this API key may not use the model `{}`", shown(requested)),
    )
    .with_param("model")
    .with_hint("GET /v1/models lists what it may use")
}

fn unknown_model(index: &Index, caller: &Caller, requested: &str) -> GatewayError {
    let known: Vec<String> = index
        .models()
        .iter()
        .map(|(provider, model)| format!("{}/{}", provider.prefix, model.model))
        .filter(|id| caller.allows_model(id))
        .collect();
    let near = nearest::nearest(requested, known.iter().map(String::as_str));
    let error = GatewayError::new(
        ErrorClass::NotFound,
        "model_not_found",
        format!("the model `{}` does not exist", shown(requested)),
    )
    .with_param("model");
    match near.as_slice() {
        [] => error.with_hint("GET /v1/models lists the models; ids look like `prefix/model`"),
        near => error.with_hint(format!("nearest: {}", near.join(", "))),
    }
}

/// A name as it may be repeated to the client: not longer than any real one.
fn shown(name: &str) -> &str {
    const LONGEST: usize = 128;
    let end = name.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST).unwrap_or(name.len());
    &name[..end]
}

#[cfg(test)]
mod tests;
