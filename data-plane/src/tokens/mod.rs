//! How many tokens a prompt has, counted here.
//!
//! By the model's own [`tokenizer`] where that is public, by an estimate where it is not; what is no text counts by the
//! formulas of [`media`]. [`guess`] goes by length alone, where a number is needed that costs next to nothing.

mod media;
mod tokenizer;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_wire::{
    anthropic,
    codec::{DecodeContext, WireError},
    gemini,
    ir::{OutputFormat, Part, Request, Source as MediaSource, Tool, ToolKind},
    responses,
    translate::Dialect,
};
use tokio::sync::Semaphore;

use self::tokenizer::Measure;
use crate::seal::NoSealer;

/// Larger prompts are counted off the runtime, so many at once.
const LARGE: usize = 64 * 1024;
const AT_ONCE: usize = 2;

/// What vendors put around a message, around a tool, and before the answer. OpenAI's figures.
const MESSAGE: u64 = 3;
const TOOL: u64 = 8;
const ANSWER: u64 = 3;

/// Counts prompts. One for the whole process.
pub(crate) struct Counter {
    places: Arc<Semaphore>,
}

/// Bytes of a text per token, about.
const BYTES_PER_TOKEN: u64 = 4;

/// A count and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) tokens: u64,
    pub(crate) source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Provider,
    /// The model's own tokenizer; what vendors add around messages and tools is estimated.
    Tokenizer,
    Estimate,
}

/// How a text is counted.
#[derive(Clone, Copy)]
enum Ruler {
    Tokenizer,
    /// By its length: a guess that costs next to nothing.
    Length,
}

/// Adds up the tokens of one request.
struct Sum {
    measure: Measure,
    ruler: Ruler,
    /// By the vocabulary, before the model's factor.
    text: u64,
    /// What is no text, and what is put around.
    beside: u64,
    has_media: bool,
}

// === impl Counter ===

impl Counter {
    pub(crate) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Counts the tokens of a request to `model`.
    ///
    /// # Errors
    /// When the request is none.
    pub(crate) async fn count(&self, dialect: &Dialect, body: &Bytes, model: &str) -> Result<Count, GatewayError> {
        let measure = Measure::of(model);
        if body.len() <= LARGE && measure.is_loaded() {
            return sum(dialect, body, measure);
        }
        let failed = |_| GatewayError::new(ErrorClass::Internal, "internal", "the tokens could not be counted");
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| failed(()))?;
        let (dialect, body) = (dialect.clone(), body.clone());
        let counting = tokio::task::spawn_blocking(move || {
            // Held to the end, also when nobody waits for the count any more.
            let _place = place;
            sum(&dialect, &body, measure)
        });
        counting.await.map_err(|_| failed(()))?
    }
}

/// Reads a request to count.
pub(crate) fn decode<'a>(
    dialect: &'a Dialect,
    body: &'a [u8],
    context: &DecodeContext<'_>,
) -> Result<Request<'a>, WireError> {
    match dialect {
        Dialect::Gemini { model, .. } => gemini::decode_count_request(body, model, context),
        Dialect::Responses => responses::decode_request(body, context),
        _ => anthropic::decode_count_tokens(body, context),
    }
}

fn sum(dialect: &Dialect, body: &[u8], measure: Measure) -> Result<Count, GatewayError> {
    let request = decode(dialect, body, &DecodeContext { sealer: &NoSealer, answer: "" })?;
    let mut sum = Sum { measure, ruler: Ruler::Tokenizer, text: 0, beside: ANSWER, has_media: false };
    sum.request(&request);
    let tokens = (sum.text * measure.percent).div_ceil(100) + sum.beside;
    let source = if measure.is_exact() && !sum.has_media { Source::Tokenizer } else { Source::Estimate };
    Ok(Count { tokens, source })
}

/// A guess at the tokens of a prompt, by the length of what a model reads of it: what is billed where the provider does
/// not tell. `None` when the request is none.
pub(crate) fn guess(dialect: &Dialect, body: &[u8]) -> Option<u64> {
    let request = dialect.decode_request(body, &DecodeContext { sealer: &NoSealer, answer: "" }).ok()?;
    let mut sum =
        Sum { measure: Measure::of(&request.model), ruler: Ruler::Length, text: 0, beside: ANSWER, has_media: false };
    sum.request(&request);
    Some(sum.text.div_ceil(BYTES_PER_TOKEN) + sum.beside)
}

// === impl Sum ===

impl Sum {
    fn request(&mut self, request: &Request<'_>) {
        for system in &request.system {
            self.beside += MESSAGE;
            self.text(&system.text);
        }
        for turn in &request.turns {
            self.beside += MESSAGE;
            turn.name.iter().for_each(|name| self.text(name));
            self.parts(&turn.parts);
        }
        for tool in &request.tools {
            self.tool(tool);
        }
        for tool in &request.vendor_tools {
            self.beside += TOOL;
            self.text(tool.raw.as_str());
        }
        if let OutputFormat::Schema { schema, .. } = &request.output {
            self.text(schema.as_str());
        }
    }

