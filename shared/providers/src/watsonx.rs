//! IBM watsonx.ai: OpenAI's chat format with the model and the project under names of IBM's, at one path for streams and another
//! for whole answers.
//!
//! Its model gateway, below `/ml/gateway/v1`, speaks OpenAI's API as it is.
//!
//! Source: cloud.ibm.com/apidocs/watsonx-ai, "Text Chat".

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use omniroute_wire::ir;
use serde::Deserialize;

use crate::{
    Account, Adapter, Auth, Envelope, Failure, ModelPage, NextPage, OfferedModel, OpenAiCompatible, Operation,
    OperationFormat, ParseModelsError, adapter::segment, openai_compatible::kind_of,
};

/// Where requests go when nobody names a region.
pub(crate) const DEFAULT_REGION: &str = "us-south";
/// Of the API, as every request has to say.
const VERSION: &str = "version=2025-04-17";
/// A prompt or model that the operator deployed: `deployment/{id}`.
const DEPLOYMENT: &str = "deployment/";
/// The path of the model gateway.
pub(crate) const GATEWAY: &str = "/ml/gateway/v1";

#[derive(Clone, Copy, Debug)]
pub struct Watsonx;

impl Adapter for Watsonx {
    fn id(&self) -> &'static str {
        "watsonx"
    }

    fn format(&self, operation: Operation) -> Option<OperationFormat> {
        (operation == Operation::Chat).then_some(OperationFormat::Chat(ir::Format::OpenAiChat))
    }

    fn path(&self, operation: Operation, model: &str, stream: bool) -> Cow<'static, str> {
        let call = if stream { "chat_stream" } else { "chat" };
        match operation {
            Operation::Chat => Cow::Owned(match model.strip_prefix(DEPLOYMENT) {
                Some(id) => format!("/ml/v1/deployments/{}/text/{call}?{VERSION}", segment(id)),
                None => format!("/ml/v1/text/{call}?{VERSION}"),
            }),
            Operation::Models => Cow::Owned(format!("/ml/v1/foundation_model_specs?{VERSION}&limit=200")),
            Operation::Embeddings | Operation::Images => Cow::Borrowed(""),
        }
    }

    fn path_varies(&self, operation: Operation) -> bool {
        operation == Operation::Chat
    }

    fn base_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        crate::adapter::without_end(path, &["/ml/v1"])
    }

    fn envelope(&self, _: ir::Format, model: &str, account: &Account) -> Option<Envelope> {
        let text = |value: &str| serde_json::Value::from(value).to_string();
        let mut envelope = Envelope {
            without: &["stream", "stream_options", "parallel_tool_calls", "store", "metadata", "user"],
            renamed: &[("model", "model_id")],
            renamed_texts: &[("tool_choice", "tool_choice_option")],
            ..Envelope::default()
        };
        if model.starts_with(DEPLOYMENT) {
            envelope.renamed = &[];
            envelope.without =
                &["model", "stream", "stream_options", "parallel_tool_calls", "store", "metadata", "user"];
        } else if !account.space.is_empty() {
            envelope.with = vec![("space_id", text(&account.space))];
        } else {
            envelope.with = vec![("project_id", text(&account.project))];
        }
        Some(envelope)
    }

    fn auth(&self) -> Auth {
        Auth::Ibm
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        // `{"errors": [{"code", "message"}], "trace", "status_code"}`: the first one, as OpenAI would write it.
        let written: Option<Errors> = serde_json::from_slice(body).ok();
        let first = written.and_then(|errors| errors.errors.into_iter().next());
        match first {
            Some(error) => {
                let error = serde_json::json!({ "error": { "message": error.message, "code": error.code } });
                OpenAiCompatible::Chat.classify(status, headers, error.to_string().as_bytes())
            }
            None => OpenAiCompatible::Chat.classify(status, headers, body),
        }
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        let list: List = serde_json::from_slice(body).map_err(|_| ParseModelsError)?;
        let models = list.resources.ok_or(ParseModelsError)?.into_iter().map(|row| OfferedModel {
            kind: kind_of(None, &row.model_id).to_owned(),
            context_window: row.limits.as_ref().and_then(|limits| limits.max_sequence_length),
            max_output_tokens: row.limits.as_ref().and_then(|limits| limits.max_output_tokens),
            created: None,
            owned_by: row.provider,
            id: row.model_id,
        });
        let next = list.next.and_then(|next| url::Url::parse(&next.href).ok());
        let start = next
            .and_then(|next| next.query_pairs().find(|(name, _)| name == "start").map(|(_, value)| value.into_owned()));
        Ok(ModelPage {
            models: models.collect(),
            next: start.map(|start| NextPage { query: vec![("start", start)], ..NextPage::default() }),
        })
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct List {
    resources: Option<Vec<Row>>,
    next: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    href: String,
}

#[derive(Deserialize)]
struct Row {
    model_id: String,
    provider: Option<String>,
    #[serde(rename = "model_limits")]
    limits: Option<Limits>,
}

#[derive(Deserialize)]
struct Limits {
    max_sequence_length: Option<u64>,
    max_output_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_model_and_project_as_ibm_does() {
        let account = Account { project: "p-1".into(), space: String::new() };
        let body = br#"{"model":"ibm/granite-4-h-small","messages":[],"stream":true,"tool_choice":"auto"}"#;
        let sent = |model, account: &Account| {
            let envelope = Watsonx.envelope(ir::Format::OpenAiChat, model, account).expect("an envelope");
            String::from_utf8(envelope.apply(body).expect("an object")).expect("text")
        };
        assert_eq!(
            sent("ibm/granite-4-h-small", &account),
            r#"{"project_id":"p-1","model_id":"ibm/granite-4-h-small","messages":[],"tool_choice_option":"auto"}"#
        );
        assert_eq!(sent("deployment/d", &account), r#"{"messages":[],"tool_choice_option":"auto"}"#);
        let space = Account { space: "s".into(), ..Account::default() };
        assert!(sent("m", &space).starts_with(r#"{"space_id":"s","model_id""#));
        assert_eq!(
            Watsonx.path(Operation::Chat, "deployment/a/b", true),
            format!("/ml/v1/deployments/a%2Fb/text/chat_stream?{VERSION}")
        );
    }

    #[test]
    fn errors_and_lists_are_read() {
        let body = br#"{"errors":[{"code":"model_not_supported","message":"Model 'x' is not supported"}],"trace":"t","status_code":404}"#;
        let failure = Watsonx.classify(StatusCode::NOT_FOUND, &HeaderMap::new(), body);
        assert_eq!(
            (failure.code(), failure.client_message("")),
            ("upstream_model_unknown", "Model 'x' is not supported".into())
        );
        let limited = br#"{"errors":[{"code":"token_quota_reached","message":"quota"}]}"#;
        let failure = Watsonx.classify(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), limited);
        assert!(["upstream_rate_limited", "upstream_quota"].contains(&failure.code()), "{failure:?}");
        let list = br#"{"resources":[{"model_id":"ibm/granite-4-h-small","provider":"IBM","model_limits":{"max_sequence_length":131072,"max_output_tokens":8192}}],
            "next":{"href":"https://us-south.ml.cloud.ibm.com/ml/v1/foundation_model_specs?version=1&limit=200&start=abc"}}"#;
        let page = Watsonx.parse_models(list).expect("a list");
        assert_eq!(
            (page.models[0].id.as_str(), page.models[0].context_window),
            ("ibm/granite-4-h-small", Some(131_072))
        );
        assert_eq!(page.next.expect("more").query, [("start", "abc".to_owned())]);
    }
}
