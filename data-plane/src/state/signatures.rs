//! Signatures that clients drop.
//!
//! A model that thinks signs its thoughts and its tool calls, and its provider wants the signatures back with the calls'
//! results. Many clients do not send them: their dialect has no field, or they do not know it. So what an answer with
//! tool calls was signed with is kept under the id of its first call, and put back when that call returns without. Only
//! an open tool loop is looked at (providers ask for no more), and only what the same model signed is put back. A miss
//! is normal: the wire formats know what to send instead.
//!
//! Some models sign nothing and want the text of their thoughts back, in every later request, also from a client that
//! was never shown it. Those are kept the same way ([`Wanted`]).
//!
//! Each call of an answer has an id of its own, which names it. Where the client has none, calls of two conversations may
//! look alike, and what was said before goes into the name as well.

use futures_util::future::join_all;
use omniroute_coordination::{Found, Key};
use omniroute_wire::{
    codec::NameTable,
    ir::{Family, Format, Part, Profile, Request, Role, Signature, Turn},
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
/// And for models that want the thoughts of a whole conversation: were it to lose them from the front, no two requests
/// would begin alike, and no cache would hold.
const MOST_THOUGHTS_LOOKED_UP: usize = 512;
/// Stands for a thought that is gone, where its model refuses a call without one. An empty text is refused like none.
const NO_THOUGHT: &str = " ";

/// What a target wants back of what it thought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What is signed by this family.
    family: Option<Family>,
    /// The text, signed or not.
    text: bool,
}

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
    wanted: Wanted,
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

// === impl Wanted ===

impl Wanted {
    /// By a model in this format.
    pub(crate) fn by(format: Format, model: &str, profile: &Profile) -> Self {
        let family = match format {
            Format::OpenAiChat if profile.reasoning_details_back => Some(Family::OpenRouter),
            Format::OpenAiChat => model.contains("gemini").then_some(Family::Gemini),
            Format::Gemini | Format::Anthropic | Format::Bedrock | Format::OpenAiResponses => Some(format.family()),
            Format::Ollama | Format::Cohere => None,
        };
        Self { family, text: profile.reasoning_content_back }
    }

    /// Whether an assistant's turn has calls, and not what is wanted with them.
    fn is_missing(self, turn: &Turn<'_>) -> bool {
        let own = |signature: &Signature<'_>| self.family == Some(signature.family);
        let is_there = |part: &Part<'_>| match part {
            Part::Thinking { text, signature } => {
                (self.text && !text.is_empty()) || signature.as_ref().is_some_and(own)
            }
            Part::ToolCall { signature, .. } => signature.as_ref().is_some_and(own),
            Part::RedactedThinking { data } => own(data),
            _ => false,
        };
        turn.role == Role::Assistant && turn.parts.iter().any(is_call) && !turn.parts.iter().any(is_there)
    }
}

// === impl Signatures ===

impl Signatures {
    pub(crate) fn new(kept: &Kept, vault: Vault, scope: &str) -> Self {
        Self { kept: kept.clone(), vault, scope: scope.into() }
    }

    /// Puts back what is wanted of `model`'s thoughts where it is missing; says whether it did.
    pub(crate) async fn restore(&self, request: &mut Request<'_>, wanted: Wanted, model: &str) -> bool {
        if wanted.family.is_none() && !wanted.text {
            return false;
        }
        let dialect = request.format;
        let (begin, most) = if wanted.text {
            (0, MOST_THOUGHTS_LOOKED_UP)
        } else {
            (request.turns.iter().rposition(begins_loop).map_or(0, |at| at + 1), MOST_LOOKED_UP)
        };
        let mut unsigned: Vec<_> =
            (begin..request.turns.len()).filter(|at| wanted.is_missing(&request.turns[*at])).collect();
        let latest = unsigned.split_off(unsigned.len().saturating_sub(most));
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
            let Some(entry) = entry.filter(|entry| entry.model == model) else { continue };
            let family = wanted.family.filter(|family| entry.family == family.as_str());
            if family.is_some() || (wanted.text && entry.has_text()) {
                entry.put_back(&mut request.turns[at], family);
                any |= family.is_some();
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
    pub(crate) fn new(
        signatures: Signatures,
        request: &Request<'_>,
        wanted: Wanted,
        model: &str,
        names: &NameTable,
    ) -> Self {
        let dialect = request.format;
        // Only a call without an id is known by its name.
        let names = if has_no_ids(dialect) { names.clone() } else { NameTable::default() };
        // Without tools there are no calls.
        let before = has_no_ids(dialect) && !request.tools.is_empty();
        let before = before.then(|| Before::answer(&request.turns));
        Self { signatures, dialect, model: model.to_owned(), names, before, wanted }
    }

    /// Keeps what an answer was signed with, or thought, if that will be wanted and there are calls.
    pub(crate) fn keep(&self, gathered: Gatherer) {
        let Some((Piece::Call { id, name, arguments, .. }, entry)) = gathered.finish(&self.model, self.wanted.text)
        else {
            return;
        };
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

/// Puts something in the place of thoughts that are gone; says whether there were any.
pub(crate) fn stand_in(request: &mut Request<'_>) -> bool {
    let wanted = Wanted { family: Some(Family::OpenRouter), text: true };
    let mut any = false;
    for turn in request.turns.iter_mut().filter(|turn| wanted.is_missing(turn)) {
        turn.parts.insert(0, Part::Thinking { text: NO_THOUGHT.into(), signature: None });
        any = true;
    }
    any
}

/// Removes every signature that `family` would look at, `None` stands for all; says whether there was one.
pub(crate) fn strip(request: &mut Request<'_>, family: Option<Family>) -> bool {
    let is_looked_at = |signature: &Signature<'_>| family.is_none_or(|family| signature.family == family);
    let mut any = false;
    for turn in &mut request.turns {
        turn.parts.retain_mut(|part| match part {
            Part::Thinking { signature: Some(signature), .. } if is_looked_at(signature) => {
                any = true;
                false
            }
            Part::RedactedThinking { data } if is_looked_at(data) => {
                any = true;
                false
            }
            Part::ToolCall { signature, .. } => {
                any |= signature.take_if(|signature| is_looked_at(signature)).is_some();
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
        assert!(!strip(&mut request, Some(Family::Gemini)));
        assert!(strip(&mut request, Some(Family::Anthropic)));
        assert_eq!(request.turns[1].parts, [call("a", None)]);
        assert_eq!(request.turns.len(), 2);
        assert!(!strip(&mut request, Some(Family::Anthropic)));
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
