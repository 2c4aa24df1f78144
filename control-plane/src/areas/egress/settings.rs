//! `/api/settings/proxy`: the same, level by level, without ids of proxies. A proxy that is made this way belongs to its
//! level: it is changed in place, and goes when nothing is assigned to it any more.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use omniroute_core::settings::Secret;
use omniroute_egress::{Family, ProxyKind, ProxySpec};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    Egress,
    assignments::ResolvedView,
    record::{ACTIVE, Credentials, OF_LEVEL, ProxyDraft, ProxyPatch, ProxyRecord, Scope},
    references::release,
    rows::{self, AssignmentFilter, Proxies},
    shapes::{MAX_ID, credential, kind, mask, port},
};
use crate::{
    http::{
        ApiError, Edit, ErrorBody, Fields, FromFields,
        extract::{self, Query},
    },
    store::{Write, records::Actor},
};

const LEVELS: [&str; 4] = ["global", "provider", "combo", "key"];
/// Levels that one call sets.
const MOST_LEVELS: usize = 1000;

/// A proxy, as a level has it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct LevelProxy {
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
}

/// Every level that has a proxy.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProxySettings {
    global: Option<LevelProxy>,
    /// By id of the provider or node.
    providers: BTreeMap<String, LevelProxy>,
    /// By id of the combo.
    combos: BTreeMap<String, LevelProxy>,
    /// By id of the connection.
    keys: BTreeMap<String, LevelProxy>,
}

/// One level.
#[derive(Serialize, ToSchema)]
pub(crate) struct LevelView {
    level: String,
    id: Option<String>,
    proxy: Option<LevelProxy>,
}

/// All levels, one of them (`level`, `id`), or what a connection is called through (`resolve`).
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ProxySettingsAnswer {
    All(ProxySettings),
    Level(LevelView),
    Resolved(Box<ResolvedView>),
}

/// Which level.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LevelQuery {
    /// `global`, `provider`, `combo` or `key` (a connection).
    #[param(required = false)]
    level: Option<String>,
    /// Of what; missing for `global`.
    #[param(required = false)]
    id: Option<String>,
    /// What this connection is called through.
    #[param(required = false)]
    resolve: Option<String>,
}

/// Which level loses its proxy.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteLevel {
    /// `global`, `provider`, `combo` or `key` (a connection).
    level: String,
    /// Of what; missing for `global`.
    #[param(required = false)]
    id: Option<String>,
}

/// A proxy for a level.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct LevelProxyBody {
    /// `http` (the default), `https` or `socks5`.
    #[schema(rename = "type", default = "http")]
    kind: Option<String>,
    #[schema(min_length = 1, max_length = 255)]
    host: String,
    /// 8080, 443 or 1080 unless given.
    #[schema(minimum = 1, maximum = 65535)]
    port: Option<u16>,
    /// `***` keeps what is stored.
    #[schema(value_type = Option<String>, max_length = 255)]
    username: Option<Secret>,
    /// `***` keeps what is stored.
    #[schema(value_type = Option<String>, max_length = 255, format = "password")]
    password: Option<Secret>,
}

/// One level (`level`, `id`, `proxy`), or several. Null takes a level's proxy away.
#[derive(ToSchema)]
pub(crate) struct ChangeProxySettings {
    /// `global` (the default), `provider`, `combo` or `key` (a connection).
    level: Option<String>,
    /// Of what; missing for `global`.
    id: Option<String>,
    /// For `level`.
    #[schema(value_type = Option<LevelProxyBody>)]
    proxy: Edit<LevelProxyBody>,
    #[schema(value_type = Option<LevelProxyBody>)]
    global: Edit<LevelProxyBody>,
    /// By id, alias or prefix of the provider or node; null takes one away.
    #[schema(value_type = Option<BTreeMap<String, LevelProxyBody>>)]
    providers: Vec<(String, Option<LevelProxyBody>)>,
    /// By id of the combo; null takes one away.
    #[schema(value_type = Option<BTreeMap<String, LevelProxyBody>>)]
    combos: Vec<(String, Option<LevelProxyBody>)>,
    /// By id of the connection; null takes one away.
    #[schema(value_type = Option<BTreeMap<String, LevelProxyBody>>)]
    keys: Vec<(String, Option<LevelProxyBody>)>,
}

