//! What models there are: `/api/tags`, `/api/show` and `/api/version` for clients, `/api/tags` of an upstream.

use std::borrow::Cow;

use omniroute_core::time::UnixMillis;

use super::call_id::model_digest;
use crate::{
    codec::WireError,
    object::{read, wire_object},
    text::Str,
    write::Writer,
};

/// A model as a client is told about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelFacts<'m> {
    /// The name that requests use.
    pub name: &'m str,
    /// Unix seconds.
    pub modified_at: u64,
    /// Bytes; 0 for a model that runs elsewhere.
    pub size: u64,
    /// Sixty-four hexadecimal digits; made of the name when there are none.
    pub digest: Option<&'m str>,
    pub details: ModelDetails<'m>,
    /// Ollama's words: `completion`, `tools`, `vision`, `thinking`, `embedding`, `insert`, `audio`.
    pub capabilities: &'m [&'m str],
    pub context_length: Option<u64>,
    pub embedding_length: Option<u64>,
}

/// How a model was made; empty where nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelDetails<'m> {
    pub family: &'m str,
    pub parameter_size: &'m str,
    pub quantization_level: &'m str,
}

/// A model of an upstream's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedModel {
    pub name: String,
    /// Unix seconds.
    pub modified_at: Option<u64>,
    pub size: Option<u64>,
    pub digest: Option<String>,
    pub family: Option<String>,
    pub parameter_size: Option<String>,
    pub quantization_level: Option<String>,
    pub context_length: Option<u64>,
    pub capabilities: Vec<String>,
}

wire_object! {
    struct Tags<'a> {
        models: Vec<TagField<'a>> = "models",
    }
}

wire_object! {
    struct TagField<'a> {
        name: Str<'a> = "name",
        model: Str<'a> = "model",
        modified_at: Str<'a> = "modified_at",
        size: u64 = "size",
        digest: Str<'a> = "digest",
        details: DetailsField<'a> = "details",
        capabilities: Vec<Str<'a>> = "capabilities",
    }
}

wire_object! {
    struct DetailsField<'a> {
        family: Str<'a> = "family",
        parameter_size: Str<'a> = "parameter_size",
        quantization_level: Str<'a> = "quantization_level",
        context_length: u64 = "context_length",
    }
}

wire_object! {
    struct ShowBody<'a> {
        model: Str<'a> = "model",
        name: Str<'a> = "name",
    }
}

/// Reads the list of an upstream. Entries without a name are left out.
///
/// # Errors
/// When it is no list of models.
pub fn decode_tags(body: &[u8]) -> Result<Vec<ListedModel>, WireError> {
    let tags: Tags<'_> = read(body)?;
    let own = |text: Option<Str<'_>>| text.filter(|text| !text.is_empty()).map(|text| text.0.into_owned());
    let mut models = Vec::new();
    // A server without models says null.
    for field in tags.models.into_iter().flatten() {
        let Some(name) = own(field.model).or(own(field.name)) else { continue };
        let details = field.details.unwrap_or_default();
        models.push(ListedModel {
            name,
            modified_at: field.modified_at.and_then(|text| UnixMillis::parse(&text)).map(|time| time.0 / 1000),
            size: field.size,
            digest: own(field.digest),
            family: own(details.family),
            parameter_size: own(details.parameter_size),
            quantization_level: own(details.quantization_level),
            context_length: details.context_length,
            capabilities: field.capabilities.into_iter().flatten().map(|word| word.0.into_owned()).collect(),
        });
    }
    Ok(models)
}

/// Reads which model an `/api/show` request is about.
///
/// # Errors
/// When it names none.
pub fn decode_show_request(body: &[u8]) -> Result<Cow<'_, str>, WireError> {
    let body: ShowBody<'_> = read(body)?;
    let named = body.model.filter(|name| !name.is_empty()).or(body.name.filter(|name| !name.is_empty()));
    super::decode_request::model_name(named)
}

/// Writes the answer of `/api/tags`.
pub fn encode_tags<'m>(models: impl IntoIterator<Item = &'m ModelFacts<'m>>, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| {
        w.key("models").array(|w| {
            for model in models {
                w.object(|w| {
                    w.field_str("name", model.name);
                    w.field_str("model", model.name);
                    w.field_str("modified_at", &moment(model.modified_at));
                    w.field("size", &model.size);
                    w.field_str("digest", &model.digest.map_or_else(|| model_digest(model.name).into(), Cow::from));
                    write_details(w, model);
                    w.field("capabilities", model.capabilities);
                });
            }
        });
    });
}

