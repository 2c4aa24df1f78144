//! What was said before an answer, as a number: it tells conversations apart whose calls look alike.
//!
//! What tools gave back is no part of the number, because clients clear old results to save room. It is compared for itself
//! ([`TurnPosition::had`]): a result that is there has to be the same, or the conversation is another.

use omniroute_wire::ir::{CallKind, Format, Part, Request, Role, Source, Turn};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

/// What Claude Code puts around texts of its own in a user's turn.
const REMINDER: &str = "<system-reminder>";
const REMINDER_END: &str = "</system-reminder>";
/// Results that are compared, the latest ones: clients clear the oldest.
const MOST_RESULTS: usize = 32;
/// What a client puts in the place of a result is no longer, and says so with one of these words.
const LONGEST_CLEARED: usize = 1_000;
const CLEARED: [&str; 7] = ["cleared", "removed", "omitted", "truncated", "masked", "pruned", "compacted"];

/// Who speaks.
const ASSISTANT: &[u8] = b"a";
const USER: &[u8] = b"u";

/// Names what stands before an answer. Clients drop thoughts, so these do not count, nor do reminders, which come and go.
/// What a system says counts in front of the first answer only, where it tells whose conversation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConversationKey(u128);

/// The places of a request's turns, and of its answer.
#[derive(Debug, Default)]
pub(crate) struct TurnPositions {
    /// And how many results stand before each.
    befores: Vec<(ConversationKey, usize)>,
    results: Vec<Outcome>,
}

/// Where a turn stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnPosition<'p> {
    pub(super) before: ConversationKey,
    results: &'p [Outcome],
}

/// What a tool gave back.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    hash: u64,
    /// The client has put something in its place.
    is_cleared: bool,
}

/// What has been said so far.
struct Said {
    digest: Digest,
    results: Vec<Outcome>,
    /// The client's dialect has ids of calls.
    has_ids: bool,
    /// The assistant has spoken.
    is_answered: bool,
    /// Where the answer began that the assistant is giving. Some formats make several turns of one answer.
    answer: Option<(ConversationKey, usize)>,
}

#[derive(Default)]
struct Digest(Xxh3);

/// Whether clients of this format tell a call by an id. Ollama's have none; Google's may leave out what they were given.
pub(super) const fn has_ids(dialect: Format) -> bool {
    !matches!(dialect, Format::Ollama | Format::Gemini)
}

/// Whether a user's text is none of the user's.
pub(super) fn is_reminder(text: &str) -> bool {
    let mut says = false;
    without_reminders(text, |text| says |= !text.trim().is_empty());
    !says
}

// === impl ConversationKey ===

impl ConversationKey {
    pub(crate) const fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

// === impl TurnPositions ===

impl TurnPositions {
    /// Before each turn, and behind the last.
    pub(crate) fn of(request: &Request<'_>) -> Self {
        let has_ids = has_ids(request.format);
        let (digest, results) = (Digest::default(), Vec::new());
        let mut said = Said { digest, results, has_ids, is_answered: false, answer: None };
        let mut befores = Vec::with_capacity(request.turns.len() + 1);
        let mut systems = request.system.iter().peekable();
        for at in 0..=request.turns.len() {
            while let Some(system) = systems.next_if(|system| system.position <= at) {
                if !said.is_answered {
                    said.digest.say(b"s", b"t", system.text.trim());
                }
            }
            let turn = request.turns.get(at);
            befores.push(said.place(turn));
            if let Some(turn) = turn {
                turn.parts.iter().for_each(|part| said.part(turn.role, part));
            }
        }
        Self { befores, results: said.results }
    }

    /// Of the turn of this number.
    pub(crate) fn get(&self, turn: usize) -> Option<TurnPosition<'_>> {
        let (before, results) = *self.befores.get(turn)?;
        Some(TurnPosition { before, results: &self.results[..results] })
    }

    /// Of the answer.
    pub(crate) fn last(&self) -> Option<TurnPosition<'_>> {
        self.get(self.befores.len().checked_sub(1)?)
    }
}

// === impl TurnPosition ===

