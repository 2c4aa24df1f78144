//! What an answer was signed with, or thought: read off the answer, and put back into its turn.

use std::collections::HashMap;

use omniroute_wire::ir::{Event, Family, Part, PartKind, Signature, Turn};
use xxhash_rust::xxh3::Xxh3;

/// Of an answer's thoughts and signatures so much is remembered at most.
pub(super) const LARGEST: usize = 256 * 1024;
/// The arguments of its first call are not kept, but the call is known by them: so much of them is gathered at most.
const LARGEST_ARGUMENTS: usize = 1024 * 1024;

/// What an answer was signed with; a thought may stand in it unsigned.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub(super) model: String,
    /// Empty where nobody signed.
    #[prost(string, tag = "2")]
    pub(super) family: String,
    /// In order.
    #[prost(message, repeated, tag = "3")]
    thoughts: Vec<Thought>,
    /// Of the calls, by their number within the answer.
    #[prost(map = "uint32, string", tag = "4")]
    calls: HashMap<u32, String>,
    /// Bytes of text in the answer, of all its parts.
    #[prost(uint64, tag = "5")]
    text: u64,
    /// What tools had given back before it; see [`super::conversation_key::TurnPosition::results`].
    #[prost(fixed64, repeated, tag = "6")]
    pub(super) results: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Thought {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(string, tag = "2")]
    signature: String,
    /// Only its maker can read it; there is no text.
    #[prost(bool, tag = "3")]
    redacted: bool,
    /// Where it stood: behind so many bytes of text, and so many calls.
    #[prost(uint64, tag = "4")]
    behind_text: u64,
    #[prost(uint32, tag = "5")]
    behind_calls: u32,
}

/// By what an answer is known when it returns, beside its place.
pub(super) enum Mark {
    /// Its first call.
    Call { id: String, name: String, arguments: String },
    /// What it says, where it calls nothing; see [`Said`].
    Text(u128),
}

/// A text as a number. Clients trim texts, join and divide them: white space does not count.
#[derive(Default)]
pub(super) struct Said(Box<Xxh3>);

/// Reads the signatures off an answer.
#[derive(Default)]
pub(crate) struct SignatureCollector {
    /// The part that is open, by its number; several may be.
    open: Vec<(u32, Piece)>,
    /// Finished parts, in order of their starts.
    done: Vec<(u32, Piece)>,
    family: Option<Family>,
    /// Of thoughts and signatures.
    bytes: usize,
    /// Of the first call's arguments; the call's number in front.
    first_call: Option<(u32, usize)>,
    /// What the answer says, where it may be remembered without a call.
    said: Option<Said>,
}

enum Piece {
    /// Its bytes.
    Text(u64),
    Thought {
        text: String,
        signature: Option<String>,
        redacted: bool,
    },
    Call {
        id: String,
        name: String,
        arguments: String,
        signature: Option<String>,
    },
}

// === impl Entry ===

impl Entry {
    /// Whether a thought can be read.
    pub(super) fn has_text(&self) -> bool {
        self.thoughts.iter().any(|thought| !thought.text.is_empty())
    }

    /// Signs a turn anew: the same thoughts where they stood, as far as the client has kept what stood around them.
    /// Without a family they go back as texts.
    pub(super) fn put_back(self, turn: &mut Turn<'_>, family: Option<Family>) {
        let Self { mut thoughts, mut calls, text, .. } = self;
        if family.is_none() {
            thoughts.retain(|thought| !thought.text.is_empty());
            calls.clear();
        }
        if !thoughts.is_empty() {
            turn.parts.retain(|part| !matches!(part, Part::Thinking { .. } | Part::RedactedThinking { .. }));
            let kept: usize = turn.parts.iter().map(text_length).sum();
            let thoughts = thoughts.into_iter().map(|thought| {
                // In a text that is another one there is no such place.
                let behind_text = if kept as u64 == text { thought.behind_text as usize } else { 0 };
                (behind_text, thought.behind_calls, thought.into_part(family))
            });
            turn.parts = woven(std::mem::take(&mut turn.parts), thoughts.collect());
        }
        let signatures = turn.parts.iter_mut().filter_map(|part| match part {
            Part::ToolCall { signature, .. } => Some(signature),
            _ => None,
        });
        for (number, signature) in (0..).zip(signatures) {
            if let (Some(payload), Some(family)) = (calls.remove(&number), family) {
                *signature = Some(Signature { family, payload: payload.into() });
            }
        }
    }
}

