//! Passthrough: a body goes up as it came, but for the model's name and, where the conversation is kept here, the
//! wish for what the next turn needs. Usage always comes without asking.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;
use serde_json::value::RawValue;

use super::decode_request::ENCRYPTED_REASONING;
use crate::{
    openai::quoted,
    scan::RequestScan,
    splice::{Segments, Splice},
};

/// Splices the upstream's name of the model into a body. `keeps_thoughts`: asks for thoughts in the form in which they can
/// be sent back, which an upstream that keeps conversations itself does not send.
pub fn upstream_body(body: Bytes, scan: &RequestScan<'_>, model: &str, keeps_thoughts: bool) -> Segments {
    let mut edits: Vec<(Range<usize>, Bytes)> = Vec::with_capacity(2);
    if let Some(field) = scan.model.as_ref().filter(|field| field.value != model) {
        edits.push((field.span.clone(), quoted(model)));
    }
    if keeps_thoughts {
        edits.extend(with_thoughts(&body, scan));
        edits.sort_by_key(|(span, _)| span.start);
    }
    let mut splice = Splice::new(body);
    for (span, new) in edits {
        splice.replace(span, new);
    }
    splice.into_segments()
}

/// What has to be written where, so that thoughts come encrypted.
fn with_thoughts(body: &[u8], scan: &RequestScan<'_>) -> Option<(Range<usize>, Bytes)> {
    #[derive(serde::Deserialize)]
    struct Included<'a> {
        #[serde(borrow)]
        include: Option<&'a RawValue>,
    }

    // In a text its quotes would be escaped: it is a key or a whole string somewhere, or it is not there at all.
    let given =
        memmem::find(body, b"\"include\"").and_then(|_| serde_json::from_slice::<Included<'_>>(body).ok()?.include);
    let Some(given) = given else {
        let comma = if scan.has_fields { "," } else { "" };
        let field = format!("\"include\":[\"{ENCRYPTED_REASONING}\"]{comma}");
        return Some((scan.inside..scan.inside, field.into()));
    };
    let mut words: Vec<String> = serde_json::from_str(given.get()).ok()?;
    if words.iter().any(|word| word == ENCRYPTED_REASONING) {
        return None;
    }
    words.push(ENCRYPTED_REASONING.to_owned());
    let start = (given.get().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    Some((start..start + given.get().len(), serde_json::to_vec(&words).ok()?.into()))
}
