//! What the upstream sends, made once.

use bytes::Bytes;

use super::dialect::Dialect;

/// Pieces of text in a stream.
pub(super) const CHUNKS: u32 = 200;
/// One of them.
pub(super) const TOKEN: &str = " token";

/// Bytes of an answer that is no stream, about.
const ANSWER: usize = 1024;

pub(super) struct Answers {
    pub(super) models: Bytes,
    chat: Script,
    messages: Script,
}

/// The answers of one dialect.
pub(super) struct Script {
    pub(super) document: Bytes,
    /// What comes before the text.
    pub(super) first: Vec<Bytes>,
    /// A piece of text.
    pub(super) chunk: Bytes,
    /// Finish reason, usage, terminator.
    pub(super) last: Vec<Bytes>,
    /// A few that real providers send, some of which a gateway passes on.
    pub(super) headers: &'static [(&'static str, &'static str)],
}

// === impl Answers ===

impl Answers {
    pub(super) fn new() -> Self {
        Self {
            models: Bytes::from_static(
                br#"{"object":"list","data":[{"id":"chat","object":"model"},{"id":"stream","object":"model"},{"id":"slow","object":"model"},{"id":"held","object":"model"}]}"#,
            ),
            chat: Script::chat(),
            messages: Script::messages(),
        }
    }

    /// What is sent to who asks in `dialect`.
    pub(super) fn of(&self, dialect: Dialect) -> &Script {
        if dialect == Dialect::Messages { &self.messages } else { &self.chat }
    }
}

// === impl Script ===

impl Script {
    fn chat() -> Self {
        const HEAD: &str = r#"{"id":"chatcmpl-0123456789abcdefghijklmnop","object":"chat.completion","created":1735689600,"model":"chat","choices":[{"index":0,"message":{"role":"assistant","content":""#;
        const TAIL: &str = r#"","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":230,"completion_tokens":140,"total_tokens":370,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":"fp_bench"}"#;
        let event = |choices: &str, usage: &str| {
            let text = format!(
                "data: {{\"id\":\"chatcmpl-0123456789abcdefghijklmnop\",\"object\":\"chat.completion.chunk\",\
                 \"created\":1735689600,\"model\":\"stream\",\"system_fingerprint\":\"fp_bench\",\
                 \"choices\":{choices},\"usage\":{usage}}}\n\n"
            );
            Bytes::from(text)
        };
        let delta = |delta: &str, finish: &str| {
            format!("[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]")
        };
        let usage = "{\"prompt_tokens\":230,\"completion_tokens\":200,\"total_tokens\":430}";
        Self {
            document: document(HEAD, TAIL),
            first: Vec::new(),
            chunk: event(&delta(&format!("{{\"content\":\"{TOKEN}\"}}"), "null"), "null"),
            last: vec![
                event(&delta("{}", "\"stop\""), "null"),
                event("[]", usage),
                Bytes::from_static(b"data: [DONE]\n\n"),
            ],
            headers: &[
                ("x-request-id", "req_0123456789abcdef0123456789abcdef"),
                ("openai-processing-ms", "12"),
                ("openai-version", "2020-10-01"),
                ("x-ratelimit-remaining-requests", "9999"),
                ("x-ratelimit-remaining-tokens", "149984"),
            ],
        }
    }

    fn messages() -> Self {
        const HEAD: &str = r#"{"id":"msg_0123456789abcdefghijklmn","type":"message","role":"assistant","model":"chat","content":[{"type":"text","text":""#;
        const TAIL: &str = r#""}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":230,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":140,"service_tier":"standard"}}"#;
        let event =
            |kind: &str, fields: &str| Bytes::from(format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{fields}}}\n\n"));
        Self {
            document: document(HEAD, TAIL),
            first: vec![
                event(
                    "message_start",
                    r#","message":{"id":"msg_0123456789abcdefghijklmn","type":"message","role":"assistant","model":"stream","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":230,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1,"service_tier":"standard"}}"#,
                ),
                event("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#),
                event("ping", ""),
            ],
            chunk: event(
                "content_block_delta",
                &format!(r#","index":0,"delta":{{"type":"text_delta","text":"{TOKEN}"}}"#),
            ),
            last: vec![
                event("content_block_stop", r#","index":0"#),
                event(
                    "message_delta",
                    r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":230,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":200}"#,
                ),
                event("message_stop", ""),
            ],
            headers: &[
                ("request-id", "req_0123456789abcdefghijklmn"),
                ("anthropic-organization-id", "01234567-89ab-cdef-0123-456789abcdef"),
                ("anthropic-ratelimit-requests-remaining", "9999"),
                ("anthropic-ratelimit-tokens-remaining", "149984"),
                ("anthropic-ratelimit-tokens-reset", "2030-01-01T00:00:00Z"),
            ],
        }
    }

    /// What a stream with so many pieces of text sends as its `at`th write.
    pub(super) fn event(&self, at: u32, chunks: u32) -> Option<&Bytes> {
        let at = at as usize;
        let (first, text) = (self.first.len(), chunks as usize);
        match at.checked_sub(first) {
            None => self.first.get(at),
            Some(at) if at < text => Some(&self.chunk),
            Some(at) => self.last.get(at - text),
        }
    }

    /// Writes until the last piece of text has gone out.
    pub(super) fn with_text(&self, chunks: u32) -> u32 {
        u32::try_from(self.first.len()).unwrap_or(u32::MAX).saturating_add(chunks)
    }
}

/// About [`ANSWER`] bytes, whatever stands around the text.
fn document(head: &str, tail: &str) -> Bytes {
    let text = "Lorem ipsum dolor sit amet, consectetur adipiscing elit. ".repeat(ANSWER / 50);
    format!("{head}{}{tail}", &text[..ANSWER - head.len() - tail.len()]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_their_sizes_and_are_json() {
        let answers = Answers::new();
        for dialect in [Dialect::Chat, Dialect::Messages] {
            let script = answers.of(dialect);
            assert_eq!(script.document.len(), ANSWER);
            assert!(dialect.text_of_document(&script.document).expect("JSON").starts_with("Lorem ipsum"));
        }
        assert!(serde_json::from_slice::<serde_json::Value>(&answers.models).is_ok());
    }

    #[test]
    fn a_stream_says_all_and_ends() {
        let answers = Answers::new();
        for dialect in [Dialect::Chat, Dialect::Messages] {
            let script = answers.of(dialect);
            let events: Vec<&Bytes> = (0..).map_while(|at| script.event(at, CHUNKS)).collect();
            assert_eq!(events.len(), script.first.len() + CHUNKS as usize + script.last.len());
            let stream = events.into_iter().map(|event| &event[..]).collect::<Vec<_>>().concat();
            assert_eq!(dialect.text_of_stream(&stream).expect("events"), TOKEN.repeat(CHUNKS as usize));
            assert!(dialect.is_end_of_stream(&stream));
            assert_eq!(script.event(script.with_text(CHUNKS), CHUNKS), script.last.first());
        }
    }
}
