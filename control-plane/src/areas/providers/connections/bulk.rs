//! `/api/providers/bulk`: many keys of one provider at once.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State};
use omniroute_core::settings::Secret;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    super::Providers,
    NewConnection,
    rows::Connections,
    shapes::{Connection, MAX_PRIORITY, api_key},
};
use crate::{
    http::{ApiError, ErrorBody, Fields, FromFields, extract},
    store::records::{Actor, Object, TimeoutsRecord},
};

/// Entries of one request.
const MOST: usize = 200;

/// Keys of one provider.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct BulkCreate {
    /// Id or alias of a provider of the catalog, or id of a node.
    #[schema(min_length = 1, max_length = 200)]
    provider: String,
    /// At least one, at most 200.
    entries: Vec<BulkEntry>,
    /// Of all of them. Without it each goes behind the one before.
    #[schema(minimum = 1, maximum = 100_000)]
    priority: Option<i32>,
    #[schema(minimum = 1, maximum = 100_000)]
    global_priority: Option<u64>,
    /// Of all of them.
    #[schema(value_type = Option<Object>)]
    provider_specific_data: Option<Object>,
    /// Ask the provider whether it takes each key; those that it does not are added all the same, and say so.
    validate_keys: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct BulkEntry {
    /// A name that is taken gets a number.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(value_type = String, max_length = 60_000, format = "password")]
    api_key: Secret,
    /// Of providers whose URLs name an account, instead of that of all.
    #[schema(max_length = 200)]
    account_id: Option<String>,
}

/// What became of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct BulkResult {
    success: usize,
    failed: usize,
    total: usize,
    created: Vec<Connection>,
    errors: Vec<BulkError>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct BulkError {
    /// Of the entry, counted from 0.
    index: usize,
    name: String,
    message: String,
}

// === impl BulkCreate ===

impl FromFields for BulkCreate {
    fn read(fields: &mut Fields) -> Self {
        let entries = fields.nested_list("entries", 1..=MOST, BulkEntry::read);
        if entries.is_none() {
            fields.refuse_unless_noted("entries", "is required");
        }
        let priority = fields.whole("priority", 1..=MAX_PRIORITY);
        Self {
            provider: fields.required_text("provider", 1..=200).trim().to_owned(),
            entries: entries.unwrap_or_default(),
            priority: priority.and_then(|priority| i32::try_from(priority).ok()),
            global_priority: fields.nullable_whole("globalPriority", 1..=MAX_PRIORITY).set(),
            provider_specific_data: fields.object("providerSpecificData"),
            validate_keys: fields.flag("validateKeys"),
        }
    }
}

// === impl BulkEntry ===

impl FromFields for BulkEntry {
    fn read(fields: &mut Fields) -> Self {
        let key = api_key(fields).unwrap_or_default();
        if !key.is_set() {
            fields.refuse("apiKey", "API key is required");
        }
        Self {
            name: fields.required_text("name", 1..=200).trim().to_owned(),
            api_key: key,
            account_id: fields.text("accountId", 1..=200),
        }
    }
}

/// Add many keys of one provider.
///
/// Each succeeds or fails by itself.
#[utoipa::path(
    post,
    path = "/api/providers/bulk",
    tag = "Providers",
    request_body = BulkCreate,
    responses(
        (status = 200, description = "Also when some or all failed; see `errors`", body = BulkResult),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, description = "No such node", body = ErrorBody),
    )
)]
pub(super) async fn create(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Json(body): extract::Json<BulkCreate>,
) -> Result<Json<BulkResult>, ApiError> {
    let provider = providers.provider(&body.provider).await?;
    let held = Connections::of(&providers.store).of_provider(provider.id()).await?;
    let mut names: BTreeSet<String> = held.into_iter().map(|connection| connection.name).collect();
    let mut extras = Object::new();
    if let Some(priority) = body.global_priority {
        extras.insert("globalPriority".into(), json!(priority));
    }
    let total = body.entries.len();
    let (mut created, mut errors) = (Vec::new(), Vec::new());
    for (index, entry) in body.entries.into_iter().enumerate() {
        let mut specific = body.provider_specific_data.clone().unwrap_or_default();
        if let Some(account) = entry.account_id {
            specific.insert("accountId".into(), json!(account));
        }
        let name = free_name(&entry.name, &names);
        let new = NewConnection {
            provider: body.provider.clone(),
            name: name.clone(),
            secret: entry.api_key,
            priority: body.priority,
            is_active: true,
            max_concurrent: None,
            timeouts: TimeoutsRecord::default(),
            specific,
            extras: extras.clone(),
        };
        match providers.create_connection(&actor, new).await {
            Ok(view) => {
                names.insert(name);
                let id = view.record.id.to_string();
                if body.validate_keys == Some(true) {
                    providers.test_connection(&id, None).await?;
                }
                created.push(providers.connection(&id).await?.into());
            }
            Err(error) => errors.push(BulkError { index, name: entry.name, message: error.words() }),
        }
    }
    Ok(Json(BulkResult { success: created.len(), failed: errors.len(), total, created, errors }))
}

/// The name, with the first number behind it that makes it one of its own.
fn free_name(name: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name} {number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default()
}
