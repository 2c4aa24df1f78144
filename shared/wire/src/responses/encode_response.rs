//! [`Response`] → a `response`.

use super::{
    compact::{compaction_item, summary_of},
    write_item::{self, Life, ToolName, item_id},
    write_response::{Own, Status, write_response},
};
use crate::{
    codec::ResponseContext,
    custom_input::free_text,
    ir::{CallKind, Choice, Family, FinishReason, Part, Response, Source},
    openai::{REFUSED, tier_word},
    write::Writer,
};

/// Writes an answer for a Responses client. It has one choice: more cannot be asked for.
pub fn encode_response(response: &Response<'_>, exchange: &ResponseContext, out: &mut Vec<u8>) {
    let nothing = Choice::default();
    let choice = response.choices.first().unwrap_or(&nothing);
    let finish = choice.finish.unwrap_or(FinishReason::End);
    let own = Own {
        created: response.created.unwrap_or(exchange.created),
        status: Status::of(finish),
        service_tier: response.service_tier.as_deref().and_then(tier_word),
        usage: Some(&response.usage),
    };
    write_response(&mut Writer::new(out), exchange, &own, |w| {
        if exchange.compacts {
            // Of half a summary nothing is told.
            let summary = summary_of(choice).filter(|_| matches!(own.status, Status::Completed));
            let id = item_id("cmp", exchange, 0);
            return summary.iter().for_each(|summary| compaction_item(w, &id, summary, exchange));
        }
        let mut output = Output { exchange, index: 0 };
        output.choice(w, choice);
        let refused = choice.parts.iter().any(|part| matches!(part, Part::Refusal { .. }));
        if finish == FinishReason::Refusal && !refused {
            let id = output.next_id("msg");
            write_item::message(w, &id, Life::Completed, |w| write_item::refusal(w, REFUSED));
        }
    });
}

struct Output<'e> {
    exchange: &'e ResponseContext,
    index: usize,
}

// === impl Output ===

impl Output<'_> {
    fn next_id(&mut self, prefix: &str) -> String {
        let id = item_id(prefix, self.exchange, self.index);
        self.index += 1;
        id
    }

    fn choice(&mut self, w: &mut Writer<'_>, choice: &Choice<'_>) {
        let mut logprobs = choice.logprobs.as_ref().map(write_item::logprob_items).unwrap_or_default();
        let mut rest = choice.parts.as_slice();
        while let Some(part) = rest.first() {
            let said = rest.iter().take_while(|part| matches!(part, Part::Text { .. } | Part::Refusal { .. })).count();
            if said > 0 {
                let (contents, behind) = rest.split_at(said);
                self.message(w, contents, &mut logprobs);
                rest = behind;
                continue;
            }
            self.part(w, part);
            rest = &rest[1..];
        }
    }

    fn message(&mut self, w: &mut Writer<'_>, contents: &[Part<'_>], logprobs: &mut String) {
        let id = self.next_id("msg");
        write_item::message(w, &id, Life::Completed, |w| {
            for part in contents {
                match part {
                    Part::Text { text, annotations, .. } => {
                        let mut list = Vec::new();
                        let mut writer = Writer::new(&mut list);
                        annotations.iter().for_each(|own| write_item::annotation(&mut writer, own));
                        let list = String::from_utf8(list).unwrap_or_default();
                        // They are told for the answer as a whole; its first text has them.
                        write_item::output_text(w, text, &list, &std::mem::take(logprobs));
                    }
                    Part::Refusal { text } => write_item::refusal(w, text),
                    _ => {}
                }
            }
        });
    }

    fn part(&mut self, w: &mut Writer<'_>, part: &Part<'_>) {
        let exchange = self.exchange;
        match part {
            Part::Thinking { text, signature } => {
                let text = if exchange.show_thinking { text.as_ref() } else { "" };
                let encrypted = signature.as_ref().map(|own| write_item::thought_signature(own, exchange));
                if !text.is_empty() || encrypted.is_some() {
                    let id = self.next_id("rs");
                    write_item::reasoning(w, &id, text, encrypted.as_deref());
                }
            }
            Part::RedactedThinking { data } => {
                let id = self.next_id("rs");
                write_item::reasoning(w, &id, "", Some(&write_item::redacted(data, exchange)));
            }
            Part::ToolCall { id: call_id, name, arguments, kind, signature, .. } => {
                let sealed = signature.as_ref().and_then(|own| write_item::call_signature(own, call_id, exchange));
                if let Some(sealed) = sealed {
                    let id = self.next_id("rs");
                    write_item::reasoning(w, &id, "", Some(&sealed));
                }
                let tool = ToolName::of(name, *kind, exchange);
                let id = self.next_id(tool.prefix());
                if tool.wrapped {
                    let input = free_text(arguments);
                    write_item::call(w, &id, Life::Completed, call_id, &tool, &input);
                } else {
                    let empty = *kind == CallKind::Function && arguments.trim().is_empty();
                    let arguments = if empty { "{}" } else { arguments };
                    write_item::call(w, &id, Life::Completed, call_id, &tool, arguments);
                }
            }
            Part::ServerTool { family: Family::OpenAi, raw } => {
                self.index += 1;
                w.raw(raw.as_str());
            }
            Part::Image { source: Source::Inline { data, .. }, .. } => {
                let id = self.next_id("ig");
                write_item::image(w, &id, data);
            }
            // Blocks of other vendors' tools have no item here, nor have sounds: what is said in them is a text of its own.
            Part::ServerTool { .. }
            | Part::Image { .. }
            | Part::Audio { .. }
            | Part::Video { .. }
            | Part::Document { .. }
            | Part::ToolResult { .. }
            | Part::Text { .. }
            | Part::Refusal { .. } => {}
        }
    }
}
