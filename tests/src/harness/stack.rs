//! A whole gateway.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Client, Engine, Ledger, Process, Rest, client, database::PostgresDatabase, eventually, free_port, process::program,
};
use crate::mock_provider::{MockProvider, Secure, models};

/// Admin password of every stack.
const PASSWORD: &str = "planted-admin-password-77";
const MASTER_KEY: &str = "planted-master-key-0123456789abcdef";
const JWT_SECRET: &str = "planted-jwt-secret-0123456789abcdef";
const PEPPER: &str = "planted-pepper-0123456789abcdef";
const JOIN_TOKEN: &str = "planted-join-token-0123456789abcdef";
/// Prefix of the mock provider's models.
const PREFIX: &str = "mock";

/// What a stack is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    engine: Engine,
    proxies: usize,
    redis: Option<String>,
    control_plane: BTreeMap<String, String>,
    proxy: BTreeMap<String, String>,
    secure: Option<Secure>,
}

/// A running gateway with a provider behind it. All of it ends with the value.
pub struct Stack {
    pub provider: MockProvider,
    pub control_plane: Process,
    pub proxies: Vec<Proxy>,
    pub rest: Rest,
    pub ledger: Ledger,
    /// Holds the first API key, at the first proxy.
    pub client: Client,
    /// Ids of what was configured: the connection and the first key.
    pub connection_id: String,
    pub key_id: String,
    rest_url: String,
    control_plane_environment: BTreeMap<String, String>,
    directory: TempDir,
}

/// One proxy of a stack.
pub struct Proxy {
    pub process: Process,
    /// Without `/v1`.
    pub url: String,
    pub data_dir: PathBuf,
    environment: BTreeMap<String, String>,
    log: PathBuf,
}

// === impl Setup ===

impl Setup {
    pub fn on(engine: Engine) -> Self {
        Self { engine, proxies: 1, redis: None, control_plane: BTreeMap::new(), proxy: BTreeMap::new(), secure: None }
    }

    pub fn proxies(mut self, proxies: usize) -> Self {
        self.proxies = proxies;
        self
    }

    /// With shared state in a Redis.
    pub fn redis(mut self, url: impl Into<String>) -> Self {
        self.redis = Some(url.into());
        self
    }

    /// With the Redis of the test run.
    ///
    /// # Panics
    /// When there is none.
    pub fn shared_redis(self) -> Self {
        let url = std::env::var("TEST_REDIS_URL")
            .expect("TEST_REDIS_URL is not set: run `make test`, which starts a Redis for the tests");
        self.redis(url)
    }

