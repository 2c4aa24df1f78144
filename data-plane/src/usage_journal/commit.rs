//! Where a setting asks for fsync: records reach the disk on a thread of their own, all that have come meanwhile together.
//!
//! An fsync takes milliseconds, in which a thread that serves would serve nobody. So requests hand their records over and
//! wait to be told.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};

use tokio::sync::oneshot;

use super::journal::{Journal, Superseded};

/// Hands records to the thread, which ends with this.
#[derive(Debug)]
pub(super) struct Committer(mpsc::Sender<Commit>);

/// A record on its way.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) journal: Arc<Journal>,
    pub(super) ticket: u64,
    pub(super) ended: Superseded,
    /// Who waits for it, if anybody does.
    pub(super) told: Option<oneshot::Sender<()>>,
}

// === impl Committer ===

impl Committer {
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        let (queue, commits) = mpsc::channel::<Commit>();
        thread::Builder::new().name("journal".to_owned()).spawn(move || {
            while let Ok(first) = commits.recv() {
                let mut group = vec![first];
                group.extend(commits.try_iter());
                commit(group);
            }
        })?;
        Ok(Self(queue))
    }

    pub(super) fn commit(&self, commit: Commit) {
        if let Err(mpsc::SendError(commit)) = self.0.send(commit) {
            // The thread is gone, which it never is; the promise holds all the same.
            self::commit(vec![commit]);
        }
    }
}

fn commit(group: Vec<Commit>) {
    // One write takes all that is pending, so all but the first find theirs written.
    for Commit { journal, ticket, ended, told } in group {
        journal.write_up_to(ticket);
        journal.release(ended);
        if let Some(told) = told {
            // It may have stopped waiting.
            let _ = told.send(());
        }
    }
}
