//! `/api/v1/management/proxies/assignments`, `…/bulk-assign`: what goes through which proxy.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    Egress, Resolved,
    record::{AssignmentRecord, Scope},
    rows::AssignmentFilter,
    shapes::{MAX_ID, PageView, mask},
};
use crate::{
    http::{
        ApiError, ErrorBody, Fields, FromFields,
        extract::{self, Query},
    },
    store::records::Actor,
};

/// Scopes that one call assigns.
const MOST_SCOPES: usize = 1000;

/// What goes through a proxy.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct AssignmentView {
    #[schema(example = "provider:openai")]
    id: String,
    proxy_id: String,
    /// `global`, `provider`, `account` (a connection) or `combo`.
    scope: &'static str,
    /// Of what; null for `global`.
    scope_id: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AssignmentPage {
    items: Vec<AssignmentView>,
    page: PageView,
}

/// What a connection is called through.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct ResolvedView {
    /// Null: providers are called directly.
    proxy: Option<ResolvedProxy>,
    /// Whose assignment counts: `account`, `provider`, `global`, or `direct`.
    level: &'static str,
    level_id: Option<String>,
    source: &'static str,
    /// False: its proxy cannot be used, and the connection is not called at all.
    usable: bool,
    /// Why not.
    problem: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct ResolvedProxy {
    id: String,
    name: String,
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: String,
    host: String,
    port: u16,
    /// `***` when there is one, else empty.
    username: &'static str,
    /// `***` when there is one, else empty.
    password: &'static str,
    status: String,
    family: String,
}

/// A page of assignments, or what a connection is called through (`resolve_connection_id`).
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum AssignmentAnswer {
    Page(AssignmentPage),
    Resolved(Box<ResolvedView>),
}

