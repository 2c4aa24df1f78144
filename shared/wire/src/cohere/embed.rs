//! Embeddings: OpenAI's request and answer ↔ Cohere's.

use serde_json::value::RawValue;

use crate::{
    codec::WireError,
    ir::Losses,
    object::{read, wire_object},
    text::{Str, TextOr},
    usage::Usage,
    write::Writer,
};

use super::usage::UsageField;

/// Most texts that one request to Cohere may hold.
pub const MAX_TEXTS: usize = 96;

/// An answer in OpenAI's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embeddings {
    pub body: Vec<u8>,
    pub usage: Usage,
}

wire_object! {
    struct Body<'a> {
        model: &'a RawValue = "model",
        input: TextOr<'a, &'a RawValue> = "input",
        encoding_format: Str<'a> = "encoding_format",
        dimensions: u64 = "dimensions",
        user: &'a RawValue = "user",
    }
}

wire_object! {
    struct Answer<'a> {
        embeddings: ByType<'a> = "embeddings",
        meta: UsageField<'a> = lenient "meta",
    }
}

wire_object! {
    struct ByType<'a> {
        float: Vec<&'a RawValue> = "float",
        base64: Vec<&'a RawValue> = "base64",
    }
}

/// Fields of Cohere's own that a client may add to OpenAI's body.
const OWN_FIELDS: [&str; 4] = ["input_type", "truncate", "max_tokens", "priority"];

/// Writes an OpenAI embeddings body as Cohere's. Without an `input_type` of the client's the texts count as documents.
///
/// # Errors
/// Names the field that is missing or that Cohere cannot take (token ids instead of texts, too many texts).
pub fn encode_embeddings(body: &[u8], model: &str, losses: &mut Losses) -> Result<Vec<u8>, WireError> {
    let body: Body<'_> = read(body)?;
    let texts: Vec<Str<'_>> = match body.input {
        None => return Err(WireError::field("input", "`input` is required")),
        Some(TextOr::Text(text)) => vec![Str(text)],
        Some(TextOr::List(items)) => items
            .into_iter()
            .map(|raw| {
                serde_json::from_str(raw.get())
                    .map_err(|_| WireError::unsupported("input", "this upstream takes texts, not token ids"))
            })
            .collect::<Result<_, _>>()?,
    };
    if texts.is_empty() || texts.len() > MAX_TEXTS {
        let message = format!("this upstream takes 1 to {MAX_TEXTS} texts a request, not {}", texts.len());
        return Err(WireError::field("input", message));
    }
    let kind = match body.encoding_format.as_deref() {
        None | Some("float") => "float",
        Some("base64") => "base64",
        Some(other) => {
            return Err(WireError::field("encoding_format", format!("`{other}` is no format; use float or base64")));
        }
    };
    if body.user.is_some() {
        losses.drop_field("user");
    }
    let mut out = Vec::with_capacity(1024);
    Writer::new(&mut out).object(|w| {
        w.field_str("model", model);
        w.key("texts").array(|w| texts.iter().for_each(|text| w.str(text)));
        w.field("embedding_types", &[kind]);
        w.field_opt("output_dimension", body.dimensions.as_ref());
        if !body.rest.iter().any(|(name, _)| name == "input_type") {
            w.field_str("input_type", "search_document");
        }
        for (name, raw) in &body.rest {
            if OWN_FIELDS.contains(&name.as_ref()) {
                w.field_raw(name, raw.get());
            } else {
                losses.drop_field(name.clone().into_owned());
            }
        }
    });
    Ok(out)
}

/// Writes Cohere's embeddings as OpenAI's, the numbers as they came.
///
/// # Errors
/// When it is no answer.
pub fn decode_embeddings(body: &[u8], model: &str) -> Result<Embeddings, WireError> {
    let answer: Answer<'_> = read(body)?;
    let Some(vectors) = answer.embeddings.and_then(|by_type| by_type.base64.or(by_type.float)) else {
        return Err(WireError::field("embeddings", "the upstream's answer has no embeddings"));
    };
    let usage = answer.meta.map(|meta| meta.disjoint()).unwrap_or_default();
    let tokens = usage.total_input();
    let mut out = Vec::with_capacity(body.len() + 256);
    Writer::new(&mut out).object(|w| {
        w.field_str("object", "list");
        w.key("data").array(|w| {
            for (index, vector) in vectors.iter().enumerate() {
                w.object(|w| {
                    w.field_str("object", "embedding");
                    w.field("index", &index);
                    w.field_raw("embedding", vector.get());
                });
            }
        });
        w.field_str("model", model);
        w.key("usage").object(|w| {
            w.field("prompt_tokens", &tokens);
            w.field("total_tokens", &tokens);
        });
    });
    Ok(Embeddings { body: out, usage: Usage { output: None, ..usage } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_cohere_s_names_and_keeps_its_own_fields() {
        let mut losses = Losses::default();
        let body = br#"{"model":"p/m","input":["a","b\n"],"encoding_format":"base64","dimensions":256,"truncate":"NONE","user":"u","x":1}"#;
        let out = encode_embeddings(body, "embed-v4.0", &mut losses).expect("encoded");
        let out: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(
            out,
            serde_json::json!({"model": "embed-v4.0", "texts": ["a", "b\n"], "embedding_types": ["base64"],
                "output_dimension": 256, "input_type": "search_document", "truncate": "NONE"})
        );
        assert_eq!(losses.header().as_deref(), Some("user, x"));
        let one = encode_embeddings(br#"{"input":"a","input_type":"search_query"}"#, "m", &mut losses).expect("one");
        assert!(String::from_utf8_lossy(&one).contains(r#""texts":["a"]"#));
        assert!(String::from_utf8_lossy(&one).contains(r#""input_type":"search_query""#));
    }

    #[test]
    fn what_cohere_cannot_take_is_refused_by_name() {
        let many = format!(r#"{{"input":[{}"a"]}}"#, r#""a","#.repeat(96));
        for (body, param) in [
            ("{}", "input"),
            (r#"{"input":[]}"#, "input"),
            (r#"{"input":[1,2,3]}"#, "input"),
            (r#"{"input":[[1,2],[3]]}"#, "input"),
            (many.as_str(), "input"),
            (r#"{"input":"a","encoding_format":"int8"}"#, "encoding_format"),
        ] {
            let error = encode_embeddings(body.as_bytes(), "m", &mut Losses::default()).expect_err(body);
            assert_eq!(error.param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn numbers_are_never_reprinted_and_billed_tokens_are_the_usage() {
        let body = br#"{"id":"x","embeddings":{"float":[[0.10,-1e-05],[2]]},"texts":["a","b"],
            "meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":4}},"response_type":"embeddings_by_type"}"#;
        let embeddings = decode_embeddings(body, "p/m").expect("decoded");
        assert_eq!(
            String::from_utf8_lossy(&embeddings.body),
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.10,-1e-05]},{"object":"embedding","index":1,"embedding":[2]}],"model":"p/m","usage":{"prompt_tokens":4,"total_tokens":4}}"#
        );
        assert_eq!(embeddings.usage.input, Some(4));
        assert!(decode_embeddings(b"{\"message\":\"no\"}", "m").is_err());
    }
}
