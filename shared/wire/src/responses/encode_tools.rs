//! Tools and the choice among them, for a Responses upstream.

use std::borrow::Cow;

use super::decode_tools::{RAW_CHOICE, extension_name};
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Family, Format, Json, Losses, Request, Tool, ToolChoice, ToolKind, VendorTool},
    object::wire_object,
    text::Str,
    tool_schema,
    write::Writer,
};

wire_object! {
    /// A grammar in Chat's form, one level deeper.
    struct ChatFormat<'a> {
        kind: Str<'a> = "type",
        grammar: &'a serde_json::value::RawValue = "grammar",
    }
}

wire_object! {
    struct Grammar<'a> {
        syntax: Str<'a> = "syntax",
        definition: Str<'a> = "definition",
    }
}

wire_object! {
    struct SearchOptions<'a> {
        context_size: Str<'a> = "search_context_size",
        location: UserLocation<'a> = "user_location",
    }
}

wire_object! {
    struct UserLocation<'a> {
        approximate: ApproximateLocation<'a> = "approximate",
    }
}

wire_object! {
    struct ApproximateLocation<'a> {
        city: Str<'a> = "city",
        country: Str<'a> = "country",
        region: Str<'a> = "region",
        timezone: Str<'a> = "timezone",
    }
}

/// Writes `tools`, `parallel_tool_calls` and `tool_choice`.
pub(super) fn write_tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<(), WireError> {
    let (own, foreign): (Vec<_>, Vec<_>) = request.vendor_tools.iter().partition(|tool| is_own(request, tool));
    for tool in foreign {
        losses.drop_field(format!("tools.{}", tool.name));
    }
    if !request.tools.is_empty() || !own.is_empty() {
        w.key("tools").array(|w| {
            for (index, tool) in request.tools.iter().enumerate() {
                match group_of(request, tool) {
                    None => write_tool(w, request, tool, target, losses),
                    // The whole group stands where its first tool stood.
                    Some(group) if is_first(request, index, group) => write_group(w, request, group, target, losses),
                    Some(_) => {}
                }
            }
            for tool in own {
                write_vendor_tool(w, request, tool);
            }
        });
        w.field_opt("parallel_tool_calls", request.parallel_tool_calls.as_ref());
    }
    write_choice(w, request, target)
}

fn is_own(request: &Request<'_>, tool: &VendorTool<'_>) -> bool {
    tool.family == Family::OpenAi && (request.format == Format::OpenAiResponses || tool.name == "web_search_options")
}

/// The group that a tool goes up in. Groups are this format's own, so only its own requests have them.
pub(super) fn group_of<'t>(request: &Request<'_>, tool: &'t Tool<'_>) -> Option<&'t str> {
    tool.namespace.as_deref().filter(|_| request.format == Format::OpenAiResponses)
}

fn is_first(request: &Request<'_>, index: usize, group: &str) -> bool {
    !request.tools[..index].iter().any(|tool| tool.namespace.as_deref() == Some(group))
}

fn write_group(w: &mut Writer<'_>, request: &Request<'_>, group: &str, target: &EncodeTarget<'_>, losses: &mut Losses) {
    w.object(|w| {
        w.field_str("type", "namespace");
        w.field_str("name", group);
        write_kept_fields(w, request, group);
        w.key("tools").array(|w| {
            for tool in request.tools.iter().filter(|tool| tool.namespace.as_deref() == Some(group)) {
                write_tool(w, request, tool, target, losses);
            }
        });
    });
}

fn write_tool(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    tool: &Tool<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) {
    w.object(|w| {
        w.field_str("type", if matches!(tool.kind, ToolKind::Custom { .. }) { "custom" } else { "function" });
        match group_of(request, tool) {
            Some(group) => w.field_str("name", super::short_name(group, &tool.name)),
            None => w.field_str("name", target.names.upstream(&tool.name)),
        }
        w.field_str_opt("description", tool.description.as_deref());
        match &tool.kind {
            ToolKind::Function { schema, strict } => {
                let between = (request.format, target.profile);
                let (parameters, strict) = tool_schema::function(schema.as_ref(), *strict, &tool.name, between, losses);
                w.field_raw("parameters", &parameters);
                match strict {
                    Some(strict) => w.field("strict", &strict),
                    // Here the default is true, elsewhere it is false.
                    None if request.format != Format::OpenAiResponses => w.field("strict", &false),
                    None => {}
                }
            }
            ToolKind::Custom { grammar: Some(grammar) } => w.field_raw("format", &grammar_here(request, grammar)),
            ToolKind::Custom { grammar: None } => {}
        }
        if request.format == Format::OpenAiResponses {
            write_kept_fields(w, request, &tool.name);
        }
    });
}

