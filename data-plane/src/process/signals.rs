//! The signals that end the process.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Mutex,
};

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Mutex<Signal>,
    interrupt: Mutex<Signal>,
}

// === impl Signals ===

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        let listen = |kind| signal(kind).map(Mutex::new);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Resolves with each signal to stop.
    pub(super) async fn stop(&self) {
        let (mut terminate, mut interrupt) = tokio::join!(self.terminate.lock(), self.interrupt.lock());
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
