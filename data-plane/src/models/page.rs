//! One page of a list.

use omniroute_core::error::GatewayError;

use super::Listed;

/// Where a page begins or ends: at the id of a model, which itself is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge<'a> {
    /// The first page.
    Start,
    After(&'a str),
    Before(&'a str),
}

/// Cuts a page of at most `size` models out of a list. The flag says whether the list goes on in the same direction.
///
/// # Errors
/// With the name of `param`, when the model at the edge is not in the list.
pub(super) fn cut<'l>(
    listed: &'l [Listed],
    edge: Edge<'_>,
    size: usize,
    param: &'static str,
) -> Result<(&'l [Listed], bool), GatewayError> {
    let place = |id: &str| {
        listed.iter().position(|listed| listed.id == id).ok_or_else(|| {
            GatewayError::bad_request("invalid_page", "the page begins at a model that is not in the list")
                .with_param(param)
        })
    };
    Ok(match edge {
        Edge::Start => from(listed, 0, size),
        Edge::After(id) => from(listed, place(id)? + 1, size),
        Edge::Before(id) => {
            let end = place(id)?;
            let start = end.saturating_sub(size);
            (&listed[start..end], start > 0)
        }
    })
}

fn from(listed: &[Listed], start: usize, size: usize) -> (&[Listed], bool) {
    let end = listed.len().min(start.saturating_add(size));
    (&listed[start.min(end)..end], end < listed.len())
}

/// A page's size out of a query: `fallback` when it is not asked for, `max` when more is asked for.
///
/// # Errors
/// When it is no positive number.
pub(super) fn size(
    asked: Option<&str>,
    param: &'static str,
    fallback: usize,
    max: usize,
) -> Result<usize, GatewayError> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok(fallback);
    };
    match asked.parse::<usize>() {
        Ok(size) if size > 0 => Ok(size.min(max)),
        _ => {
            Err(GatewayError::bad_request("invalid_field", "the size of a page is a positive number").with_param(param))
        }
    }
}
