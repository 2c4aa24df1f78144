//! The list of models.

use crate::{
    codec::WireError,
    object::{read, wire_object},
    text::Str,
};

/// One page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelPage {
    pub models: Vec<Model>,
    /// Goes into the next request's `page_token`; absent on the last page.
    pub next_page_token: Option<String>,
}

/// What the list says about a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub name: String,
    /// `chat`, `embed`, `rerank`, `classify`…
    pub endpoints: Vec<String>,
    /// `tools`, `vision`, `reasoning`, `json_mode`…
    pub features: Vec<String>,
    /// In tokens.
    pub context_length: Option<u64>,
    pub deprecated: bool,
    pub finetuned: bool,
}

wire_object! {
    struct Page<'a> {
        models: Vec<ModelField<'a>> = "models",
        next_page_token: Str<'a> = "next_page_token",
    }
}

wire_object! {
    struct ModelField<'a> {
        name: Str<'a> = "name",
        endpoints: Vec<Str<'a>> = "endpoints",
        features: Vec<Str<'a>> = "features",
        context_length: f64 = "context_length",
        is_deprecated: bool = "is_deprecated",
        finetuned: bool = "finetuned",
    }
}

/// Reads a page of `GET /v1/models`, which serves v2 too. Entries without a name are left out.
///
/// # Errors
/// When it is no list of models.
pub fn decode_models(body: &[u8]) -> Result<ModelPage, WireError> {
    let page: Page<'_> = read(body)?;
    let Some(models) = page.models else {
        return Err(WireError::field("models", "the upstream's list has no models"));
    };
    let texts = |list: Option<Vec<Str<'_>>>| list.into_iter().flatten().map(|text| text.0.into_owned()).collect();
    let models = models.into_iter().filter_map(|field| {
        Some(Model {
            name: field.name.filter(|name| !name.is_empty())?.0.into_owned(),
            endpoints: texts(field.endpoints),
            features: texts(field.features),
            context_length: field.context_length.and_then(positive),
            deprecated: field.is_deprecated.unwrap_or(false),
            finetuned: field.finetuned.unwrap_or(false),
        })
    });
    Ok(ModelPage {
        models: models.collect(),
        next_page_token: page.next_page_token.filter(|token| !token.is_empty()).map(|token| token.0.into_owned()),
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive, and the cast saturates")]
fn positive(number: f64) -> Option<u64> {
    (number >= 1.0).then_some(number as u64)
}

// === impl Model ===

impl Model {
    pub fn serves(&self, endpoint: &str) -> bool {
        self.endpoints.iter().any(|own| own == endpoint)
    }

    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|own| own == feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_and_odd_entries_do_not_spoil_it() {
        let page = decode_models(
            br#"{"models":[{"name":"command-a-03-2025","endpoints":["generate","chat"],"features":["tools"],
                "context_length":288000.0,"is_deprecated":false,"tokenizer_url":"x"},{"endpoints":null},
                {"name":"embed-v4.0","endpoints":["embed"],"features":null,"context_length":0}],"next_page_token":"n"}"#,
        )
        .expect("a page");
        assert_eq!(page.models.len(), 2);
        assert!(page.models[0].serves("chat") && page.models[0].has("tools"));
        assert_eq!((page.models[0].context_length, page.models[1].context_length), (Some(288_000), None));
        assert_eq!(page.next_page_token.as_deref(), Some("n"));
        assert!(decode_models(b"{}").is_err());
        assert!(decode_models(b"<html>").is_err());
    }
}
