//! A provider that is as strict as the real ones, and that fails on demand.
//!
//! A request passes [`server`] (path, method, credential, content type), [`schema`] (the body, in OpenAI's words),
//! [`answer`] (what the model says, and what that costs), then [`stream`] or a document, and goes out through [`body`],
//! which is where a [`Script`] slows it, splits it or breaks it. [`journal`] keeps what came in, byte for byte, and what
//! is charged for it: the ledger of the gateway has to say the same. [`raw`] has upstreams that speak no HTTP, and [`secure`] puts it
//! behind TLS, where it speaks HTTP/2.
//!
//! OpenAI's Chat and Embeddings are at the root. Beside them, below paths of their own, it speaks the other vendors'
//! APIs: each [`vendor::Vendor`] checks a request against the tables of [`shape`] and its own rules, reads it as an
//! [`ask::Ask`], and writes the same [`answer`] in its own form.
//!
//! In a test it runs inside the test's process; `mock-provider` is the same as a program, scripted over [`admin`].

mod admin;
mod answer;
mod ask;
mod body;
mod error;
mod journal;
mod order;
pub mod raw;
mod schema;
mod script;
pub(crate) mod secure;
mod server;
mod shape;
mod stream;
mod tokens;
mod vendor;
mod vendors;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinHandle};

use self::secure::Identity;
pub use self::{
    journal::{Fate, Journal, Seen, Totals},
    script::Script,
    secure::Secure,
    vendors::models,
};

/// Models that chat.
pub const CHAT_MODELS: [&str; 3] = ["gpt-mock", "gpt-mock-mini", "vendor/gpt-mock"];
/// Models that embed.
pub const EMBEDDING_MODELS: [&str; 1] = ["embed-mock"];

/// A running provider; it stops when it is dropped.
#[derive(Debug)]
pub struct MockProvider {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    key: String,
    identity: Option<Arc<Identity>>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    keys: Mutex<BTreeSet<String>>,
    /// By model, with the number of requests that each has had.
    scripts: Mutex<HashMap<String, (Script, u32)>>,
    strict: AtomicBool,
    journal: Arc<Journal>,
}

// === impl MockProvider ===

impl MockProvider {
    /// Starts on a free port with a key of its own.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start() -> std::io::Result<Self> {
        let key = format!("sk-mock-{}", uuid::Uuid::new_v4().simple());
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), key).await
    }

    /// # Errors
    /// When the address cannot be opened.
    pub async fn start_on(address: SocketAddr, key: String) -> std::io::Result<Self> {
        Self::start_as(address, key, None).await
    }

    /// Starts on a free port, behind TLS, where it speaks HTTP/2 too.
    ///
    /// # Errors
    /// When no port can be opened, or no certificate be made.
    pub async fn start_secure(secure: Secure) -> std::io::Result<Self> {
        let key = format!("sk-mock-{}", uuid::Uuid::new_v4().simple());
        let identity = Arc::new(Identity::new()?);
        Self::start_as(SocketAddr::from(([127, 0, 0, 1], 0)), key, Some((secure, identity))).await
    }

    async fn start_as(
        address: SocketAddr,
        key: String,
        secure: Option<(Secure, Arc<Identity>)>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let identity = secure.as_ref().map(|(_, identity)| Arc::clone(identity));
        let shared = Arc::new(Shared {
            keys: Mutex::new(BTreeSet::from([key.clone()])),
            scripts: Mutex::default(),
            strict: AtomicBool::new(false),
            journal: Journal::new(),
        });
        let task = tokio::spawn(server::serve(listener, Arc::clone(&shared), secure));
        Ok(Self { address, shared, task, key, identity })
    }

    /// What a connection's base URL is set to.
    pub fn base_url(&self) -> String {
        format!("{}://{}/v1", self.scheme(), self.address)
    }

    /// The certificate of the CA that it has its own from, where it is behind TLS.
    pub fn ca(&self) -> Option<PathBuf> {
        self.identity.as_ref().map(|identity| identity.ca())
    }

    fn scheme(&self) -> &'static str {
        if self.identity.is_some() { "https" } else { "http" }
    }

    /// What a connection's base URL is set to for another API than OpenAI's: "anthropic", "gemini"…
    pub fn vendor_url(&self, vendor: &str) -> String {
        let version = match vendor {
            "responses" => return self.base_url(),
            "anthropic" => "/v1",
            "gemini" => "/v1beta",
            _ => "",
        };
        format!("{}://{}/{vendor}{version}", self.scheme(), self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that is accepted from the start.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn accept_key(&self, key: &str) {
        self.shared.keys.lock().insert(key.to_owned());
    }

    pub fn refuse_key(&self, key: &str) {
        self.shared.keys.lock().remove(key);
    }

    /// From now on answers requests for `model` in this way.
    pub fn script(&self, model: &str, script: Script) {
        self.shared.scripts.lock().insert(model.to_owned(), (script, 0));
    }

    pub fn unscript(&self, model: &str) {
        self.shared.scripts.lock().remove(model);
    }

    /// Refuses fields that OpenAI does not know, as OpenAI does.
    pub fn be_strict(&self) {
        self.shared.strict.store(true, Ordering::Relaxed);
    }

    pub fn journal(&self) -> &Arc<Journal> {
        &self.shared.journal
    }

    /// All requests, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.journal.seen()
    }

    /// The newest request whose last message has this text.
    pub fn seen_text(&self, text: &str) -> Option<Seen> {
        self.seen().into_iter().rev().find(|seen| seen.text == text)
    }

    /// Sums of what was answered to the end, over all keys and models.
    pub fn total(&self) -> Totals {
        self.shared.journal.totals().values().fold(Totals::default(), |sum, one| Totals {
            requests: sum.requests + one.requests,
            prompt_tokens: sum.prompt_tokens + one.prompt_tokens,
            completion_tokens: sum.completion_tokens + one.completion_tokens,
        })
    }

    /// Sums by model.
    pub fn totals_by_model(&self) -> BTreeMap<String, Totals> {
        let mut by_model: BTreeMap<String, Totals> = BTreeMap::new();
        for ((_, model), one) in self.shared.journal.totals() {
            let sum = by_model.entry(model).or_default();
            sum.requests += one.requests;
            sum.prompt_tokens += one.prompt_tokens;
            sum.completion_tokens += one.completion_tokens;
        }
        by_model
    }

    /// Waits until a request whose last message has this text has come to one of these ends; `None` when it has not
    /// within `limit`.
    pub async fn fate(&self, text: &str, fates: &[Fate], limit: Duration) -> Option<Seen> {
        let ended = |seen: &&Seen| seen.text == text && fates.contains(&seen.fate);
        let journal = self.journal();
        let waited = tokio::time::timeout(limit, journal.wait_until(|seen| seen.iter().any(|one| ended(&one)))).await;
        waited.ok()?;
        self.seen().into_iter().rev().find(|one| ended(&one))
    }
}

impl Drop for MockProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Shared ===

impl Shared {
    /// The model that is meant, and what to do with this request for it.
    fn script_for(&self, named: &str) -> (String, Script) {
        let (model, written) = match Script::in_model(named) {
            Some((model, script)) => (model.to_owned(), Some(script)),
            None => (named.to_owned(), None),
        };
        let mut scripts = self.scripts.lock();
        let Some((script, used)) = scripts.get_mut(named) else {
            return (model, written.unwrap_or_default());
        };
        *used += 1;
        let spent = script.times.is_some_and(|times| *used > times);
        (model, if spent { written.unwrap_or_default() } else { script.clone() })
    }
}
