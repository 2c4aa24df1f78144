//! Who may use the gRPC port: proxies that prove the join token, or show a certificate of the configured CA.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::HeaderValue;
use omniroute_core::{
    handshake::{CONTROL_PLANE_HEADER, JoinSecret, PROXY_HEADER},
    time::Clock,
};
use omniroute_telemetry::names;
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service},
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::Layer;

/// Checks every call before its service sees it.
#[derive(Clone)]
pub(super) struct JoinAuth {
    pub(super) join: Option<JoinSecret>,
    pub(super) clock: Arc<dyn Clock>,
}

#[derive(Clone)]
pub(super) struct JoinAuthenticated<S> {
    inner: S,
    auth: JoinAuth,
}

// === impl JoinAuth ===

impl<S> Layer<S> for JoinAuth {
    type Service = JoinAuthenticated<S>;

    fn layer(&self, inner: S) -> JoinAuthenticated<S> {
        JoinAuthenticated { inner, auth: self.clone() }
    }
}

impl JoinAuth {
    /// Lets a call in, with our side of the handshake when the proxy proved the token.
    fn admit(&self, request: &http::Request<Body>) -> Result<Option<HeaderValue>, Status> {
        let proof = request.headers().get(PROXY_HEADER).and_then(|value| value.to_str().ok());
        if let (Some(join), Some(proof)) = (&self.join, proof) {
            let answer = join.answer(request.uri().path(), proof, self.clock.now());
            let answer = answer.map_err(|error| Status::unauthenticated(error.to_string()))?;
            let header = HeaderValue::from_str(&answer);
            return header.map(Some).map_err(|_| Status::internal("the answer is no header"));
        }
        if has_certificate(request) {
            return Ok(None);
        }
        Err(Status::unauthenticated(match self.join {
            Some(_) => "the join proof is missing: set OMNIROUTE_JOIN_TOKEN on the proxy",
            None => "a client certificate is required",
        }))
    }
}

/// Whether the client showed a certificate. TLS has verified it against the CA by then.
fn has_certificate(request: &http::Request<Body>) -> bool {
    let tls = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
    tls.and_then(TlsConnectInfo::peer_certs).is_some_and(|chain| !chain.is_empty())
}

// === impl JoinAuthenticated ===

impl<S> Service<http::Request<Body>> for JoinAuthenticated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = match self.auth.admit(&request) {
            Ok(answer) => answer,
            Err(status) => {
                tracing::warn!(path = request.uri().path(), reason = status.message(), "a proxy was turned away");
                metrics::counter!(names::GRPC_REFUSED).increment(1);
                return Box::pin(std::future::ready(Ok(status.into_http())));
            }
        };
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            if let Some(answer) = answer {
                response.headers_mut().insert(CONTROL_PLANE_HEADER, answer);
            }
            Ok(response)
        })
    }
}
