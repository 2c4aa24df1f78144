//! Work that would keep others from their turn: a megabyte takes some milliseconds to translate.

use std::{num::NonZero, sync::LazyLock};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
};

/// Bytes from which on a body counts as large: about a millisecond of work.
pub(super) const LARGE: usize = 256 * 1024;

/// As much of it at a time as there are cores. Closed never.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(places()));

fn places() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `work` on a body of `bytes`; where that is large, this thread's other tasks go on elsewhere meanwhile.
pub(crate) async fn cpu_bound<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let can_move = || Handle::try_current().is_ok_and(|own| own.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes < LARGE || !can_move() {
        return work();
    }
    let _place = PLACES.acquire().await;
    tokio::task::block_in_place(work)
}

/// Takes all places, as much large work does.
#[cfg(test)]
pub(super) async fn occupied() -> tokio::sync::SemaphorePermit<'static> {
    PLACES.acquire_many(u32::try_from(places()).expect("few")).await.expect("never closed")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_thread_does_it_itself() {
        assert_eq!(cpu_bound(LARGE, || 7).await, 7);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_have_their_turn_meanwhile() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (begins, begun) = tokio::sync::oneshot::channel();
        let large = tokio::spawn(async move {
            let work = move || {
                begins.send(()).expect("waited for");
                // Ends only if another task of the one worker runs meanwhile.
                receiver.recv_timeout(Duration::from_secs(20)).is_ok()
            };
            cpu_bound(LARGE, work).await
        });
        begun.await.expect("begun");
        tokio::spawn(async move { sender.send(()) }).await.expect("run").expect("waited for");
        assert!(large.await.expect("run"));
    }
}
