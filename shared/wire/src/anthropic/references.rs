//! What a client's own tool search has found: `tool_reference` blocks, at which Anthropic shows the model the tools. Other
//! upstreams are given all tools from the start; for them the result says in words which ones were found.

use crate::{
    codec::NameTable,
    ir::{Family, Part, Request},
    object::wire_object,
    text::Str,
};

wire_object! {
    struct Reference<'a> {
        kind: Str<'a> = "type",
        tool_name: Str<'a> = "tool_name",
    }
}

/// For a target of another family, which knows the tools by `names`.
pub fn name_references(request: &mut Request<'_>, names: &NameTable) {
    for part in request.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
        if let Part::ToolResult { parts, .. } = part {
            in_words(parts, names);
        }
    }
}

fn in_words(parts: &mut Vec<Part<'_>>, names: &NameTable) {
    let Some(first) = parts.iter().position(|part| reference(part).is_some()) else { return };
    let mut found = Vec::new();
    parts.retain(|part| match reference(part) {
        Some(name) => {
            found.push(names.upstream(&name).to_owned());
            false
        }
        None => true,
    });
    parts.insert(first, Part::text(format!("Tools that were found, and can be called now: {}", found.join(", "))));
}

/// The tool that a block names.
fn reference(part: &Part<'_>) -> Option<String> {
    let Part::ServerTool { family: Family::Anthropic, raw } = part else { return None };
    let block = serde_json::from_str::<Reference<'_>>(raw.as_str()).ok()?;
    if block.kind.as_deref() != Some("tool_reference") {
        return None;
    }
    block.tool_name.map(|name| name.0.into_owned())
}
