//! What was said before an answer, as a number: it tells conversations apart whose calls look alike.

use omniroute_wire::ir::{Part, Role, Turn};
use xxhash_rust::xxh3::Xxh3;

/// Names what stands before a turn. Media and thoughts do not count, which clients drop or bring in another form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Before(u128);

// === impl Before ===

impl Before {
    /// Before each turn, and behind the last.
    pub(crate) fn each(turns: &[Turn<'_>]) -> Vec<Self> {
        let mut hash = Xxh3::new();
        let mut all = Vec::with_capacity(turns.len() + 1);
        all.push(Self(hash.digest128()));
        for turn in turns {
            turn.parts.iter().for_each(|part| add(&mut hash, turn.role, part));
            all.push(Self(hash.digest128()));
        }
        all
    }

    /// Before the answer to these turns.
    pub(crate) fn answer(turns: &[Turn<'_>]) -> Self {
        let mut hash = Xxh3::new();
        for turn in turns {
            turn.parts.iter().for_each(|part| add(&mut hash, turn.role, part));
        }
        Self(hash.digest128())
    }

    pub(crate) const fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

fn add(hash: &mut Xxh3, role: Role, part: &Part<'_>) {
    // A role is the same whether a format has one for results or not.
    let side: &[u8] = if role == Role::Assistant { b"a" } else { b"u" };
    let mut say = |kind: &[u8], text: &str| {
        hash.update(side);
        hash.update(kind);
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    match part {
        Part::Text { text, .. } | Part::Refusal { text } if !text.is_empty() => say(b"t", text),
        Part::ToolCall { name, arguments, .. } => {
            say(b"n", name);
            say(b"c", &reprinted(arguments));
        }
        Part::ToolResult { parts, .. } => {
            say(b"r", "");
            parts.iter().for_each(|part| add(hash, role, part));
        }
        _ => {}
    }
}

/// Arguments as they are whoever printed them: clients print them anew.
pub(super) fn reprinted(arguments: &str) -> String {
    serde_json::from_str::<serde_json::Value>(arguments).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use omniroute_wire::ir::CallKind;

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

    #[test]
    fn a_turn_is_known_by_all_that_was_said_before_it() {
        let one = [
            turn(Role::User, vec![Part::text("go")]),
            turn(Role::Assistant, vec![call("{\"a\": 1}")]),
            result(Role::Tool, "x"),
        ];
        let again = [
            turn(Role::User, vec![Part::text("go")]),
            turn(Role::Assistant, vec![Part::Thinking { text: "hm".into(), signature: None }, call("{\"a\":1}")]),
            result(Role::User, "x"),
        ];
        let other = [turn(Role::User, vec![Part::text("stop")]), one[1].clone(), one[2].clone()];
        let befores = Before::each(&one);
        assert_eq!(befores, Before::each(&again));
        assert_eq!((befores.len(), befores[3]), (4, Before::answer(&again)));
        assert_eq!(befores[0], Before::each(&other)[0]);
        assert!((1..4).all(|at| befores[at] != Before::each(&other)[at]));
        assert_ne!(befores[3], Before::answer(&[one[0].clone(), one[1].clone(), result(Role::Tool, "y")]));
    }
}
