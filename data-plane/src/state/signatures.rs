//! Signatures that clients drop.
//!
//! A model that thinks signs its thoughts and its tool calls, and its provider wants the signatures back with the calls'
//! results. Many clients do not send them: their dialect has no field, or they do not know it. So what an answer with
//! tool calls was signed with is kept under the id of its first call, and put back when that call returns without. Only
//! an open tool loop is looked at (providers ask for no more), and only what the same model signed is put back. A miss
//! is normal: the wire formats know what to send instead.
//!
//! Each call of an answer has an id of its own, which names it. Where the client has none, calls of two conversations may
//! look alike, and what was said before goes into the name as well.

use futures_util::future::join_all;
use omniroute_coordination::{Found, Key};
use omniroute_wire::{
    codec::NameTable,
    ir::{Family, Format, Part, Request, Role, Signature, Turn},
};
use prost::Message as _;

use super::{
    Kept, Vault,
    before::{Before, reprinted},
    in_background,
    signed::{Entry, Piece},
};

pub(crate) use super::signed::Gatherer;

/// Calls that one request looks up at most, the latest ones.
const MOST_LOOKED_UP: usize = 64;

/// The signatures that one API key's answers came with.
#[derive(Clone)]
pub(crate) struct Signatures {
    kept: Kept,
    vault: Vault,
    scope: Box<str>,
}

/// Keeps what one answer is signed with.
pub(crate) struct Keeper {
    signatures: Signatures,
    /// The client's.
    dialect: Format,
    /// The upstream's own id.
    model: String,
    names: NameTable,
    before: Option<Before>,
}

/// By what a call is known when it returns.
struct Call<'c> {
    kind: CallName<'c>,
    /// Where the rest does not tell it from a call of another conversation.
    before: Option<Before>,
}

enum CallName<'c> {
    Id(&'c str),
    /// In dialects without ids.
    Itself {
        name: &'c str,
        arguments: &'c str,
    },
}

// === impl Signatures ===

impl Signatures {
    pub(crate) fn new(kept: &Kept, vault: Vault, scope: &str) -> Self {
        Self { kept: kept.clone(), vault, scope: scope.into() }
    }

    /// Puts signatures of `format`'s family and `model` back where they are missing; says whether it did.
    pub(crate) async fn restore(&self, request: &mut Request<'_>, format: Format, model: &str) -> bool {
        if !matches!(format, Format::Gemini | Format::Anthropic | Format::Bedrock | Format::OpenAiResponses) {
            return false;
        }
        let (family, dialect) = (format.family(), request.format);
        let loop_begins = request.turns.iter().rposition(begins_loop).map_or(0, |at| at + 1);
        let mut unsigned: Vec<_> =
            (loop_begins..request.turns.len()).filter(|at| is_unsigned(&request.turns[*at], family)).collect();
        let latest = unsigned.split_off(unsigned.len().saturating_sub(MOST_LOOKED_UP));
        if latest.is_empty() {
            return false;
        }
        let befores = has_no_ids(dialect).then(|| Before::each(&request.turns));
        let looked_up = latest.iter().map(|at| {
            let before = befores.as_ref().map(|befores| befores[*at]);
            self.load(&request.turns[*at], dialect, before)
        });
        let found = join_all(looked_up).await;
        let mut any = false;
        for (at, entry) in latest.into_iter().zip(found) {
            if let Some(entry) = entry.filter(|entry| entry.model == model && entry.family == family.as_str()) {
                entry.put_back(&mut request.turns[at], family);
                any = true;
            }
        }
        any
    }

    async fn load(&self, turn: &Turn<'_>, dialect: Format, before: Option<Before>) -> Option<Entry> {
        let Part::ToolCall { id, name, arguments, .. } = turn.parts.iter().find(|part| is_call(part))? else {
            return None;
        };
        let call = Call::of(dialect, id, name, arguments, before);
        let Found::Value(sealed) = self.kept.shelf.load(&self.key(&call)).await else { return None };
        Entry::decode(self.vault.open(&self.name(&call), &sealed)?).ok()
    }

    fn key(&self, call: &Call<'_>) -> Key {
        Key::new(&self.scope, &[&call.bytes()])
    }

    fn name(&self, call: &Call<'_>) -> Vec<u8> {
        [self.scope.as_bytes(), b"\0signatures\0", &call.bytes()].concat()
    }
}

// === impl Keeper ===

impl Keeper {
    /// For the answer to `request`.
    pub(crate) fn new(signatures: Signatures, request: &Request<'_>, model: &str, names: &NameTable) -> Self {
        let dialect = request.format;
        // Only a call without an id is known by its name.
        let names = if has_no_ids(dialect) { names.clone() } else { NameTable::default() };
        // Without tools there are no calls.
        let before = has_no_ids(dialect) && !request.tools.is_empty();
        let before = before.then(|| Before::answer(&request.turns));
        Self { signatures, dialect, model: model.to_owned(), names, before }
    }

