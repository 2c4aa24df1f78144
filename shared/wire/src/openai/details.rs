//! `reasoning_details`: thoughts as OpenRouter tells them.
//!
//! Beside its text a detail has marks: its kind, the format of who made it, an id, a number, a signature or sealed data. The
//! models behind want all of it back as it was; an id may say which call a signature belongs to. So an answer's detail
//! becomes a thought that [`Family::OpenRouter`] signed, whose payload is the detail without its text.

use super::{
    message::ReasoningDetail,
    {reasoning_family, reasoning_format},
};
use crate::{
    ir::{Family, Part, Request, Signature},
    write::Writer,
};

/// All of a detail but its text, gathered from the pieces of a stream.
#[derive(Debug, Default)]
pub(super) struct Marks {
    kind: Option<String>,
    id: Option<String>,
    format: Option<String>,
    index: Option<u32>,
    signature: Option<String>,
    data: Option<String>,
    rest: Vec<(String, String)>,
}

// === impl Marks ===

impl Marks {
    pub(super) fn of(detail: &ReasoningDetail<'_>) -> Self {
        let mut marks = Self::default();
        marks.add(detail);
        marks
    }

    pub(super) fn add(&mut self, detail: &ReasoningDetail<'_>) {
        let fields = [
            (&mut self.kind, &detail.kind),
            (&mut self.id, &detail.id),
            (&mut self.format, &detail.format),
            (&mut self.signature, &detail.signature),
            (&mut self.data, &detail.data),
        ];
        for (known, said) in fields {
            // Most are said again in every piece.
            if let Some(said) = said.as_deref().filter(|said| !said.is_empty() && known.as_deref() != Some(*said)) {
                *known = Some(said.to_owned());
            }
        }
        self.index = self.index.or(detail.index);
        for (name, raw) in detail.rest.iter().filter(|(_, raw)| raw.get() != "null") {
            if self.rest.iter().all(|(known, _)| known != name) {
                self.rest.push((name.as_ref().to_owned(), raw.get().to_owned()));
            }
        }
    }

    /// Whether a detail tells another thought: this one has its signature, or is of another kind.
    pub(super) fn is_followed_by(&self, detail: &ReasoningDetail<'_>) -> bool {
        let is_other = self.kind.as_deref().zip(detail.kind.as_deref()).is_some_and(|(own, other)| own != other);
        is_other || (self.signature.is_some() && self.index != detail.index)
    }

    /// `None` where there is nothing that somebody could want back.
    pub(super) fn signature(&self) -> Option<Signature<'static>> {
        let has_format = self.format.as_deref().is_some_and(|format| format != "unknown");
        let any =
            has_format || self.id.is_some() || self.signature.is_some() || self.data.is_some() || !self.rest.is_empty();
        any.then(|| Signature { family: Family::OpenRouter, payload: self.payload().into() })
    }

    fn payload(&self) -> String {
        let mut out = Vec::with_capacity(128);
        Writer::new(&mut out).object(|w| {
            w.field_str_opt("type", self.kind.as_deref());
            w.field_str_opt("id", self.id.as_deref());
            w.field_str_opt("format", self.format.as_deref());
            w.field_str_opt("signature", self.signature.as_deref());
            w.field_str_opt("data", self.data.as_deref());
            for (name, raw) in &self.rest {
                w.field_raw(name, raw);
            }
            w.field_opt("index", self.index.as_ref());
        });
        // All of it was text.
        String::from_utf8(out).unwrap_or_default()
    }
}

/// Writes a detail as it came.
pub(super) fn write_told(w: &mut Writer<'_>, payload: &str, text: &str) {
    let Ok(detail) = serde_json::from_str::<ReasoningDetail<'_>>(payload) else { return };
    let is_summary = detail.kind.as_deref() == Some("reasoning.summary");
    w.object(|w| {
        w.field_str("type", detail.kind.as_deref().unwrap_or("reasoning.text"));
        if is_summary {
            w.field_str("summary", text);
        } else if detail.data.is_none() {
            w.field_str("text", text);
        }
        w.field_str_opt("signature", detail.signature.as_deref());
        w.field_str_opt("data", detail.data.as_deref());
        w.field_str_opt("id", detail.id.as_deref());
        w.field_str_opt("format", detail.format.as_deref());
        for (name, raw) in &detail.rest {
            w.field_raw(name, raw.get());
        }
        w.field_opt("index", detail.index.as_ref());
    });
}

/// What a detail was signed with by who made it.
fn makers(signature: &Signature<'_>) -> Option<Signature<'static>> {
    let detail = serde_json::from_str::<ReasoningDetail<'_>>(&signature.payload).ok()?;
    let family = reasoning_family(detail.format.as_deref());
    let payload = detail.signature.or(detail.data)?;
    Some(Signature { family, payload: payload.0.into_owned().into() })
}

/// For a target that does not speak `reasoning_details`: thoughts are signed as their makers signed them.
pub fn unwrap_details(request: &mut Request<'_>) {
    for turn in request.turns.iter_mut() {
        turn.parts.retain_mut(|part| match part {
            Part::Thinking { signature, .. } => {
                if let Some(told) = signature.take_if(|signature| signature.family == Family::OpenRouter) {
                    *signature = makers(&told);
                }
                true
            }
            Part::RedactedThinking { data } if data.family == Family::OpenRouter => match makers(data) {
                Some(own) => {
                    *data = own;
                    true
                }
                None => false,
            },
            _ => true,
        });
    }
}

/// Whether a signature that its maker gave to another is good for this model at OpenRouter.
pub(super) fn is_makers(model: &str, family: Family) -> bool {
    let vendor = match family {
        Family::Anthropic => "anthropic/",
        Family::Gemini => "google/",
        Family::OpenAi => "openai/",
        _ => return false,
    };
    model.contains(vendor)
}

/// Writes a thought, or the signature of a call, that was not told as a detail.
pub(super) fn write_made(w: &mut Writer<'_>, thought: Made<'_>, index: usize) {
    let Made { text, signature, call } = thought;
    w.object(|w| {
        let sealed = text.is_none();
        w.field_str("type", if sealed { "reasoning.encrypted" } else { "reasoning.text" });
        w.field_str_opt("text", text);
        w.field_str(if sealed { "data" } else { "signature" }, &signature.payload);
        w.field_str_opt("id", call);
        w.field_str("format", reasoning_format(signature.family));
        w.field("index", &index);
    });
}

/// See [`write_made`].
#[derive(Clone, Copy)]
pub(super) struct Made<'p> {
    /// `None`: only its maker can read it.
    pub(super) text: Option<&'p str>,
    pub(super) signature: &'p Signature<'p>,
    /// The call that it signs.
    pub(super) call: Option<&'p str>,
}
