//! A Redis to test against: the one that `TEST_REDIS_URL` names, or an own process.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A Redis that a test may kill. Ends with the value.
pub(super) struct RedisServer {
    port: u16,
    data: TempDir,
    process: Option<Child>,
}

/// Where the suite's Redis is; the server must be kept while it is used.
pub(super) fn any_redis() -> (Option<RedisServer>, String) {
    match std::env::var("TEST_REDIS_URL") {
        Ok(url) if !url.is_empty() => (None, url),
        _ => {
            let server = RedisServer::start();
            let url = server.url();
            (Some(server), url)
        }
    }
}

// === impl RedisServer ===

impl RedisServer {
    pub(super) fn start() -> Self {
        let mut server = Self::stopped();
        server.restart();
        server
    }

    /// A place for a server that does not run yet.
    pub(super) fn stopped() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        Self { port, data: TempDir::new().expect("a directory"), process: None }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it on the data that it left.
    pub(super) fn restart(&mut self) {
        self.kill();
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .args(["--dir", self.data.path().to_str().expect("a path"), "--enable-debug-command", "yes"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed (apt install redis-server), or TEST_REDIS_URL set");
        self.process = Some(process);
        let client = redis::Client::open(self.url()).expect("a URL");
        let start = Instant::now();
        let answers = || {
            let mut connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
            redis::cmd("PING").query::<String>(&mut connection).ok()
        };
        while answers().is_none() {
            assert!(start.elapsed() < super::PATIENCE, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it with nothing.
    pub(super) fn restart_empty(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.data.path()).expect("removed");
        std::fs::create_dir(self.data.path()).expect("created");
        self.restart();
    }

    /// Ends it at once, as `kill -9` does.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killed");
            process.wait().expect("gone");
        }
    }

    /// Runs one command on a connection of its own.
    pub(super) fn run<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let mut connection = redis::Client::open(self.url()).and_then(|c| c.get_connection()).expect("connected");
        let (name, args) = command.split_first().expect("a command");
        redis::cmd(name).arg(args).query(&mut connection).expect("an answer")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
