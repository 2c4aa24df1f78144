//! Signatures that clients drop.
//!
//! A model that thinks signs its thoughts and its tool calls, and its provider wants the signatures back with the calls'
//! results. Many clients do not send them: their dialect has no field, or they do not know it. So what an answer with
//! tool calls was signed with is kept under its first call, and put back when that call returns without. Only an open
//! tool loop is looked at (providers ask for no more), and only what the same model signed is put back. A miss is normal:
//! the wire formats know what to send instead. A [`record`] is what is kept, a [`conversation_key`] part of its name.
//!
//! Some models sign nothing and want the text of their thoughts back, in every later request, also from a client that
//! was never shown it. Those are kept the same way ([`WantedThoughts`]); where they are wanted of answers that call nothing too,
//! such an answer is known by its text.
//!
//! An id does not name a call: many hosts count calls, and begin anew with every conversation or every answer, and some
//! clients have no ids at all. So a call is known by all that was said before it, by its id, its name and its arguments;
//! and what tools gave back before it must be the same. Two conversations that are alike up to there may share a thought;
//! it fits both.

mod conversation_key;
mod record;

use std::time::Duration;

use futures_util::future::join_all;
use omniroute_coordination::{Coordination, Found, Key, StoreLimits};
use omniroute_wire::{
    codec::NameTable,
    ir::{CallKind, Family, Format, Part, Profile, Request, Role, Signature, ThoughtDemand, Turn},
};
use prost::Message as _;

pub(crate) use self::record::SignatureCollector;
use self::{
    conversation_key::{ConversationKey, TurnPosition, TurnPositions, has_ids, is_reminder, reprinted},
    record::{Entry, Mark, Said},
};
use crate::{
    seal::Cipher,
    shared_store::{ENTRIES_PER_KEY, SHARE, Store, in_background},
};

/// Largest value of signatures: what is kept of an answer, with what names and orders it.
const SIGNATURE_BYTES: usize = record::LARGEST + 16 * 1024;
/// Calls that one request looks up at most, the latest ones.
const MOST_LOOKED_UP: usize = 64;
/// And for models that want the thoughts of a whole conversation: were it to lose them from the front, no two requests
/// would begin alike, and no cache would hold.
const MOST_THOUGHTS_LOOKED_UP: usize = 512;
/// Stands for a thought that is gone, where its model refuses a call without one. An empty text is refused like none.
const NO_THOUGHT: &str = " ";

/// What a target wants back of what it thought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WantedThoughts {
    /// What is signed by this family.
    family: Option<Family>,
    /// The text, signed or not.
    text: bool,
    /// And of answers that call nothing.
    every: bool,
}

/// The signatures that one API key's answers came with.
#[derive(Clone)]
pub(crate) struct Signatures {
    store: Store,
    cipher: Cipher,
    scope: Box<str>,
}

/// Keeps what one answer is signed with.
pub(crate) struct SignatureCapture {
    signatures: Signatures,
    /// The client's.
    dialect: Format,
    /// The upstream's own id.
    model: String,
    names: NameTable,
    /// Where the answer stands, and what tools had given back; `None` if no call is expected.
    place: Option<(ConversationKey, Vec<u64>)>,
    wanted: WantedThoughts,
}

/// What of a request's thoughts was put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Something, be it only a text.
    pub(crate) any: bool,
    /// Something that is signed.
    pub(crate) signed: bool,
}

/// By what an answer is known when it returns.
struct Known<'c> {
    by: By<'c>,
    before: ConversationKey,
}

enum By<'c> {
    /// Its first call.
    Call {
        /// `None` in dialects without ids.
        id: Option<&'c str>,
        name: &'c str,
        arguments: &'c str,
        kind: CallKind,
    },
    /// What it says, where it calls nothing.
    Text(u128),
}

// === impl WantedThoughts ===

