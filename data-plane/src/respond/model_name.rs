//! The model's name at the start of an Anthropic stream that passes as it came.
//!
//! Claude Code sends thoughts back only to the model that it got them from, and goes by the name in the answer: under the
//! provider's own name for the model, a tool loop loses its signed thoughts and the provider refuses to go on.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

static START: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("message_start"));
static MODEL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"model\""));

/// Calls the model as the client did. `ready` is the beginning of the stream; where the event was cut in two before the
/// name, it stays.
pub(super) fn rename(ready: &mut [Bytes], requested: &str) {
    let Some(first) = ready.iter_mut().find(|piece| START.find(piece).is_some()) else { return };
    let Some((start, end)) = value_of_model(first) else { return };
    let Ok(name) = serde_json::to_string(requested) else { return };
    *first = [&first[..start], name.as_bytes(), &first[end..]].concat().into();
}

/// Where the value lies, quotes included. The event has no content yet, so that the first such key is the one.
fn value_of_model(event: &[u8]) -> Option<(usize, usize)> {
    let skip = |mut at: usize| {
        while event.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    // A value may read like the key, but no colon follows it.
    let colon =
        MODEL.find_iter(event).map(|key| skip(key + MODEL.needle().len())).find(|at| event.get(*at) == Some(&b':'))?;
    let start = skip(colon + 1);
    let inside = (event.get(start) == Some(&b'"')).then_some(start + 1)?;
    let length = event[inside..].iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    // No vendor's model has a name that needs escapes.
    (event[inside + length] == b'"').then_some((start, inside + length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(pieces: &[&str]) -> String {
        let mut ready: Vec<Bytes> = pieces.iter().map(|piece| Bytes::from(piece.as_bytes().to_vec())).collect();
        rename(&mut ready, "prefix/claude \"x\"");
        String::from_utf8(ready.concat()).expect("text")
    }

    #[test]
    fn only_the_name_is_another() {
        let event =
            "event: message_start\ndata: {\"message\":{\"id\":\"model\", \"model\" : \"claude\",\"content\":[]}}\n\n";
        assert_eq!(renamed(&[event]), event.replace("\"claude\"", r#""prefix/claude \"x\"""#));
        assert_eq!(renamed(&[": hello\n\n", event]), format!(": hello\n\n{}", renamed(&[event])));
    }

    #[test]
    fn what_is_no_start_or_is_cut_stays() {
        for event in [
            "event: ping\ndata: {\"model\":\"claude\"}\n\n",
            "event: message_start\ndata: {\"message\":{\"model\":\"cla",
            "event: message_start\ndata: {\"message\":{\"model\":7}}\n\n",
            "event: message_start\ndata: {\"message\":{\"model\"",
        ] {
            assert_eq!(renamed(&[event]), event);
        }
    }
}
