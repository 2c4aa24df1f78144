//! What outbound proxies look like in REST.

use omniroute_core::settings::Secret;
use omniroute_egress::{Family, ProxyKind};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    assignments::{AssignmentView, scope_of},
    record::{ACTIVE, AssignmentRecord, Credentials, ProxyDraft, ProxyPatch, ProxyRecord, SOURCES, STATUSES, Scope},
    rules::MASK,
};
use crate::http::{Edit, Fields, FromFields};

pub(super) const MAX_ID: usize = 200;
const MAX_NAME: usize = 120;
const MAX_HOST: usize = 255;
const MAX_CREDENTIAL: usize = 255;
const MAX_REGION: usize = 64;
const MAX_NOTES: usize = 1000;

/// A proxy.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct ProxyView {
    id: String,
    name: String,
    /// `http`, `https` or `socks5`.
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: String,
    host: String,
    port: u16,
    /// `***` when there is one, else empty.
    username: &'static str,
    /// `***` when there is one, else empty.
    password: &'static str,
    region: Option<String>,
    notes: Option<String>,
    /// `active`, `inactive` or `dead`. What is assigned to one that is not active is not called at all.
    status: String,
    source: String,
    /// Which of the proxy's own addresses are used: `auto`, `ipv4` or `ipv6`.
    family: String,
    created_at: String,
    updated_at: String,
    /// The assignment that was asked for along with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    assignment: Option<AssignmentView>,
}

/// Some of the proxies.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProxyPage {
    items: Vec<ProxyView>,
    page: PageView,
}

/// Which part of a list it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct PageView {
    pub(super) limit: u64,
    pub(super) offset: u64,
    pub(super) total: u64,
}

/// What goes through a proxy.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct WhereUsed {
    count: usize,
    assignment_count: usize,
    assignments: Vec<AssignmentView>,
}

/// One of three: a page of proxies, one proxy (`id`), or what goes through it (`id` and `where_used`).
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ProxyAnswer {
    Page(ProxyPage),
    One(Box<ProxyView>),
    Used(WhereUsed),
}

/// Which proxies.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProxyQuery {
    /// This one.
    #[param(required = false)]
    pub(super) id: Option<String>,
    /// `1`: what goes through that one.
    #[param(required = false, value_type = Option<String>)]
    pub(super) where_used: bool,
    /// Rows at most.
    #[param(minimum = 1, maximum = 200, required = false)]
    pub(super) limit: u64,
    /// Rows to skip.
    #[param(required = false)]
    pub(super) offset: u64,
}

/// Which proxy goes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    pub(super) id: String,
    /// `1`: also while something is assigned to it.
    #[param(required = false, value_type = Option<String>)]
    pub(super) force: bool,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct CreateProxy {
    #[schema(min_length = 1, max_length = 120)]
    name: String,
    /// `http` (the default), `https` or `socks5`.
    #[schema(rename = "type", default = "http")]
    kind: Option<String>,
    /// Name or address.
    #[schema(min_length = 1, max_length = 255)]
    host: String,
    #[schema(minimum = 1, maximum = 65535)]
    port: u16,
    #[schema(value_type = Option<String>, max_length = 255)]
    username: Option<Secret>,
    #[schema(value_type = Option<String>, max_length = 255, format = "password")]
    password: Option<Secret>,
    #[schema(value_type = Option<String>, max_length = 64)]
    region: Edit<String>,
    #[schema(value_type = Option<String>, max_length = 1000)]
    notes: Edit<String>,
    /// `active` (the default), `inactive` or `dead`.
    status: Option<String>,
    /// `manual` (the default), `oneproxy` or `dashboard-custom`.
    source: Option<String>,
    /// `auto` (the default), `ipv4` or `ipv6`.
    family: Option<String>,
    /// What goes through it from now on.
    assignment: Option<InlineAssignment>,
}

