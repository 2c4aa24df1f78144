//! Redis goes away, and requests do not.

#![cfg(test)]

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use omniroute_tests::harness::{
    Engine, Setup, eventually, free_port,
    load::{Load, Outcome, Shape},
};

/// A Redis that may be killed.
struct Redis {
    port: u16,
    directory: tempfile::TempDir,
    process: Option<Child>,
}

impl Redis {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut redis = Self { port: free_port(), directory, process: None };
        redis.restart();
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn restart(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.directory.path())
            .stdout(Stdio::null())
            .spawn();
        self.process = Some(process.expect("redis-server runs"));
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killed");
            process.wait().expect("gone");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_when_redis_is_killed() {
    let mut redis = Redis::start();
    let stack = Setup::on(Engine::Sqlite).proxies(2).redis(redis.url()).start().await;
    let shape = Shape { model: "mock/gpt-mock", clients: 8, pause: Duration::from_millis(5), goes_on: true };
    let load = Load::start(&stack.clients(), shape);
    load.more(100).await;
    redis.kill();
    load.more(200).await;
    redis.restart();
    load.more(100).await;
    for outcome in load.stop().await {
        assert!(matches!(outcome, Outcome::Answered { .. }), "{outcome:?}");
    }
    eventually("the ledger has every request", || async { stack.ledger.answered().await == stack.provider.total() })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_starts_without_its_redis() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let stack = Setup::on(Engine::Sqlite).redis(url).start().await;
    stack.client.chat("mock/gpt-mock", "nobody there").await.ok();
}