/// Writes the answer of `/api/show`. Editors read the context length from `model_info`, under the family's name.
pub fn encode_show(model: &ModelFacts<'_>, out: &mut Vec<u8>) {
    let architecture = architecture(model.details.family);
    Writer::new(out).object(|w| {
        w.field_str("modelfile", &format!("FROM {}\n", model.name));
        w.field_str("parameters", "");
        w.field_str("template", "{{ .Prompt }}");
        write_details(w, model);
        // The Python client refuses an answer without it.
        w.key("model_info").object(|w| {
            w.field_str("general.architecture", &architecture);
            w.field_str("general.basename", model.name);
            w.field_opt(&format!("{architecture}.context_length"), model.context_length.as_ref());
            w.field_opt(&format!("{architecture}.embedding_length"), model.embedding_length.as_ref());
        });
        w.field("capabilities", model.capabilities);
        w.field_str("modified_at", &moment(model.modified_at));
    });
}

/// Writes the answer of `/api/version`: a version of Ollama, because clients switch features on by it.
pub fn encode_version(version: &str, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| w.field_str("version", version));
}

fn write_details(w: &mut Writer<'_>, model: &ModelFacts<'_>) {
    let details = model.details;
    w.key("details").object(|w| {
        w.field_str("parent_model", "");
        w.field_str("format", "gguf");
        w.field_str("family", details.family);
        w.key("families").array(|w| {
            if !details.family.is_empty() {
                w.str(details.family);
            }
        });
        w.field_str("parameter_size", details.parameter_size);
        w.field_str("quantization_level", details.quantization_level);
        w.field_opt("context_length", model.context_length.as_ref());
        w.field_opt("embedding_length", model.embedding_length.as_ref());
    });
}

/// The family as the prefix of keys, which are split at dots.
fn architecture(family: &str) -> String {
    let clean: String = family.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if clean.is_empty() { "general".to_owned() } else { clean }
}

fn moment(seconds: u64) -> String {
    UnixMillis(seconds.saturating_mul(1000)).to_rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ModelFacts<'static> {
        ModelFacts {
            name: "openai/gpt-5",
            modified_at: 1_700_000_000,
            details: ModelDetails { family: "gpt.5", ..ModelDetails::default() },
            capabilities: &["completion", "tools"],
            context_length: Some(400_000),
            ..ModelFacts::default()
        }
    }

    #[test]
    fn a_list_written_and_read_again_says_the_same() {
        let mut out = Vec::new();
        encode_tags([&facts()], &mut out);
        let models = decode_tags(&out).expect("a list");
        assert_eq!(models.len(), 1);
        let model = &models[0];
        assert_eq!((model.name.as_str(), model.modified_at), ("openai/gpt-5", Some(1_700_000_000)));
        assert_eq!((model.context_length, model.capabilities.len()), (Some(400_000), 2));
        assert_eq!(model.digest.as_ref().map(String::len), Some(64));
    }

    #[test]
    fn a_server_without_models_and_odd_entries_are_no_errors() {
        assert_eq!(decode_tags(br#"{"models":null}"#).expect("a list"), []);
        let models =
            decode_tags(br#"{"models":[{"size":1},{"name":"a:latest","details":null,"modified_at":"never"}]}"#);
        assert_eq!(models.expect("a list")[0].name, "a:latest");
        assert!(decode_tags(br#"{"models":{}}"#).is_err());
    }

    #[test]
    fn show_has_what_clients_demand() {
        let mut out = Vec::new();
        encode_show(&facts(), &mut out);
        let answer: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(answer["model_info"]["general.architecture"], "gpt_5");
        assert_eq!(answer["model_info"]["gpt_5.context_length"], 400_000);
        assert_eq!(answer["capabilities"], serde_json::json!(["completion", "tools"]));
        assert_eq!(answer["modified_at"], "2023-11-14T22:13:20.000Z");
        assert_eq!(decode_show_request(br#"{"name":"m"}"#).expect("named"), "m");
        assert_eq!(decode_show_request(br#"{"model":""}"#).expect_err("unnamed").code, "missing_model");
    }
}
