//! The threads that serve connections.
//!
//! Each has a runtime of one thread. A connection stays with the one that it was given to, and so does all that its requests
//! need: no wake crosses from one thread to another, and each thread has upstream connections of its own ([`lane`]). A new
//! connection goes to the thread that has the fewest, out of one listener: several that share a port would hide that another
//! process has it, and spread connections by chance.
//!
//! What takes long is no work for them: a request that is large, and a WebSocket, whose messages may be, go to the runtime
//! that everything else runs on ([`background`]), where the others do not have to wait for it.

use std::{
    cell::OnceCell,
    io,
    net::SocketAddr,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use omniroute_core::settings::DataPlaneSettings;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle},
    sync::{OwnedSemaphorePermit, mpsc},
};

use super::{Shared, connection};
use crate::upstream_client::lane;

/// Less than any time limit of a request.
const TICK: Duration = Duration::from_millis(500);

thread_local! {
    /// Set in threads that serve connections.
    static BACKGROUND: OnceCell<Handle> = const { OnceCell::new() };
}

/// Threads that take connections until this is dropped.
pub(super) struct Workers(Vec<Worker>);

struct Worker {
    // Bounded by the places for connections, of which each that waits here has one.
    connections: mpsc::UnboundedSender<Accepted>,
    open: Arc<AtomicUsize>,
}

/// A connection on its way to its thread.
struct Accepted {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    open: Open,
}

/// Counts a connection of a thread.
struct Open(Arc<AtomicUsize>);

/// As many threads as there are cores, unless a setting says otherwise.
pub fn worker_count(settings: &DataPlaneSettings) -> NonZero<usize> {
    let set = NonZero::new(settings.worker_threads as usize);
    set.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN)
}

/// The runtime for what would hold up the connections of this thread; `None` where that is the present one.
pub(super) fn background() -> Option<Handle> {
    BACKGROUND.with(|background| background.get().cloned())
}

// === impl Workers ===

impl Workers {
    /// So many threads. What takes long they leave to the present runtime.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn start(count: usize, shared: &Arc<Shared>) -> io::Result<Self> {
        let one = |number| Worker::start(number, Arc::clone(shared));
        (0..count).map(one).collect::<io::Result<_>>().map(Self)
    }

    /// Hands a connection to the thread that has the fewest.
    ///
    /// # Errors
    /// When that thread is gone.
    pub(super) fn serve(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) -> io::Result<()> {
        let fewest = self.0.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed));
        let worker = fewest.ok_or(io::ErrorKind::NotFound)?;
        let open = Open::new(&worker.open);
        // Another reactor watches it from now on.
        let stream = stream.into_std()?;
        let accepted = Accepted { stream, peer, place, open };
        worker.connections.send(accepted).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

// === impl Worker ===

impl Worker {
    fn start(number: usize, shared: Arc<Shared>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let background = Handle::current();
        let (connections, mut accepted) = mpsc::unbounded_channel();
        thread::Builder::new().name(format!("connections-{number}")).spawn(move || {
            lane::enter(number);
            BACKGROUND.with(|own| own.get_or_init(|| background).clone());
            runtime.block_on(async {
                tokio::spawn(tick());
                while let Some(accepted) = accepted.recv().await {
                    serve(&shared, accepted);
                }
            });
            // What still runs has had its time.
            runtime.shutdown_background();
        })?;
        Ok(Self { connections, open: Arc::default() })
    }
}

/// Sees to it that a timer is always due soon. A runtime interrupts its own wait, which takes two system calls, for one that
/// is due before all others, as that of a request is on a thread that has little to do.
async fn tick() {
    loop {
        tokio::time::sleep(TICK).await;
    }
}

fn serve(shared: &Arc<Shared>, accepted: Accepted) {
    let Accepted { stream, peer, place, open } = accepted;
    match TcpStream::from_std(stream) {
        Ok(stream) => {
            let serving = connection::serve(Arc::clone(shared), stream, peer, place);
            tokio::spawn(async move {
                serving.await;
                drop(open);
            });
        }
        Err(error) => tracing::error!(%error, "a connection cannot be served"),
    }
}

// === impl Open ===

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
