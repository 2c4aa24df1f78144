//! `omniroute up` and the CLI, as somebody at a terminal uses them.

#![cfg(test)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use omniroute_tests::{
    harness::{Client, Process, eventually, free_port, program},
    mock_provider::MockProvider,
};
use serde_json::Value;

/// A machine with nothing on it but the programs.
struct Machine {
    environment: BTreeMap<String, String>,
    url: String,
    home: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let mut environment = BTreeMap::new();
        for (name, value) in [
            ("HOME", home.path().display().to_string()),
            ("PORT", port.to_string()),
            ("CONTROL_PLANE_PORT", free_port().to_string()),
            ("GRPC_PORT", free_port().to_string()),
        ] {
            environment.insert(name.to_owned(), value);
        }
        Self { environment, url: format!("http://127.0.0.1:{port}"), home }
    }

    fn up(&self) -> Process {
        Process::start(&program("omniroute"), &["up"], &self.environment, &self.home.path().join("up.log"))
    }

    /// Where `up` keeps its files.
    fn data_dir(&self) -> PathBuf {
        self.home.path().join(".omniroute")
    }

    /// With ports that only the flags of `up` tell.
    fn up_with_flags(&self) -> Process {
        let port = |name: &str| self.environment[name].clone();
        let (proxy, control_plane, grpc) = (port("PORT"), port("CONTROL_PLANE_PORT"), port("GRPC_PORT"));
        let flags = ["up", "--port", &proxy, "--control-plane-port", &control_plane, "--grpc-port", &grpc];
        let home = [("HOME".to_owned(), self.environment["HOME"].clone())];
        Process::start(&program("omniroute"), &flags, &BTreeMap::from(home), &self.home.path().join("up.log"))
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(program("omniroute"));
        command.args(args).env_clear().envs(&self.environment).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.output().expect("the CLI runs")
    }

    /// What a command prints; it has to succeed.
    fn says(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    fn json(&self, args: &[&str]) -> Value {
        let said = self.says(&[args, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    fn client(&self) -> Client {
        let key = std::fs::read_to_string(self.data_dir().join("api.key")).expect("the first key");
        Client::new(&self.url, key.trim())
    }
}

async fn ready(up: &Process) {
    eventually("the gateway says that it is ready", || async { up.log().contains("OmniRoute is ready") }).await;
}

/// The curl line in what `up` printed.
fn printed_curl(log: &str) -> String {
    log.lines().find(|line| line.trim_start().starts_with("curl ")).expect("a curl line").trim().to_owned()
}

fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", &format!("{line} -s")]).output().expect("a shell");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

/// Ids of the processes that a process has started.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn kill(pid: u32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs");
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_an_answer_with_what_up_prints() {
    let machine = Machine::new();
    let provider = MockProvider::start().await.expect("a provider");
    let mut up = machine.up();
    ready(&up).await;
    let log = up.log();
    assert!(log.contains(&machine.url) && log.contains("admin password"), "{log}");
    assert!(shell(&printed_curl(&log)).contains("\"data\":[]"), "there is no model yet");
    for secret in ["master.key", "jwt.secret", "join.token", "admin.password", "api.key"] {
        assert_eq!(mode(&machine.data_dir().join(secret)), 0o600, "{secret}");
    }

    let base = provider.base_url();
    let added = machine.says(&[
        "providers",
        "add",
        "mine",
        "--base-url",
        &base,
        "--prefix",
        "mine",
        "--api-key",
        provider.key(),
    ]);
    assert!(added.contains("gpt-mock"), "{added}");
    eventually("the model answers", || async { machine.client().chat("mine/gpt-mock", "hi").await.status == 200 })
        .await;
    assert!(machine.says(&["providers", "list"]).contains("mine"));
    assert!(machine.says(&["providers", "test"]).contains("mine"));
    assert!(machine.says(&["status"]).contains("serving"));
    machine.says(&["doctor"]);

    let made = machine.json(&["keys", "create", "team", "--model", "mine/gpt-mock-mini"]);
    let key = made["key"].as_str().expect("shown once").to_owned();
    let team = machine.client().with_key(&key);
    eventually("the key works", || async { team.chat("mine/gpt-mock-mini", "hi").await.status == 200 }).await;
    assert_eq!(team.chat("mine/gpt-mock", "hi").await.status, 403);
    assert!(!machine.says(&["keys", "list"]).contains(&key));
    machine.says(&["keys", "revoke", "team"]);
    eventually("the key is refused", || async { team.chat("mine/gpt-mock-mini", "hi").await.status == 401 }).await;

    up.terminate();
    assert!(up.ended(Duration::from_secs(60)).await.success());

    // The second start finds everything, and its curl asks a model.
    let mut up = machine.up();
    eventually("it is ready again", || async { up.log().matches("OmniRoute is ready").count() == 2 }).await;
    let log = up.log();
    let second = log.rsplit("OmniRoute is ready").next().expect("the second greeting");
    let password = std::fs::read_to_string(machine.data_dir().join("admin.password")).expect("a password");
    assert!(log.contains(password.trim()) && !second.contains(password.trim()), "the password is shown once");
    let answer = shell(&printed_curl(second));
    assert!(answer.contains("\"finish_reason\":\"stop\""), "{answer}");
    up.terminate();
    assert!(up.ended(Duration::from_secs(60)).await.success());
}

/// What a command that has to fail says is wrong.
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_is_mended_with_the_commands_that_are_named() {
    let machine = Machine::new();
    let provider = MockProvider::start().await.expect("a provider");
    let up = machine.up();
    ready(&up).await;
    assert!(!up.log().contains("invalid_api_key"), "the first start makes no failure of its own: {}", up.log());

    let base = provider.base_url();
    let add = |key| ["providers", "add", "mine", "--base-url", &base, "--prefix", "mine", "--api-key", key];
    let refused = refusal(&machine.run(&add("sk-wrong")));
    assert!(refused.contains("omniroute providers set-key"), "{refused}");
    let again = refusal(&machine.run(&add(provider.key())));
    assert!(again.contains("omniroute providers set-key mine") && again.contains("providers remove mine"), "{again}");
    machine.says(&["providers", "set-key", "mine", "--api-key", provider.key()]);
    eventually("the model answers", || async { machine.client().chat("mine/gpt-mock", "hi").await.status == 200 })
        .await;
    machine.says(&["providers", "disable", "mine"]);
    assert!(machine.says(&["providers", "list"]).contains("off"));
    machine.says(&["providers", "enable", "mine"]);
    machine.says(&["providers", "edit", "mine", "--priority", "7", "--name", "other"]);
    machine.says(&["providers", "test", "other", "--model", "gpt-mock"]);
    machine.says(&["nodes", "edit", "mine", "--prefix", "theirs"]);
    eventually("the models have their new prefix", || async {
        machine.says(&["models", "list", "theirs/"]).contains("theirs/gpt-mock")
    })
    .await;
    machine.says(&["providers", "remove", "other"]);
    assert_eq!(machine.json(&["nodes", "list"])["nodes"], serde_json::json!([]));
    machine.says(&add(provider.key()));

    for (flag, value) in [("--expires", "30"), ("--expires", "2020-01-01"), ("--scope", "root")] {
        refusal(&machine.run(&["keys", "create", "k", flag, value]));
    }
    let made =
        machine.run(&["keys", "create", "k", "--model", "nosuch/zzz", "--connection", "mine", "--expires", "1d"]);
    assert!(String::from_utf8_lossy(&made.stderr).contains("nosuch/zzz"), "{made:?}");
    assert!(refusal(&machine.run(&["keys", "create", "k"])).contains("keys regenerate k"));
    machine.says(&["keys", "create", "my laptop"]);
    let taken = refusal(&machine.run(&["keys", "edit", "k", "--name", "my laptop"]));
    assert!(taken.contains("keys revoke 'my laptop'"), "{taken}");
    machine.says(&["keys", "edit", "k", "--any-model", "--expires", "never", "--disable"]);
    assert!(machine.says(&["keys", "list"]).contains("off"));
    machine.says(&["keys", "revoke", "k"]);

    // A catalog's provider once more is no second connection by oversight.
    let vendor = |key| ["providers", "add", "openai", "--base-url", &base, "--api-key", key];
    refusal(&machine.run(&vendor("sk-wrong")));
    let again = refusal(&machine.run(&vendor(provider.key())));
    assert!(again.contains("omniroute providers set-key openai"), "{again}");
    machine.says(&["providers", "set-key", "openai", "--api-key", provider.key(), "--test-model", "gpt-mock"]);
    refusal(&machine.run(&["providers", "edit", "openai", "--test-model", "no-such-model"]));
    refusal(&machine.run(&["providers", "test", "openai"]));
    machine.says(&["providers", "edit", "openai", "--test-model", "none"]);
    let again = machine.says(&["providers", "edit", "openai", "--test-model", "none"]);
    assert!(again.contains("is as it was") && !again.contains("is changed"), "{again}");
    machine.says(&["providers", "test", "openai"]);

    // The secret stands alone on standard output, for `$(…)`.
    let alone = machine.says(&["password", "--new"]);
    let kept = std::fs::read_to_string(machine.data_dir().join("admin.password")).expect("kept");
    assert_eq!(alone, kept);
    let shown = machine.json(&["password", "--new"]);
    let body = serde_json::json!({ "password": shown["password"] });
    let login = machine.client().try_post("/api/auth/login", &body).await.expect("an answer");
    assert_eq!(login.status, 200);
    assert_eq!(machine.json(&["password"])["check"], "right");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_found_by_its_directory_and_a_lost_first_key_is_void() {
    let mut machine = Machine::new();
    let mut up = machine.up_with_flags();
    ready(&up).await;
    let lost = machine.client();
    let ports: Vec<String> =
        ["PORT", "CONTROL_PLANE_PORT", "GRPC_PORT"].map(|name| machine.environment.remove(name).expect("one")).into();
    assert!(machine.says(&["status"]).contains("serving"), "the directory tells the ports");
    let refused = refusal(&machine.run(&["status", "--port", "1"]));
    assert!(refused.contains(&ports[0]) && refused.contains("--port"), "{refused}");
    machine.says(&["doctor"]);
    let elsewhere = machine.home.path().join("elsewhere").display().to_string();
    let other = machine.run(&["doctor", "--data-dir", &elsewhere, "--port", &ports[0]]);
    let other = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(other.contains("which is not this directory's gateway"), "{other}");
    up.terminate();
    assert!(up.ended(Duration::from_secs(60)).await.success());

    std::fs::remove_file(machine.data_dir().join("api.key")).expect("removed");
    for (name, port) in ["PORT", "CONTROL_PLANE_PORT", "GRPC_PORT"].iter().zip(ports) {
        machine.environment.insert((*name).to_owned(), port);
    }
    let up = machine.up();
    eventually("it is ready again", || async { up.log().matches("OmniRoute is ready").count() == 2 }).await;
    assert!(up.log().contains("the old first key is void"), "{}", up.log());
    let password = std::fs::read_to_string(machine.data_dir().join("admin.password")).expect("a password");
    assert_eq!(up.log().matches(password.trim()).count(), 1, "what is shown once is not shown again: {}", up.log());
    assert_eq!(lost.get("/v1/models").await.status, 401);
    assert_eq!(machine.client().get("/v1/models").await.status, 200);
    let keys = machine.json(&["keys", "list"]);
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(1), "{keys}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_finds_its_way_past_a_first_key_that_no_longer_counts() {
    let mut machine = Machine::new();
    let file = machine.data_dir().join("api.key");
    let mut up = machine.up();
    ready(&up).await;
    machine.says(&["keys", "edit", "first key", "--disable"]);
    up.terminate();
    assert!(up.ended(Duration::from_secs(60)).await.success());

    // Switched off, and its file is gone.
    std::fs::remove_file(&file).expect("removed");
    let mut up = machine.up();
    eventually("the second start is ready", || async { up.log().matches("OmniRoute is ready").count() == 2 }).await;
    assert!(up.log().contains("called `first key 2`"), "{}", up.log());
    assert_eq!(machine.client().get("/v1/models").await.status, 200);
    up.terminate();
    assert!(up.ended(Duration::from_secs(60)).await.success());

    // While nothing runs, whoever listens there is not told the password.
    let port = machine.environment["CONTROL_PLANE_PORT"].parse().expect("a port");
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    listener.set_nonblocking(true).expect("set");
    assert_eq!(machine.json(&["password"])["check"], "unknown");
    let refused = refusal(&machine.run(&["password", "--new"]));
    assert!(refused.contains("the old password still counts"), "{refused}");
    assert!(listener.accept().is_err(), "nobody came");
    drop(listener);

    // Every key is void, this one too.
    machine.environment.insert("API_KEY_SECRET".to_owned(), "another-pepper-0123456789".to_owned());
    let up = machine.up();
    eventually("the third start is ready", || async { up.log().matches("OmniRoute is ready").count() == 3 }).await;
    assert!(up.log().contains("API_KEY_SECRET was changed"), "{}", up.log());
    assert_eq!(machine.client().get("/v1/models").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_that_dies_is_started_again() {
    let machine = Machine::new();
    let up = machine.up();
    ready(&up).await;
    for _ in 0..2 {
        let before = children(up.pid());
        assert_eq!(before.len(), 2, "{}", up.log());
        for pid in &before {
            kill(*pid);
        }
        eventually("both are there again", || async {
            let now = children(up.pid());
            now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
        })
        .await;
        eventually("it answers again", || async {
            let client = machine.client();
            let body = serde_json::json!({ "model": "none", "messages": [] });
            let asked = client.try_post("/v1/chat/completions", &body).await;
            asked.is_ok_and(|answer| answer.error_code() == "model_not_found")
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cli_says_what_is_wrong_and_exits_with_its_code() {
    let machine = Machine::new();
    let output = machine.run(&["status"]);
    assert_eq!(output.status.code(), Some(3), "there is no gateway here: {output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("omniroute up"), "{output:?}");
    assert_eq!(machine.run(&["models", "list"]).status.code(), Some(3));
    assert_eq!(machine.run(&["nonsense"]).status.code(), Some(2));

    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let output = machine.run(&["up", "--port", &port]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&port) && said.contains("--port"), "{said}");
}
