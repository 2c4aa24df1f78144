//! What a request asks for, whatever dialect it came in.

use serde_json::{Map, Value};

use super::tokens;

/// A chat request that its vendor found nothing wrong with.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    /// Text of the last message, results of tools included.
    pub text: String,
    pub tools: Vec<Tool>,
    pub choice: Choice,
    /// How often in a row the model has called and been answered, up to the end of the conversation.
    pub rounds: usize,
    /// Most tokens of the answer.
    pub limit: Option<u64>,
    /// Answers wanted; 0 means one.
    pub n: usize,
    /// The answer has to be JSON of this schema.
    pub schema: Option<Value>,
    pub thinking: Thinking,
    /// Tokens of the prompt.
    pub prompt: u64,
    pub stream: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub name: String,
    pub schema: Value,
    /// Takes free text, not JSON.
    pub free: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Choice {
    #[default]
    Auto,
    Forbidden,
    Named(String),
}

/// Whether the model shows its thoughts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Thinking {
    #[default]
    Off,
    /// Only when the script says so.
    Scripted,
    On,
}

/// What one turn of a conversation is, as far as counting rounds goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Results,
    Assistant,
    User,
    /// Instructions in the middle; they count for nothing.
    Other,
}

/// Rounds of calls and results since the user last spoke.
pub(super) fn rounds(turns: impl DoubleEndedIterator<Item = Kind>) -> usize {
    let (mut rounds, mut in_results) = (0, false);
    for kind in turns.rev() {
        match kind {
            Kind::User => break,
            Kind::Results if !in_results => {
                rounds += 1;
                in_results = true;
            }
            Kind::Results | Kind::Other => {}
            Kind::Assistant => in_results = false,
        }
    }
    rounds
}

/// What a prompt costs: the words of these fields.
pub(super) fn cost(body: &Map<String, Value>, fields: &[&str]) -> u64 {
    3 + fields.iter().filter_map(|field| body.get(*field)).map(tokens::of_value).sum::<u64>()
}

/// All texts in a list of parts, or the text itself.
pub(super) fn texts(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| match (&part["text"], &part["content"]) {
                (Value::String(text), _) => text.clone(),
                (_, Value::Null) => String::new(),
                (_, inner) => texts(inner),
            });
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// What stands for a proof of thinking: anybody can see whether it came back as it was.
pub(super) fn sign(family: &str, text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let fnv = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = family.bytes().chain(text.bytes()).fold(0xcbf2_9ce4_8422_2325, fnv);
    STANDARD.encode(format!("{family}-thought-{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_counted_from_the_end_to_the_user() {
        use Kind::{Assistant, Other, Results, User};
        let count = |turns: &[Kind]| rounds(turns.iter().copied());
        assert_eq!(count(&[User]), 0);
        assert_eq!(count(&[User, Assistant, Results]), 1);
        assert_eq!(count(&[User, Assistant, Results, Results, Other]), 1);
        assert_eq!(count(&[User, Assistant, Results, Assistant, Results]), 2);
        assert_eq!(count(&[User, Assistant, Results, Assistant, User]), 0);
    }

    #[test]
    fn a_signature_belongs_to_its_text_and_family() {
        assert_eq!(sign("a", "x"), sign("a", "x"));
        assert_ne!(sign("a", "x"), sign("a", "y"));
        assert_ne!(sign("a", "x"), sign("b", "x"));
    }
}
