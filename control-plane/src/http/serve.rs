//! The accept loop: bounded in connections, impatient with clients that do not finish their heads, and patient with
//! running calls when the process stops.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use omniroute_core::client_address::TrustedProxies;
use omniroute_ingress::{Opened, Opening, open};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// For a head, and for the silence before the next one on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_STREAMS: u32 = 100;

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// When accepting fails (no file descriptors left), how long until it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who may bring connections of others.
#[derive(Clone, Debug, Default)]
pub struct ProxyProtocolTrust {
    pub trusted: TrustedProxies,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// Serves until `stopping`, then until every running call has been answered. Whoever cannot wait that long drops this.
///
/// # Errors
/// None so far: a failure to accept is logged and passes.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    trust: ProxyProtocolTrust,
    stopping: CancellationToken,
) -> io::Result<()> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS);
    let builder = Arc::new(builder);
    let trust = Arc::new(trust);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let next = tokio::select! {
            () = stopping.cancelled() => break,
            next = accept(&listener, &room) => next,
        };
        let Some((stream, peer, permit)) = next else { continue };
        let (router, builder, trust) = (router.clone(), Arc::clone(&builder), Arc::clone(&trust));
        let (stopping, watcher) = (stopping.clone(), graceful.watcher());
        tokio::spawn(async move {
            let ProxyProtocolTrust { trusted, proxy_protocol } = &*trust;
            let opening = Opening { trusted, proxy_protocol: *proxy_protocol, limit: HEAD_TIMEOUT };
            let opened = tokio::select! {
                opened = open(stream, peer, opening) => opened,
                () = stopping.cancelled() => None,
            };
            let Some(Opened { stream, peer, .. }) = opened else { return };
            let service = router.map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                request
            });
            let connection =
                builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
            let connection = watcher.watch(connection.into_owned());
            if let Err(error) = connection.await {
                tracing::debug!(%peer, error, "a connection ended badly");
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Answers are small; waiting to fill a packet only delays them.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection cannot be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, routing::get};
    use omniroute_core::settings::SettingValue as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn start_behind(
        trust: ProxyProtocolTrust,
        router: Router,
    ) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stopping = CancellationToken::new();
        (address, stopping.clone(), tokio::spawn(serve(listener, router, trust, stopping)))
    }

    async fn start(router: Router) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<io::Result<()>>) {
        start_behind(ProxyProtocolTrust::default(), router).await
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        ask_after("", address, path).await
    }

    async fn ask_after(preamble: &str, address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(preamble.as_bytes()).await.expect("sent");
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn behind_a_balancer_handlers_learn_whom_it_speaks_for() {
        let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { Json(peer.ip().to_string()) };
        let trusted = TrustedProxies::parse("127.0.0.1").expect("an address");
        let trust = ProxyProtocolTrust { trusted, proxy_protocol: true };
        let (address, ..) = start_behind(trust, Router::new().route("/", get(peer))).await;
        let header = "PROXY TCP4 203.0.113.9 127.0.0.1 5555 80\r\n";
        assert!(ask_after(header, address, "/").await.ends_with("\"203.0.113.9\""));
        assert_eq!(ask(address, "/").await, "", "a balancer that forgets its header is not served");
    }

    #[tokio::test]
    async fn handlers_learn_who_is_at_the_other_end() {
        let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { Json(peer.ip().to_string()) };
        let (address, stopping, server) = start(Router::new().route("/", get(peer))).await;
        assert!(ask(address, "/").await.ends_with("\"127.0.0.1\""));
        stopping.cancel();
        server.await.expect("ended").expect("well");
        assert!(TcpStream::connect(address).await.is_err(), "the port is free");
    }

    #[tokio::test]
    async fn a_running_call_is_answered_before_the_end() {
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        };
        let (address, stopping, server) = start(Router::new().route("/", get(slow))).await;
        let asked = tokio::spawn(ask(address, "/"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        stopping.cancel();
        assert!(asked.await.expect("asked").ends_with("done"));
        tokio::time::timeout(Duration::from_secs(5), server).await.expect("in time").expect("ended").expect("well");
    }
}
