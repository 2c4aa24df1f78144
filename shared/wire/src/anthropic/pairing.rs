//! Calls and results find each other: every call's result stands in the message right behind it, under an id that the
//! API accepts.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::message::{Item, Message, Slot, Speaker};
use crate::{
    ir::{Losses, Part},
    tools::orphan_text,
};

/// A call and what was answered to it.
struct Call<'p> {
    id: Cow<'p, str>,
    answer: Option<Slot<'p>>,
}

/// Moves results behind their calls. A call without a result gets one that says so; a result without a call becomes
/// text: clients cut their histories, and the API refuses what is left over.
pub(super) fn pair<'p>(messages: Vec<Message<'p>>, losses: &mut Losses, go_on: &'static str) -> Vec<Message<'p>> {
    let mut calls: Vec<Call<'p>> = Vec::new();
    let mut known: HashMap<&'p str, Vec<usize>> = HashMap::new();
    let mut taken = HashSet::new();
    // Per message: the calls that it makes.
    let mut rounds: Vec<Vec<usize>> = Vec::with_capacity(messages.len());
    let mut laid = Vec::with_capacity(messages.len());
    for mut message in messages {
        let mut round = Vec::new();
        let mut slots = Vec::with_capacity(message.slots.len());
        for mut slot in message.slots {
            match &mut slot.item {
                Item::Call(Part::ToolCall { id: original, .. }, id) => {
                    *id = legal_id(original, &mut taken);
                    known.entry(original.as_ref()).or_default().push(calls.len());
                    round.push(calls.len());
                    calls.push(Call { id: id.clone(), answer: None });
                }
                Item::Result(part, id) => {
                    let Part::ToolResult { call_id, parts, .. } = part else { continue };
                    let open = known
                        .get(call_id.as_ref())
                        .and_then(|own| own.iter().rev().copied().find(|call| calls[*call].answer.is_none()));
                    if let Some(call) = open {
                        *id = calls[call].id.clone();
                        calls[call].answer = Some(slot);
                        continue;
                    }
                    slot.item = Item::Note(Cow::Owned(orphan_text(parts, losses)));
                }
                _ => {}
            }
            slots.push(slot);
        }
        message.slots = slots;
        laid.push(message);
        rounds.push(round);
    }
    if calls.iter().any(|call| call.answer.is_none()) {
        losses.drop_field("tool_calls.result");
    }
    join(laid, rounds, calls, go_on)
}

/// Puts the answers where they belong, and joins what then stands side by side.
fn join<'p>(
    messages: Vec<Message<'p>>,
    rounds: Vec<Vec<usize>>,
    mut calls: Vec<Call<'p>>,
    go_on: &'static str,
) -> Vec<Message<'p>> {
    let mut out: Vec<Message<'p>> = Vec::with_capacity(messages.len() + 1);
    let count = messages.len();
    for (number, (message, round)) in messages.into_iter().zip(rounds).enumerate() {
        if message.slots.is_empty() {
            let assistant_ends = out.last().is_some_and(|last| last.speaker == Speaker::Assistant);
            if number + 1 == count && assistant_ends && count > 1 {
                out.push(Message::of_note(Cow::Borrowed(go_on)));
            }
            continue;
        }
        match out.last_mut() {
            Some(last) if last.speaker == message.speaker => last.slots.extend(message.slots),
            _ => out.push(message),
        }
        if round.is_empty() {
            continue;
        }
        let answers = round.into_iter().map(|call| {
            let call = &mut calls[call];
            let id = std::mem::take(&mut call.id);
            call.answer.take().unwrap_or(Slot { item: Item::Unanswered(id), mark: None })
        });
        out.push(Message { speaker: Speaker::User, slots: answers.collect() });
    }
    out
}

/// An id of `[a-zA-Z0-9_-]+` that no other call of the request has: some hosts number their calls from 0 in every turn.
fn legal_id<'p>(original: &'p str, taken: &mut HashSet<String>) -> Cow<'p, str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut id: Cow<'p, str> = if !original.is_empty() && original.chars().all(legal) {
        Cow::Borrowed(original)
    } else {
        // What was replaced may have told two ids apart; the hash still does.
        let clean: String = original.chars().take(64).map(|c| if legal(c) { c } else { '_' }).collect();
        let clean = if clean.is_empty() { "call".to_owned() } else { clean };
        Cow::Owned(format!("{clean}_{:08x}", stable_hash(original) as u32))
    };
    let mut number = 2_u32;
    while !taken.insert(id.clone().into_owned()) {
        id = Cow::Owned(format!("{original}_{number}").replace(|c| !legal(c), "_"));
        number += 1;
    }
    id
}

/// FNV-1a: the same in every process and version, unlike the standard library's.
fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_legal_and_stay_unique() {
        let mut taken = HashSet::new();
        assert_eq!(legal_id("toolu_01-a", &mut taken), "toolu_01-a");
        assert_eq!(legal_id("toolu_01-a", &mut taken), "toolu_01-a_2");
        let (dot, colon) = (legal_id("f.0", &mut taken).into_owned(), legal_id("f:0", &mut taken).into_owned());
        assert_ne!(dot, colon);
        for id in [dot, colon, legal_id("", &mut taken).into_owned(), legal_id("é", &mut taken).into_owned()] {
            assert!(!id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'), "{id}");
        }
    }
}
