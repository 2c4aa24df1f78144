//! The conversation that a request goes on from.

use futures_util::future::join_all;
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_wire::{
    ir::Json,
    responses::{Continuation, item_id, replayed},
};

use super::{StoredResponse, StoredResponses, shown, too_large};

/// Answers that a conversation may be made of.
const LONGEST_CHAIN: usize = 500;
/// Answers that are loaded at once.
const LOADED_AT_ONCE: usize = 16;
/// Answers beside the chain that references may lie in.
const MOST_REFERRED: usize = 16;

/// What is stored of a conversation.
#[derive(Default)]
pub(super) struct History {
    /// Ids of its answers, the first one first.
    pub(super) chain: Vec<String>,
    /// Its items, in order.
    items: Vec<Json<'static>>,
    /// Items of other answers, which are only referred to.
    others: Vec<Json<'static>>,
    /// Its answers that would end before it does.
    pub(super) aging: Vec<String>,
}

// === impl History ===

impl History {
    /// The items as they stand in front of a request's own.
    pub(super) fn replayed(&self) -> Vec<Json<'_>> {
        self.items.iter().filter_map(replayed).collect()
    }

    /// The item of that id, as it goes up, if it does at all.
    pub(super) fn find(&self, id: &str) -> Option<Option<Json<'_>>> {
        let all = self.items.iter().chain(&self.others);
        all.rev().find(|item| item_id(item).is_some_and(|own| own == id)).map(replayed)
    }
}

// === impl StoredResponses ===

impl StoredResponses {
    /// Loads what a request refers to.
    ///
    /// # Errors
    /// When the conversation, or a part of it, is not stored, or is larger than `max` bytes.
    pub(super) async fn history(&self, asked: &Continuation<'_>, max: usize) -> Result<History, GatewayError> {
        let mut history = History::default();
        if let Some(previous) = asked.previous_response_id.as_deref() {
            let last = self.load(previous).await?.ok_or_else(|| gone(previous))?;
            history.chain.clone_from(&last.chain);
            let records = self.load_parts(previous, &last.chain, max.saturating_sub(last.size())).await?;
            history.items = records.iter().chain([&last]).flat_map(StoredResponse::items).collect();
            history.chain.push(previous.to_owned());
            let all = history.chain.iter().zip(records.iter().chain([&last]));
            history.aging = all.filter(|(_, record)| self.is_aging(record)).map(|(id, _)| id.clone()).collect();
            if history.chain.len() > LONGEST_CHAIN {
                return Err(GatewayError::bad_request(
                    "conversation_too_long",
                    format!("the conversation has more than {LONGEST_CHAIN} answers"),
                )
                .with_param("previous_response_id")
                .with_hint("start a new conversation"));
            }
        }
        // Ids of items tell which answer they belong to, so an item can be referred to without its conversation.
        let mut referred: Vec<_> = asked
            .references
            .iter()
            .filter(|id| history.find(id).is_none())
            .filter_map(|id| response_of(id))
            .filter(|id| !history.chain.contains(id))
            .collect();
        referred.sort();
        referred.dedup();
        referred.truncate(MOST_REFERRED);
        for record in join_all(referred.iter().map(|id| self.load(id))).await {
            history.others.extend(record?.iter().flat_map(StoredResponse::items));
        }
        Ok(history)
    }

    /// Loads the answers in front of `last`, the last ones first, in order.
    async fn load_parts(
        &self,
        last: &str,
        chain: &[String],
        mut room: usize,
    ) -> Result<Vec<StoredResponse>, GatewayError> {
        let mut all = Vec::with_capacity(chain.len());
        let max = room;
        for ids in chain.rchunks(LOADED_AT_ONCE) {
            let loaded = join_all(ids.iter().map(|id| self.load_part(id))).await;
            for record in loaded.into_iter().rev() {
                let record = record?.ok_or_else(|| torn(last))?;
                room = room.checked_sub(record.size()).ok_or_else(|| too_large(max))?;
                all.push(record);
            }
        }
        all.reverse();
        Ok(all)
    }
}

/// The answer that an item of ours belongs to: `msg_<answer>_<number>`.
fn response_of(item: &str) -> Option<String> {
    let (_, rest) = item.split_once('_')?;
    let (answer, _) = rest.rsplit_once('_')?;
    Some(format!("resp_{answer}"))
}

fn gone(id: &str) -> GatewayError {
    not_found(format!("Previous response with id '{}' not found.", shown(id))).with_hint(super::WHY_MISSING)
}

/// The answer is there, and the beginning of its conversation is not.
fn torn(id: &str) -> GatewayError {
    not_found(format!("The conversation of previous response with id '{}' is not whole any more.", shown(id)))
        .with_hint("an earlier answer of it has expired or had to make room; send the conversation in `input`")
}

fn not_found(message: String) -> GatewayError {
    GatewayError::new(ErrorClass::NotFound, "previous_response_not_found", message).with_param("previous_response_id")
}
