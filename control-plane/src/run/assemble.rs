//! Which areas there are, what each is given, and what they give: routes, kinds of configuration, sealed columns, jobs.
//! A new area is a line in each list that it has something for.

use std::sync::Arc;

use axum::Router;
use omniroute_coordination::Coordination;
use omniroute_core::{address::AddressPolicy, settings::ControlPlaneSettings, time::Clock};
use omniroute_credentials::{Machine, Place};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use utoipa_axum::router::OpenApiRouter;

use super::cross_area::{
    KnownProviders, Naming, OutboundProxies, Password, Scopes, Secrets, SignedInAccounts, TokenTransport,
    Tokens as Renewals,
};
use crate::{
    areas::{
        access::{
            self, Access,
            keys::{ApiKeyKind, ApiKeys},
            login::{Login, LoginHandles, LoginSettings},
        },
        egress::{self, Egress, OutboundProxyKind, ProxyAssignmentKind},
        oauth::{self, Clients, OAuth, OAuthHandles, Refresher, RefresherHandles, Variables},
        operations::{self, Operations, OperationsHandles},
        providers::{
            self, ProviderHandles, Providers, UpstreamClient,
            connections::ConnectionKind,
            models::{ModelAliasKind, ModelKind},
            nodes::ProviderNodeKind,
            pricing::PriceKind,
        },
        settings::{self, Ports, Settings, SettingsKind},
        usage::{self, Usage},
    },
    auth::{Authenticator, ClientOriginRules, Guard, OpenRoute, RouteTable, token::Tokens},
    http::{self, AllowedOrigins, Limits, Tag},
    jobs::{self, Job},
    ledger::Ledger,
    publish::{Kinds, ProxyRegistry},
    store::{SealedColumn, Store},
};

/// What proxies are sent, in the order of a full snapshot: parents before children.
pub const KINDS: Kinds = &[
    &SettingsKind,
    &OutboundProxyKind,
    &ProviderNodeKind,
    &ConnectionKind,
    &ProxyAssignmentKind,
    &ModelKind,
    &ModelAliasKind,
    &PriceKind,
    &ApiKeyKind,
];

/// What lies sealed in the tables of areas.
pub const SEALED: &[&[SealedColumn]] = &[&providers::connections::rows::SEALED, &egress::rows::SEALED, &oauth::SEALED];

/// Groups of the API document.
const TAGS: &[Tag] = &[
    ("Authentication", "Signing in and out"),
    ("Settings", "Settings that can be changed at run time"),
    ("Providers", "Connections: credentials at providers"),
    ("OAuth", "Signing in at providers"),
    ("Provider nodes", "Endpoints that the operator added, each with a prefix"),
    ("Outbound proxies", "Servers through which providers are called, and what goes through which"),
    ("Models", "Models that providers offer, other names for them, what they cost"),
    ("API keys", "Keys of the gateway's clients"),
    ("Usage", "What was asked, what it cost"),
    ("Monitoring", "Health of the fleet"),
    ("System", "Probes"),
];

/// What the areas stand on.
pub struct Foundations {
    pub store: Store,
    pub ledger: Ledger,
    pub proxies: ProxyRegistry,
    pub coordination: Arc<dyn Coordination>,
    pub clock: Arc<dyn Clock>,
    pub tokens: Tokens,
    /// What the process was started with, as far as it is about signing in at providers.
    pub environment: Variables,
    /// Work that outlives the request that began it; waited for when the process stops.
    pub background: TaskTracker,
    /// Cancelled when the process stops.
    pub stopping: CancellationToken,
}

/// The areas, built.
pub struct Areas {
    pub access: Access,
    pub providers: Arc<Providers>,
    pub oauth: Arc<OAuth>,
    pub egress: Arc<Egress>,
    pub settings: Arc<Settings>,
    pub usage: Arc<Usage>,
    pub operations: Arc<Operations>,
}

// === impl Areas ===

