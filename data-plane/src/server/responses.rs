//! Stored answers over HTTP: look at one, see what it was made from, delete it.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use omniroute_core::error::GatewayError;
use omniroute_wire::responses::{item_id, to_list};
use serde_json::{Value, json};

use super::{Stages, router::refuse};
use crate::{
    admit::Admitted,
    response_store::{StoredResponse, StoredResponses, not_found},
};

type Shared = State<Arc<Stages>>;

/// Items of a list where the client does not say how many, and at most.
const USUAL_ITEMS: usize = 20;
const MOST_ITEMS: usize = 100;

pub(super) async fn show(
    State(stages): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let shown = async {
        let streams = pairs(query.as_deref()).any(|(name, value)| name == "stream" && value == "true");
        if streams {
            return Err(GatewayError::bad_request(
                "unsupported_feature",
                "a stored answer cannot be streamed; leave `stream` out",
            )
            .with_param("stream"));
        }
        let (_, record) = load(&stages, &headers, &id).await?;
        Ok(([(header::CONTENT_TYPE, "application/json")], record.response).into_response())
    };
    shown.await.unwrap_or_else(|error| refuse(error, "/v1/responses", &headers))
}

pub(super) async fn delete(State(stages): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let deleted = async {
        if !stored(&stages, &headers)?.delete(&id).await? {
            return Err(not_found(&id));
        }
        Ok(Json(json!({"id": id, "object": "response", "deleted": true})).into_response())
    };
    deleted.await.unwrap_or_else(|error| refuse(error, "/v1/responses", &headers))
}

/// Everything that the answer was made from: the conversation before it, and what its own request added.
pub(super) async fn input_items(
    State(stages): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let listed = async {
        let page = Page::of(query.as_deref())?;
        let (stored, record) = load(&stages, &headers, &id).await?;
        let mut items = Vec::new();
        for earlier in &record.chain {
            // What has expired meanwhile is missing.
            items.extend(stored.load_part(earlier).await?.iter().flat_map(StoredResponse::items));
        }
        items.extend(record.own_input());
        if page.newest_first {
            items.reverse();
        }
        let from = match &page.after {
            Some(after) => {
                let at = items.iter().position(|item| item_id(item).is_some_and(|id| id == *after));
                at.map_or(items.len(), |at| at + 1)
            }
            None => 0,
        };
        let rest = items.get(from..).unwrap_or_default();
        let data: Vec<Value> = rest.iter().take(page.limit).map(to_list).collect();
        let id_of = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
        let list = json!({
            "object": "list",
            "first_id": id_of(data.first()),
            "last_id": id_of(data.last()),
            "has_more": rest.len() > data.len(),
            "data": data,
        });
        Ok(Json(list).into_response())
    };
    listed.await.unwrap_or_else(|error| refuse(error, "/v1/responses", &headers))
}

fn stored(stages: &Stages, headers: &HeaderMap) -> Result<StoredResponses, GatewayError> {
    let Admitted { snapshot, caller } = stages.admission.admit(headers, None, stages.clock.now())?;
    Ok(stages.responses.of(&caller, snapshot.settings()))
}

async fn load(
    stages: &Stages,
    headers: &HeaderMap,
    id: &str,
) -> Result<(StoredResponses, StoredResponse), GatewayError> {
    let stored = stored(stages, headers)?;
    let record = stored.load(id).await?.ok_or_else(|| not_found(id))?;
    Ok((stored, record))
}

/// Which part of a list is asked for.
struct Page {
    limit: usize,
    newest_first: bool,
    after: Option<String>,
}

// === impl Page ===

impl Page {
    fn of(query: Option<&str>) -> Result<Self, GatewayError> {
        let mut page = Self { limit: USUAL_ITEMS, newest_first: true, after: None };
        let refused = |name: &str, expected: &str| {
            Err(GatewayError::bad_request("invalid_field", format!("`{name}` must be {expected}")).with_param(name))
        };
        for (name, value) in pairs(query) {
            match name {
                "limit" => match value.parse() {
                    Ok(limit @ 1..=MOST_ITEMS) => page.limit = limit,
                    _ => return refused("limit", "a number from 1 to 100"),
                },
                "order" => match value {
                    "asc" => page.newest_first = false,
                    "desc" => page.newest_first = true,
                    _ => return refused("order", "`asc` or `desc`"),
                },
                // Ids of items are of letters, digits and lines, so they stand in a query as they are.
                "after" if !value.is_empty() => page.after = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(page)
    }
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='))
}