/// Fields to change; the others stay.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ChangeProxy {
    pub(super) id: String,
    #[schema(min_length = 1, max_length = 120)]
    name: Option<String>,
    /// `http`, `https` or `socks5`.
    #[schema(rename = "type")]
    kind: Option<String>,
    /// At another place than before, stored credentials have to be given anew.
    #[schema(min_length = 1, max_length = 255)]
    host: Option<String>,
    #[schema(minimum = 1, maximum = 65535)]
    port: Option<u16>,
    /// Empty removes it; `***` keeps it.
    #[schema(value_type = Option<String>, max_length = 255)]
    username: Option<Secret>,
    /// Empty removes it; `***` keeps it.
    #[schema(value_type = Option<String>, max_length = 255, format = "password")]
    password: Option<Secret>,
    #[schema(value_type = Option<String>, max_length = 64)]
    region: Edit<String>,
    #[schema(value_type = Option<String>, max_length = 1000)]
    notes: Edit<String>,
    status: Option<String>,
    source: Option<String>,
    family: Option<String>,
    /// What goes through it from now on, besides what did before.
    assignment: Option<InlineAssignment>,
}

/// What goes through a proxy.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct InlineAssignment {
    /// `global`, `provider`, `account` (a connection; also `key`) or `combo`.
    #[schema(value_type = String)]
    scope: Option<Scope>,
    /// Of what; missing for `global`.
    #[expect(dead_code, reason = "documents what `scope` holds")]
    scope_id: Option<String>,
}

// === impl ProxyView ===

impl ProxyView {
    pub(super) fn with(mut self, assignment: Option<AssignmentRecord>) -> Self {
        self.assignment = assignment.map(AssignmentView::from);
        self
    }
}

impl From<ProxyRecord> for ProxyView {
    fn from(proxy: ProxyRecord) -> Self {
        Self {
            username: mask(proxy.has_username),
            password: mask(proxy.has_password),
            id: proxy.id,
            name: proxy.name,
            kind: proxy.kind,
            host: proxy.host,
            port: proxy.port,
            region: proxy.region,
            notes: proxy.notes,
            status: proxy.status,
            source: proxy.source,
            family: proxy.family,
            created_at: proxy.created_at.to_rfc3339(),
            updated_at: proxy.updated_at.to_rfc3339(),
            assignment: None,
        }
    }
}

pub(super) const fn mask(is_set: bool) -> &'static str {
    if is_set { MASK } else { "" }
}

// === impl ProxyPage ===

impl ProxyPage {
    pub(super) fn new(proxies: Vec<ProxyRecord>, page: PageView) -> Self {
        Self { items: proxies.into_iter().map(ProxyView::from).collect(), page }
    }
}

// === impl WhereUsed ===

impl From<Vec<AssignmentRecord>> for WhereUsed {
    fn from(assignments: Vec<AssignmentRecord>) -> Self {
        Self {
            count: assignments.len(),
            assignment_count: assignments.len(),
            assignments: assignments.into_iter().map(AssignmentView::from).collect(),
        }
    }
}

// === impl ProxyQuery ===

impl FromFields for ProxyQuery {
    fn read(fields: &mut Fields) -> Self {
        let query = Self {
            id: fields.text("id", 1..=MAX_ID),
            where_used: switch(fields, "where_used"),
            limit: fields.whole("limit", 1..=200).unwrap_or(50),
            offset: fields.whole("offset", 0..=u64::from(u32::MAX)).unwrap_or(0),
        };
        if query.where_used && query.id.is_none() {
            fields.refuse_unless_noted("id", "says of which proxy; where_used needs it");
        }
        query
    }
}

// === impl DeleteQuery ===

impl FromFields for DeleteQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { id: fields.required_text("id", 1..=MAX_ID), force: switch(fields, "force") }
    }
}

/// A switch of a query string.
fn switch(fields: &mut Fields, name: &'static str) -> bool {
    let word = fields.choice(name, &["1", "0", "true", "false"]);
    word.is_some_and(|word| matches!(word.as_str(), "1" | "true"))
}

// === impl CreateProxy ===

impl FromFields for CreateProxy {
    fn read(fields: &mut Fields) -> Self {
        let proxy = Self {
            name: fields.required_text("name", 1..=MAX_NAME),
            kind: kind(fields),
            host: fields.required_text("host", 1..=MAX_HOST),
            port: port(fields).unwrap_or_default(),
            username: credential(fields, "username"),
            password: credential(fields, "password"),
            region: fields.nullable_text("region", 0..=MAX_REGION),
            notes: fields.nullable_text("notes", 0..=MAX_NOTES),
            status: fields.choice("status", &STATUSES),
            source: fields.choice("source", &SOURCES),
            family: fields.choice("family", &Family::WORDS),
            assignment: fields.nested("assignment", InlineAssignment::read),
        };
        if proxy.port == 0 {
            fields.refuse_unless_noted("port", "expected a whole number between 1 and 65535");
        }
        proxy
    }
}

