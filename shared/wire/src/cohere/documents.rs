//! Documents: beside the conversation when they are to be cited, else as text inside it.

use crate::{ir::Source, media, write::Writer};

/// Documents to cite from, gathered from the turns: Cohere has them beside the conversation.
#[derive(Debug, Default)]
pub(super) struct Documents {
    closed: bool,
    data: Vec<String>,
}

/// The text of a document that is text, also inside base64.
pub(super) fn text_of<'s>(source: &'s Source<'_>) -> Option<std::borrow::Cow<'s, str>> {
    match source {
        Source::Text(text) => Some(text.as_ref().into()),
        Source::Inline { media_type, data } => media::inline_text(media_type, data).map(Into::into),
        Source::Url(_) | Source::File { .. } => None,
    }
}

pub(super) fn document_data(text: &str, name: Option<&str>, context: Option<&str>) -> String {
    let mut data = Vec::with_capacity(text.len() + 64);
    Writer::new(&mut data).object(|w| {
        w.field_str_opt("title", name);
        w.field_str_opt("context", context);
        w.field_str("text", text);
    });
    String::from_utf8(data).unwrap_or_default()
}

pub(super) fn document_as_text(text: &str, name: Option<&str>, context: Option<&str>) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    out.push_str("<document>\n");
    for line in [name, context].into_iter().flatten() {
        out.push_str(line);
        out.push('\n');
    }
    out.push_str(text);
    out.push_str("\n</document>");
    out
}

// === impl Documents ===

impl Documents {
    pub(super) const fn new(closed: bool) -> Self {
        Self { closed, data: Vec::new() }
    }

    /// Whether documents may stand beside this conversation.
    pub(super) const fn accept(&self) -> bool {
        !self.closed
    }

    pub(super) fn push(&mut self, data: String) {
        self.data.push(data);
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        if self.data.is_empty() {
            return;
        }
        w.key("documents").array(|w| {
            for data in &self.data {
                w.object(|w| w.field_raw("data", data));
            }
        });
    }
}