    /// With a setting of the control plane.
    pub fn control_plane(mut self, name: &str, value: &str) -> Self {
        self.control_plane.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a setting of every proxy.
    pub fn proxy(mut self, name: &str, value: &str) -> Self {
        self.proxy.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a provider behind TLS that speaks HTTP/2.
    pub fn secure(mut self, secure: Secure) -> Self {
        self.secure = Some(secure);
        self
    }

    /// Starts everything, and waits until a first request would be answered.
    ///
    /// # Panics
    /// When that does not come to pass.
    pub async fn start(mut self) -> Stack {
        let directory = tempfile::tempdir().expect("a directory");
        let provider = match self.secure {
            Some(secure) => MockProvider::start_secure(secure).await.expect("a provider"),
            None => MockProvider::start().await.expect("a provider"),
        };
        if let Some(ca) = provider.ca() {
            let ca = ca.display().to_string();
            self = self.control_plane("UPSTREAM_TLS_CA", &ca).proxy("UPSTREAM_TLS_CA", &ca);
        }
        let control_plane_dir = new_dir(directory.path(), "control-plane");
        let (rest_port, grpc_port) = (free_port(), free_port());
        let mut environment = variables(&[
            ("DATA_DIR", &control_plane_dir.display().to_string()),
            ("CONTROL_PLANE_PORT", &rest_port.to_string()),
            ("GRPC_PORT", &grpc_port.to_string()),
            ("STORAGE_ENCRYPTION_KEY", MASTER_KEY),
            ("JWT_SECRET", JWT_SECRET),
            ("API_KEY_SECRET", PEPPER),
            ("OMNIROUTE_JOIN_TOKEN", JOIN_TOKEN),
            ("INITIAL_PASSWORD", PASSWORD),
            ("ALLOW_PRIVATE_UPSTREAMS", "true"),
            ("LOG_LEVEL", "info,omniroute=debug"),
        ]);
        if self.engine == Engine::Postgres {
            environment.insert("DATABASE_URL".to_owned(), PostgresDatabase::create().await.url());
        }
        if let Some(redis) = &self.redis {
            environment.insert("REDIS_URL".to_owned(), redis.clone());
        }
        environment.extend(self.control_plane.clone());
        let log = directory.path().join("control-plane.log");
        let control_plane = Process::start(&program("omniroute-control-plane"), &[], &environment, &log);
        let rest_url = format!("http://127.0.0.1:{rest_port}");
        wait_ready(&rest_url).await;

        let rest = Rest::login(&rest_url, PASSWORD).await;
        let mut proxies = Vec::new();
        for number in 0..self.proxies {
            proxies.push(self.start_proxy(directory.path(), number, grpc_port, rest_port));
        }
        let (connection_id, key_id, key) = configure(&rest, &provider).await;
        let client = Client::new(&proxies[0].url, key);
        let stack = Stack {
            provider,
            control_plane,
            proxies,
            ledger: Ledger(rest.clone()),
            rest,
            client,
            connection_id,
            key_id,
            rest_url,
            control_plane_environment: environment,
            directory,
        };
        for proxy in &stack.proxies {
            proxy.ready().await;
            let client = stack.client.at(&proxy.url);
            eventually("the proxy lists the provider's models", || async {
                client.get("/v1/models").await.body.contains("mock/gpt-mock")
            })
            .await;
        }
        stack
    }

    fn start_proxy(&self, directory: &Path, number: usize, grpc_port: u16, rest_port: u16) -> Proxy {
        let data_dir = new_dir(directory, &format!("proxy-{number}"));
        let port = free_port();
        let mut environment = variables(&[
            ("DATA_DIR", &data_dir.display().to_string()),
            ("PORT", &port.to_string()),
            ("CONTROL_PLANE_URL", &format!("http://127.0.0.1:{grpc_port}")),
            ("CONTROL_PLANE_FORWARD_URL", &format!("http://127.0.0.1:{rest_port}")),
            ("OMNIROUTE_JOIN_TOKEN", JOIN_TOKEN),
            ("LOG_LEVEL", "info,omniroute=debug"),
        ]);
        if let Some(redis) = &self.redis {
            environment.insert("REDIS_URL".to_owned(), redis.clone());
        }
        environment.extend(self.proxy.clone());
        let log = directory.join(format!("proxy-{number}.log"));
        let process = Process::start(&program("omniroute-data-plane"), &[], &environment, &log);
        Proxy { process, url: format!("http://127.0.0.1:{port}"), data_dir, environment, log }
    }
}

// === impl Stack ===

impl Stack {
    /// What must never be seen anywhere.
    pub fn secrets(&self) -> Vec<String> {
        [PASSWORD, MASTER_KEY, JWT_SECRET, PEPPER, JOIN_TOKEN, self.provider.key(), self.client.key()]
            .map(str::to_owned)
            .into()
    }

    /// Where REST and the dashboard are.
    pub fn control_plane_url(&self) -> &str {
        &self.rest_url
    }

    pub fn admin_password(&self) -> &'static str {
        PASSWORD
    }

    /// Where everything that the programs wrote is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends the control plane with no chance to tidy up.
    pub fn kill_control_plane(&mut self) {
        self.control_plane.kill();
    }

    /// Starts the control plane again, on what it left.
    pub async fn restart_control_plane(&mut self) {
        self.control_plane.kill();
        let log = self.directory.path().join("control-plane.log");
        let program = program("omniroute-control-plane");
        self.control_plane = Process::start(&program, &[], &self.control_plane_environment, &log);
        wait_ready(&self.rest_url).await;
    }

    /// Changes what the control plane finds in its environment when it is started again.
    pub fn set_control_plane(&mut self, name: &str, value: &str) {
        self.control_plane_environment.insert(name.to_owned(), value.to_owned());
    }

    /// Lets the control plane end by itself.
    pub async fn stop_control_plane(&mut self) {
        self.control_plane.terminate();
        self.control_plane.ended(Duration::from_secs(30)).await;
    }

    /// Starts another control plane on the same database, which differs in these variables, its ports among them.
    pub async fn another_control_plane(&self, differences: &BTreeMap<String, String>) -> Process {
        let mut environment = self.control_plane_environment.clone();
        environment.extend(differences.clone());
        let log = self.directory.path().join("another-control-plane.log");
        let process = Process::start(&program("omniroute-control-plane"), &[], &environment, &log);
        wait_ready(&format!("http://127.0.0.1:{}", environment["CONTROL_PLANE_PORT"])).await;
        process
    }

    /// Connects the provider once more, under another prefix: what happens to that connection leaves the first one alone.
    pub async fn connect_as(&self, prefix: &str) {
        connect(&self.rest, &self.provider, prefix).await;
        let model = format!("{prefix}/gpt-mock");
        for client in self.clients() {
            eventually("the proxy knows the new prefix", || async {
                client.get("/v1/models").await.body.contains(&model)
            })
            .await;
        }
    }

    /// Connects the provider's other APIs: under the ids of their vendors, and Responses under `responses`.
    pub async fn connect_vendors(&self) {
        let (rest, provider) = (&self.rest, &self.provider);
        let node = json!({
            "name": "responses", "prefix": "responses", "type": "openai-compatible", "apiType": "responses",
            "baseUrl": provider.vendor_url("responses"),
        });
        let node = rest.post("/api/provider-nodes", &node).await;
        let mut connections = vec![json!({ "provider": node["node"]["id"], "apiKey": provider.key(), "name": "one" })];
        for vendor in ["anthropic", "gemini", "ollama", "cohere", "bedrock"] {
            connections.push(json!({
                "provider": vendor, "name": vendor, "apiKey": provider.key(),
                "providerSpecificData": { "baseUrl": provider.vendor_url(vendor) },
            }));
        }
        for connection in &connections {
            rest.post("/api/providers", connection).await;
        }
        for client in self.clients() {
            eventually("the proxy lists the models of every vendor", || async {
                let listed = client.get("/v1/models").await.body;
                let one_of_each = [
                    models::ANTHROPIC[0],
                    models::GEMINI[0],
                    models::OLLAMA[0],
                    models::COHERE[0],
                    models::BEDROCK[0],
                    "responses/gpt-mock",
                ];
                one_of_each.iter().all(|model| listed.contains(model))
            })
            .await;
        }
    }

    /// A new API key: its id and the key.
    pub async fn new_key(&self, body: &Value) -> (String, String) {
        let made = self.rest.post("/api/keys", body).await;
        (text(&made["id"]), text(&made["key"]))
    }

    /// A client at each proxy, with the first key.
    pub fn clients(&self) -> Vec<Client> {
        self.proxies.iter().map(|proxy| self.client.at(&proxy.url)).collect()
    }
}

// === impl Proxy ===

impl Proxy {
    pub async fn ready(&self) {
        wait_ready(&self.url).await;
    }