/// Fields of a tool or a group that the decoder put aside.
fn write_kept_fields(w: &mut Writer<'_>, request: &Request<'_>, name: &str) {
    let prefix = extension_name(name, "");
    for (path, raw) in request.extensions.iter() {
        if let Some(field) = path.strip_prefix(&prefix).filter(|field| !field.contains('.')) {
            w.field_raw(field, raw.as_str());
        }
    }
}

/// Chat nests a grammar once more.
fn grammar_here<'g>(request: &Request<'_>, grammar: &'g Json<'_>) -> Cow<'g, str> {
    if request.format != Format::OpenAiChat {
        return grammar.as_str().into();
    }
    let nested = serde_json::from_str::<ChatFormat<'_>>(grammar.as_str()).ok();
    let inner = nested.filter(|format| format.kind.as_deref() == Some("grammar")).and_then(|format| format.grammar);
    let Some(inner) = inner.and_then(|raw| serde_json::from_str::<Grammar<'_>>(raw.get()).ok()) else {
        return grammar.as_str().into();
    };
    let mut out = Vec::with_capacity(grammar.as_str().len());
    Writer::new(&mut out).object(|w| {
        w.field_str("type", "grammar");
        w.field_str_opt("syntax", inner.syntax.as_deref());
        w.field_str_opt("definition", inner.definition.as_deref());
    });
    String::from_utf8(out).map_or_else(|_| grammar.as_str().into(), Cow::Owned)
}

fn write_vendor_tool(w: &mut Writer<'_>, request: &Request<'_>, tool: &VendorTool<'_>) {
    if request.format == Format::OpenAiResponses {
        w.raw(tool.raw.as_str());
        return;
    }
    // Chat asks for a search with a field of its own.
    let options: SearchOptions<'_> = serde_json::from_str(tool.raw.as_str()).unwrap_or_default();
    w.object(|w| {
        w.field_str("type", "web_search");
        w.field_str_opt("search_context_size", options.context_size.as_deref());
        if let Some(place) = options.location.and_then(|location| location.approximate) {
            w.key("user_location").object(|w| {
                w.field_str("type", "approximate");
                w.field_str_opt("city", place.city.as_deref());
                w.field_str_opt("country", place.country.as_deref());
                w.field_str_opt("region", place.region.as_deref());
                w.field_str_opt("timezone", place.timezone.as_deref());
            });
        }
    });
}

fn write_choice(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>) -> Result<(), WireError> {
    if request.format == Format::OpenAiResponses
        && let Some(raw) = request.extensions.get(RAW_CHOICE)
    {
        w.field_raw("tool_choice", raw.as_str());
        return Ok(());
    }
    match &request.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => w.field_str("tool_choice", "auto"),
        Some(ToolChoice::None) => w.field_str("tool_choice", "none"),
        Some(ToolChoice::Required) => w.field_str("tool_choice", "required"),
        Some(ToolChoice::Named(name)) => write_named(w.key("tool_choice"), request, name, target),
        Some(ToolChoice::Allowed { names, required }) => w.key("tool_choice").object(|w| {
            w.field_str("type", "allowed_tools");
            w.field_str("mode", if *required { "required" } else { "auto" });
            w.key("tools").array(|w| names.iter().for_each(|name| write_named(w, request, name, target)));
        }),
        Some(ToolChoice::Vendor(name)) if request.format == Format::OpenAiResponses => {
            w.key("tool_choice").object(|w| w.field_str("type", name));
        }
        Some(ToolChoice::Vendor(name)) => {
            return Err(WireError::unsupported("tool_choice", format!("no tool `{name}` is run for this model")));
        }
    }
    Ok(())
}

fn write_named(w: &mut Writer<'_>, request: &Request<'_>, name: &str, target: &EncodeTarget<'_>) {
    let tool = request.tools.iter().find(|tool| tool.name == name);
    let custom = tool.is_some_and(|tool| matches!(tool.kind, ToolKind::Custom { .. }));
    let group = tool.and_then(|tool| group_of(request, tool));
    w.object(|w| {
        w.field_str("type", if custom { "custom" } else { "function" });
        match group {
            Some(group) => {
                w.field_str("name", super::short_name(group, name));
                w.field_str("namespace", group);
            }
            None => w.field_str("name", target.names.upstream(name)),
        }
    });
}
