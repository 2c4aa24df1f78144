//! Embeddings: whatever a client speaks, over whatever an upstream speaks.
//!
//! OpenAI's form stands in the middle: [`encode_request`] brings a client's body there and from there to the upstream, and
//! [`EmbeddingsContext::answer`] takes the same way back. Where both sides speak one format, its own fields are kept. A client of
//! OpenAI's over an upstream of OpenAI's needs none of this: its body passes as it is.

mod bedrock;
mod facts;
mod ollama;

use std::borrow::Cow;

use crate::{
    codec::WireError,
    cohere,
    embedding_list::OpenAiEmbeddings,
    gemini::{self, Action},
    ir::Losses,
    ollama::{Timing, encode_embed_response, encode_embeddings_response},
};

/// Bytes of a text per token, about.
const BYTES_PER_TOKEN: u64 = 4;

/// A wire format of an upstream's embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmbedFormat {
    OpenAi,
    /// `batchEmbedContents`.
    Gemini,
    /// `/api/embed`.
    Ollama,
    /// `/v2/embed`.
    Cohere,
    /// `InvokeModel`: each vendor's own body.
    Bedrock,
}

// === impl EmbedFormat ===

impl EmbedFormat {
    /// Name in logs and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
            Self::Cohere => "cohere",
            Self::Bedrock => "bedrock",
        }
    }
}

/// What a client speaks.
#[derive(Clone, Debug, Default)]
pub enum EmbedDialect {
    #[default]
    OpenAi,
    /// `embedContent`, or `batchEmbedContents`.
    Gemini { batch: bool },
    /// `/api/embed`, or the older `/api/embeddings` for one text.
    Ollama { one: bool, timing: Timing },
}

/// What the way back has to know.
#[derive(Clone, Debug)]
pub struct EmbeddingsContext {
    dialect: EmbedDialect,
    upstream: EmbedFormat,
    /// The model as the client named it.
    model: String,
    /// The client wants its vectors packed.
    base64: bool,
    /// Vectors that must come.
    count: usize,
    /// Tokens, for clients that are always told a number.
    estimate: u64,
}

/// An answer for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedAnswer {
    pub body: Vec<u8>,
    /// The upstream's own count.
    pub tokens: Option<u64>,
}

/// An upstream's answer, and the tokens of its prompt where the upstream tells them beside the body.
pub type Counted<'a> = (&'a [u8], Option<u64>);

/// Writes a client's request for its upstream, which knows the model as `model`; the client named it `requested`. There are
/// several bodies where the model takes one text a request: one for each, in order.
///
/// # Errors
/// Names the field that is missing or that the upstream cannot take.
pub fn encode_request(
    dialect: EmbedDialect,
    upstream: EmbedFormat,
    body: &[u8],
    model: &str,
    requested: &str,
    losses: &mut Losses,
) -> Result<(Vec<Vec<u8>>, EmbeddingsContext), WireError> {
    let is_own = matches!(
        (&dialect, upstream),
        (EmbedDialect::Gemini { .. }, EmbedFormat::Gemini) | (EmbedDialect::Ollama { .. }, EmbedFormat::Ollama)
    );
    // What cannot stand in the middle is lost only where the middle is what goes on.
    let mut kept = Losses::default();
    let middle = to_openai(&dialect, body, model, if is_own { &mut kept } else { &mut *losses })?;
    let facts = facts::read_facts(&middle)?;
    let one = match (&dialect, upstream) {
        (_, EmbedFormat::Bedrock) => None,
        (EmbedDialect::Gemini { batch }, EmbedFormat::Gemini) => Some(gemini::own_embed_body(body, *batch, model)?),
        (EmbedDialect::Ollama { one, .. }, EmbedFormat::Ollama) => Some(ollama::own_body(body, *one, model)?),
        (_, EmbedFormat::OpenAi) => Some(middle.to_vec()),
        (_, EmbedFormat::Gemini) => Some(gemini::encode_embed_request(&middle, model, losses)?.0.body),
        (_, EmbedFormat::Ollama) => Some(ollama::encode(&middle, model, losses)?),
        (_, EmbedFormat::Cohere) => Some(cohere::encode_embeddings(&middle, model, losses)?),
    };
    let written = match one {
        Some(body) => vec![body],
        None => bedrock::encode(&middle, model, losses)?,
    };
    let way = EmbeddingsContext {
        dialect,
        upstream,
        model: requested.to_owned(),
        base64: facts.base64,
        count: facts.count,
        estimate: body.len() as u64 / BYTES_PER_TOKEN,
    };
    Ok((written, way))
}

