//! One client connection, from its first byte to its end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};

use super::{Phase, Shared, service, silence, socket};

/// An HTTP/2 client that is silent is pinged this often, and given up when it does not answer in time.
const H2_PING_EVERY: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that one HTTP/2 connection may have open.
const H2_STREAMS: u32 = 1024;

/// How connections are served; one for all of them.
#[derive(Clone)]
pub(super) struct Protocols {
    http1: auto::Builder<TokioExecutor>,
    http2: auto::Builder<TokioExecutor>,
    client_timeout: Duration,
}

// === impl Protocols ===

impl Protocols {
    pub(super) fn new(client_timeout: Duration) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(H2_PING_EVERY)
            .keep_alive_timeout(H2_PING_TIMEOUT)
            .max_concurrent_streams(H2_STREAMS);
        Self { http1: builder.clone().http1_only(), http2: builder.http2_only(), client_timeout }
    }
}

/// Serves one connection. Errors are the client's (it left, it sent no HTTP) and nobody's news.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, _slot: OwnedSemaphorePermit) {
    let _open = shared.gateway.lifecycle.connected();
    if let Err(error) = socket::tune(&stream, shared.protocols.client_timeout) {
        tracing::debug!(%error, "socket options");
    }
    let Some(protocol) = socket::protocol(&stream, shared.protocols.client_timeout).await else {
        return;
    };
    let (stream, head_timer) = silence::watch(stream, shared.protocols.client_timeout);
    let protocol = match protocol {
        socket::Protocol::Http1 => {
            let mut http1 = shared.protocols.http1.clone();
            http1.http1().timer(head_timer).header_read_timeout(silence::IDLE.max(shared.protocols.client_timeout));
            http1
        }
        socket::Protocol::Http2 => shared.protocols.http2.clone(),
    };
    let mut phase = shared.gateway.lifecycle.watch();
    // Who comes while the proxy drains (a health check) is answered like any other.
    let came_late = *phase.borrow_and_update() != Phase::Serving;
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { service::answer(shared, peer, request).await }
    });
    let connection = protocol.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let draining = async {
        if came_late {
            drop(phase.wait_for(|phase| *phase == Phase::Serving).await);
        }
        drop(phase.wait_for(|phase| *phase != Phase::Serving).await);
    };
    let served = tokio::select! {
        // No dice: who drains has time.
        biased;
        served = connection.as_mut() => served,
        // Idle connections close at once, busy ones after what they are doing.
        () = draining => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection.as_mut() => served,
                // Dropping the connection cancels what runs on it.
                _ = phase.wait_for(|phase| *phase == Phase::Cutting) => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "client connection ended");
    }
}
