//! What is decided about connections.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderName, HeaderValue};
use omniroute_core::settings::Secret;
use omniroute_providers::{Auth, Catalog, ChatApis};
use serde_json::{Value, json};
use url::{Origin, Url};

use super::{
    super::{
        Providers, models,
        nodes::{self, ANTHROPIC, NodeRecord, OPENAI, rows::Nodes},
        pricing::{self, Unpriced},
    },
    cloud,
    record::{ConnectionDraft, ConnectionPatch, ConnectionRecord},
    rows::{self, Connections},
};
use crate::{
    http::{ApiError, Edit, Fields, Refused, merged, nearest, shapes::UpstreamTimeouts},
    store::{
        MERGE_ATTEMPTS, StoreError, Write,
        records::{Actor, CoolingRow, Object, TimeoutsRecord},
    },
};

/// What stands in an answer for the value of a header; in an edit it means the value that is stored.
pub const MASK: &str = "****";

/// What `providerSpecificData` of a node's connection repeats from the node; never stored with the connection.
const FROM_NODE: [&str; 5] = ["prefix", "apiType", "nodeName", "chatPath", "modelsPath"];

/// Longest name of a region.
const MAX_REGION: usize = 64;

/// What a new connection needs.
#[derive(Debug)]
pub struct NewConnection {
    /// Id or alias of a provider of the catalog, or id of a node.
    pub provider: String,
    pub name: String,
    pub secret: Secret,
    pub priority: Option<i32>,
    pub is_active: bool,
    pub max_concurrent: Option<u32>,
    pub timeouts: TimeoutsRecord,
    /// `providerSpecificData` as it came.
    pub specific: Object,
    pub extras: Object,
}

/// An edit of a connection.
#[derive(Debug, Default)]
pub struct ConnectionChange {
    pub name: Option<String>,
    pub secret: Option<Secret>,
    pub priority: Option<i32>,
    pub is_active: Option<bool>,
    pub max_concurrent: Edit<u32>,
    /// Those that are named.
    pub timeouts: Option<UpstreamTimeouts>,
    /// Merged into what is stored; null removes a field.
    pub specific: Option<Object>,
    pub extras: Object,
    pub ends_cooldown: bool,
}

/// A connection and what goes with it.
pub struct ConnectionView {
    pub record: ConnectionRecord,
    pub node: Option<NodeRecord>,
    /// Set while some proxy leaves it alone.
    pub cooling: Option<CoolingRow>,
}

/// `providerSpecificData`, taken apart.
struct SpecificData {
    base_url: Option<String>,
    headers: BTreeMap<String, String>,
    data: Object,
}

/// What a connection is a credential for.
pub(in super::super) enum Provider {
    Node(NodeRecord),
    Catalog(&'static omniroute_providers::Provider),
}

// === impl Providers ===

impl Providers {
    /// `limit` connections after the first `offset`, and how many there are; of one provider, or of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn connections(
        &self,
        provider: Option<&str>,
        limit: u64,
        offset: u64,
    ) -> Result<(Vec<ConnectionView>, u64), ApiError> {
        let (records, total) = Connections::of(&self.store).page(provider.map(canonical), limit, offset).await?;
        let nodes: BTreeMap<String, NodeRecord> =
            Nodes::of(&self.store).list().await?.into_iter().map(|node| (node.id.to_string(), node)).collect();
        let cooling = self.cooling().await?;
        let view = |record: ConnectionRecord| ConnectionView {
            node: nodes.get(record.provider.as_str()).cloned(),
            cooling: cooling.get(record.id.as_str()).cloned(),
            record,
        };
        Ok((records.into_iter().map(view).collect(), total))
    }

    /// # Errors
    /// 404.
    pub async fn connection(&self, id: &str) -> Result<ConnectionView, ApiError> {
        let record = Connections::of(&self.store).get(id).await?;
        let cooling = self.cooling().await?.remove(id);
        self.view(record, cooling).await
    }

    async fn view(&self, record: ConnectionRecord, cooling: Option<CoolingRow>) -> Result<ConnectionView, ApiError> {
        let node = self.node_of(record.provider.as_str()).await?;
        Ok(ConnectionView { record, node, cooling })
    }