/// The outbound proxies, level by level; or one level, or what a connection is called through.
#[utoipa::path(
    get,
    path = "/api/settings/proxy",
    tag = "Outbound proxies",
    params(LevelQuery),
    responses(
        (status = 200, body = ProxySettingsAnswer),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn show(
    State(egress): State<Arc<Egress>>,
    Query(query): Query<LevelQuery>,
) -> Result<Json<ProxySettingsAnswer>, ApiError> {
    if let Some(connection) = query.resolve {
        let resolved = egress.resolve_stored(&connection).await?;
        return Ok(Json(ProxySettingsAnswer::Resolved(Box::new(resolved.into()))));
    }
    let settings = egress.settings().await?;
    let Some(level) = query.level else { return Ok(Json(ProxySettingsAnswer::All(settings))) };
    let ProxySettings { global, mut providers, mut combos, mut keys } = settings;
    let id = query.id.unwrap_or_default();
    let proxy = match level.as_str() {
        "global" => global,
        "provider" => providers.remove(&id),
        "combo" => combos.remove(&id),
        _ => keys.remove(&id),
    };
    let id = (level != "global").then_some(id);
    Ok(Json(ProxySettingsAnswer::Level(LevelView { level, id, proxy })))
}

/// Set the proxy of a level, or of several.
#[utoipa::path(
    put,
    path = "/api/settings/proxy",
    tag = "Outbound proxies",
    request_body = ChangeProxySettings,
    responses((status = 200, body = ProxySettings), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn change(
    State(egress): State<Arc<Egress>>,
    actor: Actor,
    extract::Json(body): extract::Json<ChangeProxySettings>,
) -> Result<Json<ProxySettings>, ApiError> {
    egress.set_levels(&actor, body.levels()).await?;
    Ok(Json(egress.settings().await?))
}

/// Take the proxy of a level away.
#[utoipa::path(
    delete,
    path = "/api/settings/proxy",
    tag = "Outbound proxies",
    params(DeleteLevel),
    responses((status = 200, body = ProxySettings), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn delete(
    State(egress): State<Arc<Egress>>,
    actor: Actor,
    Query(query): Query<DeleteLevel>,
) -> Result<Json<ProxySettings>, ApiError> {
    let scope = Scope::of(&query.level, query.id.as_deref().unwrap_or_default());
    egress.set_levels(&actor, scope.map(|scope| (scope, None)).into_iter().collect()).await?;
    Ok(Json(egress.settings().await?))
}

// === impl Egress ===

impl Egress {
    async fn settings(&self) -> Result<ProxySettings, ApiError> {
        let proxies: BTreeMap<String, ProxyRecord> =
            Proxies::of(&self.store).list().await?.into_iter().map(|proxy| (proxy.id.clone(), proxy)).collect();
        let mut settings =
            ProxySettings { global: None, providers: BTreeMap::new(), combos: BTreeMap::new(), keys: BTreeMap::new() };
        for assignment in self.assignments(&AssignmentFilter::default()).await? {
            let Some(proxy) = proxies.get(&assignment.proxy_id).map(LevelProxy::of) else { continue };
            match assignment.scope {
                Scope::Global => settings.global = Some(proxy),
                Scope::Provider(id) => drop(settings.providers.insert(id, proxy)),
                Scope::Combo(id) => drop(settings.combos.insert(id, proxy)),
                Scope::Account(id) => drop(settings.keys.insert(id, proxy)),
            }
        }
        Ok(settings)
    }

    /// All of them, or none.
    async fn set_levels(&self, actor: &Actor, levels: Vec<(Scope, Option<LevelProxyBody>)>) -> Result<(), ApiError> {
        let mut write = self.store.write(actor).await?;
        for (scope, proxy) in levels {
            match proxy {
                Some(proxy) => {
                    let scope = self.named(&mut write, scope).await?;
                    self.set_level(&mut write, scope, proxy).await?;
                }
                // What is gone may be cleared as well.
                None => {
                    let named = self.named(&mut write, scope.clone()).await.unwrap_or(scope);
                    release(&mut write, &named).await?;
                }
            }
        }
        write.commit().await?;
        Ok(())
    }

    async fn set_level(&self, write: &mut Write, scope: Scope, proxy: LevelProxyBody) -> Result<(), ApiError> {
        let kind = proxy.kind.unwrap_or_else(|| ProxyKind::Http.as_str().to_owned());
        let default_port = ProxyKind::parse(&kind).map_or(0, ProxyKind::default_port);
        let port = proxy.port.unwrap_or(default_port);
        let host = proxy.host.trim().to_owned();
        if let Some(held) = rows::find_assignment(write, &scope).await?
            && rows::find(write, &held.proxy_id).await?.is_some_and(|held| held.source == OF_LEVEL)
            && rows::assignments_of(write, &held.proxy_id).await?.len() == 1
        {
            let patch = ProxyPatch {
                kind: Some(kind),
                host: Some(host),
                port: Some(port),
                // What is not said is not there: a level is set as a whole.
                username: Some(proxy.username.unwrap_or_default()),
                password: Some(proxy.password.unwrap_or_default()),
                status: Some(ACTIVE.to_owned()),
                ..ProxyPatch::default()
            };
            self.update_in(write, &held.proxy_id, patch).await?;
            return Ok(());
        }
        let credentials =
            Credentials { username: proxy.username.unwrap_or_default(), password: proxy.password.unwrap_or_default() };
        self.check(&ProxySpec {
            kind: &kind,
            host: &host,
            port: port.into(),
            username: credentials.username.expose(),
            password: credentials.password.expose(),
            family: "",
        })?;
        let name = match scope.id() {
            Some(id) => format!("{} {id}", scope.word()),
            None => scope.word().to_owned(),
        };
        let draft = ProxyDraft {
            name,
            kind,
            host,
            port,
            credentials,
            region: None,
            notes: None,
            status: ACTIVE.to_owned(),
            source: OF_LEVEL.to_owned(),
            family: Family::WORDS[0].to_owned(),
        };
        let made = rows::create(write, draft).await?;
        self.assign_in(write, Some(scope), &made.id).await?;
        Ok(())
    }
}

// === impl LevelProxy ===

impl LevelProxy {
    fn of(proxy: &ProxyRecord) -> Self {
        Self {
            kind: proxy.kind.clone(),
            host: proxy.host.clone(),
            port: proxy.port,
            username: mask(proxy.has_username),
            password: mask(proxy.has_password),
        }
    }
}

// === impl LevelQuery ===

impl FromFields for LevelQuery {
    fn read(fields: &mut Fields) -> Self {
        let query = Self {
            level: fields.choice("level", &LEVELS),
            id: fields.text("id", 1..=MAX_ID),
            resolve: fields.text("resolve", 1..=MAX_ID),
        };
        require_id(fields, query.level.as_deref(), query.id.as_deref());
        query
    }
}

// === impl DeleteLevel ===

impl FromFields for DeleteLevel {
    fn read(fields: &mut Fields) -> Self {
        let level = fields.choice("level", &LEVELS);
        let id = fields.text("id", 1..=MAX_ID);
        if level.is_none() {
            fields.refuse_unless_noted("level", format!("must be one of {}", LEVELS.join(", ")));
        }
        require_id(fields, level.as_deref(), id.as_deref());
        Self { level: level.unwrap_or_default(), id }
    }
}

// === impl LevelProxyBody ===

impl FromFields for LevelProxyBody {
    fn read(fields: &mut Fields) -> Self {
        Self {
            kind: kind(fields),
            host: fields.required_text("host", 1..=255),
            port: port(fields),
            username: credential(fields, "username"),
            password: credential(fields, "password"),
        }
    }
}

// === impl ChangeProxySettings ===

impl FromFields for ChangeProxySettings {
    fn read(fields: &mut Fields) -> Self {
        let body = Self {
            level: fields.choice("level", &LEVELS),
            id: fields.nullable_text("id", 0..=MAX_ID).set(),
            proxy: fields.nullable_nested("proxy", LevelProxyBody::read),
            global: fields.nullable_nested("global", LevelProxyBody::read),
            providers: fields.nested_map("providers", MOST_LEVELS, LevelProxyBody::read),
            combos: fields.nested_map("combos", MOST_LEVELS, LevelProxyBody::read),
            keys: fields.nested_map("keys", MOST_LEVELS, LevelProxyBody::read),
        };
        fields.require_any();
        if body.level.is_some() && body.proxy.is_keep() {
            fields.refuse_unless_noted("proxy", "is required when level is provided; null takes it away");
        }
        require_id(fields, body.level.as_deref(), body.id.as_deref());
        body
    }
}

impl ChangeProxySettings {
    fn levels(self) -> Vec<(Scope, Option<LevelProxyBody>)> {
        let id = self.id.as_deref().map(str::trim).unwrap_or_default();
        let level = Scope::of(self.level.as_deref().unwrap_or("global"), id);
        let one = level.into_iter().zip(self.proxy.into_patch());
        let global = self.global.into_patch().map(|proxy| (Scope::Global, proxy));
        let providers = self.providers.into_iter().map(|(id, proxy)| (Scope::Provider(id), proxy));
        let combos = self.combos.into_iter().map(|(id, proxy)| (Scope::Combo(id), proxy));
        let keys = self.keys.into_iter().map(|(id, proxy)| (Scope::Account(id), proxy));
        one.chain(global).chain(providers).chain(combos).chain(keys).collect()
    }
}

fn require_id(fields: &mut Fields, level: Option<&str>, id: Option<&str>) {
    let is_missing = id.is_none_or(|id| id.trim().is_empty());
    if is_missing && level.is_some_and(|level| level != "global") {
        fields
            .refuse_unless_noted("id", "says of which provider, combo or connection; every level but global needs it");
    }
}