impl Areas {
    /// # Errors
    /// When the HTTP client or argon2 cannot be set up.
    pub fn build(settings: &ControlPlaneSettings, on: &Foundations) -> anyhow::Result<Self> {
        let allowed_origins = AllowedOrigins::parse(&settings.cors_origins);
        let in_force = on.store.clone();
        let policy = move || AddressPolicy::from_allow_private(in_force.allow_private_upstreams());
        let egress = Arc::new(Egress::new(
            on.store.clone(),
            Arc::clone(&on.clock),
            Arc::new(Scopes(on.store.clone())),
            Arc::new(providers::upstream_tls(&settings.upstream_tls_ca)?),
        ));
        let ways = Arc::new(OutboundProxies(Arc::clone(&egress)));
        let transport = Arc::new(TokenTransport {
            client: UpstreamClient::new(policy, &settings.upstream_tls_ca)?,
            ways: ways.clone(),
        });
        let credentials = Arc::new(Secrets(on.store.clone()));
        let clients = Arc::new(Clients::new(on.store.clone(), on.environment.clone()));
        let refresher = Arc::new(Refresher::new(RefresherHandles {
            store: on.store.clone(),
            clock: Arc::clone(&on.clock),
            transport: transport.clone(),
            credentials: credentials.clone(),
            clients: Arc::clone(&clients),
            background: on.background.clone(),
            stopping: on.stopping.clone(),
        }));
        let providers = ProviderHandles {
            store: on.store.clone(),
            clock: Arc::clone(&on.clock),
            coordination: Arc::clone(&on.coordination),
            proxies: on.proxies.clone(),
            references: Arc::new(Naming),
            sign_ins: Arc::new(Renewals(Arc::clone(&refresher))),
            ways,
            background: on.background.clone(),
            stopping: on.stopping.clone(),
        };
        let machine = settings.ambient_credentials.then(|| Machine::new(Place::here()));
        let providers = Arc::new(Providers::new(providers, &settings.upstream_tls_ca, machine)?);
        let oauth = Arc::new(OAuth::new(OAuthHandles {
            store: on.store.clone(),
            clock: Arc::clone(&on.clock),
            transport,
            accounts: Arc::new(SignedInAccounts(Arc::clone(&providers))),
            credentials,
            refresher,
            clients,
            data_dir: settings.data_dir.clone(),
            port: settings.control_plane_port,
        }));
        let login = LoginHandles {
            store: on.store.clone(),
            clock: Arc::clone(&on.clock),
            coordination: Arc::clone(&on.coordination),
            tokens: on.tokens.clone(),
        };
        let login = Arc::new(Login::new(login, LoginSettings::of(settings, allowed_origins))?);
        let keys = Arc::new(ApiKeys {
            store: on.store.clone(),
            clock: Arc::clone(&on.clock),
            targets: Arc::new(KnownProviders(Arc::clone(&providers))),
        });
        let operations = OperationsHandles {
            store: on.store.clone(),
            clock: Arc::clone(&on.clock),
            coordination: Arc::clone(&on.coordination),
            proxies: on.proxies.clone(),
            setup: Arc::new(Password(Arc::clone(&login))),
            providers: Arc::new(KnownProviders(Arc::clone(&providers))),
            sealed: SEALED.concat(),
            stopping: on.stopping.clone(),
        };
        Ok(Self {
            settings: Arc::new(Settings {
                store: on.store.clone(),
                ports: Ports { rest: settings.control_plane_port, grpc: settings.grpc_port },
                password: Arc::new(Password(Arc::clone(&login))),
            }),
            usage: Arc::new(Usage {
                store: on.store.clone(),
                ledger: on.ledger.clone(),
                connections: Arc::new(KnownProviders(Arc::clone(&providers))),
            }),
            operations: Arc::new(Operations::new(operations)),
            access: Access { login, keys },
            providers,
            oauth,
            egress,
        })
    }

    /// Begins what the areas do unasked.
    pub(super) fn start(&self, on: &Foundations) {
        self.oauth.refresher().start();
        on.proxies.on_refused_tokens(Arc::new(Renewals(Arc::clone(self.oauth.refresher()))));
    }

    /// Every area's name, routes, and which of them are open.
    pub(crate) fn routes(&self) -> [(&'static str, OpenApiRouter, &'static [OpenRoute]); 7] {
        [
            (access::NAME, self.access.router(), &access::OPEN),
            (providers::NAME, self.providers.router(), &[]),
            (oauth::NAME, self.oauth.router(), &oauth::OPEN),
            (egress::NAME, self.egress.router(), &[]),
            (settings::NAME, self.settings.router(), &[]),
            (usage::NAME, self.usage.router(), &[]),
            (operations::NAME, self.operations.router(), &operations::OPEN),
        ]
    }

    /// Every route that the document describes, and what each requires. There is no other way to add one under `/api`.
    pub(crate) fn api(&self) -> (OpenApiRouter, RouteTable) {
        let mut table = RouteTable::new();
        let mut api = http::document(TAGS);
        for (area, mut router, open) in self.routes() {
            table.add(area, router.get_openapi_mut().paths.paths.keys().cloned(), open);
            api = api.merge(router);
        }
        (api, table)
    }

