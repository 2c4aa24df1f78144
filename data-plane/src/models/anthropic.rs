//! Anthropic's shape: pages of models, newest names of fields.

use omniroute_core::{error::GatewayError, time::UnixMillis};
use serde_json::{Value, json};

use super::{
    Listed,
    page::{self, Edge},
};

/// Models on a page when nobody said otherwise, and at most.
const PAGE: usize = 20;
const MAX_PAGE: usize = 1000;

/// What a client asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PageQuery<'q> {
    pub(crate) before_id: Option<&'q str>,
    pub(crate) after_id: Option<&'q str>,
    pub(crate) limit: Option<&'q str>,
}

/// One page.
///
/// # Errors
/// When the query is none that can be answered.
pub(crate) fn list(listed: &[Listed], query: PageQuery<'_>) -> Result<Value, GatewayError> {
    let size = page::size(query.limit, "limit", PAGE, MAX_PAGE)?;
    let (edge, param) = match query {
        PageQuery { after_id: Some(id), .. } => (Edge::After(id), "after_id"),
        PageQuery { before_id: Some(id), .. } => (Edge::Before(id), "before_id"),
        _ => (Edge::Start, ""),
    };
    let (page, has_more) = page::cut(listed, edge, size, param)?;
    Ok(json!({
        // Clients of OpenAI's shape that send their key as `x-api-key` look for it.
        "object": "list",
        "data": page.iter().map(one).collect::<Vec<_>>(),
        "has_more": has_more,
        "first_id": page.first().map(|listed| listed.id.as_str()),
        "last_id": page.last().map(|listed| listed.id.as_str()),
    }))
}

/// One model.
pub(crate) fn one(listed: &Listed) -> Value {
    let Listed { id, provider, model } = listed;
    let mut described = json!({
        "type": "model",
        "id": id,
        "display_name": format!("{} ({})", model.model, provider.name),
        "created_at": UnixMillis(model.created.saturating_mul(1000)).to_rfc3339(),
        "object": "model",
        "owned_by": provider.prefix,
    });
    for (name, limit) in [("max_input_tokens", model.context_window), ("max_tokens", model.max_output_tokens)] {
        if let Some(limit) = limit {
            described[name] = limit.into();
        }
    }
    described
}