impl TurnPosition<'_> {
    /// What tools gave back before it, to be compared by [`Self::had`].
    pub(super) fn results(&self) -> Vec<u64> {
        let skipped = self.results.len().saturating_sub(MOST_RESULTS);
        self.results[skipped..].iter().map(|result| result.hash).collect()
    }

    /// Whether tools gave back the same before it, as far as the client still tells.
    pub(super) fn had(&self, results: &[u64]) -> bool {
        let mut pairs = self.results.iter().rev().zip(results.iter().rev());
        pairs.all(|(own, other)| own.is_cleared || own.hash == *other)
    }
}

// === impl Said ===

impl Said {
    /// Where this turn, or behind the last the next answer, begins.
    fn place(&mut self, next: Option<&Turn<'_>>) -> (ConversationKey, usize) {
        let here = (ConversationKey(self.digest.0.digest128()), self.results.len());
        match next.map(|turn| turn.role) {
            Some(Role::Assistant) => {
                self.is_answered = true;
                *self.answer.get_or_insert(here)
            }
            Some(Role::User | Role::Tool) => {
                self.answer = None;
                here
            }
            None => self.answer.unwrap_or(here),
        }
    }

    fn part(&mut self, role: Role, part: &Part<'_>) {
        // A role is the same whether a format has one for results or not.
        let side = if role == Role::Assistant { ASSISTANT } else { USER };
        match part {
            Part::ToolCall { id, .. } if self.has_ids => {
                self.digest.say(side, b"i", id);
                self.digest.part(side, part);
            }
            Part::ToolResult { parts, .. } => {
                self.digest.say(side, b"r", "");
                self.results.push(Outcome::of(side, parts));
            }
            part => self.digest.part(side, part),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    fn of(side: &[u8], parts: &[Part<'_>]) -> Self {
        let mut digest = Digest::default();
        parts.iter().for_each(|part| digest.part(side, part));
        Self { hash: digest.0.digest(), is_cleared: is_cleared(parts) }
    }
}

/// Whether this stands in the place of a result, such as `[Old tool result content cleared]`.
fn is_cleared(parts: &[Part<'_>]) -> bool {
    let [Part::Text { text, .. }] = parts else { return false };
    let text = text.trim();
    if text.len() > LONGEST_CLEARED || !text.starts_with(['[', '<', '(']) {
        return false;
    }
    let words = text.to_ascii_lowercase();
    CLEARED.iter().any(|word| words.contains(word))
}

// === impl Digest ===

impl Digest {
    fn say(&mut self, side: &[u8], kind: &[u8], text: &str) {
        self.0.update(side);
        self.0.update(kind);
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    fn part(&mut self, side: &[u8], part: &Part<'_>) {
        match part {
            Part::Text { text, .. } | Part::Refusal { text } => {
                if side == ASSISTANT {
                    self.text(side, text);
                } else {
                    without_reminders(text, |text| self.text(side, text));
                }
            }
            Part::ToolCall { name, arguments, kind, .. } => {
                self.say(side, b"n", name);
                self.say(side, b"c", &reprinted(arguments, *kind));
            }
            Part::ToolResult { parts, .. } => {
                self.say(side, b"r", "");
                parts.iter().for_each(|part| self.part(side, part));
            }
            Part::Image { source, .. }
            | Part::Audio { source, .. }
            | Part::Video { source }
            | Part::Document { source, .. } => match source {
                Source::Url(text)
                | Source::Inline { data: text, .. }
                | Source::Text(text)
                | Source::File { id: text, .. } => self.say(side, b"m", text),
            },
            Part::ServerTool { raw, .. } => self.say(side, b"v", &reprinted(raw.as_str(), CallKind::Function)),
            Part::Thinking { .. } | Part::RedactedThinking { .. } => {}
        }
    }

    /// Clients trim texts, and leave out those without any.
    fn text(&mut self, side: &[u8], text: &str) {
        let text = text.trim();
        if !text.is_empty() {
            self.say(side, b"t", text);
        }
    }
}

/// What of a user's text the user, or a tool, said.
fn without_reminders(text: &str, mut say: impl FnMut(&str)) {
    let mut rest = text;
    while let Some((own, reminder)) = rest.split_once(REMINDER)
        && let Some((_, behind)) = reminder.split_once(REMINDER_END)
    {
        say(own);
        rest = behind;
    }
    say(rest);
}

/// A call's arguments as they are whoever printed them: clients print them anew. Of a custom tool it is the free text,
/// which an upstream that knows only functions has in an object.
pub(super) fn reprinted(arguments: &str, kind: CallKind) -> String {
    let arguments = arguments.trim();
    match (serde_json::from_str::<Value>(arguments), kind) {
        (Ok(mut value), CallKind::Function) => {
            as_numbers(&mut value);
            value.to_string()
        }
        // A call without arguments; most clients write it out.
        (Err(_), CallKind::Function) if arguments.is_empty() => "{}".to_owned(),
        (Ok(value), CallKind::Custom) => match value.get("input").and_then(Value::as_str) {
            Some(text) => text.trim().to_owned(),
            None => arguments.to_owned(),
        },
        (Err(_), _) => arguments.to_owned(),
    }
}

/// For a client that has one kind of number only, 1.0 is 1.
fn as_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Nor has it a zero with a sign.
            let plain = number.as_f64().and_then(|plain| serde_json::Number::from_f64(plain + 0.0));
            *number = plain.unwrap_or_else(|| number.clone());
        }
        Value::Array(items) => items.iter_mut().for_each(as_numbers),
        Value::Object(members) => members.values_mut().for_each(as_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use omniroute_wire::ir::{SystemPart, SystemRole};

    use super::*;

    fn turn(role: Role, parts: Vec<Part<'static>>) -> Turn<'static> {
        Turn { role, parts, name: None }
    }

    fn call(arguments: &'static str) -> Part<'static> {
        let (id, name) = ("i".into(), "f".into());
        Part::ToolCall { id, name, arguments: arguments.into(), kind: CallKind::Function, signature: None, cache: None }
    }

    fn call_turn() -> Turn<'static> {
        turn(Role::Assistant, vec![call("{}")])
    }

    fn result(role: Role, text: &'static str) -> Turn<'static> {
        let (call_id, parts) = ("i".into(), vec![Part::text(text)]);
        turn(role, vec![Part::ToolResult { call_id, name: None, parts, is_error: false, cache: None }])
    }

    fn places(turns: &[Turn<'static>]) -> TurnPositions {
        let mut request = Request::new(Format::OpenAiChat, "m");
        request.turns = turns.to_vec();
        TurnPositions::of(&request)
    }

    fn befores(places: &TurnPositions) -> Vec<ConversationKey> {
        places.befores.iter().map(|(before, _)| *before).collect()
    }

    fn each(turns: &[Turn<'static>]) -> Vec<ConversationKey> {
        befores(&places(turns))
    }

    #[test]
    fn a_turn_is_known_by_all_that_was_said_before_it() {
        let one = [
            turn(Role::User, vec![Part::text("go")]),
            turn(Role::Assistant, vec![call("{\"a\": 1}")]),
            result(Role::Tool, "x"),
        ];
        let again = [
            turn(Role::User, vec![Part::text("go\n"), Part::text(" ")]),
            turn(Role::Assistant, vec![Part::Thinking { text: "hm".into(), signature: None }, call("{\"a\":1.0}")]),
            result(Role::User, "x"),
        ];
        let other = [turn(Role::User, vec![Part::text("stop")]), one[1].clone(), one[2].clone()];
        let befores = each(&one);
        assert_eq!(befores, each(&again));
        assert_eq!(befores.len(), 4);
        assert_eq!(befores[1], each(&one[..1])[1], "where the answer is, it was asked for");
        assert_eq!(befores[0], each(&other)[0]);
        assert!((1..4).all(|at| befores[at] != each(&other)[at]));
    }

    #[test]
    fn a_result_may_be_cleared_and_is_the_same_otherwise() {
        let with = |text| places(&[turn(Role::User, vec![Part::text("go")]), call_turn(), result(Role::Tool, text)]);
        let place = |places: &TurnPositions| places.last().map(|place| place.before);
        let (one, again, other) = (with("x"), with("x\n<system-reminder>\nno\n</system-reminder>"), with("y"));
        let kept = one.last().expect("a place").results();
        for (later, is_same) in [
            (&again, true),
            (&with("[Old tool result content cleared]"), true),
            (&with("<tool_output_masked>saved to a file</tool_output_masked>"), true),
            (&other, false),
            (&with("nothing was cleared"), false),
            (&with("[1, 2]"), false),
        ] {
            assert_eq!(place(&one), place(later));
            assert_eq!(later.last().expect("a place").had(&kept), is_same, "{later:?}");
        }
        assert!(other.get(1).expect("a place").had(&kept[..0]), "nothing was given back before that");
    }

    #[test]
    fn ids_count_where_the_dialect_has_some() {
        let of = |format, id: &'static str| {
            let mut request = Request::new(format, "m");
            let mut call = call("{}");
            if let Part::ToolCall { id: own, .. } = &mut call {
                *own = id.into();
            }
            request.turns = vec![turn(Role::Assistant, vec![call]), result(Role::Tool, "x")];
            TurnPositions::of(&request).last().map(|place| place.before)
        };
        assert_ne!(of(Format::Anthropic, "a"), of(Format::Anthropic, "b"));
        assert_eq!(of(Format::Gemini, "a"), of(Format::Gemini, "b"));
        assert_eq!(of(Format::Ollama, "a"), of(Format::Ollama, "b"));
    }

    #[test]
    fn an_answer_of_several_turns_stands_in_one_place() {
        let ask = turn(Role::User, vec![Part::text("go")]);
        let says = turn(Role::Assistant, vec![Part::text("so")]);
        let calls = turn(Role::Assistant, vec![call("{}")]);
        let befores = each(&[ask.clone(), says, calls]);
        assert_eq!(befores[1..], [each(&[ask])[1]; 3]);
    }

    #[test]
    fn systems_and_media_tell_conversations_apart_and_later_reminders_do_not() {
        let system = |text: &'static str, position| SystemPart {
            text: text.into(),
            role: SystemRole::System,
            position,
            cache: None,
        };
        let of = |first: &'static str, image: &'static str, later: &'static str, asks: &'static str| {
            let mut request = Request::new(Format::Anthropic, "m");
            request.system = vec![system(first, 0), system(later, 2)];
            let image = Part::Image { source: Source::Url(image.into()), detail: None, cache: None };
            request.turns = vec![
                turn(Role::User, vec![Part::text(asks), image]),
                turn(Role::Assistant, vec![call("{}")]),
                result(Role::Tool, "seen"),
            ];
            befores(&TurnPositions::of(&request))[3]
        };
        let one = of("for Ann", "a.png", "be quick", "go");
        let reminded = "<system-reminder>\nno todos\n</system-reminder>\ngo";
        assert_eq!(one, of("for Ann", "a.png", "be slow", reminded));
        for other in [
            of("for Bob", "a.png", "be quick", "go"),
            of("for Ann", "b.png", "be quick", "go"),
            of("for Ann", "a.png", "be quick", "go <system-reminder> open"),
        ] {
            assert_ne!(one, other);
        }
        assert!(is_reminder(&reminded[..reminded.len() - 2]) && !is_reminder(reminded));
    }

    #[test]
    fn arguments_are_the_same_whoever_prints_them() {
        use CallKind::{Custom, Function};
        assert_eq!(reprinted(r#"{"a":1.0, "b":[-0.0]}"#, Function), reprinted(r#"{ "b": [0],"a":1}"#, Function));
        assert_eq!(reprinted("", Function), reprinted("{ }", Function));
        assert_eq!(reprinted(r#"{"input":"*** Begin\n"}"#, Custom), reprinted("*** Begin\n", Custom));
        assert_ne!(reprinted("one", Custom), reprinted("two", Custom));
        assert_ne!(reprinted("{one", Function), reprinted("{two", Function));
    }
}
