//! Which tools are declared, and how one is chosen.

use super::{cache_point::write_point, schema, vendor::Vendor};
use crate::{
    answer_tool::{ANSWER_DESCRIPTION, ANSWER_TOOL, JSON_NOTE, NO_CALLS_NOTE},
    codec::{EncodeTarget, WireError},
    ir::{CacheMark, Json, Losses, OutputFormat, Part, Request, Tool, ToolChoice, ToolKind},
    tools::{CUSTOM_SCHEMA, schema_or_empty},
    write::Writer,
};

/// What of tools goes into the request, and into its system text.
#[derive(Debug, Default)]
pub(super) struct ToolPlan<'r, 'a> {
    specs: Vec<Spec<'r, 'a>>,
    choice: Option<Choice<'r>>,
    /// Said in the system text.
    pub(super) notes: Vec<&'static str>,
    /// The schema goes to the model natively.
    pub(super) native_schema: bool,
}

#[derive(Debug)]
struct Spec<'r, 'a> {
    kind: SpecKind<'r, 'a>,
    cache: Option<CacheMark>,
}

#[derive(Debug)]
enum SpecKind<'r, 'a> {
    /// The client's, with its place in the client's list.
    Declared(usize, &'r Tool<'a>),
    /// Known from the history only.
    Remembered(&'r str),
    /// Stands for the format of the answer.
    Answer(&'r Json<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice<'r> {
    Any,
    Tool(&'r str),
}

// === impl ToolPlan ===

impl<'r, 'a> ToolPlan<'r, 'a> {
    pub(super) fn of(
        request: &'r Request<'a>,
        target: &EncodeTarget<'_>,
        vendor: Vendor,
        losses: &mut Losses,
    ) -> Result<Self, WireError> {
        for tool in &request.vendor_tools {
            losses.drop_field(format!("tools.{}", tool.name));
        }
        let mut plan = Self::default();
        plan.declare(request, target, vendor, losses)?;
        let has_calls = has_calls(request);
        if request.tool_choice == Some(ToolChoice::None) {
            if has_calls && !plan.specs.is_empty() {
                // The service has no word for it, and the history demands that the tools stay.
                plan.notes.push(NO_CALLS_NOTE);
                losses.drop_field("tool_choice");
            } else {
                plan.specs.clear();
            }
        }
        plan.hold_to_format(request, target, vendor, losses);
        if plan.specs.is_empty() && has_calls {
            plan.remember(request);
        }
        if !plan.specs.is_empty() && request.parallel_tool_calls == Some(false) {
            losses.drop_field("parallel_tool_calls");
        }
        Ok(plan)
    }

    fn declare(
        &mut self,
        request: &'r Request<'a>,
        target: &EncodeTarget<'_>,
        vendor: Vendor,
        losses: &mut Losses,
    ) -> Result<(), WireError> {
        let (forced, names): (bool, Option<Vec<&str>>) = match &request.tool_choice {
            None | Some(ToolChoice::Auto | ToolChoice::None) => (false, None),
            Some(ToolChoice::Required) => (true, None),
            Some(ToolChoice::Named(name)) => (true, Some(vec![name])),
            Some(ToolChoice::Allowed { names, required }) => {
                (*required, Some(names.iter().map(AsRef::as_ref).collect()))
            }
            Some(ToolChoice::Vendor(name)) => {
                let message = format!("this upstream does not run `{name}`");
                return Err(WireError::unsupported("tool_choice", message));
            }
        };
        if !target.profile.tools {
            if forced {
                return Err(WireError::unsupported("tool_choice", "this model takes no tools"));
            }
            if !request.tools.is_empty() {
                losses.drop_field("tools");
            }
            return Ok(());
        }
        if forced && request.tools.is_empty() {
            let message = "`tool_choice` demands a tool, but the request has none that this upstream takes";
            return Err(WireError::unsupported("tool_choice", message));
        }
        let single = matches!(request.tool_choice, Some(ToolChoice::Named(_)));
        let named = |tool: &Tool<'_>| names.as_ref().is_none_or(|names| names.contains(&tool.name.as_ref()));
        if names.is_some() && !request.tools.iter().any(named) {
            return Err(WireError::field("tool_choice", "`tool_choice` names a tool that the request does not have"));
        }
        // Where one tool can be named the others stay, for the prompt cache; elsewhere it is sent alone.
        let all = single && vendor.is_full();
        let tools = request.tools.iter().enumerate().filter(|(_, tool)| all || named(tool));
        self.specs.extend(tools.map(|(index, tool)| Spec { kind: SpecKind::Declared(index, tool), cache: tool.cache }));
        self.choice = match (&request.tool_choice, forced) {
            (Some(ToolChoice::Named(name)), _) if vendor.is_full() => Some(Choice::Tool(name)),
            (_, true) => Some(Choice::Any),
            _ => None,
        };
        Ok(())
    }

    fn hold_to_format(
        &mut self,
        request: &'r Request<'a>,
        target: &EncodeTarget<'_>,
        vendor: Vendor,
        losses: &mut Losses,
    ) {
        let schema = match &request.output {
            OutputFormat::Text => return,
            OutputFormat::Json => {
                // There is no such mode: the model is asked, which is not the same.
                self.notes.push(JSON_NOTE);
                losses.drop_field("response_format");
                return;
            }
            OutputFormat::Schema { schema, .. } => schema,
        };
        if target.profile.json_schema {
            self.native_schema = true;
        } else if !target.profile.tools || self.choice.is_some() {
            // A tool that the client forces comes first; the answer's turn will come.
            losses.drop_field("response_format");
            if self.choice.is_none() {
                self.notes.push(JSON_NOTE);
            }
        } else {
            let alone = self.specs.is_empty() || !self.notes.is_empty();
            self.specs.push(Spec { kind: SpecKind::Answer(schema), cache: None });
            self.choice = Some(if alone && vendor.is_full() { Choice::Tool(ANSWER_TOOL) } else { Choice::Any });
        }
    }

    /// Declares the tools of the history. The model is told not to call them.
    fn remember(&mut self, request: &'r Request<'a>) {
        let mut names: Vec<&str> = Vec::new();
        for part in request.turns.iter().flat_map(|turn| &turn.parts) {
            if let Part::ToolCall { name, .. } = part
                && !names.contains(&name.as_ref())
            {
                names.push(name);
            }
        }
        if names.is_empty() {
            names.push("tool");
        }
        self.specs.extend(names.into_iter().map(|name| Spec { kind: SpecKind::Remembered(name), cache: None }));
    }

    /// Whether a tool of ours stands for the format of the answer.
    pub(super) fn has_answer(&self) -> bool {
        self.specs.iter().any(|spec| matches!(spec.kind, SpecKind::Answer(_)))
    }

    /// Whether the model must call some tool.
    pub(super) const fn is_forced(&self) -> bool {
        self.choice.is_some()
    }

    /// Where cache marks may stand.
    pub(super) fn marks(&mut self) -> impl Iterator<Item = &mut Option<CacheMark>> {
        self.specs.iter_mut().map(|spec| &mut spec.cache)
    }

    pub(super) fn write(
        &self,
        w: &mut Writer<'_>,
        target: &EncodeTarget<'_>,
        vendor: Vendor,
        losses: &mut Losses,
    ) -> Result<(), WireError> {
        if self.specs.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        w.key("toolConfig").object(|w| {
            w.key("tools").array(|w| {
                result = self.specs.iter().try_for_each(|spec| {
                    spec.write(w, target, vendor, losses)?;
                    write_point(w, spec.cache);
                    Ok(())
                });
            });
            match self.choice {
                // Some models refuse the field itself.
                None => {}
                Some(Choice::Any) => w.key("toolChoice").object(|w| w.key("any").object(|_| {})),
                Some(Choice::Tool(name)) => w.key("toolChoice").object(|w| {
                    w.key("tool").object(|w| w.field_str("name", target.names.upstream(name)));
                }),
            }
        });
        result
    }
}

fn has_calls(request: &Request<'_>) -> bool {
    let is_call = |part: &Part<'_>| matches!(part, Part::ToolCall { .. } | Part::ToolResult { .. });
    request.turns.iter().flat_map(|turn| &turn.parts).any(is_call)
}

// === impl Spec ===

impl Spec<'_, '_> {
    fn write(
        &self,
        w: &mut Writer<'_>,
        target: &EncodeTarget<'_>,
        vendor: Vendor,
        losses: &mut Losses,
    ) -> Result<(), WireError> {
        let (name, description) = match self.kind {
            SpecKind::Declared(_, tool) => (target.names.upstream(&tool.name), tool.description.as_deref()),
            SpecKind::Remembered(name) => {
                (target.names.upstream(name), Some("Was used earlier in the conversation. Not available now."))
            }
            SpecKind::Answer(_) => (ANSWER_TOOL, Some(ANSWER_DESCRIPTION)),
        };
        let mut result = Ok(());
        w.object(|w| {
            w.key("toolSpec").object(|w| {
                w.field_str("name", name);
                w.field_str_opt("description", description.filter(|text| !text.trim().is_empty()));
                w.key("inputSchema").object(|w| {
                    result = self.write_schema(w.key("json"), target, vendor, losses);
                });
                if self.is_strict(target) {
                    w.field("strict", &true);
                }
            });
        });
        result
    }

    fn is_strict(&self, target: &EncodeTarget<'_>) -> bool {
        let SpecKind::Declared(_, tool) = self.kind else { return false };
        target.profile.json_schema && matches!(tool.kind, ToolKind::Function { strict: Some(true), .. })
    }

    fn write_schema(
        &self,
        w: &mut Writer<'_>,
        target: &EncodeTarget<'_>,
        vendor: Vendor,
        losses: &mut Losses,
    ) -> Result<(), WireError> {
        match self.kind {
            SpecKind::Declared(index, tool) => match &tool.kind {
                ToolKind::Function { schema, strict } => {
                    let param = format!("tools.{index}.parameters");
                    let json = schema_or_empty(schema.as_ref());
                    if self.is_strict(target) {
                        let json = schema::closed(json, "tools.parameters", losses)?;
                        return schema::write_input(w, &json, vendor, &param, losses);
                    }
                    if *strict == Some(true) {
                        losses.drop_field("tools.strict");
                    }
                    schema::write_input(w, json, vendor, &param, losses)
                }
                ToolKind::Custom { grammar } => {
                    if grammar.is_some() {
                        losses.drop_field("tools.format");
                    }
                    schema::write_input(w, CUSTOM_SCHEMA, Vendor::Other, "tools", losses)
                }
            },
            SpecKind::Remembered(_) => schema::write_input(w, "{}", vendor, "tools", losses),
            SpecKind::Answer(json) => schema::write_input(w, json.as_str(), vendor, "response_format", losses),
        }
    }
}
