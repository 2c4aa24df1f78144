//! Cache points: the client's marks, or ours where its dialect has none.

use super::{
    conversation::{Conversation, Message, Side},
    tools::ToolPlan,
    vendor::Vendor,
};
use crate::{
    codec::EncodeTarget,
    ir::{CacheMark, Family, Losses, Request, Role},
};

/// The service takes no more in one request.
const MAX_POINTS: usize = 4;

/// Decides where cache points stand.
pub(super) fn settle(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    vendor: Vendor,
    tools: &mut ToolPlan<'_, '_>,
    conversation: &mut Conversation<'_, '_>,
    losses: &mut Losses,
) {
    let explicit = slots(tools, conversation).iter().any(|slot| slot.is_some());
    if !vendor.is_full() {
        if explicit {
            losses.drop_field("cache_control");
        }
        slots(tools, conversation).into_iter().for_each(|slot| *slot = None);
        return;
    }
    // A client whose dialect has marks and that set none wants none.
    let foreign = request.format.family() != Family::Anthropic;
    if !explicit && foreign && target.profile.automatic_cache_marks && is_worth_it(request) {
        mark_automatically(tools, conversation);
    }
    if vendor == Vendor::Nova {
        settle_for_nova(explicit, tools, conversation, losses);
    }
    for message in &mut conversation.messages {
        move_off_documents(message, losses);
    }
    // The oldest of the conversation's go first: the next request reads from the youngest.
    let messages = conversation.messages.iter_mut().flat_map(|message| &mut message.items).map(|item| &mut item.cache);
    let front = conversation.system.iter_mut().map(|block| &mut block.cache);
    let marked: Vec<_> = messages.chain(front).chain(tools.marks()).filter(|slot| slot.is_some()).collect();
    if let Some(excess) = marked.len().checked_sub(MAX_POINTS).filter(|excess| *excess > 0) {
        losses.drop_field("cache_control");
        marked.into_iter().take(excess).for_each(|slot| *slot = None);
    }
}

fn slots<'s>(
    tools: &'s mut ToolPlan<'_, '_>,
    conversation: &'s mut Conversation<'_, '_>,
) -> Vec<&'s mut Option<CacheMark>> {
    let system = conversation.system.iter_mut().map(|block| &mut block.cache);
    let messages = conversation.messages.iter_mut().flat_map(|message| &mut message.items).map(|item| &mut item.cache);
    tools.marks().chain(system).chain(messages).collect()
}

/// A single question will hardly be asked again with the same prefix.
fn is_worth_it(request: &Request<'_>) -> bool {
    !request.tools.is_empty() || request.turns.iter().filter(|turn| turn.role == Role::Assistant).count() >= 2
}

fn mark_automatically(tools: &mut ToolPlan<'_, '_>, conversation: &mut Conversation<'_, '_>) {
    let mark = Some(CacheMark::FiveMinutes);
    if let Some(slot) = tools.marks().last() {
        *slot = mark;
    }
    if let Some(block) = conversation.system.last_mut() {
        block.cache = mark;
    }
    let users = conversation.messages.iter_mut().rev().filter(|message| message.side == Side::User);
    for item in users.take(2).filter_map(|message| message.items.last_mut()) {
        item.cache = mark;
    }
}

/// Nova caches texts only, and for five minutes only.
fn settle_for_nova(
    explicit: bool,
    tools: &mut ToolPlan<'_, '_>,
    conversation: &mut Conversation<'_, '_>,
    losses: &mut Losses,
) {
    for slot in tools.marks() {
        if slot.take().is_some() && explicit {
            losses.drop_field("cache_control");
        }
    }
    for slot in slots(tools, conversation).into_iter().filter(|slot| **slot == Some(CacheMark::OneHour)) {
        *slot = Some(CacheMark::FiveMinutes);
        losses.drop_field("cache_control.ttl");
    }
}

/// The service refuses a cache point directly behind a document whose text it extracts itself: it moves in front of it.
fn move_off_documents(message: &mut Message<'_, '_>, losses: &mut Losses) {
    for at in (0..message.items.len()).rev() {
        let item = &mut message.items[at];
        if item.cache.is_none() || !item.content.is_extracted_document() {
            continue;
        }
        let mark = item.cache.take();
        match at.checked_sub(1) {
            Some(before) => message.items[before].cache = message.items[before].cache.or(mark),
            None => losses.drop_field("cache_control"),
        }
    }
}
