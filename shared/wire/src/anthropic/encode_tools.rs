//! Tools and the choice among them, for an upstream; and the forced tool that stands for structured output.

use std::{borrow::Cow, collections::BTreeSet};

use super::{
    STRUCTURED_TOOL,
    cache_marks::Marks,
    decode_tools::name_of,
    encode_content::write_mark,
    extras::Extras,
    message::{Item, Message},
    schema,
};
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{CacheMark, Family, Losses, OutputFormat, Part, Request, Tool, ToolChoice, ToolKind, VendorTool},
    tools::CUSTOM_SCHEMA,
    write::Writer,
};

/// Most tools whose arguments can be constrained in one request.
const MAX_STRICT: usize = 20;

const ANY_OBJECT: &str = r#"{"type":"object"}"#;

/// The tools of a request, chosen but not written.
pub(super) struct Tools<'r> {
    functions: Vec<&'r Tool<'r>>,
    vendor: Vec<&'r VendorTool<'r>>,
    /// Called in the history, and not declared any more: the API wants a declaration of each.
    undeclared: BTreeSet<&'r str>,
    /// Schema and description of the tool whose arguments are the answer.
    structured: Option<(Cow<'r, str>, Option<&'r str>)>,
    choice: Choice<'r>,
    one_at_a_time: bool,
    keep_strict: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice<'r> {
    Unsaid,
    Auto,
    None,
    Any,
    Tool(Cow<'r, str>),
}

/// Chooses.
///
/// # Errors
/// When the choice forces a tool that this upstream does not have.
pub(super) fn choose<'r>(
    request: &'r Request<'r>,
    target: &EncodeTarget<'r>,
    messages: &[Message<'r>],
    extras: &Extras<'_>,
    losses: &mut Losses,
) -> Result<Tools<'r>, WireError> {
    let choice = choice_of(request, target, losses)?;
    let allowed = match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => Some(names),
        _ => None,
    };
    let mut tools = Tools {
        functions: Vec::new(),
        vendor: Vec::new(),
        undeclared: BTreeSet::new(),
        structured: None,
        choice,
        one_at_a_time: request.parallel_tool_calls == Some(false),
        keep_strict: extras.own(),
    };
    for tool in &request.vendor_tools {
        if tool.family == Family::Anthropic && target.profile.tools {
            tools.vendor.push(tool);
        } else {
            losses.drop_field(format!("tools.{}", tool.name));
        }
    }
    for tool in &request.tools {
        if !target.profile.tools {
            losses.drop_field("tools");
        } else if allowed.is_none_or(|names| names.contains(&tool.name)) {
            tools.functions.push(tool);
        }
    }
    tools.decide_strict(target, losses);
    tools.add_structured(request, target, losses)?;
    if tools.is_empty() {
        if tools.is_forced() {
            losses.drop_field("tool_choice");
        }
        tools.choice = Choice::Unsaid;
        if !extras.own() && target.profile.tools {
            tools.undeclared = called(messages, target);
            if !tools.undeclared.is_empty() {
                tools.choice = Choice::None;
            }
        }
    }
    Ok(tools)
}

fn choice_of<'r>(
    request: &'r Request<'r>,
    target: &EncodeTarget<'r>,
    losses: &mut Losses,
) -> Result<Choice<'r>, WireError> {
    let Some(choice) = &request.tool_choice else { return Ok(Choice::Unsaid) };
    let forces = matches!(
        choice,
        ToolChoice::Required
            | ToolChoice::Named(_)
            | ToolChoice::Vendor(_)
            | ToolChoice::Allowed { required: true, .. }
    );
    if forces && !target.profile.tools {
        return Err(WireError::unsupported("tool_choice", "this model has no tools, so none can be forced"));
    }
    Ok(match choice {
        ToolChoice::Auto => Choice::Auto,
        ToolChoice::None => Choice::None,
        ToolChoice::Required => Choice::Any,
        ToolChoice::Named(name) => Choice::Tool(target.names.upstream(name).into()),
        ToolChoice::Allowed { required, .. } => {
            if *required {
                Choice::Any
            } else {
                Choice::Auto
            }
        }
        ToolChoice::Vendor(kind) => {
            let own = request.vendor_tools.iter().find(|tool| tool.family == Family::Anthropic && tool.name == *kind);
            match own.and_then(name_of) {
                Some(name) => Choice::Tool(name.into()),
                // A word that only shapes another vendor's list of tools forces nothing.
                None if kind == "auto" => {
                    losses.drop_field("tool_choice");
                    Choice::Auto
                }
                None => {
                    let message =
                        format!("`{kind}` is a tool that only its vendor runs; this upstream cannot be made to use it");
                    return Err(WireError::unsupported("tool_choice", message));
                }
            }
        }
    })
}

/// Names, as they stand on the wire, of everything that the history calls.
fn called<'r>(messages: &[Message<'r>], target: &EncodeTarget<'r>) -> BTreeSet<&'r str> {
    let slots = messages.iter().flat_map(|message| &message.slots);
    slots
        .filter_map(|slot| match slot.item {
            Item::Call(Part::ToolCall { name, .. }, _) => Some(target.names.upstream(name)),
            _ => None,
        })
        .collect()
}

// === impl Tools ===

