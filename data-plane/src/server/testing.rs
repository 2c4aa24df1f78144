//! Configurations for tests.

use std::{sync::Arc, time::Duration};

use omniroute_coordination::LocalCoordination;
use omniroute_core::{
    hash::Pepper,
    settings::{DataPlaneSettings, SettingsTable as _, Sources},
    time::SystemClock,
};
use omniroute_proto::v1::{self, resource::Body};
use prost::Message as _;

use super::{Foundations, Stages};
use crate::{
    lifecycle::Lifecycle,
    snapshot::{Applier, Index, Snapshot, Update},
    usage_journal::{
        UsageRecorder,
        journal::{Journal, JournalOptions},
    },
};

/// The API key that the configuration of tests knows, with the id `k1`.
pub(crate) const KEY: &str = "sk-omniroute-test-key";
const PEPPER: &str = "pepper-of-the-tests";

/// The resources of a configuration.
pub(crate) struct Resources(Vec<v1::Resource>);

// === impl Resources ===

impl Resources {
    fn push(&mut self, id: &str, body: Body) {
        let revision = self.0.len() as u64 + 1;
        self.0.push(v1::Resource { id: id.to_owned(), revision, body: Some(body), ..v1::Resource::default() });
    }

    /// A client's key.
    pub(crate) fn key(&mut self, id: &str, secret: &str, change: impl FnOnce(&mut v1::ApiKey)) {
        let key_hash = Pepper::new(PEPPER).hash(secret).as_bytes().to_vec();
        let mut key = v1::ApiKey { name: id.to_owned(), key_hash, is_active: true, ..v1::ApiKey::default() };
        change(&mut key);
        self.push(id, Body::ApiKey(key));
    }

    /// A node whose prefix is its id.
    pub(crate) fn node(&mut self, id: &str, base_url: &str) {
        self.node_of(id, base_url, "openai-compatible", "chat");
    }

    /// A node that speaks something else.
    pub(crate) fn node_of(&mut self, id: &str, base_url: &str, kind: &str, api: &str) {
        let node = v1::ProviderNode {
            name: id.to_owned(),
            prefix: id.to_owned(),
            r#type: kind.to_owned(),
            api_type: api.to_owned(),
            base_url: base_url.to_owned(),
            ..v1::ProviderNode::default()
        };
        self.push(id, Body::ProviderNode(node));
    }

    /// A connection to a node or a provider of the catalog.
    pub(crate) fn connection(&mut self, id: &str, provider: &str, change: impl FnOnce(&mut v1::Connection)) {
        let mut connection = v1::Connection {
            provider: provider.to_owned(),
            name: id.to_owned(),
            auth_type: "apikey".to_owned(),
            is_active: true,
            secret: format!("sk-secret-of-{id}"),
            ..v1::Connection::default()
        };
        change(&mut connection);
        self.push(id, Body::Connection(connection));
    }

    pub(crate) fn model(&mut self, provider: &str, model: &str, kind: &str) {
        let body = v1::Model {
            provider: provider.to_owned(),
            model: model.to_owned(),
            r#type: kind.to_owned(),
            source: "custom".to_owned(),
            ..v1::Model::default()
        };
        self.push(&format!("{provider}/{model}"), Body::Model(body));
    }

    /// Another name for a model.
    pub(crate) fn alias(&mut self, alias: &str, model: &str) {
        self.push(alias, Body::ModelAlias(v1::ModelAlias { model: model.to_owned() }));
    }

    /// A model that is not listed.
    pub(crate) fn hidden_model(&mut self, provider: &str, model: &str) {
        self.model(provider, model, "chat");
        if let Some(v1::Resource { body: Some(Body::Model(body)), .. }) = self.0.last_mut() {
            body.hidden = true;
        }
    }

    /// The operator has a price for it.
    pub(crate) fn price(&mut self, provider: &str, model: &str) {
        let body = v1::Price { provider: provider.to_owned(), model: model.to_owned() };
        self.push(&format!("{provider}/{model}"), Body::Price(body));
    }

