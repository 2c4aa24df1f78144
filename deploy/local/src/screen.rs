//! What a command shows: lines and tables for people, one JSON document for programs.
//!
//! Much of it was written by others: names of keys, models of providers, what providers say is wrong. What steers a terminal
//! in it is shown and not obeyed.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    json: bool,
}

// === impl Screen ===

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// One line, unless programs read.
    pub(crate) fn line(self, line: &str) {
        if !self.json {
            print(&harmless(line));
        }
    }

    /// Columns as wide as their widest cell, the first row being the head.
    pub(crate) fn table<const N: usize>(self, head: [&str; N], rows: &[[String; N]]) {
        if !self.json {
            print(&table(head, rows));
        }
    }

    /// The one document that programs read.
    pub(crate) fn json(self, value: &Value) {
        if self.json {
            print(&document(value));
        }
    }

    /// Text of ours that is the same for people and programs.
    pub(crate) fn text(text: &str) {
        print(text);
    }

    /// A failure, on standard error.
    pub(crate) fn error(failure: &Failure) {
        let is_json = std::env::args().any(|argument| argument == "--json");
        let mut stderr = std::io::stderr().lock();
        let _ = if is_json {
            let error = json!({ "error": { "code": failure.code(), "message": failure.to_string() } });
            writeln!(stderr, "{}", document(&error))
        } else {
            let text = failure.to_string();
            let lines: Vec<_> = text.split('\n').map(harmless).collect();
            writeln!(stderr, "omniroute: {}", lines.join("\n"))
        };
    }

    /// Something to know that does not stop the command, on standard error.
    pub(crate) fn warning(text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "omniroute: warning: {}", harmless(text));
    }

    /// What a person should know of something that standard output holds alone, for `$(…)`: on standard error, unless
    /// programs read.
    pub(crate) fn aside(self, text: &str) {
        if !self.json {
            let _ = writeln!(std::io::stderr().lock(), "omniroute: {}", harmless(text));
        }
    }
}

/// A reader that went away (`| head`) is no error.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{}", text.trim_end_matches('\n'));
}

/// Whether a character steers a terminal, or turns the direction of what is read, instead of being shown.
pub(crate) fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A line in which such characters stand as `\u{1b}`.
fn harmless(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for character in line.chars() {
        if steers(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A document in which such characters are escaped, also those that JSON would let pass.
fn document(value: &Value) -> String {
    let text = format!("{value:#}");
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // Between its strings, the document has lines.
        if steers(character) && character != '\n' {
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| harmless(cell))).collect();
    let mut widths = head.map(|cell| cell.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(head)).chain(body).collect::<Vec<_>>().join("\n")
}

/// A field of a JSON object as text; empty when it is missing or null.
pub(crate) fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A list field of a JSON object; empty when it is missing.
pub(crate) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A terminal that does not show what is typed; it does again when this is dropped.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        unseen.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &unseen).ok()?;
        Some(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// The next line of standard input, a secret: at a terminal it is asked for by `what` it is, and not shown.
pub(crate) fn secret_line(flag: &str, what: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    let _unseen = if stdin.is_terminal() {
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "{what}: ").and_then(|()| stderr.flush());
        Unseen::begin()
    } else {
        None
    };
    first_line(&mut stdin.lock(), flag)
}

/// The first line of an input, for what should not stand on a command line. `flag` asked for it.
fn first_line(input: &mut impl std::io::BufRead, flag: &str) -> Result<String, Failure> {
    let mut line = String::new();
    input.read_line(&mut line).map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    match line.trim() {
        "" => Err(Failure::new(Exit::Usage, format!("{flag}: the first line of standard input is empty"))),
        text => Ok(text.to_owned()),
    }
}

/// One word for a POSIX shell.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-:@%+=,".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_path_does_not_end_the_word() {
        assert_eq!(quoted("/home/o'brien/k"), r"'/home/o'\''brien/k'");
        assert_eq!(quoted("/home/me/.omniroute"), "/home/me/.omniroute");
        assert_eq!(quoted("~/x"), "'~/x'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_secret_from_standard_input_is_its_first_line() {
        assert_eq!(first_line(&mut "sk-1 \nrest".as_bytes(), "--x").expect("a key"), "sk-1");
        assert_eq!(first_line(&mut "\n".as_bytes(), "--x").expect_err("empty").exit(), Exit::Usage);
    }

    #[test]
    fn what_others_wrote_is_shown_and_steers_nothing() {
        assert_eq!(harmless("a\u{1b}[2Jb\n\u{9b}c\u{202e}d"), "a\\u{1b}[2Jb\\u{a}\\u{9b}c\\u{202e}d");
        assert_eq!(harmless("grüße, 世界 🦀"), "grüße, 世界 🦀");
        let rows = [["\u{1b}[1m\nid".to_owned(), "x".to_owned()]];
        assert_eq!(table(["ID", "N"], &rows).lines().count(), 2, "a cell makes no line of its own");
        assert!(!table(["ID", "N"], &rows).contains('\u{1b}'));
    }

    #[test]
    fn a_document_keeps_its_values_and_steers_nothing() {
        let value = json!({ "name": "a\u{1b}b\u{7f}\u{9b}\u{202e}\nc", "list": ["ü"] });
        let shown = document(&value);
        assert!(!shown.chars().any(|character| steers(character) && character != '\n'), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON"), value);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "1".to_owned()], ["längst".to_owned(), "2".to_owned()]];
        assert_eq!(table(["ID", "N"], &rows), "ID      N\na       1\nlängst  2");
    }
}