    /// Who decides on each request, given what each route requires.
    pub(crate) fn guard(&self, settings: &ControlPlaneSettings, on: &Foundations, routes: RouteTable) -> Arc<Guard> {
        Arc::new(Guard {
            authenticator: Authenticator {
                store: on.store.clone(),
                tokens: on.tokens.clone(),
                clock: Arc::clone(&on.clock),
                identities: Arc::new(self.access.clone()),
            },
            routes,
            client_origins: ClientOriginRules {
                trusted_proxies: settings.trusted_proxies.clone(),
                listens_on_loopback: settings.control_plane_host.is_loopback(),
            },
            allowed_origins: AllowedOrigins::parse(&settings.cors_origins),
        })
    }

    /// The whole HTTP service of a control plane.
    pub fn service(&self, settings: &ControlPlaneSettings, on: &Foundations) -> Router {
        let (api, table) = self.api();
        let guard = self.guard(settings, on, table);
        http::service(api, &limits(settings), |routes| guard.before(routes))
    }
}

/// Who renews tokens that proxies report.
#[cfg(test)]
pub(crate) fn renewals(areas: &Areas) -> Arc<dyn crate::publish::RefusedTokens> {
    Arc::new(Renewals(Arc::clone(areas.oauth.refresher())))
}

pub(crate) fn limits(settings: &ControlPlaneSettings) -> Limits {
    Limits {
        max_body: usize::try_from(settings.rest_max_body.0).unwrap_or(usize::MAX),
        allowed_origins: AllowedOrigins::parse(&settings.cors_origins),
    }
}

/// What one replica does for all.
pub(super) fn jobs(store: &Store, ledger: &Ledger, config_log_days: u32) -> Vec<Job> {
    let mut all = jobs::retention_jobs(store, config_log_days);
    all.extend(ledger.jobs());
    all.extend(access::jobs(store));
    all.extend(egress::jobs(store));
    all
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use omniroute_core::settings::Secret;
    use omniroute_proto::{Kind, v1};

    use super::*;
    use crate::{
        areas::{
            access::login::{SessionRecord, Sessions},
            providers::connections::{
                ConnectionDraft,
                rows::{self, Connections},
            },
        },
        auth::scope,
        store::testing::{NOON, admin, on_both_engines},
    };

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn every_kind_of_the_protocol_is_published_parents_before_children() {
        let published: Vec<Kind> = KINDS.iter().map(|kind| kind.kind()).collect();
        assert_eq!(published, Kind::ALL);
    }

    #[test]
    fn every_area_has_scopes() {
        let areas = [access::NAME, providers::NAME, egress::NAME, settings::NAME, usage::NAME, operations::NAME];
        assert_eq!(areas, scope::AREAS);
    }

    async fn connection(store: &Store, name: &str) -> u64 {
        let mut write = store.write(&admin()).await.expect("a transaction");
        rows::create(&mut write, ConnectionDraft::new("openai", name, Secret::default())).await.expect("a connection");
        write.commit().await.expect("committed")
    }

    on_both_engines! {
        async fn the_jobs_forget_what_is_old_and_keep_the_rest(database: &TestDatabase) {
            let (store, clock) = database.store_at_noon().await;
            let ledger = Ledger::start(store.clone(), 30).await.expect("a ledger");
            let old = connection(&store, "old").await;
            let expires_at = NOON.saturating_add(DAY);
            let session = SessionRecord {
                id: "s".into(), subject: "admin".into(), epoch: 1, address: None, created_at: NOON, expires_at,
            };
            Sessions::of(&store).insert(&session).await.expect("a session");
            let status = v1::ProxyStatus { proxy_id: "p1".into(), ..Default::default() };
            store.proxies().upsert(&status).await.expect("a proxy");
            clock.advance(31 * DAY);
            let young = connection(&store, "young").await;
            let mut done = HashMap::new();
            for job in jobs(&store, &ledger, 30) {
                let lease = store.leases().acquire(job.name(), "a", DAY).await.expect("asked").expect("a lease of its own");
                done.insert(job.name(), job.run(lease).await.expect("done"));
            }
            assert_eq!((done["config-log"], done["sessions"], done["lost-proxies"]), (old, 1, 1), "{done:?}");
            let log = store.config_log().page(None, None, None, 10).await.expect("the log");
            assert_eq!(log.iter().map(|row| row.revision).collect::<Vec<_>>(), [young]);
            assert_eq!(Connections::of(&store).list().await.expect("connections").len(), 2);
        }
    }
}
