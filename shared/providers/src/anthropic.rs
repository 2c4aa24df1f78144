//! The adapter for Anthropic's Messages API and for hosts that speak it.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{anthropic, ir};
use serde::Deserialize;

use crate::{
    Adapter, Auth, Failure, ModelPage, NextPage, OpenAiCompatible, Operation, OperationFormat, ParseModelsError,
    adapter::has_version,
};

#[derive(Clone, Copy, Debug)]
pub struct Anthropic;

impl Adapter for Anthropic {
    fn id(&self) -> &'static str {
        "anthropic"
    }

    fn format(&self, operation: Operation) -> Option<OperationFormat> {
        match operation {
            Operation::Chat => Some(OperationFormat::Chat(ir::Format::Anthropic)),
            Operation::Embeddings | Operation::Images | Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, _: &str, _: bool) -> Cow<'static, str> {
        Cow::Borrowed(match operation {
            Operation::Chat => "/messages",
            Operation::Models => "/models?limit=1000",
            Operation::Embeddings | Operation::Images => "",
        })
    }

    fn path_varies(&self, _: Operation) -> bool {
        false
    }

    fn count_path(&self, _: &str) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed("/messages/count_tokens"))
    }

    /// Anthropic's own programs add the version themselves, so most hosts give their URL without it.
    fn base_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        // People copy the URL of a call.
        let path = path.trim_end_matches('/').strip_suffix("/messages").unwrap_or(path);
        if has_version(path) { Cow::Borrowed(path) } else { Cow::Owned(format!("{}/v1", path.trim_end_matches('/'))) }
    }

    fn auth(&self) -> Auth {
        Auth::XApiKey
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        Failure::of_answer(status, headers, body, anthropic::decode_error(status.as_u16(), body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        // OpenAI's shape, with names and pages of its own.
        let mut page = OpenAiCompatible::Chat.parse_models(body)?;
        let cursor: Cursor = serde_json::from_slice(body).unwrap_or_default();
        page.next = cursor
            .last_id
            .filter(|_| cursor.has_more == Some(true))
            .map(|last| NextPage { query: vec![("after_id", last)], ..NextPage::default() });
        Ok(page)
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

#[derive(Default, Deserialize)]
struct Cursor {
    has_more: Option<bool>,
    last_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_behind_its_last_id() {
        let page = br#"{"data":[{"type":"model","id":"claude-opus-4-6","display_name":"Claude Opus 4.6",
            "created_at":"2026-02-04T00:00:00Z","max_input_tokens":1000000,"max_tokens":128000}],
            "has_more":true,"first_id":"claude-opus-4-6","last_id":"claude-opus-4-6"}"#;
        let page = Anthropic.parse_models(page).expect("a page");
        assert_eq!(page.models[0].id, "claude-opus-4-6");
        assert_eq!((page.models[0].context_window, page.models[0].max_output_tokens), (Some(1_000_000), Some(128_000)));
        assert_eq!(page.next.expect("more").query, [("after_id", "claude-opus-4-6".to_owned())]);
        let last = br#"{"data":[{"id":"a"}],"has_more":false,"last_id":"a"}"#;
        assert_eq!(Anthropic.parse_models(last).expect("a page").next, None);
    }

    #[test]
    fn the_version_is_added_where_it_is_missing() {
        for (path, with) in [
            ("/v1", "/v1"),
            ("/", "/v1"),
            ("", "/v1"),
            ("/anthropic", "/anthropic/v1"),
            ("/a/v1/", "/a/v1/"),
            ("/a/v1/messages", "/a/v1"),
            ("/messages/", "/v1"),
            ("/vendor", "/vendor/v1"),
        ] {
            assert_eq!(Anthropic.base_path(path), with);
        }
    }
}
