//! Keeps one process running until it is told to stop.

use std::{
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Child,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    backoff::Backoff,
    output::{Output, Stream},
    plane::Plane,
};
use crate::failure::Failure;

/// On top of what running requests may take: time for the last bytes and the last usage events, and to close files.
const LAST_STEPS: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// SIGTERM; SIGKILL when it still runs after this time.
    Gentle(Duration),
    /// SIGKILL.
    Now,
}

/// A process that is being kept running.
pub(super) struct Supervised {
    task: JoinHandle<Result<(), Failure>>,
    stop: watch::Sender<Option<Urgency>>,
    settled: Arc<AtomicBool>,
}

struct Supervisor {
    plane: Plane,
    output: Output,
    stop: watch::Receiver<Option<Urgency>>,
    settled: Arc<AtomicBool>,
}

// === impl Supervised ===

impl Supervised {
    pub(super) fn start(plane: Plane, output: Output) -> Self {
        let (stop, stopped) = watch::channel(None);
        let settled = Arc::new(AtomicBool::new(false));
        let supervisor = Supervisor { plane, output, stop: stopped, settled: Arc::clone(&settled) };
        Self { task: tokio::spawn(supervisor.run()), stop, settled }
    }

    /// From now on it is started again however it ends. Before, one that ends by itself has a reason (it printed it)
    /// that another start would not change.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    pub(super) fn stop(&self, urgency: Urgency) {
        self.stop.send_replace(Some(urgency));
    }

    /// Waits until the process is gone for good.
    pub(super) async fn ended(&mut self) {
        if !self.task.is_finished() {
            let _ = (&mut self.task).await;
        }
    }

    /// Why the process is gone although nobody told it to stop; `None` while it is kept running.
    pub(super) async fn gave_up(&mut self) -> Option<Failure> {
        if !self.task.is_finished() {
            return None;
        }
        match (&mut self.task).await {
            Ok(Ok(())) => Some(Failure::failed("a process ended")),
            Ok(Err(failure)) => Some(failure),
            Err(error) => Some(Failure::failed(format!("the launcher is broken: {error}"))),
        }
    }
}

// === impl Supervisor ===

impl Supervisor {
    async fn run(mut self) -> Result<(), Failure> {
        let mut backoff = Backoff::new();
        loop {
            let started = Instant::now();
            let mut child = match self.plane.start() {
                Ok(child) => child,
                Err(error) if self.settled.load(Ordering::Relaxed) => {
                    let why = format!("it cannot be started: {error}");
                    if self.stopped_in_pause(&why, backoff.after(Duration::ZERO)).await {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(Failure::file("start", &self.plane.binary, &error)),
            };
            if let Some(stdout) = child.stdout.take() {
                self.output.follow(self.plane.name, Stream::Out, stdout);
            }
            if let Some(stderr) = child.stderr.take() {
                self.output.follow(self.plane.name, Stream::Err, stderr);
            }
            let ended = tokio::select! {
                status = child.wait() => Some(status),
                _ = self.stop.wait_for(Option::is_some) => None,
            };
            let Some(status) = ended else {
                self.end(&mut child).await;
                return Ok(());
            };
            let name = self.plane.name;
            let status = status.map_err(|error| Failure::failed(format!("lost sight of the {name}: {error}")))?;
            if !self.settled.load(Ordering::Relaxed) && status.code().is_some() {
                return Err(Failure::failed(format!("the {name} did not start; its last lines say why")));
            }
            let wait = backoff.after(started.elapsed());
            if self.stopped_in_pause(&format!("it ended with {}", described(status)), wait).await {
                return Ok(());
            }
        }
    }

    /// Waits before the next start. `true` when told to stop meanwhile.
    async fn stopped_in_pause(&mut self, why: &str, wait: Duration) -> bool {
        self.output.say(&format!("{}: {why}; starting it again in {wait:?}", self.plane.name));
        tokio::select! {
            () = sleep(wait) => false,
            _ = self.stop.wait_for(Option::is_some) => true,
        }
    }

    /// Ends the child as urgently as asked, and sooner when the asking becomes more urgent.
    async fn end(&mut self, child: &mut Child) {
        let urgency = *self.stop.borrow_and_update();
        if let Some(Urgency::Gentle(patience)) = urgency
            && let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()))
        {
            // It fails when the child has just ended by itself.
            let _ = kill_process(pid, Signal::TERM);
            let hurry = self.stop.wait_for(|urgency| *urgency == Some(Urgency::Now));
            let in_time = tokio::select! {
                waited = timeout(patience + LAST_STEPS, child.wait()) => waited.is_ok(),
                _ = hurry => false,
            };
            if in_time {
                return;
            }
            self.output.say(&format!("killing the {}", self.plane.name));
        }
        let _ = child.kill().await;
    }
}

fn described(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}