/// A client's body as one for `/v1/embeddings`.
fn to_openai<'b>(
    dialect: &EmbedDialect,
    body: &'b [u8],
    model: &str,
    losses: &mut Losses,
) -> Result<Cow<'b, [u8]>, WireError> {
    Ok(match dialect {
        EmbedDialect::OpenAi => Cow::Borrowed(body),
        EmbedDialect::Gemini { batch } => {
            let action = if *batch { Action::BatchEmbedContents } else { Action::EmbedContent };
            Cow::Owned(gemini::decode_embed_request(body, action, losses)?.to_openai(model))
        }
        EmbedDialect::Ollama { one, .. } => Cow::Owned(ollama::to_openai(body, *one, model, losses)?),
    })
}

// === impl EmbeddingsContext ===

impl EmbeddingsContext {
    /// The client's answer, from those to the bodies of [`encode_request`], in their order.
    ///
    /// # Errors
    /// When the upstream's bodies are no answers, or have another number of vectors than were asked for.
    pub fn answer(&self, parts: &[Counted<'_>]) -> Result<EmbedAnswer, WireError> {
        let middle = self.to_openai(parts)?;
        let tokens = middle.tokens;
        facts::check_count(&middle.body, self.count)?;
        let mut out = Vec::new();
        match &self.dialect {
            EmbedDialect::OpenAi => out = middle.body,
            EmbedDialect::Gemini { batch } => gemini::encode_embed_response(&middle.body, *batch, &mut out)?,
            EmbedDialect::Ollama { one, timing } => {
                timing.finished(std::time::Instant::now());
                let embeddings = ollama::embeddings(&middle.body, &self.model, tokens)?;
                if *one {
                    encode_embeddings_response(&embeddings, &mut out);
                } else {
                    encode_embed_response(&embeddings, timing, &mut out);
                }
            }
        }
        Ok(EmbedAnswer { body: out, tokens })
    }

    fn to_openai(&self, parts: &[Counted<'_>]) -> Result<OpenAiEmbeddings, WireError> {
        if self.upstream == EmbedFormat::Bedrock {
            return bedrock::decode(parts, &self.model, self.base64, self.estimate);
        }
        let [(body, counted)] = *parts else {
            return Err(WireError::field("embeddings", "there is one answer to one request"));
        };
        let estimate = counted.unwrap_or(self.estimate);
        let mut middle = match self.upstream {
            EmbedFormat::OpenAi | EmbedFormat::Bedrock => facts::passed(body)?,
            EmbedFormat::Gemini => {
                let mut out = Vec::new();
                let tokens = gemini::decode_embed_response(body, &self.model, self.base64, estimate, &mut out)?;
                OpenAiEmbeddings { body: out, tokens }
            }
            EmbedFormat::Ollama => ollama::decode(body, &self.model, self.base64, estimate)?,
            EmbedFormat::Cohere => {
                let embeddings = cohere::decode_embeddings(body, &self.model)?;
                OpenAiEmbeddings { body: embeddings.body, tokens: embeddings.usage.input }
            }
        };
        middle.tokens = counted.or(middle.tokens);
        Ok(middle)
    }
}

#[cfg(test)]
mod tests;
