//! Tools and their choice, for an upstream.

use super::{decode_tools::FUNCTION_PATH, schema};
use crate::{
    codec::{Target, WireError},
    ir::{Family, Format, Losses, Request, Tool, ToolChoice, ToolKind},
    tools::CUSTOM_SCHEMA,
    write::Writer,
};

/// Functions with their schemas ready, and the vendor's own tools.
pub(super) struct Plan<'p> {
    functions: Vec<(&'p Tool<'p>, Option<Schema<'p>>)>,
    vendor: Vec<(&'p str, &'p str)>,
    choice: Option<&'p ToolChoice<'p>>,
}

enum Schema<'p> {
    /// `parametersJsonSchema`.
    Full(&'p str),
    /// `parameters`.
    Lowered(String),
}

// === impl Plan ===

impl<'p> Plan<'p> {
    pub(super) fn of(request: &'p Request<'p>, target: &Target<'_>, losses: &mut Losses) -> Result<Self, WireError> {
        let mut plan = Self { functions: Vec::new(), vendor: Vec::new(), choice: request.tool_choice.as_ref() };
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
        Ok(plan)
    }

    fn without_functions(mut self, request: &Request<'_>, losses: &mut Losses) -> Result<Self, WireError> {
        let forced = matches!(
            self.choice,
            Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })
        );
        if forced {
            return Err(WireError::unsupported("tool_choice", "this model has no tools, so none can be forced"));
        }
        if !request.tools.is_empty() {
            losses.drop_field("tools");
        }
        self.choice = None;
        Ok(self)
    }

    pub(super) fn write(&self, w: &mut Writer<'_>, request: &Request<'_>, target: &Target<'_>) {
        if !self.functions.is_empty() || !self.vendor.is_empty() {
            w.key("tools").array(|w| {
                if !self.functions.is_empty() {
                    w.object(|w| {
                        w.key("functionDeclarations").array(|w| {
                            for (tool, schema) in &self.functions {
                                w.object(|w| write_function(w, tool, schema.as_ref(), request, target));
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

    fn write_config(&self, w: &mut Writer<'_>, request: &Request<'_>, target: &Target<'_>) {
        let choice = self.choice.filter(|_| !self.functions.is_empty());
        let extensions = super::encode_request::below(request, "toolConfig");
        if choice.is_none() && extensions.is_empty() {
            return;
        }
        w.key("toolConfig").object(|w| {
            if let Some(choice) = choice {
                w.key("functionCallingConfig").object(|w| write_choice(w, choice, target));
            }
            for (name, raw) in extensions {
                w.field_raw(name, raw);
            }
        });
    }
}

fn schema_of<'p>(
    tool: &'p Tool<'p>,
    index: usize,
    target: &Target<'_>,
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
            if target.profile.full_json_schema {
                return Ok(Some(Schema::Full(schema.as_str())));
            }
            // The upstream refuses an object without properties; a function without parameters says nothing.
            if !schema::has_properties(schema) {
                return Ok(None);
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
    target: &Target<'_>,
) {
    w.field_str("name", target.names.upstream(&tool.name));
    w.field_str_opt("description", tool.description.as_deref());
    match schema {
        Some(Schema::Full(raw)) => w.field_raw("parametersJsonSchema", raw),
        Some(Schema::Lowered(text)) => w.field_raw("parameters", text),
        None => {}
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

fn write_choice(w: &mut Writer<'_>, choice: &ToolChoice<'_>, target: &Target<'_>) {
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
