//! Tests of publishing over real gRPC streams, on both engines.

mod control;
mod deletions;
mod entry;
mod fleet;
mod proxy;
mod replicas;
mod stream;
mod updates;

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use omniroute_core::{handshake::JoinSecret, hash::Pepper};

use super::{
    ProxyRegistry, Publisher, Timing,
    grpc::{GrpcListener, GrpcOptions, Services},
};
use crate::{
    areas::access::keys::{KeyDraft, rows as keys},
    ledger::Ledger,
    run::KINDS,
    store::{Store, testing::admin},
};

const TOKEN: &str = "the join token of the tests";

const QUICK: Timing = Timing {
    ack: Duration::from_millis(600),
    send: Duration::from_secs(5),
    heartbeat: Duration::from_millis(200),
    silence: Duration::from_millis(800),
};

/// Enough for anything that is to happen at all on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A replica of the control plane.
struct Replica {
    publisher: Publisher,
    proxies: ProxyRegistry,
    url: String,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Replica {
    async fn start(store: &Store) -> Self {
        Self::start_with(store, Timing::STANDARD).await
    }

    async fn start_with(store: &Store, timing: Timing) -> Self {
        let shutdown = CancellationToken::new();
        let ledger = Ledger::start(store.clone(), 30).await.expect("a ledger");
        let publisher =
            Publisher::start_with(store.clone(), KINDS, timing, shutdown.clone()).await.expect("a publisher");
        let proxies = ProxyRegistry::start_with(store.clone(), timing, shutdown.clone());
        let options = GrpcOptions {
            address: "127.0.0.1:0".parse().expect("an address"),
            tls: None,
            allow_plaintext: false,
            join: Some(JoinSecret::new(TOKEN)),
        };
        let listener = GrpcListener::bind(options).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let services = Services { publisher: publisher.clone(), proxies: proxies.clone(), ledger };
        let stop = shutdown.clone();
        let server = tokio::spawn(async move { listener.serve(services, stop).await.expect("served") });
        Self { publisher, proxies, url, shutdown, server }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.server).await.expect("it stops by itself").expect("cleanly");
    }
}

fn key(name: &str) -> KeyDraft {
    KeyDraft::new(name, &format!("sk-{name}-0123456789abcdef"), &Pepper::new("pepper"))
}

async fn create_keys(store: &Store, names: &[&str]) -> Vec<String> {
    let mut write = store.write(&admin()).await.expect("a transaction");
    let mut ids = Vec::new();
    for name in names {
        ids.push(keys::create(&mut write, key(name)).await.expect("a key").id.to_string());
    }
    write.commit().await.expect("committed");
    ids
}

async fn rename_key(store: &Store, id: &str, name: &str) -> u64 {
    let patch = crate::areas::access::keys::KeyPatch { name: Some(name.to_owned()), ..Default::default() };
    let mut write = store.write(&admin()).await.expect("a transaction");
    keys::update(&mut write, id, patch).await.expect("updated");
    write.commit().await.expect("committed")
}

async fn delete_key(store: &Store, id: &str) -> u64 {
    let mut write = store.write(&admin()).await.expect("a transaction");
    keys::delete(&mut write, id).await.expect("deleted");
    write.commit().await.expect("committed")
}