impl CreateProxy {
    pub(super) fn into_parts(self) -> (ProxyDraft, Option<Scope>) {
        let text = |edit: Edit<String>| edit.set().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let draft = ProxyDraft {
            name: self.name.trim().to_owned(),
            kind: self.kind.unwrap_or_else(|| ProxyKind::Http.as_str().to_owned()),
            host: self.host.trim().to_owned(),
            port: self.port,
            credentials: Credentials {
                username: self.username.unwrap_or_default(),
                password: self.password.unwrap_or_default(),
            },
            region: text(self.region),
            notes: text(self.notes),
            status: self.status.unwrap_or_else(|| ACTIVE.to_owned()),
            source: self.source.unwrap_or_else(|| SOURCES[0].to_owned()),
            family: self.family.unwrap_or_else(|| Family::WORDS[0].to_owned()),
        };
        (draft, self.assignment.and_then(|assignment| assignment.scope))
    }
}

// === impl ChangeProxy ===

impl FromFields for ChangeProxy {
    fn read(fields: &mut Fields) -> Self {
        fields.shown(&["createdAt", "updatedAt"]);
        Self {
            id: fields.required_text("id", 1..=MAX_ID),
            name: fields.text("name", 1..=MAX_NAME),
            kind: kind(fields),
            host: fields.text("host", 1..=MAX_HOST),
            port: port(fields),
            username: credential(fields, "username"),
            password: credential(fields, "password"),
            region: fields.nullable_text("region", 0..=MAX_REGION),
            notes: fields.nullable_text("notes", 0..=MAX_NOTES),
            status: fields.choice("status", &STATUSES),
            source: fields.choice("source", &SOURCES),
            family: fields.choice("family", &Family::WORDS),
            assignment: fields.nested("assignment", InlineAssignment::read),
        }
    }
}

impl ChangeProxy {
    pub(super) fn into_parts(self) -> (String, ProxyPatch, Option<Scope>) {
        let text = |edit: Edit<String>| {
            let patch = edit.map(|text| text.trim().to_owned()).into_patch();
            patch.map(|text| text.filter(|text| !text.is_empty()))
        };
        let patch = ProxyPatch {
            name: self.name.map(|name| name.trim().to_owned()),
            kind: self.kind,
            host: self.host.map(|host| host.trim().to_owned()),
            port: self.port,
            username: self.username,
            password: self.password,
            region: text(self.region),
            notes: text(self.notes),
            status: self.status,
            source: self.source,
            family: self.family,
        };
        (self.id, patch, self.assignment.and_then(|assignment| assignment.scope))
    }
}

// === impl InlineAssignment ===

impl FromFields for InlineAssignment {
    fn read(fields: &mut Fields) -> Self {
        let scope = fields.choice("scope", &Scope::WORDS);
        let id = fields.nullable_text("scopeId", 0..=MAX_ID).set();
        if scope.is_none() {
            fields.refuse_unless_noted("scope", format!("must be one of {}", Scope::WORDS.join(", ")));
        }
        let scope = scope.and_then(|word| scope_of(fields, &word, id.as_deref()));
        Self { scope, scope_id: id }
    }
}

/// `type`, in any case; relays of the original are none of ours.
pub(super) fn kind(fields: &mut Fields) -> Option<String> {
    let word = fields.text("type", 1..=20)?.trim().to_ascii_lowercase();
    if ProxyKind::parse(&word).is_none() {
        fields.refuse("type", format!("must be one of {}", ProxyKind::WORDS.join(", ")));
        return None;
    }
    Some(word)
}

pub(super) fn port(fields: &mut Fields) -> Option<u16> {
    fields.whole("port", 1..=u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
}

pub(super) fn credential(fields: &mut Fields, name: &'static str) -> Option<Secret> {
    match fields.nullable_text(name, 0..=MAX_CREDENTIAL) {
        Edit::Keep => None,
        Edit::Clear => Some(Secret::default()),
        Edit::Set(text) => Some(Secret::new(text)),
    }
}
