//! Lists of models, in the dialect of whoever asks.

use std::borrow::Cow;

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Uri, header};
use omniroute_core::error::GatewayError;
use omniroute_wire::{gemini::Framing, translate::Dialect};
use url::form_urlencoded;

use super::{
    Stages,
    router::{Shared, refuse_in},
};
use crate::{
    models::{self, anthropic::PageQuery},
    request::Caller,
    snapshot::Snapshot,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The fields of a query.
struct Fields<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

// === impl Fields ===

impl<'q> Fields<'q> {
    fn of(uri: &'q Uri) -> Self {
        Self(form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_ref())
    }
}

/// `GET /v1/models`.
pub(super) async fn list(State(stages): Shared, uri: Uri, headers: HeaderMap) -> Response {
    if is_googles(&headers, &uri) {
        return gemini(State(stages), uri, headers).await;
    }
    let dialect = dialect_of(&headers);
    answer(&stages, &dialect, &uri, &headers, |snapshot, caller| {
        let listed = models::usable(snapshot, caller);
        let fields = Fields::of(&uri);
        Ok(json(&match dialect {
            Dialect::Messages => {
                let query = PageQuery {
                    before_id: fields.get("before_id"),
                    after_id: fields.get("after_id"),
                    limit: fields.get("limit"),
                };
                models::anthropic::list(&listed, query)?
            }
            _ if fields.get("client_version").is_some() => models::openai::list_for_codex(&listed),
            _ => models::openai::list(&listed),
        }))
    })
}

/// `GET /v1/models/{id}`.
pub(super) async fn one(State(stages): Shared, Path(id): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    if is_googles(&headers, &uri) {
        return gemini_one(State(stages), Path(id), uri, headers).await;
    }
    let dialect = dialect_of(&headers);
    answer(&stages, &dialect, &uri, &headers, |snapshot, caller| {
        let listed = models::find(snapshot, caller, &id)?;
        Ok(json(&match dialect {
            Dialect::Messages => models::anthropic::one(&listed),
            _ => models::openai::one(&listed),
        }))
    })
}

/// `GET /v1/embeddings`.
pub(super) async fn embeddings(State(stages): Shared, uri: Uri, headers: HeaderMap) -> Response {
    answer(&stages, &Dialect::Chat, &uri, &headers, |snapshot, caller| {
        let listed = models::usable(snapshot, caller);
        Ok(json(&models::openai::list(listed.iter().filter(|listed| listed.is_embedding()))))
    })
}

/// `GET /v1/images/generations`.
pub(super) async fn images(State(stages): Shared, uri: Uri, headers: HeaderMap) -> Response {
    answer(&stages, &Dialect::Chat, &uri, &headers, |snapshot, caller| {
        let listed = models::usable(snapshot, caller);
        Ok(json(&models::openai::list(listed.iter().filter(|listed| listed.makes_images()))))
    })
}

/// `GET /v1beta/models`.
pub(super) async fn gemini(State(stages): Shared, uri: Uri, headers: HeaderMap) -> Response {
    answer(&stages, &gemini_dialect(), &uri, &headers, |snapshot, caller| {
        let fields = Fields::of(&uri);
        let page_size = fields.get("pageSize").or(fields.get("page_size"));
        let page_token = fields.get("pageToken").or(fields.get("page_token"));
        models::gemini::list(&models::usable(snapshot, caller), page_size, page_token)
    })
}

/// `GET /v1beta/models/{id}`.
pub(super) async fn gemini_one(
    State(stages): Shared,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    answer(&stages, &gemini_dialect(), &uri, &headers, |snapshot, caller| {
        Ok(models::gemini::one(&models::find(snapshot, caller, &id)?))
    })
}

/// Answers with what `look_up` makes of the configuration for this caller.
pub(super) fn answer(
    stages: &Stages,
    dialect: &Dialect,
    uri: &Uri,
    headers: &HeaderMap,
    look_up: impl FnOnce(&Snapshot, &Caller) -> Result<Vec<u8>, GatewayError>,
) -> Response {
    let admitted = stages.admission.admit(headers, uri.query(), stages.clock.now());
    let found = admitted.and_then(|admitted| look_up(&admitted.snapshot, &admitted.caller));
    match found {
        Ok(body) => json_response(body),
        Err(error) => refuse_in(error, dialect, headers),
    }
}

pub(super) fn json_response(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], Body::from(body)).into_response()
}

fn json(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Whose client this is: the two lists share a path. Anthropic's tell their version, or send the key in a header of its own.
fn dialect_of(headers: &HeaderMap) -> Dialect {
    let is_anthropics = headers.contains_key("anthropic-version")
        || (headers.contains_key("x-api-key") && !headers.contains_key(header::AUTHORIZATION));
    if is_anthropics { Dialect::Messages } else { Dialect::Chat }
}

/// Google's clients have their own ways to send a key. Newer ones ask under `/v1`, too.
fn is_googles(headers: &HeaderMap, uri: &Uri) -> bool {
    headers.contains_key("x-goog-api-key")
        || (Fields::of(uri).get("key").is_some() && !headers.contains_key(header::AUTHORIZATION))
}

fn gemini_dialect() -> Dialect {
    Dialect::Gemini { model: String::new(), stream: false, framing: Framing::Sse }
}
