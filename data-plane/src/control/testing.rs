//! A control plane for tests: a real gRPC server whose services a test supplies.

use std::{net::SocketAddr, sync::Arc};

use omniroute_core::{
    handshake::{CONTROL_PLANE_HEADER, JoinSecret, PROXY_HEADER},
    settings::{DataPlaneSettings, SettingsTable as _, Sources},
    time::{Clock as _, SystemClock},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{Request, Response, Status};

use super::ControlPlane;

/// A link to a server on this machine.
pub(crate) fn link(address: SocketAddr, token: &str) -> ControlPlane {
    let url = format!("http://{address}");
    let sources = Sources::of_values([("CONTROL_PLANE_URL", url.as_str()), ("OMNIROUTE_JOIN_TOKEN", token)]);
    let settings = DataPlaneSettings::from_sources(&sources).expect("settings");
    ControlPlane::new(&settings).expect("a link")
}

/// Answers a proxy's proof as the control plane does.
pub(crate) fn admit<T, R>(request: &Request<T>, path: &str, token: &str, answer: R) -> Result<Response<R>, Status> {
    let proof = request.metadata().get(PROXY_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let proof = JoinSecret::new(token)
        .answer(path, proof, SystemClock.now())
        .map_err(|error| Status::unauthenticated(error.to_string()))?;
    let mut response = Response::new(answer);
    response.metadata_mut().insert(CONTROL_PLANE_HEADER, proof.parse().expect("text"));
    Ok(response)
}

/// Serves until the handle is aborted.
pub(crate) async fn serve<S>(listener: TcpListener, service: S) -> JoinHandle<()>
where
    S: tower::Service<http::Request<tonic::body::Body>, Error = std::convert::Infallible>
        + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Send + 'static,
{
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(async move {
        let _ = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await;
    })
}

/// A listener on a free port of this machine.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Polls until something holds, for at most ten seconds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("did not happen: {what}");
}

/// Shared by a test and the service that it supplies.
pub(crate) type Shared<T> = Arc<parking_lot::Mutex<T>>;