    /// Adds a connection and has its models asked for in the background.
    ///
    /// # Errors
    /// 400 for a field, 404 when the node does not exist.
    pub async fn create_connection(
        self: &Arc<Self>,
        actor: &Actor,
        new: NewConnection,
    ) -> Result<ConnectionView, ApiError> {
        // In the transaction: a node that is being deleted must not leave a connection behind.
        let mut write = self.store.write(actor).await?;
        let provider = provider_of(&mut write, &new.provider).await?;
        if !new.secret.is_set() && provider.needs_key() && !cloud::is_ambient(&new.specific) {
            return Err(ApiError::invalid_field("apiKey", "API key is required"));
        }
        let specific = self.take_apart(&provider, new.specific, &BTreeMap::new())?;
        let draft = ConnectionDraft {
            priority: new.priority,
            is_active: new.is_active,
            base_url: specific.base_url,
            headers: specific.headers,
            provider_data: specific.data,
            extras: new.extras,
            timeouts: new.timeouts,
            max_concurrent: new.max_concurrent,
            ..ConnectionDraft::new(provider.id(), new.name.trim(), new.secret)
        };
        let secret = draft.secret.clone();
        let record = rows::create(&mut write, draft).await?;
        self.check_compiles(&record, &secret, &provider)?;
        pricing::price_unlisted(&mut write, &record).await?;
        write.commit().await?;
        self.discover_in_background(record.id.clone());
        self.view(record, None).await
    }

    /// Changes a connection. One that points elsewhere or has another secret gets a new chance: its cooldown ends, and
    /// its models are asked for anew.
    ///
    /// # Errors
    /// 404, 400 for a field.
    pub async fn update_connection(
        self: &Arc<Self>,
        actor: &Actor,
        id: &str,
        change: ConnectionChange,
    ) -> Result<ConnectionView, ApiError> {
        let mut attempts = MERGE_ATTEMPTS;
        loop {
            attempts -= 1;
            match self.try_update_connection(actor, id, &change).await {
                Err(Refused::Store(StoreError::Stale { .. })) if attempts > 0 => {}
                Err(Refused::Store(error)) => return Err(error.into()),
                Err(Refused::Request(error)) => return Err(error),
                Ok(record) => {
                    if change.secret.is_some() || change.specific.is_some() {
                        self.coordination.warm(id).await;
                        self.discover_in_background(record.id.clone());
                    }
                    if change.ends_cooldown {
                        self.coordination.warm(id).await;
                    }
                    let cooling = self.cooling().await?.remove(id);
                    return self.view(record, cooling).await;
                }
            }
        }
    }

    async fn try_update_connection(
        &self,
        actor: &Actor,
        id: &str,
        change: &ConnectionChange,
    ) -> Result<ConnectionRecord, Refused> {
        let held = Connections::of(&self.store).get(id).await?;
        let secret = match &change.secret {
            Some(secret) => secret.clone(),
            // One that does not open any more does not stop the edit that replaces everything else.
            None => Connections::of(&self.store).secret(id).await.unwrap_or_default(),
        };
        let mut write = self.store.write(actor).await?;
        let provider = provider_of(&mut write, held.provider.as_str()).await?;
        let specific = match &change.specific {
            Some(edit) => {
                let mut whole = held.provider_data.clone();
                if let Some(url) = &held.base_url {
                    whole.insert("baseUrl".into(), json!(url));
                }
                if !held.headers.is_empty() {
                    whole.insert("customHeaders".into(), json!(held.headers));
                }
                let specific = self.take_apart(&provider, merged(whole, edit.clone()), &held.headers)?;
                let (from, to) = (held.base_url.as_deref(), specific.base_url.as_deref());
                if provider.origin(from) != provider.origin(to) {
                    refuse_to_carry(&held, change, edit)?;
                    tracing::warn!(connection = id, actor = actor.name, "a connection is moved to another host");
                }
                let issuers = [&held.provider_data, &specific.data].map(|data| origin_of(cloud::auth_url(data)));
                if issuers[0] != issuers[1] && held.has_secret && change.secret.is_none() {
                    return Err(ApiError::invalid_field(
                        "apiKey",
                        "the new authUrl is another host, and the stored secret is not sent there: enter the secret anew",
                    )
                    .into());
                }
                Some(specific)
            }
            None => None,
        };
        let auth_type = change.secret.as_ref().filter(|_| held.auth_type != "oauth");
        let mut patch = ConnectionPatch {
            expected_revision: Some(held.revision),
            name: change.name.as_ref().map(|name| name.trim().to_owned()),
            auth_type: auth_type.map(|secret| if secret.is_set() { "apikey" } else { "none" }.to_owned()),
            priority: change.priority,
            is_active: change.is_active,
            secret: change.secret.clone(),
            timeouts: change.timeouts.map(|edit| edit.over(held.timeouts)),
            max_concurrent: change.max_concurrent.clone().into_patch(),
            ..ConnectionPatch::default()
        };
        if let Some(specific) = specific {
            patch.base_url = Some(specific.base_url);
            patch.headers = Some(specific.headers);
            patch.provider_data = Some(specific.data);
        }
        if !change.extras.is_empty() {
            patch.extras = Some(merged(held.extras.clone(), change.extras.clone()));
        }
        let record = rows::update(&mut write, id, patch).await?;
        self.check_compiles(&record, &secret, &provider)?;
        pricing::price_unlisted(&mut write, &record).await?;
        write.commit().await?;
        Ok(record)
    }