    /// Ends it with no chance to tidy up.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on what it left.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = Process::start(&program("omniroute-data-plane"), &[], &self.environment, &self.log);
    }

    /// What `/readyz` says: the status and the document.
    pub async fn readiness(&self) -> (u16, Value) {
        let answer = client::http().get(format!("{}/readyz", self.url)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }
}

/// Connects the provider and makes a first key: the ids of both, and the key.
async fn configure(rest: &Rest, provider: &MockProvider) -> (String, String, String) {
    let connection = connect(rest, provider, PREFIX).await;
    let key = rest.post("/api/keys", &json!({ "name": "first" })).await;
    (connection, text(&key["id"]), text(&key["key"]))
}

/// Makes an endpoint of the provider's and a connection to it; gives the connection's id.
async fn connect(rest: &Rest, provider: &MockProvider, prefix: &str) -> String {
    let node = json!({
        "name": prefix, "prefix": prefix, "type": "openai-compatible", "apiType": "chat", "baseUrl": provider.base_url(),
    });
    let node = rest.post("/api/provider-nodes", &node).await;
    let connection = json!({ "provider": node["node"]["id"], "name": format!("{prefix}-1"), "apiKey": provider.key() });
    let connection = rest.post("/api/providers", &connection).await;
    text(&connection["connection"]["id"])
}

async fn wait_ready(url: &str) {
    let http = client::http();
    let probe = format!("{url}/readyz");
    eventually(&format!("{probe} is ready"), || async {
        let asked = http.get(&probe).timeout(Duration::from_secs(2)).send().await;
        asked.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

fn new_dir(parent: &Path, name: &str) -> PathBuf {
    let path = parent.join(name);
    std::fs::create_dir(&path).expect("a directory");
    path
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
