//! Two control planes behind one address, and what their environments say: whatever the order in which they are restarted,
//! proxies obey one and the same.

#![cfg(test)]

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use omniroute_tests::harness::{Client, Engine, Process, Setup, Stack, eventually, free_port};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

static TURN: AtomicUsize = AtomicUsize::new(0);

/// A balancer of connections: each goes to the next backend that takes it.
async fn balancer(backends: [u16; 2]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        loop {
            let Ok((mut client, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let turn = TURN.fetch_add(1, Ordering::Relaxed);
                for backend in [backends[turn % 2], backends[(turn + 1) % 2]] {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, backend));
                    if let Ok(mut server) = TcpStream::connect(address).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                        return;
                    }
                }
            });
        }
    });
    url
}

/// Two control planes on one Postgres, and a proxy behind the balancer.
struct Fleet {
    stack: Stack,
    second: Process,
    /// What tells the second one from the first.
    differences: BTreeMap<String, String>,
}

impl Fleet {
    async fn start() -> Self {
        let (first, second, rest) = (free_port(), free_port(), free_port());
        let address = balancer([first, second]).await;
        let stack = Setup::on(Engine::Postgres)
            .control_plane("GRPC_PORT", &first.to_string())
            .proxy("CONTROL_PLANE_URL", &address)
            .start()
            .await;
        let data_dir = stack.directory().join("second");
        std::fs::create_dir(&data_dir).expect("a directory");
        let differences = [
            ("GRPC_PORT", second.to_string()),
            ("CONTROL_PLANE_PORT", rest.to_string()),
            ("DATA_DIR", data_dir.display().to_string()),
        ];
        let differences = differences.map(|(name, value)| (name.to_owned(), value)).into();
        let second = stack.another_control_plane(&differences).await;
        Self { stack, second, differences }
    }

    async fn restart_first(&mut self) {
        self.stack.stop_control_plane().await;
        self.stack.restart_control_plane().await;
    }

    async fn restart_second(&mut self) {
        self.second.terminate();
        self.second.ended(Duration::from_secs(30)).await;
        self.second = self.stack.another_control_plane(&self.differences).await;
    }

    /// Rolls a setting over both.
    async fn roll(&mut self, name: &str, value: &str, first_goes_first: bool) {
        self.stack.set_control_plane(name, value);
        if first_goes_first {
            self.restart_first().await;
            self.half_way(name).await;
            self.restart_second().await;
        } else {
            self.restart_second().await;
            self.half_way(name).await;
            self.restart_first().await;
        }
        eventually("no control plane differs", || async { self.differing().await.is_empty() }).await;
    }

    /// The one that is set up anew says so, and the proxy goes on as before.
    async fn half_way(&self, name: &str) {
        eventually("it is shown", || async { self.differing().await == [name] }).await;
    }

    async fn differing(&self) -> Vec<String> {
        let health = self.stack.rest.get("/api/monitoring/health").await;
        let planes = health["controlPlanes"].as_array().cloned().unwrap_or_default();
        let running = planes.iter().filter(|plane| plane["state"] == "running");
        running
            .flat_map(|plane| plane["differingSettings"].as_array().cloned().unwrap_or_default())
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    }

    async fn status(&self, client: &Client) -> u16 {
        client.chat("mock/gpt-mock", "hello").await.status
    }
}

async fn each_setting(first_goes_first: bool) {
    let mut fleet = Fleet::start().await;
    let client = fleet.stack.client.clone();
    assert_eq!(fleet.status(&client).await, 200);

    fleet.roll("ALLOW_PRIVATE_UPSTREAMS", "false", first_goes_first).await;
    eventually("private upstreams are forbidden", || async { fleet.status(&client).await != 200 }).await;
    // Whoever the proxy turns to says the same.
    fleet.restart_first().await;
    fleet.restart_second().await;
    assert_ne!(fleet.status(&client).await, 200);
    fleet.roll("ALLOW_PRIVATE_UPSTREAMS", "true", !first_goes_first).await;
    eventually("private upstreams are allowed", || async { fleet.status(&client).await == 200 }).await;

    fleet.roll("API_KEY_SECRET", "another-pepper-0123456789abcdef", first_goes_first).await;
    eventually("the old keys are void", || async { fleet.status(&client).await == 401 }).await;
    let (_, key) = fleet.stack.new_key(&json!({ "name": "anew" })).await;
    let renewed = Client::new(&fleet.stack.proxies[0].url, key);
    eventually("a new key is known", || async { fleet.status(&renewed).await == 200 }).await;
    fleet.restart_second().await;
    fleet.restart_first().await;
    eventually("the proxy is confirmed", || async { fleet.stack.proxies[0].readiness().await.1["stale"] == false })
        .await;
    assert_eq!((fleet.status(&renewed).await, fleet.status(&client).await), (200, 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_rolled_from_the_first_control_plane_on_reach_proxies_as_one() {
    each_setting(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_rolled_from_the_second_control_plane_on_reach_proxies_as_one() {
    each_setting(false).await;
}
