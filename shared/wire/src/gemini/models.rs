//! `GET /v1beta/models`.

use super::{
    message::{OneOrMany, WholeNumber},
    path::plain_model,
};
use crate::{
    codec::WireError,
    object::{read, wire_object},
    text::Str,
    write::Writer,
};

wire_object! {
    struct Page<'a> {
        models: OneOrMany<ModelField<'a>> = "models",
        next: Str<'a> = "nextPageToken" | "next_page_token",
    }
}

wire_object! {
    struct ModelField<'a> {
        name: Str<'a> = "name",
        display_name: Str<'a> = "displayName" | "display_name",
        description: Str<'a> = "description",
        input_limit: WholeNumber = "inputTokenLimit" | "input_token_limit",
        output_limit: WholeNumber = "outputTokenLimit" | "output_token_limit",
        methods: Vec<Str<'a>> = "supportedGenerationMethods" | "supported_generation_methods" | "supportedActions",
        thinking: bool = "thinking",
    }
}

/// One model of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Without `models/`.
    pub id: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    /// Tokens.
    pub input_limit: Option<u64>,
    /// Tokens.
    pub output_limit: Option<u64>,
    pub generates: bool,
    pub embeds: bool,
    pub thinking: Option<bool>,
}

/// Reads a page of an upstream's list: its models, and the token of the next page.
///
/// # Errors
/// When it is no list.
pub fn decode_models(body: &[u8]) -> Result<(Vec<Model>, Option<String>), WireError> {
    let page: Page<'_> = read(body)?;
    let Some(models) = page.models else {
        return Err(WireError::field("models", "the upstream's answer has no models"));
    };
    let next = page.next.filter(|token| !token.is_empty()).map(|token| token.0.into_owned());
    Ok((models.0.into_iter().filter_map(decode_model).collect(), next))
}

fn decode_model(field: ModelField<'_>) -> Option<Model> {
    let own = |text: Option<Str<'_>>| text.map(|text| text.0.into_owned()).filter(|text| !text.is_empty());
    let methods = field.methods.unwrap_or_default();
    let has = |word: &str| methods.iter().any(|method| &**method == word);
    Some(Model {
        id: plain_model(&field.name?).to_owned(),
        display_name: own(field.display_name),
        description: own(field.description),
        input_limit: field.input_limit.and_then(WholeNumber::count),
        output_limit: field.output_limit.and_then(WholeNumber::count),
        generates: has("generateContent"),
        embeds: has("embedContent"),
        thinking: field.thinking,
    })
}

/// Writes a page of the list for a Gemini client; `next` is the token of the next one.
pub fn encode_models(models: &[Model], next: Option<&str>, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| {
        w.key("models").array(|w| models.iter().for_each(|model| write_model(w, model)));
        w.field_str_opt("nextPageToken", next);
    });
}

/// Writes one model (`GET /v1beta/models/{model}`).
pub fn encode_model(model: &Model, out: &mut Vec<u8>) {
    write_model(&mut Writer::new(out), model);
}

fn write_model(w: &mut Writer<'_>, model: &Model) {
    let mut methods: Vec<&str> = Vec::new();
    if model.generates {
        methods.extend(["generateContent", "streamGenerateContent", "countTokens"]);
    }
    if model.embeds {
        methods.extend(["embedContent", "batchEmbedContents"]);
    }
    w.object(|w| {
        w.field_str("name", &format!("models/{}", model.id));
        w.field_str("version", "1");
        w.field_str("displayName", model.display_name.as_deref().unwrap_or(&model.id));
        w.field_str_opt("description", model.description.as_deref());
        w.field_opt("inputTokenLimit", model.input_limit.as_ref());
        w.field_opt("outputTokenLimit", model.output_limit.as_ref());
        w.field("supportedGenerationMethods", &methods);
        w.field_opt("thinking", model.thinking.as_ref());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written_again() {
        let body = br#"{"models":[{"name":"models/gemini-2.5-pro","displayName":"Gemini 2.5 Pro","description":"d","inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":["generateContent","countTokens"],"thinking":true,"temperature":1},{"displayName":"nameless"},{"name":"models/gemini-embedding-001","supportedGenerationMethods":["embedContent"]}],"nextPageToken":"t"}"#;
        let (models, next) = decode_models(body).expect("a list");
        assert_eq!(next.as_deref(), Some("t"));
        let ids: Vec<_> = models.iter().map(|model| (model.id.as_str(), model.generates, model.embeds)).collect();
        assert_eq!(ids, [("gemini-2.5-pro", true, false), ("gemini-embedding-001", false, true)]);
        assert_eq!((models[0].input_limit, models[0].thinking), (Some(1_048_576), Some(true)));
        let mut out = Vec::new();
        encode_models(&models, next.as_deref(), &mut out);
        let (again, next) = decode_models(&out).expect("a list");
        assert_eq!(next.as_deref(), Some("t"));
        assert_eq!(again[0], models[0]);
        assert_eq!(again[1].id, models[1].id);
        assert!(decode_models(b"{}").is_err());
    }
}
