//! The adapter for everything that speaks OpenAI's API.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::{embeddings::EmbedFormat, ir};
use serde::Deserialize;

use crate::{
    Adapter, Auth, Failure, ModelPage, OfferedModel, Operation, OperationFormat, ParseModelsError, adapter::without_end,
};

/// Which of OpenAI's two chat APIs the host is asked in.
#[derive(Clone, Copy, Debug)]
pub enum OpenAiCompatible {
    Chat,
    Responses,
}

impl Adapter for OpenAiCompatible {
    fn id(&self) -> &'static str {
        "openai"
    }

    fn format(&self, operation: Operation) -> Option<OperationFormat> {
        match operation {
            Operation::Chat => Some(OperationFormat::Chat(match self {
                Self::Chat => ir::Format::OpenAiChat,
                Self::Responses => ir::Format::OpenAiResponses,
            })),
            Operation::Embeddings => Some(OperationFormat::Embeddings(EmbedFormat::OpenAi)),
            Operation::Images => Some(OperationFormat::OpenAiImages),
            Operation::Models => None,
        }
    }

    fn path(&self, operation: Operation, _: &str, _: bool) -> Cow<'static, str> {
        Cow::Borrowed(match operation {
            Operation::Chat => match self {
                Self::Chat => "/chat/completions",
                Self::Responses => "/responses",
            },
            Operation::Embeddings => "/embeddings",
            Operation::Images => "/images/generations",
            Operation::Models => "/models",
        })
    }

    fn path_varies(&self, _: Operation) -> bool {
        false
    }

    /// People copy the URL of a call.
    fn base_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        without_end(path, &["/chat/completions", "/completions", "/responses", "/embeddings", "/images/generations"])
    }

    fn auth(&self) -> Auth {
        Auth::Bearer
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        Failure::of_answer(status, headers, body, omniroute_wire::openai::decode_error(status.as_u16(), body))
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        let list: List = serde_json::from_slice(body).map_err(|_| ParseModelsError)?;
        let rows = match list {
            List::Wrapped { data: Some(rows), .. } | List::Wrapped { models: Some(rows), .. } | List::Bare(rows) => {
                rows
            }
            List::Wrapped { .. } => return Err(ParseModelsError),
        };
        Ok(ModelPage { models: rows.into_iter().filter_map(Row::offered).collect(), next: None })
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

/// OpenAI wraps its list in `data`; some hosts use `models`, some send the bare list.
#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    Wrapped { data: Option<Vec<Row>>, models: Option<Vec<Row>> },
    Bare(Vec<Row>),
}

#[derive(Deserialize)]
struct Row {
    id: Option<String>,
    name: Option<String>,
    created: Option<serde_json::Value>,
    owned_by: Option<String>,
    // Hosts name the limits differently, some by several names at once.
    context_length: Option<serde_json::Value>,
    context_window: Option<serde_json::Value>,
    max_context_length: Option<serde_json::Value>,
    max_model_len: Option<serde_json::Value>,
    max_input_tokens: Option<serde_json::Value>,
    max_completion_tokens: Option<serde_json::Value>,
    max_output_tokens: Option<serde_json::Value>,
    max_tokens: Option<serde_json::Value>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Row {
    fn offered(self) -> Option<OfferedModel> {
        let id = self.id.or(self.name).filter(|id| !id.is_empty() && id.len() <= 256)?;
        let number = |value: Option<serde_json::Value>| value.and_then(|value| value.as_u64());
        let first = |values: Vec<Option<serde_json::Value>>| values.into_iter().find_map(number);
        let context = vec![
            self.context_length,
            self.context_window,
            self.max_context_length,
            self.max_model_len,
            self.max_input_tokens,
        ];
        let output = vec![self.max_completion_tokens, self.max_output_tokens, self.max_tokens];
        let kind = kind_of(self.kind.as_deref(), &id).to_owned();
        Some(OfferedModel {
            kind,
            id,
            context_window: first(context),
            max_output_tokens: first(output),
            created: number(self.created),
            owned_by: self.owned_by,
        })
    }
}

/// The list's own word where there is one, else what the name gives away.
pub(crate) fn kind_of(word: Option<&str>, id: &str) -> &'static str {
    let lower = id.to_ascii_lowercase();
    let named = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    match word {
        Some("chat" | "language" | "text-generation") => "chat",
        Some("embedding" | "embeddings") => "embedding",
        Some("image") => "image",
        Some("rerank") => "rerank",
        Some("moderation") => "moderation",
        _ if named(&["embed", "bge-", "gte-", "e5-"]) => "embedding",
        _ if named(&["rerank"]) => "rerank",
        _ if named(&["dall-e", "gpt-image", "imagen", "imagine-image", "flux", "stable-diffusion", "sdxl"]) => "image",
        _ if named(&["whisper", "transcribe"]) => "transcription",
        _ if named(&["tts"]) => "speech",
        _ if named(&["moderation"]) => "moderation",
        _ => "chat",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_known_shapes_are_read() {
        for body in [
            r#"{"object":"list","data":[{"id":"gpt-4o","created":1700000000,"owned_by":"x"},{"id":"text-embedding-3-small"}]}"#,
            r#"{"models":[{"name":"gpt-4o","created":1700000000,"owned_by":"x"},{"name":"text-embedding-3-small"}]}"#,
            r#"[{"id":"gpt-4o","created":1700000000,"owned_by":"x"},{"id":"text-embedding-3-small"}]"#,
        ] {
            let models = OpenAiCompatible::Chat.parse_models(body.as_bytes()).expect(body).models;
            assert_eq!(models.iter().map(|model| model.kind.as_str()).collect::<Vec<_>>(), ["chat", "embedding"]);
            assert_eq!(models[0].created, Some(1_700_000_000));
        }
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for body in ["<html>", "{}", r#"{"data":"x"}"#, ""] {
            assert_eq!(OpenAiCompatible::Chat.parse_models(body.as_bytes()), Err(ParseModelsError), "{body}");
        }
    }
}
