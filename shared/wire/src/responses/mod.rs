//! OpenAI's Responses: a list of items in, a list of items out.
//!
//! What is special: a turn is spread over several items, so items are gathered into turns on the way in and dealt out again
//! on the way out. Thinking is an item of its own whose `encrypted_content` is free-form: signatures of other families travel
//! in it as sealed tokens, those of tool calls too. Tools may stand in named groups, whose functions are `group__name` inside
//! the representation. Items of tools that OpenAI runs are carried as they came, for this format only.
//!
//! A request passes [`continuation`] and, when it goes on from stored items, [`with_history`]; then either
//! [`upstream_body`] (passthrough, watched by [`UsageScanner`] and [`mod@answer_facts`]) or [`mod@decode_request`] and
//! [`check_portable`].

mod answer_facts;
mod compact;
mod count;
mod decode_content;
mod decode_input;
mod decode_request;
mod decode_response;
mod decode_stream;
mod decode_tools;
mod echo;
mod encode_content;
mod encode_input;
mod encode_part;
mod encode_request;
mod encode_response;
mod encode_stream;
mod encode_tools;
mod error;
mod harvest;
mod history;
mod item;
mod output_item;
mod passthrough;
mod portable;
mod stored_item;
mod stream_items;
mod stream_parts;
mod usage;
mod usage_scanner;
mod write_item;
mod write_response;

pub use answer_facts::answer_facts;
pub use compact::{compaction, misses_summary, summary_request};
pub use count::{decode_count_response, encode_count_response};
pub use decode_request::decode_request;
pub use decode_response::decode_response;
pub use decode_stream::Decoder;
pub use echo::echo;
pub use encode_request::encode_request;
pub use encode_response::encode_response;
pub use encode_stream::Encoder;
pub use error::{Begun, decode_error, encode_error, encode_stream_error};
pub use harvest::Harvest;
pub use history::{Continuation, continuation, continuation_of, has_trigger, input_items, output_items, with_history};
pub use passthrough::upstream_body;
pub use portable::check_portable;
pub use stored_item::{NAMELESS, item_id, replayed, to_list, with_id, with_previous};
pub use usage_scanner::UsageScanner;
pub use write_response::response_id;

use std::borrow::Cow;

/// Between a group's name and a tool's.
const NAMESPACE_SEPARATOR: &str = "__";

/// Longest `call_id` that OpenAI takes.
const MAX_CALL_ID: usize = 64;

/// In front of a sealed payload that is a whole redacted block, not the signature of a thought that can be read.
const SEALED_REDACTED: &str = "redacted:";

/// In front of a sealed payload that signs a tool call: the call's id and a line end follow, then the signature.
const SEALED_CALL: &str = "call:";

/// A tool's name inside the representation.
fn flat_name<'a>(namespace: Option<&str>, name: Cow<'a, str>) -> Cow<'a, str> {
    match namespace.filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => Cow::Owned(format!("{namespace}{NAMESPACE_SEPARATOR}{name}")),
        None => name,
    }
}

/// The id of a message that is all of an answer.
fn stable_message_id(answer: &str) -> String {
    format!("msg_{}", answer.strip_prefix("resp_").unwrap_or(answer))
}

/// The reverse of [`flat_name`].
fn short_name<'n>(namespace: &str, name: &'n str) -> &'n str {
    name.strip_prefix(namespace).and_then(|rest| rest.strip_prefix(NAMESPACE_SEPARATOR)).unwrap_or(name)
}

#[cfg(test)]
mod tests;
