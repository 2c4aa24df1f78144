//! A launcher under test, its directory, and its fake planes.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A data directory, free ports and fake programs.
pub(crate) struct Setup {
    root: tempfile::TempDir,
    pub(crate) port: u16,
    ports: [u16; 2],
    environment: Vec<(&'static str, &'static str)>,
}

pub(crate) struct Launcher {
    child: Child,
    output: Arc<Mutex<String>>,
}

// === impl Setup ===

impl Setup {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        for (program, name) in [("omniroute-control-plane", "control-plane"), ("omniroute-data-plane", "proxy")] {
            let exe = std::env::current_exe().expect("this test");
            let script = format!(
                "#!/bin/sh\nexport FAKE_NAME={name}\n\
                 exec '{}' --ignored --exact fake_plane::fake_plane --nocapture\n",
                exe.display()
            );
            let path = root.path().join(program);
            std::fs::write(&path, script).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        }
        let [port, control_plane, grpc] = free_ports();
        Self { root, port, ports: [control_plane, grpc], environment: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// The same machine, with one more variable.
    pub(crate) fn launcher_with(&self, name: &'static str, value: &'static str) -> Launcher {
        Launcher::spawn(self, &[], Some((name, value)))
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(crate) fn pid_of_proxy(&self) -> Option<u32> {
        self.pid_of("proxy")
    }

    pub(crate) fn pid_of_control_plane(&self) -> Option<u32> {
        self.pid_of("control-plane")
    }

    pub(crate) fn environment_of(&self, name: &str) -> String {
        std::fs::read_to_string(self.root.path().join(format!("{name}.environment"))).expect("noted")
    }

    /// Where the control plane listens.
    pub(crate) fn control_plane_port(&self) -> u16 {
        self.ports[0]
    }

    /// From now on it cannot be started.
    pub(crate) fn remove_control_plane(&self) {
        std::fs::remove_file(self.root.path().join("omniroute-control-plane")).expect("removed");
    }

    /// Another command on the same machine.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).stdin(Stdio::null()).output().expect("the CLI runs")
    }

    fn command(&self) -> Command {
        let [control_plane, grpc] = self.ports.map(|port| port.to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_omniroute"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.root.path())
            .env("DATA_DIR", self.data_dir())
            .env("PORT", self.port.to_string())
            .env("CONTROL_PLANE_PORT", control_plane)
            .env("GRPC_PORT", grpc)
            .env("OMNIROUTE_BIN_DIR", self.root.path())
            .env("FAKE_NOTES", self.root.path())
            .envs(self.environment.iter().copied());
        command
    }

    fn pid_of(&self, name: &str) -> Option<u32> {
        std::fs::read_to_string(self.root.path().join(format!("{name}.pid"))).ok()?.parse().ok()
    }
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

// === impl Launcher ===

impl Launcher {
    pub(crate) fn start(setup: &Setup) -> Self {
        Self::spawn(setup, &[], None)
    }

    pub(crate) fn start_with(setup: &Setup, flags: &[&str]) -> Self {
        Self::spawn(setup, flags, None)
    }

    fn spawn(setup: &Setup, flags: &[&str], variable: Option<(&str, &str)>) -> Self {
        let mut command = setup.command();
        command.arg("up").args(flags).envs(variable).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the launcher starts");
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().expect("piped"), &output);
        collect(child.stderr.take().expect("piped"), &output);
        Self { child, output }
    }

    pub(crate) fn output(&self) -> String {
        self.output.lock().expect("not poisoned").clone()
    }

    pub(crate) fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.output().contains(text) {
            assert!(Instant::now() < deadline, "never said `{text}`:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        kill(self.child.id(), signal);
    }

    pub(crate) fn is_running(&self) -> bool {
        is_alive(self.child.id())
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                // The last lines are on their way.
                std::thread::sleep(Duration::from_millis(100));
                return status.code();
            }
            assert!(Instant::now() < deadline, "still runs:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl std::io::Read + Send + 'static, output: &Arc<Mutex<String>>) {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            output.lock().expect("not poisoned").push_str(&(line + "\n"));
        }
    });
}

pub(crate) fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "kill -s {signal} {pid}");
}

/// A process that has ended but was not waited for counts as gone.
pub(crate) fn is_alive(pid: u32) -> bool {
    if !Path::new("/proc/self").exists() {
        let mut probe = Command::new("kill");
        return probe
            .args(["-0", &pid.to_string()])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

pub(crate) fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