impl WantedThoughts {
    /// By a model in this format.
    pub(crate) fn by(format: Format, model: &str, profile: &Profile) -> Self {
        let family = match format {
            Format::OpenAiChat if profile.reasoning_details_back => Some(Family::OpenRouter),
            Format::OpenAiChat => model.contains("gemini").then_some(Family::Gemini),
            Format::Gemini | Format::Anthropic | Format::Bedrock | Format::OpenAiResponses => Some(format.family()),
            Format::Ollama | Format::Cohere => None,
        };
        let every = profile.reasoning_content_demanded == ThoughtDemand::Tools;
        Self { family, text: profile.reasoning_content_back, every }
    }

    /// With this request: answers that call nothing matter only among tools.
    pub(crate) fn with(self, request: &Request<'_>) -> Self {
        Self { every: self.every && !request.tools.is_empty(), ..self }
    }

    fn is_nothing(self) -> bool {
        self.family.is_none() && !self.text
    }

    /// The place of each turn of a request, and of its answer. Of the request as the client sent it: it will be known by
    /// that again. Empty where nothing is wanted or nobody calls.
    pub(crate) fn places(self, request: &Request<'_>) -> TurnPositions {
        let calls = || request.turns.iter().any(|turn| turn.parts.iter().any(is_call));
        if self.is_nothing() || (request.tools.is_empty() && !calls()) {
            return TurnPositions::default();
        }
        TurnPositions::of(request)
    }

    /// Whether an assistant's turn has calls, or whatever it is wanted with, and not what is wanted with them.
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
        let answers = |part: &Part<'_>| match part {
            Part::Text { .. } | Part::Refusal { .. } => self.every,
            part => is_call(part),
        };
        turn.role == Role::Assistant && turn.parts.iter().any(answers) && !turn.parts.iter().any(is_there)
    }
}

/// Where signatures are kept, for `ttl`, in this much memory of the process.
pub(crate) fn open(coordination: &dyn Coordination, ttl: Duration, memory: u64) -> Store {
    let limits = StoreLimits {
        name: "signatures",
        value_bytes: SIGNATURE_BYTES,
        scope_bytes: memory / SHARE,
        scope_entries: ENTRIES_PER_KEY,
        process_bytes: memory,
    };
    Store::open(coordination, ttl, limits)
}

// === impl Signatures ===

impl Signatures {
    pub(crate) fn new(store: &Store, cipher: Cipher, scope: &str) -> Self {
        Self { store: store.clone(), cipher, scope: scope.into() }
    }

    /// Puts back what is wanted of `model`'s thoughts where it is missing. `places`: see [`WantedThoughts::places`].
    pub(crate) async fn restore(
        &self,
        request: &mut Request<'_>,
        places: &TurnPositions,
        wanted: WantedThoughts,
        model: &str,
    ) -> Restored {
        let mut restored = Restored::default();
        if wanted.is_nothing() {
            return restored;
        }
        let dialect = request.format;
        let (begin, most) =
            if wanted.text { (0, MOST_THOUGHTS_LOOKED_UP) } else { (open_loop(&request.turns), MOST_LOOKED_UP) };
        let mut unsigned: Vec<_> =
            (begin..request.turns.len()).filter(|at| wanted.is_missing(&request.turns[*at])).collect();
        let latest = unsigned.split_off(unsigned.len().saturating_sub(most));
        let looked_up = latest.iter().map(|at| self.load(&request.turns[*at], dialect, places.get(*at)));
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

    async fn load(&self, turn: &Turn<'_>, dialect: Format, place: Option<TurnPosition<'_>>) -> Option<Entry> {
        let place = place?;
        let by = match turn.parts.iter().find(|part| is_call(part)) {
            Some(Part::ToolCall { id, name, arguments, kind, .. }) => {
                By::Call { id: id_in(dialect, id), name, arguments, kind: *kind }
            }
            _ => By::Text(Said::by(turn)),
        };
        let known = Known { by, before: place.before };
        let Found::Value(sealed) = self.store.shared.load(&self.key(&known)).await else { return None };
        let entry = Entry::decode(self.cipher.open(&self.name(&known), &sealed)?).ok()?;
        place.had(&entry.results).then_some(entry)
    }

    fn key(&self, known: &Known<'_>) -> Key {
        Key::new(&self.scope, &[&known.bytes()])
    }

    fn name(&self, known: &Known<'_>) -> Vec<u8> {
        [self.scope.as_bytes(), b"\0signatures\0", &known.bytes()].concat()
    }
}

// === impl SignatureCapture ===

impl SignatureCapture {
    /// For the answer to a request in this dialect. `places`: see [`WantedThoughts::places`].
    pub(crate) fn new(
        signatures: Signatures,
        dialect: Format,
        places: &TurnPositions,
        wanted: WantedThoughts,
        model: &str,
        names: &NameTable,
    ) -> Self {
        let place = places.last().map(|place| (place.before, place.results()));
        let names = if place.is_some() { names.clone() } else { NameTable::default() };
        Self { signatures, dialect, model: model.to_owned(), names, place, wanted }
    }