/// Which assignments.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AssignmentQuery {
    /// Those to this proxy.
    #[param(required = false)]
    proxy_id: Option<String>,
    /// `global`, `provider`, `account` (also `key`) or `combo`.
    #[param(required = false)]
    scope: Option<String>,
    #[param(required = false)]
    scope_id: Option<String>,
    /// What this connection is called through.
    #[param(required = false)]
    resolve_connection_id: Option<String>,
    /// Rows at most.
    #[param(minimum = 1, maximum = 200, required = false)]
    limit: u64,
    /// Rows to skip.
    #[param(required = false)]
    offset: u64,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Assign {
    /// `global`, `provider`, `account` (a connection; also `key`) or `combo`.
    #[schema(value_type = String)]
    scope: Option<Scope>,
    /// Of what: id, alias or prefix of a provider or node, id of a connection; missing for `global`.
    #[expect(dead_code, reason = "documents what `scope` holds")]
    scope_id: Option<String>,
    /// Missing or null takes the assignment away.
    proxy_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Assigned {
    success: bool,
    /// Null when it was taken away.
    assignment: Option<AssignmentView>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct BulkAssign {
    /// `global`, `provider`, `account` (a connection; also `key`) or `combo`.
    scope: String,
    /// Of what; not for `global`.
    #[schema(max_items = 1000)]
    scope_ids: Vec<String>,
    /// Missing or null takes the assignments away.
    proxy_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct BulkAssigned {
    success: bool,
    scope: &'static str,
    requested: usize,
    updated: u64,
    failed: Vec<FailedAssignment>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct FailedAssignment {
    scope_id: String,
    reason: String,
}

/// Assignments; or what a connection is called through.
#[utoipa::path(
    get,
    path = "/api/v1/management/proxies/assignments",
    tag = "Outbound proxies",
    params(AssignmentQuery),
    responses(
        (status = 200, body = AssignmentAnswer),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(egress): State<Arc<Egress>>,
    Query(query): Query<AssignmentQuery>,
) -> Result<Json<AssignmentAnswer>, ApiError> {
    if let Some(connection) = query.resolve_connection_id {
        let resolved = egress.resolve_stored(&connection).await?;
        return Ok(Json(AssignmentAnswer::Resolved(Box::new(resolved.into()))));
    }
    let AssignmentQuery { limit, offset, .. } = query;
    let scope = query.scope.map(|word| if word == "key" { "account".to_owned() } else { word });
    let filter = AssignmentFilter { proxy_id: query.proxy_id, scope, scope_id: query.scope_id };
    let all = egress.assignments(&filter).await?;
    let page = PageView { limit, offset, total: all.len() as u64 };
    let skip = usize::try_from(offset).unwrap_or(usize::MAX);
    let take = usize::try_from(limit).unwrap_or(usize::MAX);
    let items = all.into_iter().skip(skip).take(take).map(AssignmentView::from).collect();
    Ok(Json(AssignmentAnswer::Page(AssignmentPage { items, page })))
}

/// Have a provider, a connection or all go through a proxy, or no longer.
#[utoipa::path(
    put,
    path = "/api/v1/management/proxies/assignments",
    tag = "Outbound proxies",
    request_body = Assign,
    responses(
        (status = 200, body = Assigned),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn assign(
    State(egress): State<Arc<Egress>>,
    actor: Actor,
    extract::Json(body): extract::Json<Assign>,
) -> Result<Json<Assigned>, ApiError> {
    let Some(scope) = body.scope else { return Err(ApiError::invalid_field("scope", "says what goes through it")) };
    let assignment = egress.assign(&actor, scope, body.proxy_id.as_deref()).await?;
    Ok(Json(Assigned { success: true, assignment: assignment.map(AssignmentView::from) }))
}

/// Have several providers or connections go through a proxy, or no longer.
///
/// Scopes that there are not are listed under `failed`; the others are assigned.
#[utoipa::path(
    method(put, post),
    path = "/api/v1/management/proxies/bulk-assign",
    tag = "Outbound proxies",
    request_body = BulkAssign,
    responses((status = 200, body = BulkAssigned), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn bulk_assign(
    State(egress): State<Arc<Egress>>,
    actor: Actor,
    extract::Json(body): extract::Json<BulkAssign>,
) -> Result<Json<BulkAssigned>, ApiError> {
    let scopes = body.scopes();
    let (requested, word) = (scopes.len(), scopes.first().map_or("global", |(_, scope)| scope.word()));
    let result = egress.assign_all(&actor, scopes, body.proxy_id.as_deref()).await?;
    Ok(Json(BulkAssigned {
        success: true,
        scope: word,
        requested,
        updated: result.updated,
        failed: result.failed.into_iter().map(|(scope_id, reason)| FailedAssignment { scope_id, reason }).collect(),
    }))
}

// === impl Egress ===

impl Egress {
    /// What a stored connection is called through.
    ///
    /// # Errors
    /// 404.
    pub(super) async fn resolve_stored(&self, connection: &str) -> Result<Resolved, ApiError> {
        let provider = self.scopes.provider_of(connection).await?;
        let provider = provider.ok_or_else(|| ApiError::not_found("Connection"))?;
        Ok(self.resolve(connection, &provider).await?)
    }
}

// === impl AssignmentView ===

impl From<AssignmentRecord> for AssignmentView {
    fn from(assignment: AssignmentRecord) -> Self {
        Self {
            id: assignment.scope.assignment_id(),
            proxy_id: assignment.proxy_id,
            scope: assignment.scope.word(),
            scope_id: assignment.scope.id().map(str::to_owned),
            created_at: assignment.created_at.to_rfc3339(),
            updated_at: assignment.updated_at.to_rfc3339(),
        }
    }
}

// === impl ResolvedView ===

impl From<Resolved> for ResolvedView {
    fn from(resolved: Resolved) -> Self {
        let usable = resolved.problem.is_none();
        let Some((assignment, proxy)) = resolved.assigned else {
            return Self { proxy: None, level: "direct", level_id: None, source: "registry", usable, problem: None };
        };
        Self {
            level: assignment.scope.word(),
            level_id: assignment.scope.id().map(str::to_owned),
            source: "registry",
            usable,
            problem: resolved.problem,
            proxy: Some(ResolvedProxy {
                username: mask(proxy.has_username),
                password: mask(proxy.has_password),
                id: proxy.id,
                name: proxy.name,
                kind: proxy.kind,
                host: proxy.host,
                port: proxy.port,
                status: proxy.status,
                family: proxy.family,
            }),
        }
    }
}

// === impl AssignmentQuery ===

impl FromFields for AssignmentQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            proxy_id: fields.text("proxy_id", 1..=MAX_ID),
            scope: fields.choice("scope", &Scope::WORDS),
            scope_id: fields.text("scope_id", 1..=MAX_ID),
            resolve_connection_id: fields.text("resolve_connection_id", 1..=MAX_ID),
            limit: fields.whole("limit", 1..=200).unwrap_or(100),
            offset: fields.whole("offset", 0..=u64::from(u32::MAX)).unwrap_or(0),
        }
    }
}

// === impl Assign ===

impl FromFields for Assign {
    fn read(fields: &mut Fields) -> Self {
        let word = scope_word(fields);
        let id = fields.nullable_text("scopeId", 0..=MAX_ID).set();
        let proxy_id = proxy_id(fields);
        let scope = word.and_then(|word| scope_of(fields, &word, id.as_deref()));
        Self { scope, scope_id: id, proxy_id }
    }
}

// === impl BulkAssign ===

impl FromFields for BulkAssign {
    fn read(fields: &mut Fields) -> Self {
        let scope = scope_word(fields).unwrap_or_default();
        let ids = fields.texts("scopeIds", 0..=MOST_SCOPES, MAX_ID).unwrap_or_default();
        if ids.is_empty() && !scope.is_empty() && scope != "global" {
            fields.refuse_unless_noted("scopeIds", "says which ones; every scope but global needs it");
        }
        Self { scope, scope_ids: ids, proxy_id: proxy_id(fields) }
    }
}

impl BulkAssign {
    /// Each once, with the id as it was given.
    fn scopes(&self) -> Vec<(String, Scope)> {
        if self.scope == "global" {
            return vec![("global".to_owned(), Scope::Global)];
        }
        let mut ids = self.scope_ids.clone();
        ids.sort();
        ids.dedup();
        ids.into_iter().filter_map(|id| Scope::of(&self.scope, &id).map(|scope| (id, scope))).collect()
    }
}

fn scope_word(fields: &mut Fields) -> Option<String> {
    let word = fields.choice("scope", &Scope::WORDS);
    if word.is_none() {
        fields.refuse_unless_noted("scope", format!("must be one of {}", Scope::WORDS.join(", ")));
    }
    word
}

fn proxy_id(fields: &mut Fields) -> Option<String> {
    fields.nullable_text("proxyId", 0..=MAX_ID).set().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// A scope by its word; every one but `global` needs an id.
pub(super) fn scope_of(fields: &mut Fields, word: &str, id: Option<&str>) -> Option<Scope> {
    let id = id.map(str::trim).unwrap_or_default();
    let scope = Scope::of(word, id)?;
    if id.is_empty() && scope != Scope::Global {
        fields.refuse_unless_noted("scopeId", "is required for every scope but global");
        return None;
    }
    Some(scope)
}
