//! The listening side of a proxy.
//!
//! [`Server`] accepts connections (at most so many), [`connection`] speaks HTTP/1.1 or HTTP/2 on each, and
//! [`service`] sends every request to its place: model calls to the [`pipeline`], which takes them through the stages from
//! admission to the recorded event, everything else to the [`router`]. [`Stages`] are what they all borrow from.

mod bad_head;
mod base_url;
mod compaction;
mod connection;
mod cors;
mod head_timeout;
mod limits;
mod model_lists;
mod ollama;
mod pipeline;
mod preload;
mod refuse;
mod responses;
mod route;
mod router;
mod service;
mod socket;
mod stages;
mod token_counts;
mod websocket;
mod write_timeout;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::Semaphore};

pub use self::stages::{Foundations, SetupError, Stages};

/// How long to wait when the process has no file descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener and what serves its connections.
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What every connection needs.
struct Shared {
    stages: Arc<Stages>,
    router: Router,
}

// === impl Server ===

impl Server {
    /// Takes the listener's connections from now on, once [`Self::run`] is polled.
    pub fn new(listener: TcpListener, stages: Arc<Stages>) -> Self {
        let router = router::router(&stages);
        Self { listener, shared: Arc::new(Shared { stages, router }) }
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the future is dropped. Connections that are open live on.
    pub async fn run(self) {
        let slots = Arc::new(Semaphore::new(self.shared.stages.limits.max_connections));
        let mut exhausted = false;
        loop {
            // Beyond the limit, new clients wait in the system's backlog.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    exhausted = false;
                    tokio::spawn(connection::serve(Arc::clone(&self.shared), stream, peer, slot));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut exhausted, true) {
                        tracing::error!(%error, "no connection can be accepted; trying on");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Errors about the connection that would have been next, not about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;
