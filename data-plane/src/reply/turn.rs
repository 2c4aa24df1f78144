//! Turns: between an upstream and a client that are both fast nobody would ever wait, and others of the thread never run.

use std::{
    pin::pin,
    task::{Context, Poll},
};

/// So many bytes of an answer come in and go out before others have their turn.
pub(crate) const TURN: usize = 256 * 1024;

/// What has been done since others last had theirs.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    bytes: usize,
}

// === impl Turn ===

impl Turn {
    pub(crate) fn took(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Whoever answers has waited, which is a turn for others too.
    pub(crate) fn waited(&mut self) {
        self.bytes = 0;
    }

    /// Pending once a turn is over.
    pub(crate) fn poll_pass(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.bytes < TURN {
            return Poll::Ready(());
        }
        self.bytes = 0;
        pass(cx);
        Poll::Pending
    }

    /// Lets others go first where a turn is over.
    pub(crate) async fn pass(&mut self) {
        if self.bytes >= TURN {
            self.bytes = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Has the task go on once others have had their turn: also those that wait for a socket or a timer, at which a busy thread looks
/// but seldom. Waking the task by itself would put it in front of them.
pub(crate) fn pass(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}
