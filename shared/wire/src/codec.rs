//! What a format module provides, and what it is told about the exchange it translates.
//!
//! A format is one folder with a file for each half that it needs: `decode_request` and `encode_request`, `decode_response` and
//! `encode_response`, `decode_stream` (a [`StreamDecoder`]) and `encode_stream` (a [`StreamEncoder`]), and `error`, which has both
//! directions. Formats that only clients speak do without those of an upstream, and the other way about. [`crate::translate`] picks them
//! by [`Format`](crate::ir::Format).

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use omniroute_core::error::{ErrorClass, GatewayError};

use crate::ir::{CallKind, Event, Family, Profile, Request, Signature};

/// Why a body could not be read, or could not be written for its target. The client's own fault, with the path of the
/// field, unless it is an upstream's body.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct WireError {
    /// Stable: `invalid_json`, `invalid_field`, `unsupported_feature`…
    pub code: &'static str,
    pub message: String,
    /// Path of the field at fault (`messages.2.content`).
    pub param: Option<String>,
}

/// Opaque values of one family carried through another's fields: sealed by the gateway, so that any proxy of the fleet
/// can open them and nobody can forge one.
pub trait Sealer: Send + Sync {
    /// A token that a client carries in its own dialect's opaque field.
    fn seal(&self, signature: &Signature<'_>, model: &str) -> String;
    /// The signature inside a token of ours; `None` for anything else.
    fn open(&self, token: &str) -> Option<Signature<'static>>;
}

/// What the decoder of a body is given.
#[derive(Clone, Copy)]
pub struct DecodeContext<'s> {
    pub sealer: &'s dyn Sealer,
    /// What makes ids of an answer's calls that come without one this answer's own: clients take two calls with one id for
    /// the same, and models make the same call again. Empty for requests, whose ids every proxy has to make alike.
    pub answer: &'s str,
}

/// Whom a request is written for.
#[derive(Clone, Copy)]
pub struct EncodeTarget<'t> {
    /// The upstream's own id of the model.
    pub model: &'t str,
    pub profile: &'t Profile,
    pub names: &'t NameTable,
    /// Whether the upstream is asked to stream, whatever the client wants.
    pub stream: bool,
}

/// A request in its target's format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    pub body: Vec<u8>,
    /// Headers that the format demands for this request (beta flags).
    pub headers: Vec<(&'static str, String)>,
    /// The answer may come as the call of a tool of ours; see [`ResponseContext::answer_tool`].
    pub answer_tool: bool,
}

/// An error body of an upstream, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamError {
    pub class: ErrorClass,
    /// The upstream's own words, not sanitised yet.
    pub message: String,
    /// The upstream's own code or type.
    pub code: Option<String>,
    /// What else an error in OpenAI's shape says.
    pub named: OpenAiErrorFields,
    pub retry_after: Option<Duration>,
}

/// `code` and `param` of an error in OpenAI's shape; their clients look at both. Not sanitised yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenAiErrorFields {
    pub code: Option<Box<str>>,
    pub param: Option<Box<str>>,
}

/// What the way back of an answer has to know about the request.
#[derive(Clone)]
pub struct ResponseContext {
    /// Id for formats that have one (`chatcmpl-…`, `msg_…`, `resp_…` are built from it).
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    /// The model as the client named it.
    pub model: String,
    /// Whether a Chat client asked for the usage chunk.
    pub include_usage: bool,
    /// Whether the client's dialect shows thoughts and the client wants them.
    pub show_thinking: bool,
    /// Our estimate of the prompt, for formats that announce it first.
    pub estimated_input: u64,
    /// Names, kinds and groups that were changed on the way up.
    pub names: NameTable,
    /// A tool of ours stands for the format of the answer, as [`Encoded::answer_tool`] said.
    pub answer_tool: bool,
    /// Parts of the request that a Responses answer repeats, as raw JSON fields.
    pub echo: Vec<(&'static str, crate::ir::Json<'static>)>,
    /// The answer is a summary of the conversation, and told as one; see [`Request::compacts`].
    pub compacts: bool,
    pub sealer: Arc<dyn Sealer>,
}

/// Reversible renaming of tools for one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NameTable {
    to_upstream: HashMap<String, String>,
    to_client: HashMap<String, ClientTool>,
}

/// A tool as the client declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTool {
    pub name: String,
    pub kind: CallKind,
    pub namespace: Option<String>,
}

/// Upstream bytes in, events out. Bytes may be split anywhere.
pub trait StreamDecoder: Send {
    fn feed(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event<'_>));
    /// The upstream closed its end, or is waited for no longer. A stream without its terminator becomes [`Event::Error`], unless
    /// it is [`Self::complete`].
    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>));
    /// Whether nothing of the answer can come any more: its terminator has, or an error.
    fn done(&self) -> bool;
    /// Whether the answer is whole, if nothing more is said.
    fn complete(&self) -> bool;
    /// As [`DecodeContext::answer`], for formats whose calls may come without ids. Call it first.
    fn of_answer(&mut self, _answer: &str) {}
}

/// Events in, client bytes out, appended to a reused buffer.
pub trait StreamEncoder: Send {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>);
    /// The upstream is done: whatever the format demands at the end (`[DONE]`, the closing bracket).
    fn end(&mut self, out: &mut Vec<u8>);
    /// What to send while nothing else is sent; `None` where the format has nothing harmless.
    fn keepalive(&self) -> Option<&'static [u8]>;
}

// === impl WireError ===

impl WireError {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None }
    }

    pub fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: "invalid_field", message: message.into(), param: Some(param.into()) }
    }

    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: "unsupported_feature", message: message.into(), param: Some(param.into()) }
    }
}