impl<'r> Tools<'r> {
    fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.vendor.is_empty() && self.structured.is_none()
    }

    pub(super) fn is_forced(&self) -> bool {
        matches!(self.choice, Choice::Any | Choice::Tool(_))
    }

    fn decide_strict(&mut self, target: &EncodeTarget<'_>, losses: &mut Losses) {
        let strict = |tool: &&&Tool<'_>| matches!(tool.kind, ToolKind::Function { strict: Some(true), .. });
        let count = self.functions.iter().filter(strict).count();
        self.keep_strict |= target.profile.json_schema && count <= MAX_STRICT;
        if count > 0 && !self.keep_strict {
            losses.drop_field("tools.strict");
        }
    }

    /// Structured output on a model that has none: a tool that must be called, unless the client's own must.
    fn add_structured(
        &mut self,
        request: &'r Request<'r>,
        target: &EncodeTarget<'_>,
        losses: &mut Losses,
    ) -> Result<(), WireError> {
        let (schema, description): (Cow<'r, str>, _) = match &request.output {
            OutputFormat::Text => return Ok(()),
            OutputFormat::Schema { .. } if target.profile.json_schema => return Ok(()),
            OutputFormat::Json => (Cow::Borrowed(ANY_OBJECT), None),
            OutputFormat::Schema { schema, description, .. } => {
                if !schema::is_object(schema) {
                    let message = "this model can be held to a schema only if that describes an object";
                    return Err(WireError::unsupported("response_format", message));
                }
                (schema::of_tool(Some(schema), STRUCTURED_TOOL, losses), description.as_deref())
            }
        };
        if !target.profile.tools {
            losses.drop_field("response_format");
            return Ok(());
        }
        if self.is_forced() {
            // The answer will be that tool's arguments, which have a schema of their own.
            return Ok(());
        }
        let alone = self.functions.is_empty() && self.vendor.is_empty();
        self.choice = if alone || self.choice == Choice::None {
            Choice::Tool(Cow::Borrowed(STRUCTURED_TOOL))
        } else {
            // The answer or one of the client's tools, not both at once.
            self.one_at_a_time = true;
            Choice::Any
        };
        self.structured = Some((schema, description));
        Ok(())
    }

    /// Writes `tools` and `tool_choice`.
    pub(super) fn write(
        &self,
        w: &mut Writer<'_>,
        target: &EncodeTarget<'_>,
        extras: &Extras<'_>,
        marks: Marks,
        losses: &mut Losses,
    ) {
        if self.is_empty() && self.undeclared.is_empty() {
            return;
        }
        w.key("tools").array(|w| {
            for tool in &self.vendor {
                w.raw(tool.raw.as_str());
            }
            for name in &self.undeclared {
                w.object(|w| {
                    w.field_str("name", name);
                    w.field_raw("input_schema", ANY_OBJECT);
                });
            }
            if let Some((schema, description)) = &self.structured {
                w.object(|w| {
                    w.field_str("name", STRUCTURED_TOOL);
                    let usual = "Gives the final answer: the arguments of this tool are the answer.";
                    w.field_str("description", description.unwrap_or(usual));
                    w.field_raw("input_schema", schema);
                });
            }
            let mut to_skip = marks.skip_tools;
            for (index, tool) in self.functions.iter().enumerate() {
                let mut mark = tool.cache;
                if mark.is_some() && to_skip > 0 {
                    to_skip -= 1;
                    mark = None;
                }
                if marks.last_tool && index + 1 == self.functions.len() {
                    mark = Some(CacheMark::FiveMinutes);
                }
                w.object(|w| self.write_function(w, tool, mark, target, extras, losses));
            }
        });
        self.write_choice(w);
    }

    fn write_function(
        &self,
        w: &mut Writer<'_>,
        tool: &Tool<'_>,
        mark: Option<CacheMark>,
        target: &EncodeTarget<'_>,
        extras: &Extras<'_>,
        losses: &mut Losses,
    ) {
        w.field_str("name", target.names.upstream(&tool.name));
        w.field_str_opt("description", tool.description.as_deref());
        match &tool.kind {
            ToolKind::Function { schema, strict } => {
                let strict = strict.filter(|strict| *strict && self.keep_strict);
                match schema {
                    Some(own) if extras.own() => w.field_raw("input_schema", own.as_str()),
                    Some(foreign) if strict.is_some() => {
                        w.field_raw("input_schema", &schema::constrained(foreign, "tools.strict", losses));
                    }
                    schema => w.field_raw("input_schema", &schema::of_tool(schema.as_ref(), &tool.name, losses)),
                }
                w.field_opt("strict", strict.as_ref());
            }
            ToolKind::Custom { grammar } => {
                if grammar.is_some() {
                    losses.drop_field("tools.format");
                }
                w.field_raw("input_schema", CUSTOM_SCHEMA);
            }
        }
        if extras.is_empty() {
            write_mark(w, mark, extras, "");
        } else {
            let place = format!("tools.{}", tool.name);
            write_mark(w, mark, extras, &place);
            extras.write(w, &place);
        }
    }

    fn write_choice(&self, w: &mut Writer<'_>) {
        let (kind, name) = match &self.choice {
            Choice::Unsaid if !self.one_at_a_time => return,
            Choice::Unsaid | Choice::Auto => ("auto", None),
            Choice::None => ("none", None),
            Choice::Any => ("any", None),
            Choice::Tool(name) => ("tool", Some(name.as_ref())),
        };
        w.key("tool_choice").object(|w| {
            w.field_str("type", kind);
            w.field_str_opt("name", name);
            if self.one_at_a_time && kind != "none" {
                w.field("disable_parallel_tool_use", &true);
            }
        });
    }
}
