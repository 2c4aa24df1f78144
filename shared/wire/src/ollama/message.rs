//! Messages of Ollama as they stand on the wire.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    object::wire_object,
    text::{Str, TextOr},
};

wire_object! {
    pub(super) struct Message<'a> {
        role: Str<'a> = "role",
        content: Content<'a> = "content",
        thinking: Str<'a> = lenient "thinking",
        images: Vec<Str<'a>> = "images",
        tool_calls: Vec<ToolCall<'a>> = "tool_calls",
        tool_name: Str<'a> = lenient "tool_name",
        // What clients wrote before there was `tool_name`.
        name: Str<'a> = lenient "name",
        tool_call_id: Str<'a> = lenient "tool_call_id",
    }
}

wire_object! {
    /// What a model says. Nobody needs to be told whose turn it is, and what is no list of calls or pictures is none.
    pub(super) struct Said<'a> {
        content: Content<'a> = "content",
        thinking: Str<'a> = lenient "thinking",
        images: Vec<Str<'a>> = lenient "images",
        tool_calls: Vec<ToolCall<'a>> = lenient "tool_calls",
    }
}

wire_object! {
    pub(super) struct ToolCall<'a> {
        id: Str<'a> = lenient "id",
        function: FunctionCall<'a> = "function",
    }
}

wire_object! {
    pub(super) struct FunctionCall<'a> {
        name: Str<'a> = "name",
        arguments: Arguments<'a> = "arguments",
    }
}

wire_object! {
    /// A line of a stream, or the whole answer; of either API.
    pub(super) struct Answer<'a> {
        model: Str<'a> = lenient "model",
        created_at: Str<'a> = lenient "created_at",
        message: Said<'a> = "message",
        response: Str<'a> = "response",
        thinking: Str<'a> = lenient "thinking",
        tool_calls: Vec<ToolCall<'a>> = lenient "tool_calls",
        done: bool = lenient "done",
        done_reason: Str<'a> = lenient "done_reason",
        prompt_eval_count: u64 = lenient "prompt_eval_count",
        eval_count: u64 = lenient "eval_count",
        logprobs: &'a RawValue = "logprobs",
        error: &'a RawValue = "error",
        status: u16 = lenient "status",
    }
}

wire_object! {
    struct ContentPart<'a> {
        kind: Str<'a> = lenient "type",
        text: Str<'a> = "text",
    }
}

/// A text. Whoever grew up with OpenAI sends a list of parts, whose texts are joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content<'a>(pub(super) Cow<'a, str>);

/// An object; clients that grew up with OpenAI send a string that holds one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments<'a>(pub(super) Cow<'a, str>);

// === impl Message ===

impl<'a> Message<'a> {
    /// Which tool a result comes from.
    pub(super) fn take_tool_name(&mut self) -> Option<Cow<'a, str>> {
        self.tool_name.take().or(self.name.take()).filter(|name| !name.is_empty()).map(Into::into)
    }
}

// === impl Answer ===

impl<'a> Answer<'a> {
    /// Both APIs' texts and calls in the place where chat has them.
    pub(super) fn take_message(&mut self) -> Said<'a> {
        let mut message = self.message.take().unwrap_or_default();
        message.content = message.content.or(self.response.take().map(|text| Content(text.0)));
        message.thinking = message.thinking.or(self.thinking.take());
        message.tool_calls = message.tool_calls.or(self.tool_calls.take());
        message
    }

    pub(super) fn usage(&self) -> crate::usage::Usage {
        crate::usage::Usage { input: self.prompt_eval_count, output: self.eval_count, ..Default::default() }
    }

    /// Unix seconds of `created_at`.
    pub(super) fn created(&self) -> Option<u64> {
        omniroute_core::time::UnixMillis::parse(self.created_at.as_deref()?).map(|time| time.0 / 1000)
    }
}

// === impl Content ===

impl<'de: 'a, 'a> serde::Deserialize<'de> for Content<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = match TextOr::<'de, ContentPart<'de>>::deserialize(deserializer)? {
            TextOr::Text(text) => return Ok(Self(text)),
            TextOr::List(parts) => parts,
        };
        let mut joined = Cow::Borrowed("");
        for part in parts {
            let is_text = matches!(part.kind.as_deref(), None | Some("text" | "input_text" | "output_text"));
            let Some(text) = part.text.filter(|_| is_text) else {
                return Err(serde::de::Error::custom("only texts can stand here; pictures belong in `images`"));
            };
            joined += text.0;
        }
        Ok(Self(joined))
    }
}

// === impl Arguments ===

impl<'de: 'a, 'a> serde::Deserialize<'de> for Arguments<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        if raw.get().starts_with('"') {
            let text: Str<'de> = serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?;
            return Ok(Self(if text.trim().is_empty() { "{}".into() } else { text.0 }));
        }
        if raw.get().starts_with('{') {
            return Ok(Self(raw.get().into()));
        }
        // What languages without a type of their own for objects write for an empty one.
        if raw.get().strip_prefix('[').is_some_and(|rest| rest.trim_start() == "]") {
            return Ok(Self("{}".into()));
        }
        Err(serde::de::Error::custom("arguments must be an object"))
    }
}
