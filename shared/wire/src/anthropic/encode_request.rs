//! [`Request`] → a Messages body.

use super::{
    betas,
    cache_marks::{self, Marks},
    conversation::{self, is_prompt_only},
    encode_content::{Blocks, write_mark},
    encode_tools::{self, Tools},
    extras::Extras,
    message::{Message, Speaker},
    sampling, schema,
    thinking::{self, Circumstances, Thinking},
};
use crate::{
    codec::{EncodeTarget, Encoded, WireError},
    ir::{CacheMark, Losses, OutputFormat, Request},
    stable_id::plain_user,
    write::Writer,
};

/// Fields of the whole request that counting tokens takes too.
const COUNTED: [&str; 4] = ["context_management", "mcp_servers", "cache_control", "speed"];

/// What the body is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Answer,
    Count,
}

/// Writes a request for an Anthropic upstream.
///
/// # Errors
/// When the request needs something that this format cannot say.
pub fn encode_request(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Encoded, WireError> {
    encode(request, target, losses, Purpose::Answer)
}

pub(super) fn encode(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
    purpose: Purpose,
) -> Result<Encoded, WireError> {
    sampling::refuse_meaningful(request)?;
    let extras = Extras::new(request, losses);
    let mut messages = conversation::messages(request, target, &extras, losses)?;
    let tools = encode_tools::choose(request, target, &messages, &extras, losses)?;
    let max_tokens = sampling::max_tokens(request, target, losses);
    let given = Circumstances {
        max_tokens,
        forced_tool: tools.is_forced(),
        own: extras.own(),
        own_limit: extras.own() && request.max_tokens.is_none_or(|limit| limit == max_tokens),
    };
    let thinking = thinking::plan(request, target, &messages, given, losses);
    if !thinking.keep_history {
        thinking::strip(&mut messages, losses);
    }
    let marks = cache_marks::place(request, target, &mut messages, extras.own());
    let parts = Parts { request, target, extras: &extras, messages: &messages, tools: &tools, thinking, marks };
    let mut body = Vec::with_capacity(request.size_hint());
    let mut failure = None;
    Writer::new(&mut body).object(|w| failure = parts.write(w, max_tokens, purpose, losses).err());
    if let Some(error) = failure {
        return Err(error);
    }
    let system_turns = messages.iter().any(|message| message.speaker == Speaker::System);
    Ok(Encoded { body, headers: betas::headers(request, &extras, system_turns), ..Encoded::default() })
}

/// All that was decided before the first byte.
struct Parts<'p> {
    request: &'p Request<'p>,
    target: &'p EncodeTarget<'p>,
    extras: &'p Extras<'p>,
    messages: &'p [Message<'p>],
    tools: &'p Tools<'p>,
    thinking: Thinking,
    marks: Marks,
}

// === impl Parts ===