    /// Deletes a connection, and the models that were found through it when it was its provider's last.
    ///
    /// # Errors
    /// 404.
    pub async fn delete_connection(&self, actor: &Actor, id: &str) -> Result<(), ApiError> {
        let record = Connections::of(&self.store).get(id).await?;
        let mut write = self.store.write(actor).await?;
        rows::delete(&mut write, id).await?;
        self.references.forget_connections(&mut write, &[id.to_owned()]).await?;
        pricing::forget_unlisted(&mut write, &[id.to_owned()]).await?;
        if rows::of_provider(&mut write, record.provider.as_str()).await?.is_empty() {
            models::rows::replace(&mut write, record.provider.as_str(), models::FROM_API, Vec::new()).await?;
        }
        write.commit().await?;
        self.coordination.warm(id).await;
        Ok(())
    }

    /// The node or the catalog's provider of that name.
    pub(in super::super) async fn provider(&self, name: &str) -> Result<Provider, ApiError> {
        Provider::of(self.node_of(name).await?, name)
    }

    async fn node_of(&self, id: &str) -> Result<Option<NodeRecord>, ApiError> {
        match Nodes::of(&self.store).get(id).await {
            Ok(node) => Ok(Some(node)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Cooldowns that proxies report, by connection; of several the longest.
    async fn cooling(&self) -> Result<BTreeMap<String, CoolingRow>, ApiError> {
        let now = self.clock.now();
        let mut cooling: BTreeMap<String, CoolingRow> = BTreeMap::new();
        for proxy in self.store.proxies().list().await?.into_iter().filter(|proxy| !proxy.lost) {
            for row in proxy.cooling.into_iter().filter(|row| row.until > now) {
                match cooling.get(&row.connection_id) {
                    Some(held) if held.until >= row.until => {}
                    _ => drop(cooling.insert(row.connection_id.clone(), row)),
                }
            }
        }
        Ok(cooling)
    }

    /// Takes `providerSpecificData` apart and checks what a proxy will act on. `held`: headers as they are stored,
    /// for those that come back masked.
    fn take_apart(
        &self,
        provider: &Provider,
        mut whole: Object,
        held: &BTreeMap<String, String>,
    ) -> Result<SpecificData, ApiError> {
        if let Provider::Node(_) = provider {
            whole.retain(|name, _| !FROM_NODE.contains(&name.as_str()));
        }
        let mut fields = Fields::new(whole);
        let base_url = fields.nullable_text("baseUrl", 0..=2000).set();
        let base_url = base_url.map(|url| url.trim().trim_end_matches('/').to_owned()).filter(|url| !url.is_empty());
        let custom = fields.nullable_value("customHeaders", Value::is_object).set();
        let region = fields.nullable_text("region", 0..=MAX_REGION).set();
        let region = region.map(|region| region.trim().to_ascii_lowercase()).filter(|region| !region.is_empty());
        let api_type = fields.choice("apiType", &ChatApis::WORDS);
        let headers = custom.map(|custom| read_headers(&mut fields, custom, held)).unwrap_or_default();
        let mut cloud = Object::new();
        cloud::take(&mut fields, &mut cloud);
        let unpriced = Unpriced::read(&mut fields);
        let mut data = fields.rest();
        data.extend(cloud);
        unpriced.write(&mut data);
        if let Some(region) = region {
            data.insert("region".into(), json!(region));
        }
        if let Some(api_type) = api_type {
            data.insert("apiType".into(), json!(api_type));
        }
        let base_url = fields.finish(base_url).map_err(|error| error.inside("providerSpecificData"))?;
        // Clients send back what they were shown; a URL that is the provider's own overrides nothing.
        let base_url = base_url.filter(|url| Some(url.as_str()) != provider.base_url());
        if let Some(url) = &base_url {
            self.check_base_url("providerSpecificData.baseUrl", url)?;
        }
        Ok(SpecificData { base_url, headers, data })
    }
}

// === impl Provider ===

impl Provider {
    fn of(node: Option<NodeRecord>, name: &str) -> Result<Self, ApiError> {
        if let Some(node) = node {
            return Ok(Self::Node(node));
        }
        if let Some(provider) = Catalog::builtin().get(name) {
            return Ok(Self::Catalog(provider));
        }
        if [OPENAI, ANTHROPIC].iter().any(|kind| name.starts_with(kind)) {
            return Err(ApiError::not_found("Provider node"));
        }
        Err(ApiError::invalid_field("provider", unknown(name)))
    }

    /// Whose the secrets of a connection with this base URL are: scheme, host and port. `None`: the vendor's own hosts.
    fn origin(&self, base_url: Option<&str>) -> Option<Origin> {
        origin_of(base_url.or_else(|| self.base_url())?)
    }

    pub(in super::super) fn id(&self) -> &str {
        match self {
            Self::Node(node) => node.id.as_str(),
            Self::Catalog(provider) => provider.id,
        }
    }

    fn base_url(&self) -> Option<&str> {
        match self {
            Self::Node(node) => Some(node.base_url.trim_end_matches('/')),
            // Where every region has a host of its own, none of them is the provider's.
            Self::Catalog(provider) if provider.has_regions() || provider.own_host => None,
            Self::Catalog(provider) => Some(provider.base_url.trim_end_matches('/')),
        }
    }

    /// A node may be a server of one's own that wants no key.
    fn needs_key(&self) -> bool {
        match self {
            Self::Node(_) => false,
            Self::Catalog(provider) => provider.auth != Auth::None,
        }
    }
}

/// As [`Providers::provider`], as the transaction sees it.
async fn provider_of(write: &mut Write, name: &str) -> Result<Provider, ApiError> {
    Provider::of(nodes::rows::find(write, name).await?, name)
}

/// What is said of a provider that nobody knows: the one that was probably meant, else all that there are.
fn unknown(name: &str) -> String {
    let providers = Catalog::builtin().providers();
    let known = providers.iter().flat_map(|provider| std::iter::once(&provider.id).chain(&provider.aliases));
    let known: Vec<&str> = known.copied().collect();
    let said = "Invalid provider: neither a node nor a provider of the catalog";
    match nearest(name, &known) {
        Some(meant) => format!("{said}; did you mean `{meant}`?"),
        None => {
            format!("{said}; docs/providers.md lists the {} of the catalog", providers.len())
        }
    }
}

/// Scheme, host and port of a URL.
pub(in super::super) fn origin_of(url: &str) -> Option<Origin> {
    Url::parse(url).ok().map(|url| url.origin())
}

/// Nothing that is stored for one host is sent to another: who moves a connection enters its secrets anew. Else whoever
/// may edit could have every stored secret sent to a host of their own.
fn refuse_to_carry(held: &ConnectionRecord, change: &ConnectionChange, edit: &Object) -> Result<(), ApiError> {
    if held.has_secret && change.secret.is_none() {
        return Err(ApiError::invalid_field(
            "apiKey",
            "the new base URL is another host, and the stored secret is not sent there: enter the secret anew",
        ));
    }
    let entered = edit.get("customHeaders");
    let is_entered = |name: &str| match entered {
        Some(Value::Object(headers)) => headers
            .iter()
            .all(|(entered, value)| !entered.trim().eq_ignore_ascii_case(name) || value.as_str() != Some(MASK)),
        Some(_) => true,
        None => false,
    };
    match held.headers.keys().find(|name| !is_entered(name)) {
        Some(name) => Err(ApiError::invalid_field(
            format!("providerSpecificData.customHeaders.{name}"),
            "the new base URL is another host, and stored headers are not sent there: enter its value anew, or set \
             customHeaders to null",
        )),
        None => Ok(()),
    }
}

/// The catalog's id of a provider that may be named by an alias.
pub(in super::super) fn canonical(name: &str) -> &str {
    Catalog::builtin().get(name).map_or(name, |provider| provider.id)
}

fn read_headers(fields: &mut Fields, custom: Value, held: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    const MOST: usize = 32;
    let Value::Object(custom) = custom else { return BTreeMap::new() };
    if custom.len() > MOST {
        fields.refuse("customHeaders", format!("must have at most {MOST} entries"));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in custom {
        let field = format!("customHeaders.{name}");
        let Value::String(value) = value else {
            fields.refuse(&field, "expected string");
            continue;
        };
        let lower = name.trim().to_ascii_lowercase();
        let value = if value == MASK { held.get(&lower).cloned().unwrap_or(value) } else { value };
        if HeaderName::from_bytes(lower.as_bytes()).is_err() || HeaderValue::from_str(&value).is_err() {
            fields.refuse(&field, "is no header");
            continue;
        }
        headers.insert(lower, value);
    }
    headers
}
