//! Which of OpenAI's two chat APIs a request goes to, at hosts that have both.
//!
//! Sources: developers.openai.com on the endpoints of each model, and on moving to Responses; the refusals of
//! `/v1/chat/completions` ("Function tools with reasoning_effort are not supported for gpt-5.4 … Please use /v1/responses").

use omniroute_wire::ir::Format;

use crate::profile::{ToolsOnChat, openai_line};

/// What of a request decides between the two.
#[derive(Clone, Copy, Debug)]
pub struct ChatApiSelector<'a> {
    /// What the client speaks.
    pub client: Format,
    pub has_tools: bool,
    /// `reasoning_effort` as it stands in a Chat client's body.
    pub effort: Option<&'a str>,
    /// More than one answer is wanted, which only Chat gives.
    pub many: bool,
}

// === impl ChatApiSelector ===

impl ChatApiSelector<'_> {
    /// Of a plain question.
    pub const fn plain(client: Format) -> Self {
        Self { client, has_tools: false, effort: None, many: false }
    }

    /// The API for a request to `model` at a host that has both.
    pub(crate) fn api_for(&self, model: &str) -> Format {
        let line = openai_line(model);
        if let Some(only) = line.only {
            return only;
        }
        let needs_responses = match self.client {
            // Its bodies pass as they came.
            Format::OpenAiResponses => true,
            // It alone gives several answers.
            _ if self.many => false,
            Format::OpenAiChat => self.has_tools && !self.chat_takes_tools(line.tools_on_chat),
            // Others have a place for sealed thoughts.
            _ => line.thinks,
        };
        if needs_responses { Format::OpenAiResponses } else { Format::OpenAiChat }
    }

    fn chat_takes_tools(&self, rule: ToolsOnChat) -> bool {
        let effort = self.effort.map(|word| word.trim_matches('"'));
        match rule {
            ToolsOnChat::Always => true,
            ToolsOnChat::WithoutEffort => effort.is_none_or(|effort| effort == "none"),
            ToolsOnChat::WithoutThoughts => effort == Some("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_asked_where_its_vendor_has_it() {
        use Format::{Anthropic, OpenAiChat as Chat, OpenAiResponses as Responses};
        // model, client, tools, effort, API
        for (model, client, has_tools, effort, expected) in [
            ("gpt-4o", Chat, true, None, Chat),
            ("gpt-4o", Anthropic, true, None, Chat),
            ("gpt-4o", Responses, true, None, Responses),
            ("gpt-4.1-mini", Anthropic, false, None, Chat),
            ("gpt-5", Chat, true, Some("\"high\""), Chat),
            ("gpt-5", Anthropic, true, None, Responses),
            ("gpt-5-chat-latest", Anthropic, true, None, Chat),
            ("o4-mini", Chat, true, Some("\"low\""), Chat),
            ("o3", Anthropic, false, None, Responses),
            ("gpt-5.4", Chat, false, Some("\"high\""), Chat),
            ("gpt-5.4", Chat, true, None, Chat),
            ("gpt-5.4", Chat, true, Some("\"none\""), Chat),
            ("gpt-5.4", Chat, true, Some("\"medium\""), Responses),
            ("gpt-5.4-mini-2026-03-17", Chat, true, Some("\"low\""), Responses),
            ("gpt-5.5", Chat, true, None, Responses),
            ("gpt-5.6-terra", Chat, true, None, Responses),
            ("gpt-5.6-terra", Chat, true, Some("\"none\""), Chat),
            ("gpt-5.6", Chat, false, None, Chat),
            ("gpt-6-astra", Chat, true, None, Responses),
            ("gpt-5-codex", Chat, false, None, Responses),
            ("gpt-5.3-codex", Chat, false, None, Responses),
            ("codex-mini-latest", Chat, false, None, Responses),
            ("gpt-5.2-pro-2025-12-11", Chat, false, None, Responses),
            ("o1-pro", Chat, false, None, Responses),
            ("o3-deep-research", Chat, false, None, Responses),
            ("computer-use-preview", Chat, false, None, Responses),
            ("gpt-4o-audio-preview", Responses, false, None, Chat),
            ("gpt-audio-mini", Responses, false, None, Chat),
            ("gpt-5-search-api", Responses, false, None, Chat),
            ("o1-mini", Anthropic, false, None, Chat),
            ("ft:gpt-4.1-mini-2025-04-14:org::x", Anthropic, false, None, Chat),
            ("proxied/gpt-5.5", Chat, true, None, Responses),
            ("somebody-elses", Chat, true, Some("\"high\""), Chat),
            ("somebody-elses", Anthropic, true, None, Chat),
        ] {
            let selector = ChatApiSelector { client, has_tools, effort, many: false };
            assert_eq!(selector.api_for(model), expected, "{model} {client} {has_tools} {effort:?}");
        }
        let many = ChatApiSelector { many: true, ..ChatApiSelector::plain(Format::Gemini) };
        assert_eq!(many.api_for("gpt-5"), Chat, "several answers");
        let with_tools = ChatApiSelector { many: true, has_tools: true, ..ChatApiSelector::plain(Chat) };
        assert_eq!(
            with_tools.api_for("gpt-5.6"),
            Chat,
            "several answers, which Responses does not give with tools either"
        );
        assert_eq!(with_tools.api_for("gpt-5-codex"), Responses, "there is no other");
    }
}
