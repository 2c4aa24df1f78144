//! A provider's own words about what went wrong, in a stream that passes as it came. What a client must not see of them is
//! taken out, and nothing else is touched.

use bytes::Bytes;
use memchr::{memchr, memchr2};
use omniroute_providers::sanitise;

/// Keys that hold texts in every provider's errors.
const TEXTS: [&[u8]; 5] = [b"\"message\"", b"\"error\"", b"\"detail\"", b"\"raw\"", b"\"Message\""];

/// Cleans the error in the events that `out` has from `from` on. `hidden`: the secrets of the connection.
pub(super) fn redact(out: &mut Vec<Bytes>, from: usize, hidden: &str) {
    let whole = out[from..].concat();
    if let Some(clean) = cleaned(&whole, hidden) {
        out.truncate(from);
        out.push(clean.into());
    }
}

/// `None`: there is nothing to take out.
fn cleaned(events: &[u8], hidden: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    // Up to where it has been copied, and the key that the next value belongs to.
    let (mut copied, mut at, mut key) = (0, 0, &b""[..]);
    while let Some(found) = memchr(b'"', &events[at..]) {
        let start = at + found;
        let Some(end) = string_end(events, start) else { break };
        at = end;
        let literal = &events[start..end];
        if events[end..].trim_ascii_start().starts_with(b":") {
            key = literal;
        } else if TEXTS.contains(&key)
            && let Ok(text) = serde_json::from_slice::<String>(literal)
        {
            let shown = sanitise(&text, hidden);
            if shown != text.trim() {
                out.extend_from_slice(&events[copied..start]);
                out.extend_from_slice(serde_json::Value::from(shown).to_string().as_bytes());
                copied = end;
            }
        }
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(&events[copied..]);
    Some(out)
}

/// Just behind the closing quote of the string that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_client_must_not_see_goes() {
        for (event, shown) in [
            (
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"x\":1.0,\"message\":\"key sk-proj-abcdef123456 at \\\"http://a.b/c\\\"\"}}\n\n",
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"x\":1.0,\"message\":\"key [redacted] at \\\"[url]\\\"\"}}\n\n",
            ),
            ("{\"error\":\"cannot reach 10.1.2.3:80\" }\n", "{\"error\":\"cannot reach [address]\" }\n"),
            (
                "data: {\"error\":{\"metadata\":{\"raw\":\"hunter2hunter2\"}}}\n\n",
                "data: {\"error\":{\"metadata\":{\"raw\":\"[redacted]\"}}}\n\n",
            ),
        ] {
            let mut out = vec![Bytes::from_static(b"data: 1\n\n")];
            let (first, second) = event.split_at(10);
            out.extend([first, second].map(|piece| Bytes::copy_from_slice(piece.as_bytes())));
            redact(&mut out, 1, "hunter2hunter2");
            assert_eq!(out.concat(), [&b"data: 1\n\n"[..], shown.as_bytes()].concat(), "{event}");
        }
        for event in
            ["data: {\"error\" : {\"message\":\"no \\u0041\", \"id\":\"sk-proj-abcdef123456\"}}\n\n", "data: \"cut"]
        {
            assert_eq!(cleaned(event.as_bytes(), ""), None, "{event}");
        }
    }
}
