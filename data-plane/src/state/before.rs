//! What was said before an answer, as a number: it tells conversations apart whose calls look alike.

use omniroute_wire::ir::{CallKind, Part, Request, Role, Source, Turn};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

/// What Claude Code puts around texts of its own in a user's turn.
const REMINDER: &str = "<system-reminder>";
const REMINDER_END: &str = "</system-reminder>";

/// Names what stands before an answer. Clients drop thoughts, so these do not count. What a system says counts in front
/// of the first answer only, where it tells whose conversation it is: later reminders come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Before(u128);

/// What has been said so far.
struct Said {
    hash: Xxh3,
    /// The assistant has spoken.
    is_answered: bool,
    /// Where the answer began that the assistant is giving. Some formats make several turns of one answer.
    answer: Option<Before>,
}

// === impl Before ===

impl Before {
    /// Before each turn, and behind the last.
    pub(crate) fn each(request: &Request<'_>) -> Vec<Self> {
        let mut said = Said { hash: Xxh3::new(), is_answered: false, answer: None };
        let mut all = Vec::with_capacity(request.turns.len() + 1);
        let mut systems = request.system.iter().peekable();
        for at in 0..=request.turns.len() {
            while let Some(system) = systems.next_if(|system| system.position <= at) {
                if !said.is_answered {
                    said.say(b"s", b"t", system.text.trim());
                }
            }
            let turn = request.turns.get(at);
            all.push(said.place(turn));
            if let Some(turn) = turn {
                turn.parts.iter().for_each(|part| said.part(turn.role, part));
            }
        }
        all
    }

    pub(crate) const fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

// === impl Said ===

impl Said {
    /// Where this turn, or behind the last the next answer, begins.
    fn place(&mut self, next: Option<&Turn<'_>>) -> Before {
        let here = Before(self.hash.digest128());
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

    fn say(&mut self, side: &[u8], kind: &[u8], text: &str) {
        self.hash.update(side);
        self.hash.update(kind);
        self.hash.update(&(text.len() as u64).to_be_bytes());
        self.hash.update(text.as_bytes());
    }

    fn part(&mut self, role: Role, part: &Part<'_>) {
        // A role is the same whether a format has one for results or not.
        let side: &[u8] = if role == Role::Assistant { b"a" } else { b"u" };
        match part {
            Part::Text { text, .. } | Part::Refusal { text } => {
                if role == Role::Assistant || !self.is_answered {
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
                parts.iter().for_each(|part| self.part(role, part));
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
    use omniroute_wire::ir::{Format, SystemPart, SystemRole};

    use super::*;

    fn turn(role: Role, parts: Vec<Part<'static>>) -> Turn<'static> {
        Turn { role, parts, name: None }
    }

    fn call(arguments: &'static str) -> Part<'static> {
        let (id, name) = ("i".into(), "f".into());
        Part::ToolCall { id, name, arguments: arguments.into(), kind: CallKind::Function, signature: None, cache: None }
    }

    fn result(role: Role, text: &'static str) -> Turn<'static> {
        let (call_id, parts) = ("i".into(), vec![Part::text(text)]);
        turn(role, vec![Part::ToolResult { call_id, name: None, parts, is_error: false, cache: None }])
    }

    fn each(turns: &[Turn<'static>]) -> Vec<Before> {
        let mut request = Request::new(Format::OpenAiChat, "m");
        request.turns = turns.to_vec();
        Before::each(&request)
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
        assert_ne!(befores[3], each(&[one[0].clone(), one[1].clone(), result(Role::Tool, "y")])[3]);
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
        let of = |first: &'static str, image: &'static str, later: &'static str, result_text: &'static str| {
            let mut request = Request::new(Format::Anthropic, "m");
            request.system = vec![system(first, 0), system(later, 2)];
            let image = Part::Image { source: Source::Url(image.into()), detail: None, cache: None };
            request.turns = vec![
                turn(Role::User, vec![Part::text("go"), image]),
                turn(Role::Assistant, vec![call("{}")]),
                result(Role::Tool, result_text),
            ];
            Before::each(&request)[3]
        };
        let one = of("for Ann", "a.png", "be quick", "seen");
        let reminded = "seen\n\n<system-reminder>\nno todos\n</system-reminder>\n";
        assert_eq!(one, of("for Ann", "a.png", "be slow", reminded));
        for other in [
            of("for Bob", "a.png", "be quick", "seen"),
            of("for Ann", "b.png", "be quick", "seen"),
            of("for Ann", "a.png", "be quick", "seen <system-reminder> open"),
        ] {
            assert_ne!(one, other);
        }
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
