//! A provider's own words about what went wrong, in a stream that passes as it came. What a client must not see of them is
//! taken out, and nothing else is touched.

use bytes::Bytes;
use memchr::memchr2;
use omniroute_providers::sanitise;

/// Keys of texts at the top of an event that is an error.
const TOP: [&str; 6] = ["message", "detail", "details", "msg", "reason", "description"];
/// In everything below it each text is the provider's.
const ERROR: &str = "error";

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
    let (mut copied, mut at) = (0, 0);
    // Per open bracket, whether what is inside belongs to an error; and the key that the next value has.
    let mut open: Vec<bool> = Vec::new();
    let mut key = String::new();
    while let Some(byte) = events.get(at) {
        match byte {
            b'{' | b'[' => open.push(open.last() == Some(&true) || key == ERROR),
            b'}' | b']' => {
                open.pop();
                key.clear();
            }
            b'"' => {
                let Some(end) = string_end(events, at) else { break };
                let text = serde_json::from_slice::<String>(&events[at..end]).unwrap_or_default();
                if events[end..].trim_ascii_start().starts_with(b":") {
                    key = text;
                } else if open.last() == Some(&true) || key == ERROR || (open.len() == 1 && TOP.contains(&&*key)) {
                    let shown = sanitise(&text, hidden);
                    if shown != text.trim() {
                        out.extend_from_slice(&events[copied..at]);
                        out.extend_from_slice(serde_json::Value::from(shown).to_string().as_bytes());
                        copied = end;
                    }
                }
                at = end;
                continue;
            }
            // An event ends, however its brackets stood.
            b'\n' | b'\r' => {
                open.clear();
                key.clear();
            }
            _ => {}
        }
        at += 1;
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
                r#"event: error¶data: {"type":"error","error":{"x":1.0,"mess\u0061ge":"key sk-proj-abcdef123456 at \"http://a.b/c\""}}¶¶"#,
                r#"event: error¶data: {"type":"error","error":{"x":1.0,"mess\u0061ge":"key [redacted] at \"[url]\""}}¶¶"#,
            ),
            (r#"{"error":"cannot reach 10.1.2.3:80" }¶"#, r#"{"error":"cannot reach [address]" }¶"#),
            (
                r#"data: {"error":{"metadata":{"raw":"hunter2hunter2"},"details":[{"reason":"https://a.b"}]}}¶¶"#,
                r#"data: {"error":{"metadata":{"raw":"[redacted]"},"details":[{"reason":"[url]"}]}}¶¶"#,
            ),
            (
                r#"data: {"message":"see http://a.b","code":"x"}¶¶data: {"a":{"message":"see http://a.b"}}¶¶"#,
                r#"data: {"message":"see [url]","code":"x"}¶¶data: {"a":{"message":"see http://a.b"}}¶¶"#,
            ),
            (
                r#"data: {"response":{"metadata":{"message":"see http://a.b"},"error":{"message":"at http://a.b"}}}¶¶"#,
                r#"data: {"response":{"metadata":{"message":"see http://a.b"},"error":{"message":"at [url]"}}}¶¶"#,
            ),
        ] {
            let [event, shown] = [event, shown].map(|text| text.replace('¶', "\n"));
            let mut out = vec![Bytes::from_static(b"data: 1\n\n")];
            let (first, second) = event.split_at(10);
            out.extend([first, second].map(|piece| Bytes::copy_from_slice(piece.as_bytes())));
            redact(&mut out, 1, "hunter2hunter2");
            assert_eq!(String::from_utf8_lossy(&out.concat()), format!("data: 1\n\n{shown}"), "{event}");
        }
        for event in
            ["data: {\"error\" : {\"message\":\"no \\u0041\"}, \"id\":\"sk-proj-abcdef123456\"}\n\n", "data: \"cut"]
        {
            assert_eq!(cleaned(event.as_bytes(), ""), None, "{event}");
        }
    }
}
