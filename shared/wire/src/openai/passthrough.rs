//! Passthrough: a Chat or Embeddings body goes up as it came, but for the model's name and, on a stream, the wish
//! for usage.

use bytes::Bytes;

use crate::{
    scan::RequestScan,
    splice::{Segments, Splice},
};

/// A body for the upstream.
#[derive(Clone, Debug)]
pub struct UpstreamBody {
    pub segments: Segments,
    /// The client did not ask for the usage chunk that the upstream will send.
    pub hide_usage: bool,
}

/// Splices the upstream's name of the model into a chat body and, on a stream, `stream_options.include_usage`.
pub fn upstream_body(body: Bytes, scan: &RequestScan<'_>, model: &str) -> UpstreamBody {
    let streams = scan.stream.as_ref().is_some_and(|stream| stream.value);
    let mut edits: Vec<(std::ops::Range<usize>, Bytes)> = Vec::with_capacity(2);
    if let Some(field) = &scan.model
        && field.value != model
    {
        edits.push((field.span.clone(), quoted(model)));
    }
    let mut hide_usage = false;
    if streams {
        match &scan.stream_options {
            None => {
                hide_usage = true;
                edits.push((
                    scan.inside..scan.inside,
                    Bytes::from_static(br#""stream_options":{"include_usage":true},"#),
                ));
            }
            Some(field) if field.value.is_null => {
                hide_usage = true;
                edits.push((field.span.clone(), Bytes::from_static(br#"{"include_usage":true}"#)));
            }
            Some(field) => match &field.value.include_usage {
                Some(asked) if asked.value => {}
                Some(refused) => {
                    hide_usage = true;
                    edits.push((refused.span.clone(), Bytes::from_static(b"true")));
                }
                None => {
                    hide_usage = true;
                    let wish: &[u8] =
                        if field.value.has_fields { br#""include_usage":true,"# } else { br#""include_usage":true"# };
                    let inside = field.span.start + 1;
                    edits.push((inside..inside, Bytes::from_static(wish)));
                }
            },
        }
    }
    edits.sort_by_key(|(span, _)| span.start);
    let mut splice = Splice::new(body);
    for (span, new) in edits {
        splice.replace(span, new);
    }
    UpstreamBody { segments: splice.into_segments(), hide_usage }
}

/// Replaces the model's name only: for operations that have no stream.
pub fn renamed_body(body: Bytes, scan: &RequestScan<'_>, model: &str) -> Segments {
    let mut splice = Splice::new(body);
    if let Some(field) = &scan.model
        && field.value != model
    {
        splice.replace(field.span.clone(), quoted(model));
    }
    splice.into_segments()
}

/// Model ids rarely need escapes; those that do get them.
pub(crate) fn quoted(text: &str) -> Bytes {
    let plain = text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if !plain {
        return serde_json::Value::from(text).to_string().into();
    }
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(text.as_bytes());
    quoted.push(b'"');
    quoted.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::scan;

    fn spliced(body: &str, model: &str) -> (String, bool) {
        let scan = scan(body.as_bytes()).expect("scanned");
        let upstream = upstream_body(Bytes::from(body.to_owned()), &scan, model);
        (String::from_utf8(upstream.segments.concat()).expect("text"), upstream.hide_usage)
    }

    #[test]
    fn only_the_model_changes_without_a_stream() {
        let (body, hide) = spliced(r#"{ "z":1.0,"model":"p/m" ,"messages":[]}"#, "m");
        assert_eq!((body.as_str(), hide), (r#"{ "z":1.0,"model":"m" ,"messages":[]}"#, false));
    }

    #[test]
    fn usage_is_always_asked_for_on_a_stream() {
        for (given, expected, hidden) in [
            (
                r#"{"stream":true,"model":"p/m"}"#,
                r#"{"stream_options":{"include_usage":true},"stream":true,"model":"m"}"#,
                true,
            ),
            (
                r#"{"stream_options":{},"model":"p/m","stream":true}"#,
                r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
                true,
            ),
            (
                r#"{"stream_options":{"x":1},"model":"p/m","stream":true}"#,
                r#"{"stream_options":{"include_usage":true,"x":1},"model":"m","stream":true}"#,
                true,
            ),
            (
                r#"{"stream_options":{"include_usage":false},"model":"p/m","stream":true}"#,
                r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
                true,
            ),
            (
                r#"{"stream_options":{"include_usage":true},"model":"p/m","stream":true}"#,
                r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
                false,
            ),
            (
                r#"{"stream_options":null,"model":"p/m","stream":true}"#,
                r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
                true,
            ),
        ] {
            assert_eq!(spliced(given, "m"), (expected.to_owned(), hidden), "{given}");
        }
    }

    #[test]
    fn a_model_name_with_quotes_is_escaped() {
        assert_eq!(spliced(r#"{"model":"p/m"}"#, "a\"b").0, r#"{"model":"a\"b"}"#);
    }
}
