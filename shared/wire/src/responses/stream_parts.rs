//! What the encoder of a stream has open.

use std::borrow::Cow;

use super::write_item::{self, ToolName};
use crate::{custom_input::InputUnwrapper, write::Writer};

/// A part that has begun.
pub(super) struct OpenPart {
    pub(super) part: u32,
    pub(super) open: Open,
}

pub(super) enum Open {
    /// A content of the current message, by its number.
    Content(usize),
    Thought(Thought),
    Call(Box<Call>),
    /// Nothing more will be said of it.
    Silent,
}

/// The message that texts go to.
pub(super) struct Message {
    pub(super) index: usize,
    pub(super) id: String,
    pub(super) contents: Vec<Content>,
    /// It ends with its last open content.
    pub(super) closing: bool,
}

#[derive(Default)]
pub(super) struct Content {
    pub(super) refusal: bool,
    pub(super) text: String,
    /// Items of the lists, joined.
    pub(super) annotations: String,
    pub(super) logprobs: String,
    pub(super) annotated: usize,
    pub(super) done: bool,
}

/// A thought. Its item begins with the first text that is shown, or only when it is over.
#[derive(Default)]
pub(super) struct Thought {
    pub(super) item: Option<(usize, String)>,
    pub(super) text: String,
    pub(super) signature: Option<String>,
}

pub(super) struct Call {
    pub(super) item: Option<(usize, String)>,
    pub(super) call_id: String,
    pub(super) tool: ToolName,
    /// What came, as it came.
    arguments: String,
    /// The free text inside of it, for a custom tool that went up as a function.
    input: Option<(InputUnwrapper, String)>,
    /// A signature that came when the call had been announced.
    pub(super) late_signature: Option<String>,
}

// === impl Message ===

impl Message {
    pub(super) fn new(index: usize, id: String) -> Self {
        Self { index, id, contents: Vec::new(), closing: false }
    }

    pub(super) fn place(&self, w: &mut Writer<'_>, content: usize) {
        w.field_str("item_id", &self.id);
        w.field("output_index", &self.index);
        w.field("content_index", &content);
    }
}

// === impl Content ===

impl Content {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        if self.refusal {
            write_item::refusal(w, &self.text);
        } else {
            write_item::output_text(w, &self.text, &self.annotations, &self.logprobs);
        }
    }

    /// Adds an annotation and says which number it has.
    pub(super) fn annotate(&mut self, raw: &str) -> usize {
        join(&mut self.annotations, raw);
        self.annotated += 1;
        self.annotated - 1
    }

    pub(super) fn add_logprobs(&mut self, list: &str) {
        join(&mut self.logprobs, list);
    }
}

fn join(list: &mut String, more: &str) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(more);
}

// === impl Thought ===

impl Thought {
    pub(super) fn place(&self, w: &mut Writer<'_>) {
        if let Some((index, id)) = &self.item {
            w.field_str("item_id", id);
            w.field("output_index", index);
        }
        w.field("summary_index", &0);
    }
}

// === impl Call ===

impl Call {
    pub(super) fn new(call_id: &str, tool: ToolName) -> Self {
        let input = tool.wrapped.then(|| (InputUnwrapper::default(), String::new()));
        Self { item: None, call_id: call_id.to_owned(), tool, arguments: String::new(), input, late_signature: None }
    }

    pub(super) fn place(&self, w: &mut Writer<'_>) {
        if let Some((index, id)) = &self.item {
            w.field_str("item_id", id);
            w.field("output_index", index);
        }
    }

    /// Takes a piece of the arguments and returns what the client gets of it.
    pub(super) fn take_in<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        self.arguments.push_str(text);
        match &mut self.input {
            None => text.into(),
            Some((unwrapper, input)) => {
                let piece = unwrapper.feed(text);
                input.push_str(&piece);
                piece.into()
            }
        }
    }

    /// The arguments are over: what the client has to get yet. No arguments are an empty object.
    pub(super) fn complete(&mut self) -> String {
        match &mut self.input {
            None if !self.tool.custom && self.arguments.trim().is_empty() => {
                "{}".clone_into(&mut self.arguments);
                "{}".to_owned()
            }
            None => String::new(),
            Some((unwrapper, input)) => {
                let rest = unwrapper.finish();
                input.push_str(&rest);
                rest
            }
        }
    }

    /// The whole text for the client.
    pub(super) fn text(&self) -> &str {
        self.input.as_ref().map_or(&self.arguments, |(_, input)| input)
    }
}