    /// Keeps what an answer was signed with, if it was and there are calls.
    pub(crate) fn keep(&self, gathered: Gatherer) {
        let Some((Piece::Call { id, name, arguments, .. }, entry)) = gathered.finish(&self.model) else { return };
        let Self { signatures, dialect, names, before, .. } = self;
        let call = Call::of(*dialect, &id, names.client_name(&name), &arguments, *before);
        let key = signatures.key(&call);
        let Some(sealed) = signatures.vault.seal(&signatures.name(&call), &entry.encode_to_vec()) else { return };
        let kept = signatures.kept.clone();
        in_background(Box::pin(async move {
            kept.shelf.keep(&key, sealed, kept.ttl).await;
        }));
    }
}

/// Whether the client's dialect has no ids of calls.
fn has_no_ids(dialect: Format) -> bool {
    dialect == Format::Ollama
}

/// Removes every signature that `family` would look at; says whether there was one.
pub(crate) fn strip(request: &mut Request<'_>, family: Family) -> bool {
    let mut any = false;
    for turn in &mut request.turns {
        turn.parts.retain_mut(|part| match part {
            Part::Thinking { signature: Some(signature), .. } if signature.family == family => {
                any = true;
                false
            }
            Part::RedactedThinking { data } if data.family == family => {
                any = true;
                false
            }
            Part::ToolCall { signature, .. } => {
                any |= signature.take_if(|signature| signature.family == family).is_some();
                true
            }
            _ => true,
        });
    }
    request.turns.retain(|turn| !turn.parts.is_empty());
    any
}

/// Whether a user says something new: what was thought before is over.
fn begins_loop(turn: &Turn<'_>) -> bool {
    turn.role == Role::User && turn.parts.iter().any(|part| !matches!(part, Part::ToolResult { .. }))
}

fn is_call(part: &Part<'_>) -> bool {
    matches!(part, Part::ToolCall { .. })
}

/// Whether an assistant's turn has calls, and nothing that `family` signed.
fn is_unsigned(turn: &Turn<'_>, family: Family) -> bool {
    let own = |signature: &Signature<'_>| signature.family == family;
    let is_signed = |part: &Part<'_>| match part {
        Part::Thinking { signature, .. } | Part::ToolCall { signature, .. } => signature.as_ref().is_some_and(own),
        Part::RedactedThinking { data } => own(data),
        _ => false,
    };
    turn.role == Role::Assistant && turn.parts.iter().any(is_call) && !turn.parts.iter().any(is_signed)
}

// === impl Call ===

impl<'c> Call<'c> {
    fn of(dialect: Format, id: &'c str, name: &'c str, arguments: &'c str, before: Option<Before>) -> Self {
        let kind = if has_no_ids(dialect) { CallName::Itself { name, arguments } } else { CallName::Id(id) };
        Self { kind, before }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = match &self.kind {
            CallName::Id(id) => [b"id\0", id.as_bytes()].concat(),
            CallName::Itself { name, arguments } => {
                [b"call\0", name.as_bytes(), b"\0", reprinted(arguments).as_bytes()].concat()
            }
        };
        if let Some(before) = self.before {
            bytes.extend_from_slice(b"\0before\0");
            bytes.extend_from_slice(&before.bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::signed::tests::{call, signature, turn};

    #[test]
    fn stripping_removes_what_the_family_would_look_at() {
        let mut request = Request::new(Format::OpenAiChat, "m");
        request.turns = vec![
            turn(Role::User, vec![Part::text("go")]),
            turn(
                Role::Assistant,
                vec![
                    Part::Thinking { text: "t".into(), signature: Some(signature("s")) },
                    call("a", Some(signature("s"))),
                ],
            ),
            turn(Role::Assistant, vec![Part::RedactedThinking { data: signature("s") }]),
        ];
        assert!(!strip(&mut request, Family::Gemini));
        assert!(strip(&mut request, Family::Anthropic));
        assert_eq!(request.turns[1].parts, [call("a", None)]);
        assert_eq!(request.turns.len(), 2);
        assert!(!strip(&mut request, Family::Anthropic));
    }

    #[test]
    fn calls_without_ids_are_known_by_what_they_are_and_what_was_before() {
        let [here, there] =
            ["go", "stop"].map(|text| Some(Before::answer(&[turn(Role::User, vec![Part::text(text)])])));
        let one = Call::of(Format::Ollama, "x", "f", r#"{"a":1, "b":[2]}"#, here);
        let same = Call::of(Format::Ollama, "y", "f", r#"{ "b": [2],"a":1}"#, here);
        assert_eq!(one.bytes(), same.bytes());
        for other in [
            Call::of(Format::Ollama, "x", "f", r#"{"a":1, "b":[2]}"#, there),
            Call::of(Format::OpenAiChat, "x", "f", "{}", here),
        ] {
            assert_ne!(one.bytes(), other.bytes());
        }
    }
}
