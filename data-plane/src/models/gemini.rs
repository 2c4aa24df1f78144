//! Gemini's shape: pages behind opaque tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use omniroute_core::error::GatewayError;
use omniroute_wire::gemini::{Model, encode_model, encode_models};

use super::{
    Listed,
    page::{self, Edge},
};

/// Models on a page when nobody said otherwise, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 1000;

/// One page, written.
///
/// # Errors
/// When size or token are none.
pub(crate) fn list(
    listed: &[Listed],
    page_size: Option<&str>,
    page_token: Option<&str>,
) -> Result<Vec<u8>, GatewayError> {
    let size = page::size(page_size, "pageSize", PAGE, MAX_PAGE)?;
    let after = page_token.filter(|token| !token.is_empty()).map(decode_token).transpose()?;
    let edge = after.as_deref().map_or(Edge::Start, Edge::After);
    let (page, has_more) = page::cut(listed, edge, size, "pageToken")?;
    let next = page.last().filter(|_| has_more).map(|last| URL_SAFE_NO_PAD.encode(&last.id));
    let models: Vec<Model> = page.iter().map(describe).collect();
    let mut out = Vec::with_capacity(256 * models.len());
    encode_models(&models, next.as_deref(), &mut out);
    Ok(out)
}

/// One model, written.
pub(crate) fn one(listed: &Listed) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    encode_model(&describe(listed), &mut out);
    out
}

/// A token is the id of the last model of the page before.
fn decode_token(token: &str) -> Result<String, GatewayError> {
    let id = URL_SAFE_NO_PAD.decode(token).ok().and_then(|id| String::from_utf8(id).ok());
    id.ok_or_else(|| GatewayError::bad_request("invalid_page", "this is no page token of ours").with_param("pageToken"))
}

fn describe(listed: &Listed) -> Model {
    let Listed { id, provider, model } = listed;
    let embeds = listed.is_embedding();
    Model {
        id: id.clone(),
        display_name: Some(model.model.clone()),
        description: Some(format!("{} at {}", model.model, provider.name)),
        input_limit: model.context_window,
        output_limit: model.max_output_tokens,
        generates: !embeds,
        embeds,
        thinking: None,
    }
}
