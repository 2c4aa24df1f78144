//! Replays what OmniRoute (TypeScript) 3.7.9 was asked, and holds our answers against what it answered: same status,
//! same keys, same JSON types. Where ours differ on purpose, [`EXCEPTIONS`] says why; an exception that is not needed
//! any more fails the test.

use std::collections::{BTreeSet, HashMap};

use http::Method;
use omniroute_core::time::UnixMillis;
use serde_json::{Value, json};

use super::{
    gateway::Gateway,
    provider::{KEY, Provider},
};

const RECORDED: &str = include_str!("../../tests/fixtures/recorded-exchanges.json");

const NODE: &str = "openai-compatible-chat-7c6b781e-9ea6-4668-be5b-a9ce4a9bcce9";
const CONNECTION: &str = "4d9ce6b0-cf54-4263-abbf-d9678254d774";
const KEY_ID: &str = "e89e8278-2d78-405c-96dd-c4310a18f6ad";

/// Objects whose keys are data.
const MAPS: [&str; 8] =
    ["byProvider", "byModel", "byAccount", "byApiKey", "localProviders", "providerHealth", "aliases", "catalog"];

/// (route, path in the answer, reason). `-` stands before what the original has and we do not, `+` before what we
/// add, `~` before another type, `=` before another status. `*` as route means everywhere.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("*", "~error", "every error is an object with code, message and correlation id, never a bare text"),
    ("*", "+error.code", "every error has a stable code"),
    ("*", "+error.correlation_id", "every error names its request"),
    ("POST /api/providers/{id}/test", "-runtime", "we run no other vendor's command line"),
    ("GET /api/provider-nodes", "-ccCompatibleProviderEnabled", "we impersonate no vendor's client"),
    ("GET /api/settings/require-login", "-nodeVersion", "there is no Node.js here"),
    ("GET /api/settings/require-login", "-nodeCompatible", "there is no Node.js here"),
    ("/api/providers", "-backoffLevel", "cooldowns are `cooldown` {until, reason}, shown while there is one"),
    ("/api/providers", "-consecutiveUseCount", "no such count exists: proxies keep no use order in the database"),
    ("/api/providers", "-rateLimitProtection", "proxies queue nothing unless told; there is no such switch"),
    ("/api/providers", "+hasApiKey", "tells whether a secret is stored without showing it"),
    ("/api/providers", "+timeouts", "timeouts can be set for a connection"),
    ("/api/providers", "+latencyMs", "the last test's latency is kept"),
    ("/api/providers", "+lastTested", "the original leaves it out of some answers"),
    ("GET /api/providers", "+total", "as in 3.8"),
    ("GET /api/providers/{id}/models", "+models.type", "the kind of a model is known"),
    ("GET /api/provider-models", "+hiddenModelsByProvider", "as in 3.8"),
    ("POST /api/models/alias", "=200", "the API reference says POST, the original takes PUT: both are taken"),
    ("POST /api/models/alias", "~", "see the status"),
    ("GET /api/models/catalog", "-catalog.*.models.capabilities", "nothing is told of what nobody knows"),
    ("GET /api/models/catalog", "-catalog.*.models.max_output_tokens", "nothing is told of what nobody knows"),
    ("GET /api/keys", "+keys.updatedAt", "as every other resource has"),
    ("GET /api/keys", "+keys.maxBodyBytes", "a key can be allowed larger bodies"),
    ("GET /api/keys", "+keys.rateLimits", "what an edit sets is shown"),
    ("GET /api/keys/{id}", "+updatedAt", "as every other resource has"),
    ("GET /api/keys/{id}", "+maxBodyBytes", "a key can be allowed larger bodies"),
    ("GET /api/keys/{id}", "+rateLimits", "what an edit sets is shown"),
    ("POST /api/keys", "+isActive", "what the new key may do is repeated"),
    ("POST /api/keys", "+allowedModels", "as in 3.8"),
    ("POST /api/keys", "+allowedConnections", "as in 3.8"),
    ("POST /api/keys", "+scopes", "what the new key may do is repeated"),
    ("POST /api/keys", "+expiresAt", "what the new key may do is repeated"),
    ("PATCH /api/keys/{id}", "+rateLimits", "every field that the edit named is repeated, as in 3.8"),
    ("PATCH /api/keys/{id}", "+notEnforced", "limits that no proxy enforces yet are called so"),
    (
        "GET /api/usage/history",
        "-pending",
        "proxies report how many requests are in flight, not of which model: `inFlight`",
    ),
    ("GET /api/usage/history", "-activeRequests", "requests in flight are counted, not listed: `inFlight`"),
    ("GET /api/usage/history", "+inFlight", "see `pending`"),
    ("GET /api/usage/history", "+totalCostMicroUsd", "money is exact in micro-dollars"),
    ("GET /api/usage/history", "+unpricedRequests", "a cost without them must say so"),
    ("GET /api/usage/{id}", "=200", "answers with the ledger's sums where the original has no usage for API keys"),
    ("GET /api/usage/{id}", "-error", "see the status"),
    ("GET /api/usage/{id}", "+connectionId", "see the status"),
    ("GET /api/usage/{id}", "+name", "see the status"),
    ("GET /api/usage/{id}", "+provider", "see the status"),
    ("GET /api/usage/{id}", "+total", "see the status"),
    ("GET /api/usage/{id}", "+lastUsed", "see the status"),
    ("GET /api/usage/{id}", "+byOutcome", "see the status"),
    ("GET /api/usage/{id}", "+byModel", "see the status"),
    ("GET /api/usage/call-logs", "-detailState", "request and response texts are not kept"),
    ("GET /api/usage/call-logs", "-artifactRelPath", "request and response texts are not kept"),
    ("GET /api/usage/call-logs", "-artifactSizeBytes", "request and response texts are not kept"),
    ("GET /api/usage/call-logs", "-artifactSha256", "request and response texts are not kept"),
    ("GET /api/usage/call-logs", "-requestSummary", "request and response texts are not kept"),
    ("GET /api/usage/call-logs", "+requestId", "finds the request in logs and traces"),
    ("GET /api/usage/call-logs", "+outcome", "how it ended, also where no status was sent"),
    ("GET /api/usage/call-logs", "+proxyId", "which proxy served it"),
    ("GET /api/usage/call-logs", "+stream", "whether it was streamed"),
    ("GET /api/usage/call-logs", "+firstByteMs", "time to the first byte"),
    ("GET /api/usage/call-logs", "+attempts", "how often providers were asked"),
    ("GET /api/usage/call-logs", "+estimated", "an estimate is marked as one"),
    ("GET /api/usage/call-logs", "+redated", "so is a time that a wrong clock made necessary"),
    ("GET /api/usage/call-logs", "+cost", "what it cost"),
    ("GET /api/usage/call-logs", "+costMicroUsd", "money is exact in micro-dollars"),
    ("GET /api/usage/call-logs", "+costBySide", "what of it each side cost"),
    ("GET /api/usage/call-logs", "+serviceTier", "batch, flex and priority have prices of their own"),
    ("GET /api/usage/call-logs", "+finishReason", "why the answer ended"),
    ("/api/settings", "-cloudEnabled", "there is no cloud to sync with yet"),
    ("/api/settings", "-tailscaleEnabled", "no tunnels yet"),
    ("/api/settings", "-tailscaleUrl", "no tunnels yet"),
    ("/api/settings", "-antigravitySignatureCacheMode", "we impersonate no vendor's client"),
    ("/api/settings", "-hideEndpointCloudflaredTunnel", "no tunnels yet"),
    ("/api/settings", "-hideEndpointTailscaleFunnel", "no tunnels yet"),
    ("/api/settings", "-hideEndpointNgrokTunnel", "no tunnels yet"),
    ("/api/settings", "-call_log_pipeline_enabled", "request and response texts are not kept"),
    ("/api/settings", "-codexConnectionDefaultsMigrationV1", "a note of the original's own migration"),
    ("/api/settings", "-provider_limits_auto_sync_last_run", "a note of the original's own jobs"),
    ("/api/settings", "-resilienceSettings", "cooldowns and breakers have no settings yet"),
    ("GET /api/settings", "-runtimePorts.apiPortExplicit", "a port is what it is, wherever it was set"),
    ("GET /api/settings", "-runtimePorts.dashboardPortExplicit", "a port is what it is, wherever it was set"),
    ("GET /api/settings", "-cloudConfigured", "there is no cloud to sync with yet"),
    ("GET /api/settings", "-cloudUrl", "there is no cloud to sync with yet"),
    ("GET /api/settings", "+runtimePorts.grpcPort", "proxies connect there"),
    ("/api/settings", "+timeouts", "timeouts towards providers can be set"),
    ("/api/settings", "+instanceName", "the original shows it once it is set"),
    ("/api/settings", "+allowPrivateUpstreams", "tells what the process allows"),
    ("PATCH /api/settings", "+hasPassword", "an edit answers what a read does"),
    ("PATCH /api/settings", "+runtimePorts", "an edit answers what a read does"),
    ("PATCH /api/settings", "+apiPort", "an edit answers what a read does"),
    ("PATCH /api/settings", "+dashboardPort", "an edit answers what a read does"),
    ("PATCH /api/settings", "+machineId", "an edit answers what a read does"),
    ("GET /api/monitoring/health", "-system.nodeVersion", "there is no Node.js here"),
    ("GET /api/monitoring/health", "-system.memoryUsage.heapTotal", "there is no garbage-collected heap here"),
    ("GET /api/monitoring/health", "-system.memoryUsage.heapUsed", "there is no garbage-collected heap here"),
    ("GET /api/monitoring/health", "-system.memoryUsage.external", "there is no garbage-collected heap here"),
    ("GET /api/monitoring/health", "-system.memoryUsage.arrayBuffers", "there is no garbage-collected heap here"),
    ("GET /api/monitoring/health", "-memoryUsage.heapTotal", "there is no garbage-collected heap here"),
    ("GET /api/monitoring/health", "-memoryUsage.heapUsed", "there is no garbage-collected heap here"),
    ("GET /api/monitoring/health", "-memoryUsage.external", "there is no garbage-collected heap here"),
    ("GET /api/monitoring/health", "-memoryUsage.arrayBuffers", "there is no garbage-collected heap here"),
    ("GET /api/monitoring/health", "-circuitBreakers", "there are no breakers yet"),
    ("GET /api/monitoring/health", "-providerBreakers", "there are no breakers yet"),
    ("GET /api/monitoring/health", "-providerHealth", "there are no breakers yet"),
    (
        "GET /api/monitoring/health",
        "-localProviders.*.consecutiveFailures",
        "tests are made when asked for, not in rows",
    ),
    ("GET /api/monitoring/health", "-rateLimitStatus", "there are no rate limits yet"),
    ("GET /api/monitoring/health", "-learnedLimits", "there are no rate limits yet"),
    ("GET /api/monitoring/health", "-quotaMonitor", "there are no quotas yet"),
    ("GET /api/monitoring/health", "-sessions", "sessions need no stored state here"),
    ("GET /api/monitoring/health", "-dedup", "there is no deduplication yet"),
    ("GET /api/monitoring/health", "+system.startedAt", "when this process began"),
    ("GET /api/monitoring/health", "+revision", "the newest revision of the configuration"),
    ("GET /api/monitoring/health", "+database", "the database's state"),
    ("GET /api/monitoring/health", "+coordination", "the shared state's state"),
    ("GET /api/monitoring/health", "+journal", "usage on its way"),
    ("GET /api/monitoring/health", "+proxies", "the fleet"),
    ("GET /api/monitoring/health", "+controlPlanes", "the fleet"),
];

