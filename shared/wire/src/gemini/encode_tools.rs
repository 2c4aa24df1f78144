//! Tools and their choice, for an upstream.

use super::{decode_tools::FUNCTION_PATH, extras, schema};
use crate::{
    answer_tool::{ANSWER_DESCRIPTION, ANSWER_TOOL, JSON_NOTE},
    codec::{EncodeTarget, WireError},
    ir::{Family, Format, Losses, OutputFormat, Request, Tool, ToolChoice, ToolKind},
    tools::CUSTOM_SCHEMA,
    write::Writer,
};

/// Functions with their schemas ready, and the vendor's own tools.
pub(super) struct Plan<'p> {
    functions: Vec<(&'p Tool<'p>, Option<Schema<'p>>)>,
    vendor: Vec<(&'p str, &'p str)>,
    choice: Option<&'p ToolChoice<'p>>,
    /// Stands for the format of the answer: its schema.
    answer: Option<Schema<'p>>,
    /// The format of the answer is not asked for: tools are, or the answer's own.
    pub(super) withholds_format: bool,
    /// Said in the system text.
    pub(super) note: Option<&'static str>,
}

enum Schema<'p> {
    /// `parametersJsonSchema`.
    Full(&'p str),
    /// `parameters`.
    Lowered(String),
}

// === impl Plan ===

impl<'p> Plan<'p> {
    pub(super) fn of(
        request: &'p Request<'p>,
        target: &EncodeTarget<'_>,
        losses: &mut Losses,
    ) -> Result<Self, WireError> {
        let mut plan = Self {
            functions: Vec::new(),
            vendor: Vec::new(),
            choice: request.tool_choice.as_ref(),
            answer: None,
            withholds_format: false,
            note: None,
        };
        if let Some(ToolChoice::Vendor(name)) = plan.choice {
            let message = format!("this upstream cannot be made to use the tool `{name}`");
            return Err(WireError::unsupported("tool_choice", message));
        }
        for tool in &request.vendor_tools {
            if tool.family == Family::Gemini {
                plan.vendor.push((&tool.name, tool.raw.as_str()));
            } else {
                losses.drop_field(format!("tools.{}", tool.name));
            }
        }
        if !target.profile.tools {
            return plan.without_functions(request, losses);
        }
        for (index, tool) in request.tools.iter().enumerate() {
            let schema = schema_of(tool, index, target, losses)?;
            plan.functions.push((tool, schema));
        }
        if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
            losses.drop_field("parallel_tool_calls");
        }
        if !target.profile.tools_with_format && request.output != OutputFormat::Text {
            plan.hold_to_format(request, target, losses)?;
        }
        Ok(plan)
    }

    /// The model takes tools or a format of the answer, not both: the format becomes one more tool, which is as good.
    fn hold_to_format(
        &mut self,
        request: &'p Request<'p>,
        target: &EncodeTarget<'_>,
        losses: &mut Losses,
    ) -> Result<(), WireError> {
        if self.choice == Some(&ToolChoice::None) {
            // None may be called, so none is missed.
            self.functions.clear();
        }
        if self.functions.is_empty() && self.vendor.is_empty() {
            return Ok(());
        }
        self.withholds_format = true;
        let schema = match &request.output {
            OutputFormat::Schema { schema, .. } if self.vendor.is_empty() && schema::is_of_object(schema) => schema,
            // There is no schema that a tool could have.
            _ => {
                self.note = Some(JSON_NOTE);
                losses.drop_field("response_format");
                return Ok(());
            }
        };
        if self.is_forced() {
            // A tool that the client forces comes first; the answer's turn will come.
            losses.drop_field("response_format");
            return Ok(());
        }
        self.answer = Some(match target.profile.full_json_schema {
            true => Schema::Full(schema.as_str()),
            false => Schema::Lowered(schema::lower(schema, "response_format", true, losses)?),
        });
        Ok(())
    }

    /// Whether a tool of ours stands for the format of the answer.
    pub(super) const fn has_answer(&self) -> bool {
        self.answer.is_some()
    }

    fn is_forced(&self) -> bool {
        matches!(
            self.choice,
            Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })
        )
    }

    fn without_functions(mut self, request: &Request<'_>, losses: &mut Losses) -> Result<Self, WireError> {
        if self.is_forced() {
            return Err(WireError::unsupported("tool_choice", "this model has no tools, so none can be forced"));
        }
        if !request.tools.is_empty() {
            losses.drop_field("tools");
        }
        self.choice = None;
        Ok(self)
    }

    pub(super) fn write(&self, w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>) {
        if !self.functions.is_empty() || !self.vendor.is_empty() {
            w.key("tools").array(|w| {
                if !self.functions.is_empty() {
                    w.object(|w| {
                        w.key("functionDeclarations").array(|w| {
                            for (tool, schema) in &self.functions {
                                w.object(|w| write_function(w, tool, schema.as_ref(), request, target));
                            }
                            if let Some(schema) = &self.answer {
                                w.object(|w| {
                                    w.field_str("name", ANSWER_TOOL);
                                    w.field_str("description", ANSWER_DESCRIPTION);
                                    schema.write(w);
                                });
                            }
                        });
                    });
                }
                for (name, raw) in &self.vendor {
                    w.object(|w| w.field_raw(name, raw));
                }
            });
        }
        self.write_config(w, request, target);
    }

    fn write_config(&self, w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>) {
        let choice = self.choice.filter(|_| !self.functions.is_empty());
        let extensions = extras::below(request, "toolConfig");
        if choice.is_none() && extensions.is_empty() && self.answer.is_none() {
            return;
        }
        w.key("toolConfig").object(|w| {
            if self.answer.is_some() {
                w.key("functionCallingConfig").object(|w| self.write_any(w, choice, target));
            } else if let Some(choice) = choice {
                w.key("functionCallingConfig").object(|w| write_choice(w, choice, target));
            }
            for (name, raw) in extensions {
                w.field_raw(name, raw);
            }
        });
    }

    /// Some function has to be called: one of the client's, or the answer.
    fn write_any(&self, w: &mut Writer<'_>, choice: Option<&ToolChoice<'_>>, target: &EncodeTarget<'_>) {
        w.field_str("mode", "ANY");
        if let Some(ToolChoice::Allowed { names, .. }) = choice {
            w.key("allowedFunctionNames").array(|w| {
                names.iter().for_each(|name| w.str(target.names.upstream(name)));
                w.str(ANSWER_TOOL);
            });
        }
    }
}