impl From<WireError> for GatewayError {
    fn from(error: WireError) -> Self {
        let gateway = Self::bad_request(error.code, error.message);
        match error.param {
            Some(param) => gateway.with_param(param),
            None => gateway,
        }
    }
}

// === impl NameTable ===

impl NameTable {
    /// Renames every tool of a request (declared ones and those only named in its history) so that `legal` holds;
    /// two names that become one are numbered.
    pub fn build(request: &Request<'_>, max_len: usize, legal: impl Fn(usize, char) -> bool) -> Self {
        let mut table = Self::default();
        for tool in &request.tools {
            let kind = match tool.kind {
                crate::ir::ToolKind::Function { .. } => CallKind::Function,
                crate::ir::ToolKind::Custom { .. } => CallKind::Custom,
            };
            table.add(&tool.name, kind, tool.namespace.as_deref(), max_len, &legal);
        }
        for turn in &request.turns {
            for part in &turn.parts {
                if let crate::ir::Part::ToolCall { name, kind, .. } = part {
                    table.add(name, *kind, None, max_len, &legal);
                }
            }
        }
        table
    }

    fn add(
        &mut self,
        name: &str,
        kind: CallKind,
        namespace: Option<&str>,
        max_len: usize,
        legal: &impl Fn(usize, char) -> bool,
    ) {
        if self.to_upstream.contains_key(name) {
            return;
        }
        let clean: String =
            name.chars().take(max_len).enumerate().map(|(i, c)| if legal(i, c) { c } else { '_' }).collect();
        let clean = if clean.is_empty() { "tool".to_owned() } else { clean };
        let mut candidate = clean.clone();
        let mut number = 2_u32;
        while self.to_client.contains_key(&candidate) {
            let suffix = format!("_{number}");
            let keep = max_len.saturating_sub(suffix.len());
            candidate = clean.chars().take(keep).collect::<String>() + &suffix;
            number += 1;
        }
        let client = ClientTool { name: name.to_owned(), kind, namespace: namespace.map(str::to_owned) };
        self.to_client.insert(candidate.clone(), client);
        self.to_upstream.insert(name.to_owned(), candidate);
    }

    /// The name to send upstream.
    pub fn upstream<'a>(&'a self, name: &'a str) -> &'a str {
        self.to_upstream.get(name).map_or(name, String::as_str)
    }

    /// The tool behind a name that the upstream used. Models do not always spell it as they were told: one that differs
    /// in its case only, or has Gemini's own prefix in front, is still that tool if no other can be meant.
    pub fn client(&self, upstream: &str) -> Option<&ClientTool> {
        self.to_client.get(upstream).or_else(|| self.misspelt(upstream))
    }

    fn misspelt(&self, upstream: &str) -> Option<&ClientTool> {
        let plain = upstream.strip_prefix("default_api").and_then(|rest| rest.strip_prefix([':', '.']));
        let plain = plain.unwrap_or(upstream);
        if let Some(tool) = self.to_client.get(plain) {
            return Some(tool);
        }
        let mut alike = self.to_client.iter().filter(|(name, _)| name.eq_ignore_ascii_case(plain));
        match (alike.next(), alike.next()) {
            (Some((_, tool)), None) => Some(tool),
            _ => None,
        }
    }

    /// The client's name for a name that the upstream used.
    pub fn client_name<'a>(&'a self, upstream: &'a str) -> &'a str {
        self.client(upstream).map_or(upstream, |tool| tool.name.as_str())
    }
}

/// A signature as it may stand in a field of `family`: its own payload as it is, another's inside a sealed token.
pub fn signature_for<'a>(signature: &'a Signature<'a>, family: Family, exchange: &ResponseContext) -> Cow<'a, str> {
    if signature.family == family {
        Cow::Borrowed(&signature.payload)
    } else {
        Cow::Owned(exchange.sealer.seal(signature, &exchange.model))
    }
}

/// The reverse of [`signature_for`]: what a client sent in an opaque field of `family`.
pub fn signature_from<'a>(field: Cow<'a, str>, family: Family, sealer: &dyn Sealer) -> Signature<'a> {
    match sealer.open(&field) {
        Some(signature) => signature,
        None => Signature { family, payload: field },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Format, Tool, ToolKind};

    fn with_tools(format: Format, names: &[&'static str]) -> Request<'static> {
        let mut request = Request::new(format, "m");
        request.tools.extend(names.iter().map(|name| Tool {
            name: (*name).into(),
            description: None,
            kind: ToolKind::Function { schema: None, strict: None },
            namespace: None,
            cache: None,
        }));
        request
    }

    #[test]
    fn illegal_names_map_there_and_back_and_collisions_are_numbered() {
        let request = with_tools(Format::OpenAiChat, &["a.b", "a/b", "fine"]);
        let table = NameTable::build(&request, 64, |_, c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        assert_eq!((table.upstream("a.b"), table.upstream("a/b"), table.upstream("fine")), ("a_b", "a_b_2", "fine"));
        assert_eq!(table.client_name("a_b_2"), "a/b");
        assert_eq!(table.client_name("unknown"), "unknown");
    }

    #[test]
    fn a_name_that_a_model_misspells_is_still_the_clients_if_no_other_can_be_meant() {
        let request = with_tools(Format::Anthropic, &["Bash", "Read", "read"]);
        let table = NameTable::build(&request, 64, |_, c| c.is_ascii_alphanumeric());
        for (said, meant) in [
            ("bash", "Bash"),
            ("default_api:Bash", "Bash"),
            ("default_api.bash", "Bash"),
            ("read", "read"),
            ("READ", "READ"),
            ("default_api", "default_api"),
        ] {
            assert_eq!(table.client_name(said), meant);
        }
    }
}
