//! JSON with a line per field, without touching the fields' order or a byte of a number or a string.

use std::fmt::Write as _;

/// Longest object or list that stays on one line.
const LINE: usize = 100;

/// Lays out one JSON text.
pub(crate) fn pretty(json: &str) -> String {
    let mut out = String::new();
    write(json.trim(), 0, &mut out);
    out
}

fn write(json: &str, depth: usize, out: &mut String) {
    let flat = flat(json);
    if !json.starts_with(['{', '[']) || flat.len() <= LINE {
        out.push_str(&flat);
        return;
    }
    let (open, close) = (&json[..1], &json[json.len() - 1..]);
    out.push_str(open);
    let items = items(&json[1..json.len() - 1]);
    for (number, item) in items.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(out, "{comma}\n{:width$}", "", width = (depth + 1) * 2);
        match key_end(item).filter(|_| open == "{") {
            Some(end) => {
                let _ = write!(out, "{}: ", &item[..end]);
                write(item[end + 1..].trim(), depth + 1, out);
            }
            None => write(item, depth + 1, out),
        }
    }
    let _ = write!(out, "\n{:width$}{close}", "", width = depth * 2);
}

/// The text on one line, with a space behind commas and colons.
fn flat(json: &str) -> String {
    let mut out = String::new();
    let mut string = false;
    let mut escaped = false;
    for c in json.chars() {
        if string {
            string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            out.push(c);
            continue;
        }
        match c {
            ' ' | '\n' | '\r' | '\t' => {}
            ',' | ':' => {
                out.push(c);
                out.push(' ');
            }
            c => {
                string = c == '"';
                out.push(c);
            }
        }
    }
    out
}

/// Splits at the commas of the top level.
fn items(inside: &str) -> Vec<&str> {
    let (mut depth, mut string, mut escaped, mut start) = (0, false, false, 0);
    let mut items = Vec::new();
    for (at, byte) in inside.bytes().enumerate() {
        if string {
            string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => {
                items.push(inside[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inside[start..].trim().is_empty() {
        items.push(inside[start..].trim());
    }
    items
}

/// Where the colon behind a field's name stands.
fn key_end(item: &str) -> Option<usize> {
    let mut escaped = false;
    let close = item.bytes().enumerate().skip(1).find_map(|(at, byte)| {
        let closes = byte == b'"' && !escaped;
        escaped = !escaped && byte == b'\\';
        closes.then_some(at)
    })?;
    item[close..].find(':').map(|colon| close + colon)
}

#[test]
fn order_numbers_and_strings_stay_as_they_are() {
    let json = r#"{"z":1.50,"a":["x,\"y\":{",{"b": 12345678901234567890}],"long":"0123456789012345678901234567890123456789012345678901234567890123456789"}"#;
    let text = pretty(json);
    assert_eq!(flat(&text), flat(json));
    assert!(
        text.starts_with("{\n  \"z\": 1.50,\n  \"a\": [\"x,\\\"y\\\":{\", {\"b\": 12345678901234567890}],\n"),
        "{text}"
    );
}