    fn text(&mut self, text: &str) {
        self.text += match self.ruler {
            Ruler::Tokenizer => self.measure.tokenizer().count(text) as u64,
            Ruler::Length => text.len() as u64,
        };
    }

    fn tool(&mut self, tool: &Tool<'_>) {
        self.beside += TOOL;
        self.text(&tool.name);
        tool.description.iter().for_each(|description| self.text(description));
        match &tool.kind {
            ToolKind::Function { schema, .. } => schema.iter().for_each(|schema| self.text(schema.as_str())),
            ToolKind::Custom { grammar } => grammar.iter().for_each(|grammar| self.text(grammar.as_str())),
        }
    }

    fn parts(&mut self, parts: &[Part<'_>]) {
        for part in parts {
            match part {
                Part::Text { text, .. } | Part::Thinking { text, .. } | Part::Refusal { text } => self.text(text),
                Part::RedactedThinking { data } => self.beside += data.payload.len() as u64 / 6,
                Part::ToolCall { name, arguments, .. } => {
                    self.beside += TOOL;
                    self.text(name);
                    self.text(arguments);
                }
                Part::ToolResult { parts, .. } => {
                    self.beside += TOOL;
                    self.parts(parts);
                }
                Part::ServerTool { raw, .. } => self.text(raw.as_str()),
                Part::Image { source, detail, .. } => {
                    self.medium(media::image(self.measure.family, source, detail.as_deref()));
                }
                Part::Audio { source, .. } => self.medium(media::audio(self.measure.family, source)),
                Part::Video { source } => self.medium(media::video(source)),
                Part::Document { source, name, context, .. } => {
                    name.iter().chain(context).for_each(|text| self.text(text));
                    self.document(source);
                }
            }
        }
    }

    fn document(&mut self, source: &MediaSource<'_>) {
        match source {
            MediaSource::Text(text) => self.text(text),
            MediaSource::Inline { media_type, data } if media_type.starts_with("text/") => {
                let text = STANDARD.decode(data.as_bytes()).unwrap_or_default();
                self.text(&String::from_utf8_lossy(&text));
            }
            source => self.medium(media::document(source)),
        }
    }

    fn medium(&mut self, tokens: u64) {
        self.has_media = true;
        self.beside += tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn count(model: &str, body: &str) -> Count {
        Counter::new()
            .count(&Dialect::Messages, &Bytes::copy_from_slice(body.as_bytes()), model)
            .await
            .expect("counted")
    }

    #[tokio::test]
    async fn everything_that_a_model_reads_counts() {
        let plain = count("gpt-4o", r#"{"model":"m","messages":[{"role":"user","content":"hello world"}]}"#).await;
        assert_eq!(plain, Count { tokens: 2 + MESSAGE + ANSWER, source: Source::Tokenizer });
        let with_more = r#"{"model":"m","system":"Be brief.","messages":[{"role":"user","content":"hello world"}],
            "tools":[{"name":"get_weather","description":"The weather of a place.","input_schema":{"type":"object"}}]}"#;
        let more = count("gpt-4o", with_more).await;
        assert!(more.tokens > plain.tokens + MESSAGE + TOOL + 8, "{more:?}");
        let claude = count("claude-sonnet-4-5", with_more).await;
        assert!(claude.tokens > more.tokens && claude.source == Source::Estimate, "{claude:?}");
    }

    #[test]
    fn a_guess_goes_by_what_a_model_reads_and_not_by_the_json_around_it() {
        let text = "How many words are in this?";
        let body = format!(
            r#"{{"model":"mock/gpt","stream":true,"stream_options":{{"include_usage":true}},"temperature":0.25,"metadata":{{"trace":"0123456789abcdef0123456789abcdef"}},"messages":[{{"role":"user","content":"{text}"}}]}}"#
        );
        let guessed = guess(&Dialect::Chat, body.as_bytes()).expect("a request");
        assert_eq!(guessed, (text.len() as u64).div_ceil(4) + MESSAGE + ANSWER);
        assert_eq!(guess(&Dialect::Chat, b"{"), None);
    }

    #[tokio::test]
    async fn media_count_by_formula_and_make_it_an_estimate() {
        let image = r#"{"type":"image","source":{"type":"url","url":"https://a.example/1.png"}}"#;
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{image}]}}]}}"#);
        assert_eq!(count("gpt-4o", &body).await, Count { tokens: 765 + MESSAGE + ANSWER, source: Source::Estimate });
    }

    #[tokio::test]
    async fn a_long_prompt_is_counted_off_the_runtime_in_a_time_that_grows_with_it() {
        // What makes simple tokenizers take hours: a long run without a place to cut it.
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "a".repeat(1 << 20));
        let counting = tokio::time::timeout(std::time::Duration::from_secs(60), count("gpt-4o", &body));
        let counted = counting.await.expect("in time");
        assert!(counted.tokens > 10_000, "{counted:?}");
    }
}