    /// Reads off an answer what [`Self::keep`] keeps.
    pub(crate) fn collector(&self) -> SignatureCollector {
        SignatureCollector::new(self.wanted.every)
    }

    /// Keeps what an answer was signed with, or thought, if that will be wanted.
    pub(crate) fn keep(&self, collected: SignatureCollector) {
        let Self { signatures, dialect, names, .. } = self;
        let Some((before, results)) = &self.place else { return };
        let Some((mark, mut entry)) = collected.finish(&self.model, self.wanted.text) else { return };
        entry.results.clone_from(results);
        let by = match &mark {
            Mark::Call { id, name, arguments } => {
                let kind = names.client(name).map_or(CallKind::Function, |tool| tool.kind);
                By::Call { id: id_in(*dialect, id), name: names.client_name(name), arguments, kind }
            }
            Mark::Text(said) => By::Text(*said),
        };
        let known = Known { by, before: *before };
        let key = signatures.key(&known);
        let Some(sealed) = signatures.cipher.seal(&signatures.name(&known), &entry.encode_to_vec()) else { return };
        let store = signatures.store.clone();
        in_background(Box::pin(async move {
            store.shared.keep(&key, sealed, store.ttl).await;
        }));
    }
}

/// A call's id, where the client's dialect has ids.
fn id_in(dialect: Format, id: &str) -> Option<&str> {
    has_ids(dialect).then_some(id)
}

/// Puts something in the place of thoughts that are gone and demanded; says whether there were any.
pub(crate) fn stand_in(request: &mut Request<'_>, demand: ThoughtDemand) -> bool {
    if demand == ThoughtDemand::None {
        return false;
    }
    let every = demand == ThoughtDemand::Tools;
    let wanted = WantedThoughts { family: Some(Family::OpenRouter), text: true, every }.with(request);
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

/// Where the rounds of calls that still go on begin: behind the last time that a user said something new, since what was
/// thought before that is over. Nobody does so beside a tool's result, or in a reminder.
fn open_loop(turns: &[Turn<'_>]) -> usize {
    let is_assistants = |turn: &Turn<'_>| turn.role == Role::Assistant;
    let mut end = turns.len();
    while end > 0 {
        let begin = turns[..end].iter().rposition(is_assistants).map_or(0, |at| at + 1);
        if says_something_new(&turns[begin..end]) {
            break;
        }
        end = turns[..begin].iter().rposition(|turn| !is_assistants(turn)).map_or(0, |at| at + 1);
    }
    end
}

/// Of all turns between two of the assistant's.
fn says_something_new(turns: &[Turn<'_>]) -> bool {
    let parts = || turns.iter().flat_map(|turn| &turn.parts);
    let is_reminder = |part: &Part<'_>| matches!(part, Part::Text { text, .. } if is_reminder(text));
    !parts().any(|part| matches!(part, Part::ToolResult { .. })) && parts().any(|part| !is_reminder(part))
}

fn is_call(part: &Part<'_>) -> bool {
    matches!(part, Part::ToolCall { .. })
}

// === impl Known ===

impl Known<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = match self.by {
            By::Call { .. } => b"call\0".to_vec(),
            By::Text(_) => b"text\0".to_vec(),
        };
        bytes.extend_from_slice(&self.before.bytes());
        match &self.by {
            By::Call { id, name, arguments, kind } => {
                let arguments = reprinted(arguments, *kind);
                // Lengths keep the fields apart, whatever is in them.
                for field in [id.unwrap_or_default(), name, &arguments] {
                    bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
                    bytes.extend_from_slice(field.as_bytes());
                }
            }
            By::Text(said) => bytes.extend_from_slice(&said.to_be_bytes()),
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use omniroute_wire::ir::{Tool, ToolKind};

    use super::record::tests::{call, signature, turn};
    use super::*;

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
            TurnPositions::of(&request).last().expect("a place").before
        });
        let of = |id, name, arguments, before| {
            let by = By::Call { id, name, arguments, kind: CallKind::Function };
            Known { by, before }.bytes()
        };
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
        for dialect in [Format::Ollama, Format::Gemini] {
            let [ours, theirs] = ["x", "y"].map(|id| of(id_in(dialect, id), "f", "{}", here));
            assert_eq!(ours, theirs);
        }
        let says = |text, before| Known { by: By::Text(text), before }.bytes();
        assert!(says(1, here) != says(2, here) && says(1, here) != says(1, there));
    }

    #[test]
    fn something_stands_in_for_what_is_demanded() {
        let asked = |with_tools: bool| {
            let mut request = Request::new(Format::Anthropic, "m");
            request.turns = vec![
                turn(Role::User, vec![Part::text("go")]),
                turn(Role::Assistant, vec![Part::text("so")]),
                turn(Role::Assistant, vec![call("a", None)]),
            ];
            if with_tools {
                request.tools = vec![Tool {
                    name: "f".into(),
                    description: None,
                    kind: ToolKind::Function { schema: None, strict: None },
                    namespace: None,
                    cache: None,
                }];
            }
            request
        };
        for (demand, with_tools, thoughts) in [
            (ThoughtDemand::None, true, [false, false]),
            (ThoughtDemand::Calls, true, [false, true]),
            (ThoughtDemand::Tools, true, [true, true]),
            (ThoughtDemand::Tools, false, [false, true]),
        ] {
            let mut request = asked(with_tools);
            assert_eq!(stand_in(&mut request, demand), thoughts[1]);
            let found = [1, 2].map(|at| matches!(request.turns[at].parts[0], Part::Thinking { .. }));
            assert_eq!(found, thoughts, "{demand:?} {with_tools}");
        }
    }

    #[test]
    fn a_loop_goes_on_until_a_user_says_something_new() {
        let user = |text: &'static str| turn(Role::User, vec![Part::text(text)]);
        let calls = || turn(Role::Assistant, vec![call("a", None)]);
        let result = || {
            let result = Part::ToolResult {
                call_id: "a".into(),
                name: None,
                parts: vec![Part::text("seen")],
                is_error: false,
                cache: None,
            };
            turn(Role::Tool, vec![result])
        };
        let reminder = || user("<system-reminder>\nno todos\n</system-reminder>");
        let says = || turn(Role::Assistant, vec![Part::text("done")]);
        for (turns, begin) in [
            (vec![], 0),
            (vec![user("go")], 1),
            (vec![user("go"), calls(), result()], 1),
            (vec![user("go"), calls(), result(), user("be quick"), calls(), result(), reminder()], 1),
            (vec![user("go"), calls(), result(), says(), user("and"), calls(), result()], 5),
            (vec![user("go"), says(), reminder(), calls(), result()], 1),
            (vec![user("go"), says(), user("thanks")], 3),
            (vec![calls(), result()], 0),
        ] {
            assert_eq!(open_loop(&turns), begin, "{turns:?}");
        }
    }
}
