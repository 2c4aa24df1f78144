//! An upstream that speaks HTTP/2 over TLS, frame by frame.

use std::{path::PathBuf, pin::Pin, sync::atomic::AtomicUsize, sync::atomic::Ordering};

use h2::{Reason, SendStream, server::SendResponse};
use http::{Response, StatusCode, request};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;

/// A TLS server with a certificate for this name. Also the certificate of its CA.
pub(super) fn tls(name: &str, protocols: &[&str]) -> (TlsAcceptor, String) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new([name.to_owned()]).expect("a name").signed_by(&key, &ca).expect("signed");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .expect("a certificate");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), ca.pem())
}

/// A request, and what it takes to answer it.
pub(super) struct Exchange {
    pub(super) head: request::Parts,
    body: h2::RecvStream,
    respond: SendResponse<Bytes>,
    /// Which connection it came on: 1, 2…
    pub(super) connection: usize,
    /// Tells the connection to go away, gracefully.
    goes_away: mpsc::UnboundedSender<()>,
}

type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The upstream.
pub(super) struct TlsUpstream {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    directory: tempfile::TempDir,
}

// === impl TlsUpstream ===

impl TlsUpstream {
    /// Hands each request to `answer`. A connection takes `streams` at once, if that says how many.
    pub(super) async fn start<F, Fut>(streams: Option<u32>, answer: F) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::start_behind(0, streams, answer).await
    }

    /// As [`Self::start`], but the first `silent` connections say nothing once they are encrypted.
    pub(super) async fn start_behind<F, Fut>(silent: usize, streams: Option<u32>, answer: F) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (acceptor, pem) = tls("127.0.0.1", &["h2"]);
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), pem).expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let answer: Arc<dyn Fn(Exchange) -> Answering + Send + Sync> =
            Arc::new(move |exchange| Box::pin(answer(exchange)));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, count) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&count));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                    if number <= silent {
                        let _held = stream;
                        return std::future::pending().await;
                    }
                    serve(stream, streams, number, &answer).await;
                });
            }
        });
        Self { address, connections, directory }
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    pub(super) fn base_url(&self) -> String {
        format!("https://{}/v1", self.address)
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// A proxy with one connection `c1` to it, which speaks Chat with the node `mock` and Responses with `vendor`.
    pub(super) async fn proxy(&self) -> Proxy {
        let snapshot = snapshot_with(|resources| {
            resources.node("mock", &self.base_url());
            resources.connection("c1", "mock", |_| {});
            resources.node_of("vendor", &self.base_url(), "openai-compatible", "responses");
            resources.connection("c2", "vendor", |_| {});
        });
        Proxy::start(&[("UPSTREAM_TLS_CA", self.ca().to_str().expect("text"))], snapshot).await
    }
}

async fn serve(
    stream: TlsStream<TcpStream>,
    streams: Option<u32>,
    number: usize,
    answer: &Arc<dyn Fn(Exchange) -> Answering + Send + Sync>,
) {
    let mut builder = h2::server::Builder::new();
    if let Some(streams) = streams {
        builder.max_concurrent_streams(streams);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let (goes_away, mut told) = mpsc::unbounded_channel();
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            Some(()) = told.recv() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else { return };
        let (head, body) = request.into_parts();
        let goes_away = goes_away.clone();
        tokio::spawn(answer(Exchange { head, body, respond, connection: number, goes_away }));
    }
}

// === impl Exchange ===

impl Exchange {
    /// Reads all of the request.
    pub(super) async fn body(&mut self) -> Bytes {
        let mut whole = Vec::new();
        while let Some(Ok(piece)) = self.body.data().await {
            let _ = self.body.flow_control().release_capacity(piece.len());
            whole.extend_from_slice(&piece);
        }
        whole.into()
    }

    /// Sends the head of an answer; `length` is what it says of its length.
    pub(super) fn begin(&mut self, status: u16, content_type: &str, length: Option<usize>) -> SendStream<Bytes> {
        let mut head = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
        head = head.header("content-type", content_type);
        if let Some(length) = length {
            head = head.header("content-length", length);
        }
        self.respond.send_response(head.body(()).expect("a head"), false).expect("sent")
    }

    /// Answers with a document, in the frames that hyper's own server sends.
    pub(super) async fn document(mut self, document: impl Into<Bytes>) {
        let document = document.into();
        self.body().await;
        let _ = self.begin(200, "application/json", Some(document.len())).send_data(document, true);
    }

    pub(super) fn reset(mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }

    /// The connection takes no more requests after this one.
    pub(super) fn go_away(&self) {
        let _ = self.goes_away.send(());
    }
}

/// Waits until a request that is being answered is cancelled; gives the reason.
pub(super) async fn cancelled(answer: &mut SendStream<Bytes>) -> Option<Reason> {
    std::future::poll_fn(|cx| answer.poll_reset(cx)).await.ok()
}