impl Parts<'_> {
    fn write(
        &self,
        w: &mut Writer<'_>,
        max_tokens: u64,
        purpose: Purpose,
        losses: &mut Losses,
    ) -> Result<(), WireError> {
        w.field_str("model", self.target.model);
        if purpose == Purpose::Answer {
            w.field("max_tokens", &max_tokens);
        }
        self.write_system(w);
        let mut failure = None;
        w.key("messages").array(|w| failure = self.write_messages(w, losses).err());
        if let Some(error) = failure {
            return Err(error);
        }
        self.tools.write(w, self.target, self.extras, self.marks, losses);
        self.thinking.write(w, |w| self.extras.write(w, "thinking"));
        self.write_output(w, losses);
        for (field, raw) in self.extras.top() {
            if purpose == Purpose::Answer || COUNTED.contains(field) {
                w.field_raw(field, raw.as_str());
            }
        }
        if self.extras.get("messages.system", "tool_addition").is_some()
            || self.extras.get("messages.system", "tool_removal").is_some()
        {
            losses.drop_field("messages.system.tool_changes");
        }
        if purpose == Purpose::Answer {
            sampling::write_stop(w, self.request, self.extras.own())?;
            let thinks = self.thinking.is_on();
            sampling::write_sampling(w, self.request, self.target, self.extras, thinks, losses);
            self.write_identity(w, losses);
            if self.target.stream {
                w.field("stream", &true);
            }
        }
        Ok(())
    }

    fn write_system(&self, w: &mut Writer<'_>) {
        let billing = self.extras.get("system", "billing_header");
        // Without turns the system text is the prompt, and stands among the messages.
        let prompt_only = is_prompt_only(self.request);
        let parts: Vec<_> = self
            .request
            .system
            .iter()
            .enumerate()
            .filter(|(_, part)| part.position == 0 && !part.text.trim().is_empty() && !prompt_only)
            .collect();
        let plain = parts.iter().all(|(_, part)| part.cache.is_none()) && !self.marks.last_system;
        match (billing, parts.as_slice()) {
            (None, []) => {}
            (None, [(_, only)]) if plain && self.extras.is_empty() => w.field_str("system", &only.text),
            _ => w.key("system").array(|w| {
                if let Some(raw) = billing {
                    w.raw(raw.as_str());
                }
                let mut to_skip = self.marks.skip_system;
                for (number, (index, part)) in parts.iter().enumerate() {
                    let mut mark = part.cache;
                    if mark.is_some() && to_skip > 0 {
                        to_skip -= 1;
                        mark = None;
                    }
                    if self.marks.last_system && number + 1 == parts.len() {
                        mark = Some(CacheMark::FiveMinutes);
                    }
                    let place = format!("system.{index}");
                    w.object(|w| {
                        w.field_str("type", "text");
                        w.field_str("text", &part.text);
                        write_mark(w, mark, self.extras, &place);
                        for (field, raw) in self.extras.fields(&place) {
                            if !matches!(field, "type" | "cache_control") {
                                w.field_raw(field, raw.as_str());
                            }
                        }
                    });
                }
            }),
        }
    }

    fn write_messages(&self, w: &mut Writer<'_>, losses: &mut Losses) -> Result<(), WireError> {
        let mut blocks = Blocks { extras: self.extras, names: self.target.names, losses };
        for message in self.messages {
            let mut failure = None;
            w.object(|w| {
                w.field_str("role", message.speaker.as_str());
                w.key("content").array(|w| {
                    failure = message.slots.iter().try_for_each(|slot| blocks.write(w, slot)).err();
                });
            });
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(())
    }

    /// `output_config`: the effort, and the schema where the model can be held to one.
    fn write_output(&self, w: &mut Writer<'_>, losses: &mut Losses) {
        let schema = match &self.request.output {
            OutputFormat::Schema { schema, description, .. } if self.target.profile.json_schema => {
                if description.is_some() {
                    losses.drop_field("response_format.json_schema.description");
                }
                Some(schema)
            }
            _ => None,
        };
        let effort = self.thinking.effort_word();
        let rest = self.extras.fields("output_config").next().is_some();
        if schema.is_none() && effort.is_none() && !rest {
            return;
        }
        w.key("output_config").object(|w| {
            w.field_str_opt("effort", effort);
            if let Some(schema) = schema {
                w.key("format").object(|w| {
                    w.field_str("type", "json_schema");
                    if self.extras.own() {
                        w.field_raw("schema", schema.as_str());
                    } else {
                        w.field_raw("schema", &schema::constrained(schema, "response_format.json_schema", losses));
                    }
                });
            }
            self.extras.write(w, "output_config");
        });
    }

    fn write_identity(&self, w: &mut Writer<'_>, losses: &mut Losses) {
        let request = self.request;
        let rest = self.extras.fields("metadata").next().is_some();
        if request.user.is_some() || rest {
            w.key("metadata").object(|w| {
                // At most 256 characters are taken.
                let fits = |user: &str| self.extras.own() || user.len() <= 256;
                let user = request.user.as_deref();
                let user = user.map(|user| if fits(user) { user.into() } else { plain_user(user) });
                w.field_str_opt("user_id", user.as_deref());
                self.extras.write(w, "metadata");
            });
        }
        match request.service_tier.as_deref() {
            None => {}
            Some(word) if self.extras.own() => w.field_str("service_tier", word),
            Some("auto") => w.field_str("service_tier", "auto"),
            Some("default") => w.field_str("service_tier", "standard_only"),
            Some(_) => losses.drop_field("service_tier"),
        }
        for (name, given) in [
            ("metadata", request.metadata.is_some()),
            ("prompt_cache_key", request.cache_key.is_some()),
            // Anthropic keeps no answers, which is what `false` asks for.
            ("store", request.store == Some(true)),
        ] {
            if given {
                losses.drop_field(name);
            }
        }
    }
}

// === impl Speaker ===

impl Speaker {
    const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
        }
    }
}