struct Comparison<'a> {
    route: &'a str,
    used: &'a mut BTreeSet<usize>,
    differences: Vec<String>,
}

#[tokio::test]
async fn answers_have_the_shapes_of_the_original() {
    let exchanges: Vec<Value> = serde_json::from_str(RECORDED).expect("recordings");
    assert!(exchanges.len() > 20, "the recordings are there");
    let gateway = Gateway::new().await;
    let mut names = world(&gateway).await;
    let mut used = BTreeSet::new();
    let mut differences = Vec::new();
    for exchange in &exchanges {
        let (request, recorded) = (&exchange["request"], &exchange["response"]);
        let method: Method = request["method"].as_str().expect("a method").parse().expect("a method");
        let path = request["path"].as_str().expect("a path");
        let mut call = gateway.call(method.clone(), &renamed(path, &names));
        if request["auth"].is_null() {
            call = call.anonymous().from(super::gateway::REMOTE);
        }
        if let Some(body) = request.get("body") {
            let body: Value = serde_json::from_str(&renamed(&body.to_string(), &names)).expect("a body");
            call = call.json(body);
        }
        let answer = call.send().await;
        let body = answer.json();
        if path == "/api/keys" && method == Method::POST {
            names.insert(KEY_ID, body["id"].as_str().expect("an id").to_owned());
        }
        let route = route_of(&method, path);
        let mut comparison = Comparison { route: &route, used: &mut used, differences: Vec::new() };
        let status = u64::from(answer.status.as_u16());
        if recorded["status"] != status {
            comparison.note('=', &status.to_string());
        }
        comparison.compare("", &recorded["body"], &body);
        differences.extend(comparison.differences);
    }
    assert!(differences.is_empty(), "differences that no exception explains:\n{}", differences.join("\n"));
    let unused: Vec<_> = (0..EXCEPTIONS.len()).filter(|index| !used.contains(index)).map(|i| EXCEPTIONS[i]).collect();
    assert!(unused.is_empty(), "exceptions that nothing needs: {unused:#?}");
}

