//! Signatures that clients drop.
//!
//! A model that thinks signs its thoughts and its tool calls, and its provider wants the signatures back with the calls'
//! results. Many clients do not send them: their dialect has no field, or they do not know it. So what an answer with
//! tool calls was signed with is kept under its first call, and put back when that call returns without. Only an open
//! tool loop is looked at (providers ask for no more), and only what the same model signed is put back. A miss is normal:
//! the wire formats know what to send instead.
//!
//! Some models sign nothing and want the text of their thoughts back, in every later request, also from a client that
//! was never shown it. Those are kept the same way ([`Wanted`]).
//!
//! An id does not name a call: many hosts count calls, and begin anew with every conversation or every answer, and some
//! clients have no ids at all. So a call is known by all that was said before it, by its id, its name and its arguments.
//! Two conversations that are alike up to there may share a thought; it fits both.

use futures_util::future::join_all;
use omniroute_coordination::{Found, Key};
use omniroute_wire::{
    codec::NameTable,
    ir::{CallKind, Family, Format, Part, Profile, Request, Role, Signature, Turn},
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
    /// Where the answer stands; `None` if no call is expected.
    before: Option<Before>,
    wanted: Wanted,
}

/// What of a request's thoughts was put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Something, be it only a text.
    pub(crate) any: bool,
    /// Something that is signed.
    pub(crate) signed: bool,
}

/// By what a call is known when it returns.
struct Call<'c> {
    /// `None` in dialects without ids.
    id: Option<&'c str>,
    name: &'c str,
    arguments: &'c str,
    kind: CallKind,
    before: Before,
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

    fn is_nothing(self) -> bool {
        self.family.is_none() && !self.text
    }

    /// The place of each turn of a request, and of its answer. Of the request as the client sent it: it will be known by
    /// that again. Empty where nothing is wanted or nobody calls.
    pub(crate) fn places(self, request: &Request<'_>) -> Vec<Before> {
        let calls = || request.turns.iter().any(|turn| turn.parts.iter().any(is_call));
        if self.is_nothing() || (request.tools.is_empty() && !calls()) {
            return Vec::new();
        }
        Before::each(request)
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

    /// Puts back what is wanted of `model`'s thoughts where it is missing. `places`: see [`Wanted::places`].
    pub(crate) async fn restore(
        &self,
        request: &mut Request<'_>,
        places: &[Before],
        wanted: Wanted,
        model: &str,
    ) -> Restored {
        let mut restored = Restored::default();
        if wanted.is_nothing() {
            return restored;
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
        let looked_up = latest.iter().map(|at| self.load(&request.turns[*at], dialect, places.get(*at).copied()));
        let found = join_all(looked_up).await;
        for (at, entry) in latest.into_iter().zip(found) {
            let Some(entry) = entry.filter(|entry| entry.model == model) else { continue };
            let family = wanted.family.filter(|family| entry.family == family.as_str());
            if family.is_some() || (wanted.text && entry.has_text()) {
                entry.put_back(&mut request.turns[at], family);
                restored.any = true;
                restored.signed |= family.is_some();
            }
        }
        restored
    }

    async fn load(&self, turn: &Turn<'_>, dialect: Format, before: Option<Before>) -> Option<Entry> {
        let Part::ToolCall { id, name, arguments, kind, .. } = turn.parts.iter().find(|part| is_call(part))? else {
            return None;
        };
        let call = Call { id: id_in(dialect, id), name, arguments, kind: *kind, before: before? };
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
    /// For the answer to a request in this dialect. `places`: see [`Wanted::places`].
    pub(crate) fn new(
        signatures: Signatures,
        dialect: Format,
        places: &[Before],
        wanted: Wanted,
        model: &str,
        names: &NameTable,
    ) -> Self {
        let before = places.last().copied();
        let names = if before.is_some() { names.clone() } else { NameTable::default() };
        Self { signatures, dialect, model: model.to_owned(), names, before, wanted }
    }

    /// Keeps what an answer was signed with, or thought, if that will be wanted and there are calls.
    pub(crate) fn keep(&self, gathered: Gatherer) {
        let Self { signatures, dialect, names, .. } = self;
        let Some(before) = self.before else { return };
        let Some((Piece::Call { id, name, arguments, .. }, entry)) = gathered.finish(&self.model, self.wanted.text)
        else {
            return;
        };
        let kind = names.client(&name).map_or(CallKind::Function, |tool| tool.kind);
        let (id, name) = (id_in(*dialect, &id), names.client_name(&name));
        let call = Call { id, name, arguments: &arguments, kind, before };
        let key = signatures.key(&call);
        let Some(sealed) = signatures.vault.seal(&signatures.name(&call), &entry.encode_to_vec()) else { return };
        let kept = signatures.kept.clone();
        in_background(Box::pin(async move {
            kept.shelf.keep(&key, sealed, kept.ttl).await;
        }));
    }
}

/// A call's id, where the client's dialect has ids.
fn id_in(dialect: Format, id: &str) -> Option<&str> {
    (dialect != Format::Ollama).then_some(id)
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

impl Call<'_> {
    fn bytes(&self) -> Vec<u8> {
        let Self { id, name, arguments, kind, before } = self;
        let arguments = reprinted(arguments, *kind);
        let mut bytes = b"call\0".to_vec();
        bytes.extend_from_slice(&before.bytes());
        // Lengths keep the fields apart, whatever is in them.
        for field in [id.unwrap_or_default(), name, &arguments] {
            bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
            bytes.extend_from_slice(field.as_bytes());
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
    fn calls_are_known_by_what_they_are_and_what_was_before() {
        let [here, there] = ["go", "stop"].map(|text| {
            let mut request = Request::new(Format::OpenAiChat, "m");
            request.turns = vec![turn(Role::User, vec![Part::text(text)])];
            Before::each(&request)[1]
        });
        let of = |id, name, arguments, before| Call { id, name, arguments, kind: CallKind::Function, before }.bytes();
        let one = of(Some("x"), "f", r#"{"a":1, "b":[2]}"#, here);
        assert_eq!(one, of(Some("x"), "f", r#"{ "b": [2],"a":1.0}"#, here));
        for other in [
            of(Some("x"), "f", r#"{"a":1, "b":[2]}"#, there),
            of(Some("x"), "f", r#"{"a":1, "b":[3]}"#, here),
            of(Some("x"), "g", r#"{"a":1, "b":[2]}"#, here),
            of(Some("y"), "f", r#"{"a":1, "b":[2]}"#, here),
            of(None, "f", r#"{"a":1, "b":[2]}"#, here),
        ] {
            assert_ne!(one, other);
        }
        let [ours, theirs] = ["x", "y"].map(|id| of(id_in(Format::Ollama, id), "f", "{}", here));
        assert_eq!(ours, theirs);
    }
}
