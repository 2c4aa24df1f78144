//! Passthrough: a body goes up as it came. The model is in the path, so nothing is spliced; what routing needs is
//! found in one pass.

use memchr::memmem;

use super::decode_response::Body;
use crate::{
    json_tail::AnswerFacts,
    json_walk::Walk,
    scan::{MAX_DEPTH, RequestScan, ScanError},
};

/// Scans a body: the prompt (`contents`), the cap on the answer and the number of answers. The path says the model and
/// whether the answer is streamed.
///
/// # Errors
/// When it is not a JSON object that can be forwarded.
pub fn scan_body(body: &[u8]) -> Result<RequestScan<'_>, ScanError> {
    let text = simdutf8::compat::from_utf8(body).map_err(|error| ScanError::NotUtf8 { at: error.valid_up_to() })?;
    let mut walk = Walk::new(text, MAX_DEPTH);
    if !walk.enter_object()? {
        walk.skip_value()?;
        walk.finish()?;
        return Err(ScanError::NotAnObject);
    }
    let mut scan = RequestScan { inside: walk.position(), ..RequestScan::default() };
    let mut configured = false;
    while let Some(key) = walk.next_key()? {
        scan.has_fields = true;
        match key.as_ref() {
            // Of two fields with one name the upstream may take either; what is counted must be what is sent.
            "contents" if scan.prompt.is_some() => return Err(ScanError::Duplicate { name: key.into_owned() }),
            "contents" => {
                let start = walk.value_start()?;
                walk.skip_value()?;
                scan.prompt = Some(start..walk.position());
            }
            "generationConfig" | "generation_config" if configured => {
                return Err(ScanError::Duplicate { name: key.into_owned() });
            }
            "generationConfig" | "generation_config" => {
                configured = true;
                config(&mut walk, &mut scan)?;
            }
            _ => walk.skip_value()?,
        }
    }
    walk.finish()?;
    Ok(scan)
}

fn config<'a>(walk: &mut Walk<'a>, scan: &mut RequestScan<'a>) -> Result<(), ScanError> {
    if !walk.enter_object()? {
        return Ok(walk.skip_value()?);
    }
    while let Some(key) = walk.next_key()? {
        let start = walk.value_start()?;
        walk.skip_value()?;
        // Numbers may be quoted, and `8192.0` is a whole number too.
        let value = walk.slice(&(start..walk.position())).trim_matches('"');
        let number = value.strip_suffix(".0").unwrap_or(value).parse().ok();
        match key.as_ref() {
            "maxOutputTokens" | "max_output_tokens" => scan.max_tokens = number,
            "candidateCount" | "candidate_count" => scan.n = number,
            _ => {}
        }
    }
    Ok(())
}

/// What an answer that is passed through says about itself: for [`crate::json_tail::UsageTail::facts_by`].
pub fn answer_facts(text: &[u8]) -> AnswerFacts {
    // The arguments of a call are JSON in which the same words may stand: such an answer is read, not searched.
    if memmem::find(text, b"\"functionCall\"").is_some()
        && let Ok(body) = serde_json::from_slice::<Body<'_>>(text)
    {
        return facts_of(body);
    }
    let usage = last_value(text, b"\"usageMetadata\"").filter(|value| value.starts_with(b"{"));
    AnswerFacts { usage: usage.and_then(super::usage::read_usage), finish_reason: finish_word(text) }
}

fn facts_of(body: Body<'_>) -> AnswerFacts {
    let blocked = body.prompt_feedback.and_then(|raw| finish_word(raw.get().as_bytes()));
    let mut reasons = body.candidates.unwrap_or_default().0.into_iter().filter_map(|candidate| candidate.finish_reason);
    let usage = body.usage.map(|usage| usage.disjoint()).filter(|usage| !usage.is_unknown());
    AnswerFacts { usage, finish_reason: reasons.next_back().map(|word| word.0.into_owned()).or(blocked) }
}

/// The finish reason, or why the prompt was blocked.
fn finish_word(text: &[u8]) -> Option<String> {
    let value = last_value(text, b"\"finishReason\"").or_else(|| last_value(text, b"\"blockReason\""))?;
    let word = value.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', word)?;
    std::str::from_utf8(&word[..end]).ok().map(str::to_owned)
}

/// What stands behind the last occurrence of a key. A quoted word cannot be found inside a string, where its quotes would
/// be escaped.
fn last_value<'t>(text: &'t [u8], key: &[u8]) -> Option<&'t [u8]> {
    let mut end = text.len();
    loop {
        let at = memmem::rfind(&text[..end], key)?;
        if let [b':', value @ ..] = text[at + key.len()..].trim_ascii_start() {
            return Some(value.trim_ascii_start());
        }
        end = at;
    }
}