    /// What every request obeys.
    pub(crate) fn settings(&mut self, change: impl FnOnce(&mut v1::GatewaySettings)) {
        let mut settings = v1::GatewaySettings {
            key_pepper: PEPPER.as_bytes().to_vec(),
            max_body_bytes: 1024 * 1024,
            allow_private_upstreams: true,
            max_attempts: 3,
            ..v1::GatewaySettings::default()
        };
        change(&mut settings);
        self.push("settings", Body::Settings(settings));
    }
}

/// An index with the settings of tests, [`KEY`], and what `add` adds.
pub(crate) fn index_with(add: impl FnOnce(&mut Resources)) -> Arc<Index> {
    let mut resources = Resources(Vec::new());
    resources.settings(|_| {});
    resources.key("k1", KEY, |_| {});
    add(&mut resources);
    let applied = Applier::default().apply(Update { revision: 1, full: true, resources: resources.0 });
    assert!(applied.rejections.is_empty(), "{:?}", applied.rejections);
    applied.index
}

/// A gateway with a journal of its own.
pub(crate) struct TestGateway {
    pub(crate) stages: Arc<Stages>,
    journal: tempfile::TempDir,
}

// === impl TestGateway ===

impl TestGateway {
    /// With these settings over the defaults, and this configuration.
    pub(crate) fn new(settings: &[(&str, &str)], index: Arc<Index>) -> Self {
        let journal = tempfile::tempdir().expect("a directory");
        let home = [("HOME", "/nonexistent")];
        let sources = Sources::of_values(home.into_iter().chain(settings.iter().copied()));
        let settings = DataPlaneSettings::from_sources(&sources).expect("settings");
        let options = JournalOptions {
            directory: journal.path().to_owned(),
            max_bytes: 1 << 30,
            segment_bytes: 1 << 24,
            fsync: false,
        };
        let snapshot = Snapshot::new();
        if index.revision() > 0 {
            snapshot.publish(index, false);
        }
        let clock = Arc::new(SystemClock);
        let stages = Stages::build(Foundations {
            settings: &settings,
            snapshot,
            recorder: UsageRecorder::new(Journal::open(options).expect("a journal")),
            coordination: Arc::new(LocalCoordination::new(clock.clone())),
            lifecycle: Lifecycle::new(),
            clock,
            report: omniroute_telemetry::prometheus(),
        });
        Self { stages: stages.expect("a gateway"), journal }
    }

    /// Every event that has been closed, in the order of closing.
    pub(crate) fn closed(&self) -> Vec<v1::UsageEvent> {
        self.records(2)
    }

    /// Every event that has been opened.
    pub(crate) fn opened(&self) -> Vec<v1::UsageEvent> {
        self.records(1)
    }

    /// The counts of answers under way that were written down.
    pub(crate) fn noted(&self) -> Vec<v1::UsageEvent> {
        self.records(3)
    }

    /// Waits until so many events have been closed.
    pub(crate) async fn closed_events(&self, count: usize) -> Vec<v1::UsageEvent> {
        for _ in 0..1000 {
            let closed = self.closed();
            if closed.len() >= count {
                return closed;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("only {} events were closed", self.closed().len());
    }

    /// Reads the journal's files: length, checksum, kind, event.
    fn records(&self, wanted: u8) -> Vec<v1::UsageEvent> {
        let mut files: Vec<_> =
            std::fs::read_dir(self.journal.path()).expect("read").map(|entry| entry.expect("read").path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "journal"));
        files.sort();
        let mut events = Vec::new();
        for file in files {
            let bytes = std::fs::read(file).expect("read");
            let mut rest = bytes.as_slice();
            while let Some(length) = rest.get(..4) {
                let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
                let Some(payload) = rest.get(8..8 + length).filter(|payload| !payload.is_empty()) else { break };
                if payload[0] == wanted {
                    events.push(v1::UsageEvent::decode(&payload[1..]).expect("an event"));
                }
                rest = &rest[8 + length..];
            }
        }
        events
    }
}
