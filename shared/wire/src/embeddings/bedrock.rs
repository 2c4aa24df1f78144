//! Embeddings of Bedrock's `InvokeModel`, which takes each vendor's own body: Amazon's Titan and Cohere's.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Counted;
use crate::{
    codec::WireError,
    cohere::MAX_TEXTS,
    embedding_list::{self, OpenAiEmbeddings},
    ir::Losses,
    object::{read, wire_object},
    text::TextOr,
    write::Writer,
};

wire_object! {
    struct OpenAiRequest<'a> {
        input: TextOr<'a, &'a RawValue> = "input",
        dimensions: u64 = "dimensions",
        input_type: &'a RawValue = "input_type",
        // Said elsewhere.
        encoding_format: &'a RawValue = "encoding_format",
        model: &'a RawValue = "model",
    }
}

wire_object! {
    struct Answer<'a> {
        // Titan's.
        embedding: &'a RawValue = "embedding",
        tokens: u64 = lenient "inputTextTokenCount",
        // Cohere's.
        embeddings: ByType<'a> = "embeddings",
    }
}

wire_object! {
    struct ByType<'a> {
        float: Vec<&'a RawValue> = "float",
    }
}

/// Texts of one request to a model that takes one at a time.
const MOST_SINGLE: usize = 1024;

/// OpenAI's body for the vendor of `model`: one, or one for each text.
pub(super) fn encode(openai: &[u8], model: &str, losses: &mut Losses) -> Result<Vec<Vec<u8>>, WireError> {
    let own: OpenAiRequest<'_> = read(openai)?;
    let texts = embedding_list::texts(own.input)?;
    for (name, _) in own.rest {
        losses.drop_field(name.into_owned());
    }
    if model.contains("titan-embed") {
        if texts.len() > MOST_SINGLE {
            let message = format!("the gateway asks this model for {MOST_SINGLE} texts at most, not {}", texts.len());
            return Err(WireError::unsupported("input", message));
        }
        return texts.iter().map(|text| titan(text, own.dimensions, model)).collect();
    }
    if model.contains("cohere.embed") {
        return Ok(vec![cohere(&texts, own.dimensions, own.input_type, model)?]);
    }
    Err(WireError::unsupported("model", "of Bedrock's models the gateway embeds with Amazon Titan's and Cohere's"))
}

/// The model takes one text a request.
fn titan(text: &str, dimensions: Option<u64>, model: &str) -> Result<Vec<u8>, WireError> {
    let is_image = model.contains("embed-image");
    if dimensions.is_some() && !is_image && !model.contains("text-v2") {
        return Err(WireError::unsupported("dimensions", "this model's vectors have one length only"));
    }
    let mut out = Vec::with_capacity(text.len() + 64);
    Writer::new(&mut out).object(|w| {
        w.field_str("inputText", text);
        match dimensions {
            Some(length) if is_image => w.key("embeddingConfig").object(|w| w.field("outputEmbeddingLength", &length)),
            length => w.field_opt("dimensions", length.as_ref()),
        }
    });
    Ok(out)
}

fn cohere(
    texts: &[Cow<'_, str>],
    dimensions: Option<u64>,
    input_type: Option<&RawValue>,
    model: &str,
) -> Result<Vec<u8>, WireError> {
    if texts.len() > MAX_TEXTS {
        let message = format!("this model takes {MAX_TEXTS} texts a request at most, not {}", texts.len());
        return Err(WireError::field("input", message));
    }
    if dimensions.is_some() && model.contains("-v3") {
        return Err(WireError::unsupported("dimensions", "this model's vectors have one length only"));
    }
    let mut out = Vec::with_capacity(256);
    Writer::new(&mut out).object(|w| {
        w.field("texts", texts);
        w.field_raw("input_type", input_type.map_or("\"search_document\"", RawValue::get));
        w.field("embedding_types", &["float"]);
        w.field_opt("output_dimension", dimensions.as_ref());
    });
    Ok(out)
}

/// A vendor's answers, in the order of the texts, as one in OpenAI's form.
pub(super) fn decode(
    parts: &[Counted<'_>],
    model: &str,
    base64: bool,
    estimate: u64,
) -> Result<OpenAiEmbeddings, WireError> {
    let mut vectors = Vec::with_capacity(parts.len());
    // A sum of which a part is unknown is unknown.
    let mut tokens = Some(0);
    for (body, counted) in parts {
        let answer: Answer<'_> = read(body)?;
        match (answer.embedding, answer.embeddings.and_then(|by_type| by_type.float)) {
            (Some(vector), _) => vectors.push(vector),
            (None, Some(several)) => vectors.extend(several),
            (None, None) => return Err(WireError::field("embedding", "the upstream's answer has no vectors")),
        }
        let own = counted.or(answer.tokens);
        tokens = tokens.zip(own).map(|(sum, own): (u64, u64)| sum.saturating_add(own));
    }
    embedding_list::write(&vectors, model, base64, tokens, estimate)
}