impl Thought {
    fn into_part(self, family: Option<Family>) -> Part<'static> {
        let signature = family.map(|family| Signature { family, payload: self.signature.into() });
        match signature.filter(|signature| !signature.payload.is_empty()) {
            Some(data) if self.redacted => Part::RedactedThinking { data },
            signature => Part::Thinking { text: self.text.into(), signature },
        }
    }
}

fn text_length(part: &Part<'_>) -> usize {
    if let Part::Text { text, .. } = part { text.len() } else { 0 }
}

/// Puts thoughts between parts: each behind so many bytes of text and so many calls. Clients join texts: one that went on
/// behind a thought is divided again.
fn woven<'a>(parts: Vec<Part<'a>>, thoughts: Vec<(usize, u32, Part<'static>)>) -> Vec<Part<'a>> {
    let mut woven = Vec::with_capacity(parts.len() + thoughts.len());
    let mut thoughts = thoughts.into_iter().peekable();
    let (mut said, mut called) = (0, 0);
    for part in parts {
        match part {
            Part::Text { text, annotations, cache } => {
                let mut rest = text;
                while let Some((at, _, thought)) =
                    thoughts.next_if(|(at, calls, _)| *calls <= called && *at < said + rest.len())
                {
                    let before = at.saturating_sub(said);
                    if before > 0 && rest.is_char_boundary(before) {
                        let tail = rest[before..].to_owned();
                        let mut head = rest;
                        head.to_mut().truncate(before);
                        woven.push(Part::Text { text: head, annotations: Vec::new(), cache: None });
                        rest = tail.into();
                        said += before;
                    }
                    woven.push(thought);
                }
                said += rest.len();
                woven.push(Part::Text { text: rest, annotations, cache });
            }
            part => {
                let is_call = matches!(part, Part::ToolCall { .. });
                while let Some((.., thought)) = thoughts.next_if(|(_, calls, _)| is_call && *calls <= called) {
                    woven.push(thought);
                }
                called += u32::from(is_call);
                woven.push(part);
            }
        }
    }
    woven.extend(thoughts.map(|(.., thought)| thought));
    woven
}

// === impl Said ===

impl Said {
    fn say(&mut self, text: &str) {
        text.split_whitespace().for_each(|word| self.0.update(word.as_bytes()));
    }

    /// Of a turn.
    pub(super) fn by(turn: &Turn<'_>) -> u128 {
        let mut said = Self::default();
        for part in &turn.parts {
            if let Part::Text { text, .. } = part {
                said.say(text);
            }
        }
        said.0.digest128()
    }
}

// === impl SignatureCollector ===

impl SignatureCollector {
    /// `every`: an answer is remembered also if it calls nothing.
    pub(super) fn new(every: bool) -> Self {
        Self { said: every.then(Said::default), ..Self::default() }
    }

    fn is_too_long(&self) -> bool {
        self.bytes > LARGEST || self.first_call.is_some_and(|(_, bytes)| bytes > LARGEST_ARGUMENTS)
    }

    /// Takes the next event of an answer.
    pub(crate) fn see(&mut self, event: &Event<'_>) {
        if self.is_too_long() {
            return;
        }
        match event {
            Event::PartStart { choice: 0, part, kind } => self.begin(*part, kind),
            Event::ThinkingDelta { choice: 0, part, text } => {
                if let Some(Piece::Thought { text: all, .. }) = self.open_piece(*part) {
                    all.push_str(text);
                    self.bytes += text.len();
                }
            }
            Event::TextDelta { choice: 0, part, text } => {
                if let Some(Piece::Text(bytes)) = self.open_piece(*part) {
                    *bytes += text.len() as u64;
                    self.said.iter_mut().for_each(|said| said.say(text));
                }
            }
            Event::ArgsDelta { choice: 0, part, text } => {
                if let Some((_, bytes)) = self.first_call.as_mut().filter(|(first, _)| first == part) {
                    *bytes += text.len();
                    if let Some(Piece::Call { arguments, .. }) = self.open_piece(*part) {
                        arguments.push_str(text);
                    }
                }
            }
            Event::SignatureDelta { choice: 0, part, signature } => {
                if let Some(Piece::Thought { signature: own, .. } | Piece::Call { signature: own, .. }) =
                    self.open_piece(*part)
                {
                    *own = Some(signature.payload.as_ref().to_owned());
                    self.bytes += signature.payload.len();
                    self.family = Some(signature.family);
                }
            }
            Event::PartStop { choice: 0, part } => {
                if let Some(at) = self.open.iter().position(|(own, _)| own == part) {
                    self.done.push(self.open.remove(at));
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, part: u32, kind: &PartKind<'_>) {
        let piece = match kind {
            PartKind::Text => Piece::Text(0),
            PartKind::Thinking => Piece::Thought { text: String::new(), signature: None, redacted: false },
            PartKind::RedactedThinking { data } => {
                self.family = Some(data.family);
                self.bytes += data.payload.len();
                let signature = Some(data.payload.as_ref().to_owned());
                Piece::Thought { text: String::new(), signature, redacted: true }
            }
            PartKind::ToolCall { id, name, .. } => {
                self.first_call.get_or_insert((part, 0));
                Piece::Call {
                    id: id.as_ref().to_owned(),
                    name: name.as_ref().to_owned(),
                    arguments: String::new(),
                    signature: None,
                }
            }
            _ => return,
        };
        self.open.push((part, piece));
    }

    fn open_piece(&mut self, part: u32) -> Option<&mut Piece> {
        self.open.iter_mut().find(|(own, _)| *own == part).map(|(_, piece)| piece)
    }

    /// What the answer was signed with; `unsigned`: or what was thought, signed or not.
    pub(super) fn finish(mut self, model: &str, unsigned: bool) -> Option<(Mark, Entry)> {
        if self.is_too_long() || (self.family.is_none() && !unsigned) {
            return None;
        }
        self.done.sort_by_key(|(part, _)| *part);
        let family = self.family.map_or("", Family::as_str);
        let mut entry = Entry { model: model.to_owned(), family: family.to_owned(), ..Entry::default() };
        let mut first = None;
        let mut number = 0;
        for (_, piece) in self.done {
            match piece {
                Piece::Text(bytes) => entry.text += bytes,
                Piece::Thought { text, signature, redacted } => {
                    let signature = signature.unwrap_or_default();
                    let (behind_text, behind_calls) = (entry.text, number);
                    entry.thoughts.push(Thought { text, signature, redacted, behind_text, behind_calls });
                }
                Piece::Call { id, name, arguments, signature } => {
                    if let Some(signature) = signature {
                        entry.calls.insert(number, signature);
                    }
                    number += 1;
                    first.get_or_insert(Mark::Call { id, name, arguments });
                }
            }
        }
        if !unsigned && entry.thoughts.iter().all(|thought| thought.signature.is_empty()) {
            // Thoughts that nobody signed are the client's to send or not.
            entry.thoughts.clear();
        }
        let anything = !entry.thoughts.is_empty() || !entry.calls.is_empty();
        let says = |said: Said| (entry.text > 0).then(|| Mark::Text(said.0.digest128()));
        let mark = first.or_else(|| self.said.and_then(says));
        mark.filter(|_| anything).map(|mark| (mark, entry))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use omniroute_wire::ir::{CallKind, Role};
    use prost::Message as _;

    use super::*;

    pub(in super::super) fn signature(payload: &str) -> Signature<'_> {
        Signature { family: Family::Anthropic, payload: payload.into() }
    }

    /// A signed call with so many bytes of arguments.
    fn answer_calling(bytes: usize) -> SignatureCollector {
        let mut collector = SignatureCollector::default();
        let kind = PartKind::ToolCall { id: "a".into(), name: "f".into(), kind: CallKind::Function };
        collector.see(&Event::PartStart { choice: 0, part: 1, kind });
        collector.see(&Event::SignatureDelta { choice: 0, part: 1, signature: signature("s") });
        collector.see(&Event::ArgsDelta { choice: 0, part: 1, text: "x".repeat(bytes).into() });
        collector.see(&Event::PartStop { choice: 0, part: 1 });
        collector
    }

    fn answer() -> SignatureCollector {
        let mut collector = SignatureCollector::default();
        let call = |id: &'static str| PartKind::ToolCall { id: id.into(), name: "f".into(), kind: CallKind::Function };
        for event in [
            Event::PartStart { choice: 0, part: 0, kind: PartKind::Thinking },
            Event::ThinkingDelta { choice: 0, part: 0, text: "hm".into() },
            Event::ThinkingDelta { choice: 0, part: 0, text: "m".into() },
            Event::SignatureDelta { choice: 0, part: 0, signature: signature("s1") },
            Event::PartStop { choice: 0, part: 0 },
            Event::PartStart { choice: 0, part: 1, kind: call("a") },
            Event::PartStart { choice: 0, part: 2, kind: call("b") },
            Event::SignatureDelta { choice: 0, part: 2, signature: signature("s2") },
            Event::PartStop { choice: 0, part: 2 },
            Event::PartStop { choice: 0, part: 1 },
        ] {
            collector.see(&event);
        }
        collector
    }

    pub(in super::super) fn call(id: &'static str, signature: Option<Signature<'static>>) -> Part<'static> {
        Part::ToolCall {
            id: id.into(),
            name: "f".into(),
            arguments: "{}".into(),
            kind: CallKind::Function,
            signature,
            cache: None,
        }
    }

    pub(in super::super) fn turn(role: Role, parts: Vec<Part<'static>>) -> Turn<'static> {
        Turn { role, parts, name: None }
    }

    #[test]
    fn an_answer_is_remembered_under_its_first_call_and_put_back_into_its_turn() {
        let (first, entry) = answer().finish("m", false).expect("signed");
        assert!(matches!(first, Mark::Call { ref id, .. } if id == "a"));
        let mut back = turn(
            Role::Assistant,
            vec![
                Part::Thinking { text: "hmm".into(), signature: None },
                Part::text("calling"),
                call("a", None),
                call("b", None),
            ],
        );
        entry.put_back(&mut back, Some(Family::Anthropic));
        assert_eq!(
            back.parts,
            [
                Part::Thinking { text: "hmm".into(), signature: Some(signature("s1")) },
                Part::text("calling"),
                call("a", None),
                call("b", Some(signature("s2"))),
            ]
        );
    }

    #[test]
    fn what_is_unsigned_too_long_or_calls_nothing_is_not_remembered() {
        let mut unsigned = SignatureCollector::default();
        let call = PartKind::ToolCall { id: "a".into(), name: "f".into(), kind: CallKind::Function };
        unsigned.see(&Event::PartStart { choice: 0, part: 0, kind: call });
        unsigned.see(&Event::PartStop { choice: 0, part: 0 });
        assert!(unsigned.finish("m", false).is_none());

        let mut long = answer();
        long.see(&Event::PartStart { choice: 0, part: 3, kind: PartKind::Thinking });
        long.see(&Event::ThinkingDelta { choice: 0, part: 3, text: "x".repeat(LARGEST).into() });
        assert!(long.finish("m", false).is_none());

        let mut only_thoughts = answer();
        only_thoughts.done.truncate(1);
        assert!(only_thoughts.finish("m", false).is_none());

        assert!(answer_calling(LARGEST_ARGUMENTS).finish("m", false).is_some());
        assert!(answer_calling(LARGEST_ARGUMENTS + 1).finish("m", false).is_none());
    }

    #[test]
    fn arguments_are_no_thoughts() {
        let (mark, entry) = answer_calling(2 * LARGEST).finish("m", false).expect("signed");
        assert!(matches!(mark, Mark::Call { ref arguments, .. } if arguments.len() == 2 * LARGEST));
        assert!(entry.encode_to_vec().len() < 1_000, "they are not kept");
    }

    #[test]
    fn an_answer_without_calls_is_known_by_what_it_says_where_that_is_wanted() {
        let says = |every: bool, pieces: &[&'static str]| {
            let mut collector = SignatureCollector::new(every);
            collector.see(&Event::PartStart { choice: 0, part: 0, kind: PartKind::Thinking });
            collector.see(&Event::ThinkingDelta { choice: 0, part: 0, text: "hm".into() });
            collector.see(&Event::PartStop { choice: 0, part: 0 });
            collector.see(&Event::PartStart { choice: 0, part: 1, kind: PartKind::Text });
            for piece in pieces {
                collector.see(&Event::TextDelta { choice: 0, part: 1, text: (*piece).into() });
            }
            collector.see(&Event::PartStop { choice: 0, part: 1 });
            collector.finish("m", true)
        };
        let Some((Mark::Text(mark), entry)) = says(true, &["All d", "one.\n"]) else { panic!("a text") };
        let mut back = turn(Role::Assistant, vec![Part::text("All "), Part::text("done.")]);
        assert_eq!(Said::by(&back), mark);
        assert_ne!(Said::by(&turn(Role::Assistant, vec![Part::text("All gone.")])), mark);
        entry.put_back(&mut back, None);
        assert_eq!(back.parts[0], Part::Thinking { text: "hm".into(), signature: None });
        assert!(says(true, &[]).is_none() && says(false, &["All done."]).is_none());
    }

    #[test]
    fn a_text_that_nobody_signed_is_remembered_for_who_wants_it() {
        let mut collector = SignatureCollector::default();
        let called = PartKind::ToolCall { id: "a".into(), name: "f".into(), kind: CallKind::Function };
        for event in [
            Event::PartStart { choice: 0, part: 0, kind: PartKind::Thinking },
            Event::ThinkingDelta { choice: 0, part: 0, text: "hm".into() },
            Event::PartStop { choice: 0, part: 0 },
            Event::PartStart { choice: 0, part: 1, kind: called },
            Event::PartStop { choice: 0, part: 1 },
        ] {
            collector.see(&event);
        }
        let (_, entry) = collector.finish("m", true).expect("a thought");
        assert!(entry.has_text() && entry.family.is_empty());
        let mut back = turn(Role::Assistant, vec![call("a", None)]);
        entry.put_back(&mut back, None);
        assert_eq!(back.parts, [Part::Thinking { text: "hm".into(), signature: None }, call("a", None)]);
        // Of what another signed only the text is of use to them.
        let (_, signed) = answer().finish("m", true).expect("signed");
        let mut back = turn(Role::Assistant, vec![call("a", None), call("b", None)]);
        signed.put_back(&mut back, None);
        let thought = Part::Thinking { text: "hmm".into(), signature: None };
        assert_eq!(back.parts, [thought, call("a", None), call("b", None)]);
    }

    #[test]
    fn thoughts_go_back_to_where_they_stood() {
        let mut collector = SignatureCollector::default();
        let mut part = 0;
        let mut say = |collector: &mut SignatureCollector, kind: PartKind<'static>, text: &'static str| {
            let signs = matches!(kind, PartKind::Thinking);
            collector.see(&Event::PartStart { choice: 0, part, kind });
            let event = if signs {
                Event::SignatureDelta { choice: 0, part, signature: signature(text) }
            } else {
                Event::TextDelta { choice: 0, part, text: text.into() }
            };
            collector.see(&event);
            collector.see(&Event::PartStop { choice: 0, part });
            part += 1;
        };
        let called =
            |id: &'static str| PartKind::ToolCall { id: id.into(), name: "f".into(), kind: CallKind::Function };
        for (kind, text) in [
            (PartKind::Thinking, "S1"),
            (PartKind::Text, "é one"),
            (PartKind::Thinking, "S2"),
            (PartKind::Text, " two"),
            (called("a"), ""),
            (PartKind::Thinking, "S3"),
            (called("b"), ""),
        ] {
            say(&mut collector, kind, text);
        }
        let (_, entry) = collector.finish("m", false).expect("signed");
        let thought = |payload| Part::Thinking { text: "".into(), signature: Some(signature(payload)) };
        // The client joins the texts.
        let mut back = turn(Role::Assistant, vec![Part::text("é one two"), call("a", None), call("b", None)]);
        entry.clone().put_back(&mut back, Some(Family::Anthropic));
        let expected = [
            thought("S1"),
            Part::text("é one"),
            thought("S2"),
            Part::text(" two"),
            call("a", None),
            thought("S3"),
            call("b", None),
        ];
        assert_eq!(back.parts, expected);
        // Another text has no such places; the calls are the same.
        let mut other = turn(Role::Assistant, vec![Part::text("in short"), call("a", None), call("b", None)]);
        entry.put_back(&mut other, Some(Family::Anthropic));
        let expected =
            [thought("S1"), thought("S2"), Part::text("in short"), call("a", None), thought("S3"), call("b", None)];
        assert_eq!(other.parts, expected);
    }
}
