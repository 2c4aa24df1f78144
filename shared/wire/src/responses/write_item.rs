//! Items of an answer, as whole answers and streams both write them.

use std::borrow::Cow;

use crate::{
    codec::{ResponseContext, signature_for},
    ir::{Annotation, CallKind, Family, Json, Signature},
    object::wire_object,
    write::Writer,
};

wire_object! {
    struct ChatLogprobs<'a> {
        content: &'a serde_json::value::RawValue = "content",
    }
}

/// Where an item of an answer stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    InProgress,
    Completed,
}

/// A tool of an answer as the client declared it.
#[derive(Clone, Debug)]
pub(super) struct ToolName {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) custom: bool,
    /// Free text for the client, a function with one string for the upstream.
    pub(super) wrapped: bool,
}

// === impl Life ===

impl Life {
    const fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }
}

// === impl ToolName ===

impl ToolName {
    pub(super) fn of(upstream: &str, kind: CallKind, exchange: &ResponseContext) -> Self {
        let names = &exchange.names;
        // A group that went up as one comes back under its flat name, whatever the table made of that.
        let tool = names.client(upstream).or_else(|| names.client(names.upstream(upstream)));
        let declared_custom = tool.is_some_and(|tool| tool.kind == CallKind::Custom);
        let name = tool.map_or(upstream, |tool| tool.name.as_str());
        let namespace = tool.and_then(|tool| tool.namespace.as_deref());
        Self {
            name: namespace.map_or(name, |namespace| super::short_name(namespace, name)).to_owned(),
            namespace: namespace.map(str::to_owned),
            custom: declared_custom || kind == CallKind::Custom,
            wrapped: declared_custom && kind == CallKind::Function,
        }
    }

    pub(super) const fn prefix(&self) -> &'static str {
        if self.custom { "ctc" } else { "fc" }
    }
}

/// Ids are made from the answer's and the item's place, so that they are the same in every event. Their prefixes are those
/// that OpenAI demands of items that come back to it.
pub(super) fn item_id(prefix: &str, exchange: &ResponseContext, index: usize) -> String {
    format!("{prefix}_{}_{index}", exchange.id)
}

pub(super) fn message(w: &mut Writer<'_>, id: &str, life: Life, contents: impl FnOnce(&mut Writer<'_>)) {
    w.object(|w| {
        w.field_str("id", id);
        w.field_str("type", "message");
        w.field_str("status", life.word());
        w.field_str("role", "assistant");
        w.key("content").array(contents);
    });
}

/// A text. The lists are given as their items.
pub(super) fn output_text(w: &mut Writer<'_>, text: &str, annotations: &str, logprobs: &str) {
    w.object(|w| {
        w.field_str("type", "output_text");
        w.key("annotations").array(|w| items(w, annotations));
        w.key("logprobs").array(|w| items(w, logprobs));
        w.field_str("text", text);
    });
}

/// The items of a list, already joined.
pub(super) fn items(w: &mut Writer<'_>, joined: &str) {
    if !joined.is_empty() {
        w.raw(joined);
    }
}

pub(super) fn refusal(w: &mut Writer<'_>, text: &str) {
    w.object(|w| {
        w.field_str("type", "refusal");
        w.field_str("refusal", text);
    });
}

pub(super) fn summary_text(w: &mut Writer<'_>, text: &str) {
    w.object(|w| {
        w.field_str("type", "summary_text");
        w.field_str("text", text);
    });
}

pub(super) fn reasoning(w: &mut Writer<'_>, id: &str, text: &str, encrypted: Option<&str>) {
    w.object(|w| {
        w.field_str("id", id);
        w.field_str("type", "reasoning");
        w.key("summary").array(|w| {
            if !text.is_empty() {
                summary_text(w, text);
            }
        });
        match encrypted {
            Some(encrypted) => w.field_str("encrypted_content", encrypted),
            None => w.field_null("encrypted_content"),
        }
    });
}

/// A call of either kind; `arguments` is the free text of a custom one.
pub(super) fn call(w: &mut Writer<'_>, id: &str, life: Life, call_id: &str, tool: &ToolName, arguments: &str) {
    w.object(|w| {
        w.field_str("id", id);
        w.field_str("type", if tool.custom { "custom_tool_call" } else { "function_call" });
        w.field_str("status", life.word());
        w.field_str("call_id", call_id);
        w.field_str("name", &tool.name);
        w.field_str_opt("namespace", tool.namespace.as_deref());
        w.field_str(if tool.custom { "input" } else { "arguments" }, arguments);
    });
}

pub(super) fn image(w: &mut Writer<'_>, id: &str, data: &str) {
    w.object(|w| {
        w.field_str("id", id);
        w.field_str("type", "image_generation_call");
        w.field_str("status", "completed");
        w.field_str("result", data);
    });
}

/// A citation: the vendor's own form, else one of a URL, else one of a document.
pub(super) fn annotation(w: &mut Writer<'_>, annotation: &Annotation<'_>) {
    if let Some(raw) = annotation.raw.as_ref().filter(|_| annotation.family == Family::OpenAi) {
        return w.raw(raw.as_str());
    }
    let title = annotation.title.as_deref().unwrap_or_default();
    w.object(|w| match annotation.url.as_deref() {
        Some(url) => {
            w.field_str("type", "url_citation");
            w.field_str("url", url);
            w.field_str("title", title);
            w.field("start_index", &annotation.start.unwrap_or(0));
            w.field("end_index", &annotation.end.unwrap_or(0));
        }
        None => {
            w.field_str("type", "file_citation");
            w.field_str("file_id", "");
            w.field_str("filename", title);
            w.field("index", &annotation.start.unwrap_or(0));
        }
    });
}

/// The items of a list of log probabilities in Chat's form, joined.
pub(super) fn logprob_items(raw: &Json<'_>) -> String {
    let list = serde_json::from_str::<ChatLogprobs<'_>>(raw.as_str()).ok().and_then(|field| field.content);
    let inner = list.and_then(|raw| raw.get().trim().strip_prefix('[')?.strip_suffix(']'));
    inner.map(|inner| inner.trim().to_owned()).unwrap_or_default()
}

/// `encrypted_content` of a thought.
pub(super) fn thought_signature<'s>(signature: &'s Signature<'s>, exchange: &ResponseContext) -> Cow<'s, str> {
    signature_for(signature, Family::OpenAi, exchange)
}

/// `encrypted_content` of a thought that only its maker can read.
pub(super) fn redacted<'s>(data: &'s Signature<'s>, exchange: &ResponseContext) -> Cow<'s, str> {
    if data.family == Family::OpenAi {
        return Cow::Borrowed(&data.payload);
    }
    let payload = format!("{}{}", super::SEALED_REDACTED, data.payload);
    Cow::Owned(exchange.sealer.seal(&Signature { family: data.family, payload: payload.into() }, &exchange.model))
}

/// `encrypted_content` of an item that carries the signature of a call: calls have no field for one here.
pub(super) fn call_signature(signature: &Signature<'_>, call_id: &str, exchange: &ResponseContext) -> Option<String> {
    if signature.family == Family::OpenAi {
        return None;
    }
    let payload = format!("{}{call_id}\n{}", super::SEALED_CALL, signature.payload);
    let signature = Signature { family: signature.family, payload: payload.into() };
    Some(exchange.sealer.seal(&signature, &exchange.model))
}
