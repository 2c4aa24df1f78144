//! The listening side of a proxy.
//!
//! [`Server`] accepts connections (at most so many), [`connection`] speaks HTTP/1.1 or HTTP/2 on each, and
//! [`service`] sends every request to its place: chat and embeddings to [`life`], which is the path of a model
//! request from admission to the recorded event, everything else to the [`router`]. [`Gateway`] is what they all
//! share; [`lifecycle`] says whether new work is taken and counts what runs.

mod compact;
mod connection;
mod cors;
mod counts;
mod doubled;
mod gateway;
mod heads;
mod life;
pub mod lifecycle;
mod lists;
mod ollama_side;
mod preload;
mod refuse;
mod responses;
mod route;
mod router;
mod service;
mod silence;
mod socket;
mod supervise;
mod websocket;
mod workers;

use std::{io, net::SocketAddr, num::NonZero, sync::Arc, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::Semaphore};

pub(crate) use self::cors::is_local_origin;
use self::workers::Workers;
pub use self::{
    gateway::{Gateway, GatewayParts, SetupError},
    lifecycle::{Lifecycle, Phase},
    workers::worker_count,
};

/// How long to wait when the process has no file descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener and what serves its connections.
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
    /// `None`: connections are served where the listener is.
    workers: Option<Workers>,
}

/// What every connection needs.
struct Shared {
    gateway: Arc<Gateway>,
    router: Router,
}

// === impl Server ===

impl Server {
    /// Takes the listener's connections from now on, once [`Self::run`] is polled.
    pub fn new(listener: TcpListener, gateway: Arc<Gateway>) -> Self {
        let router = router::router(&gateway);
        Self { listener, shared: Arc::new(Shared { gateway, router }), workers: None }
    }

    /// As [`Self::new`], with so many threads of its own for connections. What takes long is left to the present
    /// runtime.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn with_workers(listener: TcpListener, gateway: Arc<Gateway>, count: NonZero<usize>) -> io::Result<Self> {
        let router = router::router(&gateway);
        let shared = Arc::new(Shared { gateway, router });
        let workers = Workers::start(count.get(), &shared)?;
        Ok(Self { listener, shared, workers: Some(workers) })
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
        let slots = Arc::new(Semaphore::new(self.shared.gateway.limits.max_connections));
        let mut exhausted = false;
        loop {
            // Beyond the limit, new clients wait in the system's backlog.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    exhausted = false;
                    let Some(workers) = &self.workers else {
                        tokio::spawn(connection::serve(Arc::clone(&self.shared), stream, peer, slot));
                        continue;
                    };
                    if let Err(error) = workers.serve(stream, peer, slot) {
                        tracing::error!(%error, "a connection cannot be served");
                    }
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