// === impl Schema ===

impl Schema<'_> {
    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Self::Full(raw) => w.field_raw("parametersJsonSchema", raw),
            Self::Lowered(text) => w.field_raw("parameters", text),
        }
    }
}

fn schema_of<'p>(
    tool: &'p Tool<'p>,
    index: usize,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Option<Schema<'p>>, WireError> {
    if tool.cache.is_some() {
        losses.drop_field("cache_control");
    }
    match &tool.kind {
        ToolKind::Custom { grammar } => {
            if grammar.is_some() {
                losses.drop_field("tools.format");
            }
            if target.profile.full_json_schema {
                return Ok(Some(Schema::Full(CUSTOM_SCHEMA)));
            }
            let lowered = crate::ir::Json::from_string(CUSTOM_SCHEMA.to_owned())
                .map(|json| schema::lower(&json, "tools", false, losses))
                .transpose()?;
            Ok(lowered.map(Schema::Lowered))
        }
        ToolKind::Function { schema, strict } => {
            if *strict == Some(true) {
                losses.drop_field("tools.strict");
            }
            let Some(schema) = schema else { return Ok(None) };
            let param = format!("tools.{index}.parameters");
            if !schema.as_str().starts_with('{') {
                return Err(WireError::field(param, "the schema of a function must be an object"));
            }
            // The upstream refuses an object without properties; a function without parameters says nothing.
            if !(schema::has_properties(schema) || target.profile.full_json_schema && schema::is_map(schema)) {
                return Ok(None);
            }
            if target.profile.full_json_schema {
                return Ok(Some(Schema::Full(schema.as_str())));
            }
            schema::lower(schema, &param, false, losses).map(|text| Some(Schema::Lowered(text)))
        }
    }
}

fn write_function(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    schema: Option<&Schema<'_>>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
) {
    w.field_str("name", target.names.upstream(&tool.name));
    w.field_str_opt("description", tool.description.as_deref());
    if let Some(schema) = schema {
        schema.write(w);
    }
    if request.format != Format::Gemini {
        return;
    }
    for (path, raw) in request.extensions.iter() {
        let own = path.strip_prefix(FUNCTION_PATH).and_then(|rest| rest.strip_prefix(tool.name.as_ref()));
        if let Some(field) = own.and_then(|rest| rest.strip_prefix('.')).filter(|field| !field.contains('.')) {
            w.field_raw(field, raw.as_str());
        }
    }
}

fn write_choice(w: &mut Writer<'_>, choice: &ToolChoice<'_>, target: &EncodeTarget<'_>) {
    let (mode, names): (&str, &[std::borrow::Cow<'_, str>]) = match choice {
        ToolChoice::Auto | ToolChoice::Vendor(_) => ("AUTO", &[]),
        ToolChoice::None => ("NONE", &[]),
        ToolChoice::Required => ("ANY", &[]),
        ToolChoice::Named(name) => ("ANY", std::slice::from_ref(name)),
        ToolChoice::Allowed { names, required: true } => ("ANY", names),
        // The only mode that takes names and leaves the model free to answer.
        ToolChoice::Allowed { names, required: false } => ("VALIDATED", names),
    };
    w.field_str("mode", mode);
    if !names.is_empty() {
        w.key("allowedFunctionNames").array(|w| names.iter().for_each(|name| w.str(target.names.upstream(name))));
    }
}