/// Makes what the original had when it was recorded; gives our ids for its ids.
async fn world(gateway: &Gateway) -> HashMap<&'static str, String> {
    let provider = Provider::start().await;
    let node = super::resources::node(gateway, "mock", &provider.url()).await;
    let node = node["id"].as_str().expect("an id").to_owned();
    let body = json!({ "provider": node, "name": "mock-1", "apiKey": KEY });
    let connection = gateway.post("/api/providers", body).await.ok(201);
    let connection = connection["connection"]["id"].as_str().expect("an id").to_owned();
    gateway.post(&format!("/api/providers/{connection}/test"), json!({})).await.ok(200);
    let key = gateway.post("/api/keys", json!({ "name": "bench" })).await.ok(201);
    let key = key["id"].as_str().expect("an id").to_owned();
    let now = gateway.clock_now();
    for second in 0..3 {
        super::resources::record(gateway, UnixMillis(now.0 - second * 1000), |event| {
            event.provider = node.clone();
            event.connection_id = connection.clone();
            event.api_key_id = key.clone();
        })
        .await;
    }
    HashMap::from([
        (NODE, node),
        (CONNECTION, connection),
        ("http://provider.test/v1", "http://127.0.0.1:9/v1".to_owned()),
    ])
}

fn renamed(text: &str, names: &HashMap<&'static str, String>) -> String {
    names.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// `GET /api/keys/{id}`
fn route_of(method: &Method, path: &str) -> String {
    let path = path.split('?').next().unwrap_or(path);
    let path = [NODE, CONNECTION, KEY_ID].iter().fold(path.to_owned(), |path, id| path.replace(id, "{id}"));
    format!("{method} {path}")
}

// === impl Comparison ===

impl Comparison<'_> {
    fn compare(&mut self, path: &str, theirs: &Value, ours: &Value) {
        match (theirs, ours) {
            (Value::Object(their), Value::Object(our)) => {
                let last = path.rsplit('.').next().unwrap_or_default();
                if MAPS.contains(&last) {
                    if let (Some(theirs), Some(ours)) = (their.values().next(), our.values().next()) {
                        self.compare(&format!("{path}.*"), theirs, ours);
                    }
                    return;
                }
                for (name, theirs) in their {
                    let inner = join(path, name);
                    match our.get(name) {
                        Some(ours) => self.compare(&inner, theirs, ours),
                        None => self.note('-', &inner),
                    }
                }
                for name in our.keys().filter(|name| !their.contains_key(*name)) {
                    self.note('+', &join(path, name));
                }
            }
            (Value::Array(theirs), Value::Array(ours)) => {
                if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
                    self.compare(path, theirs, ours);
                }
            }
            // Null says nothing about the type.
            (Value::Null, _) | (_, Value::Null) => {}
            _ if std::mem::discriminant(theirs) == std::mem::discriminant(ours) => {}
            _ => self.note('~', path),
        }
    }

    fn note(&mut self, sign: char, path: &str) {
        let found = EXCEPTIONS.iter().position(|(route, excepted, _)| {
            let fits_route = *route == "*" || self.route == *route || self.is_below(route);
            let fits_path = excepted.strip_prefix(sign).is_some_and(|excepted| {
                path == excepted || (self.is_below(route) && path.rsplit('.').next() == Some(excepted))
            });
            fits_route && fits_path
        });
        match found {
            Some(index) => drop(self.used.insert(index)),
            None => self.differences.push(format!("{}: {sign}{path}", self.route)),
        }
    }

    /// Whether an exception for a resource (no method) covers this route.
    fn is_below(&self, route: &str) -> bool {
        route.starts_with('/') && self.route.split(' ').nth(1).is_some_and(|path| path.starts_with(route))
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
