//! Who gets in.

use omniroute_core::handshake::JoinSecret;
use omniroute_proto::v1::{self, config_stream_client::ConfigStreamClient};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

use super::{
    Replica, TOKEN,
    proxy::{SUBSCRIBE, channel, proven, subscribe},
};
use crate::{
    ledger::Ledger,
    publish::{
        ProxyRegistry, Publisher,
        grpc::{GrpcError, GrpcListener, GrpcOptions, Services, TlsMaterial},
    },
    run::KINDS,
    store::{
        Store,
        testing::{TestDatabase, on_both_engines},
    },
};

fn opening() -> impl tokio_stream::Stream<Item = v1::ConfigRequest> {
    let body = v1::config_request::Body::Subscribe(subscribe(0, Vec::new()));
    tokio_stream::once(v1::ConfigRequest { body: Some(body) })
}

async fn first_message<S>(channel: Channel, request: Request<S>) -> Result<bool, Status>
where
    S: tokio_stream::Stream<Item = v1::ConfigRequest> + Send + 'static,
{
    let response = ConfigStreamClient::new(channel).subscribe(request).await?;
    response.into_inner().message().await.map(|message| message.is_some())
}

fn options(address: &str, join: Option<&str>, tls: Option<TlsMaterial>) -> GrpcOptions {
    GrpcOptions {
        address: address.parse().expect("an address"),
        tls,
        allow_plaintext: false,
        join: join.map(JoinSecret::new),
    }
}

on_both_engines! {
    async fn without_the_right_proof_nobody_gets_in(database: &TestDatabase) {
        let store = database.store().await;
        let replica = Replica::start(&store).await;
        let refused = first_message(channel(&replica.url).await, Request::new(opening())).await;
        assert_eq!(refused.expect_err("no proof").code(), Code::Unauthenticated);
        let refused = first_message(channel(&replica.url).await, proven(SUBSCRIBE, "another token", opening())).await;
        assert_eq!(refused.expect_err("another token").code(), Code::Unauthenticated);
        let elsewhere = "/omniroute.v1.UsageStream/Report";
        let refused = first_message(channel(&replica.url).await, proven(elsewhere, TOKEN, opening())).await;
        assert_eq!(refused.expect_err("a proof for another call").code(), Code::Unauthenticated);
        let admitted = first_message(channel(&replica.url).await, proven(SUBSCRIBE, TOKEN, opening())).await;
        assert!(admitted.expect("the right proof"));
        replica.stop().await;
    }
}

#[tokio::test]
async fn the_port_is_not_opened_without_authentication_or_in_the_clear() {
    let error = GrpcListener::bind(options("127.0.0.1:0", None, None)).await.err().expect("refused");
    assert!(matches!(error, GrpcError::NoAuthentication));
    assert!(error.to_string().contains("OMNIROUTE_JOIN_TOKEN"));
    let error = GrpcListener::bind(options("0.0.0.0:0", Some(TOKEN), None)).await.err().expect("refused");
    assert!(matches!(error, GrpcError::Plaintext(_)));
    let allowed = GrpcOptions { allow_plaintext: true, ..options("0.0.0.0:0", Some(TOKEN), None) };
    GrpcListener::bind(allowed).await.expect("the operator said so");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = GrpcListener::bind(options("127.0.0.1:0", Some(TOKEN), None)).await.expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let error = GrpcListener::bind(options(&address, Some(TOKEN), None)).await.err().expect("refused");
    assert!(error.to_string().contains(&address), "{error}");
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        Self { issuer }
    }

    fn pem(&self) -> Vec<u8> {
        self.issuer.pem().into_bytes()
    }

    fn issue(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }
}

async fn serve_tls(
    store: &Store,
    authority: &Authority,
    join: Option<&str>,
) -> (String, CancellationToken, JoinHandle<()>) {
    let (certificate, key) = authority.issue("localhost");
    let tls = TlsMaterial { certificate, key, client_ca: Some(authority.pem()) };
    let listener = GrpcListener::bind(options("127.0.0.1:0", join, Some(tls))).await.expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    let shutdown = CancellationToken::new();
    let services = Services {
        publisher: Publisher::start(store.clone(), KINDS, shutdown.clone()).await.expect("a publisher"),
        proxies: ProxyRegistry::start(store.clone(), shutdown.clone()),
        ledger: Ledger::start(store.clone(), 30).await.expect("a ledger"),
    };
    let stop = shutdown.clone();
    let server = tokio::spawn(async move { listener.serve(services, stop).await.expect("served") });
    (url, shutdown, server)
}

async fn tls_channel(
    url: &str,
    authority: &Authority,
    identity: Option<(Vec<u8>, Vec<u8>)>,
) -> Result<Channel, String> {
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()));
    if let Some((certificate, key)) = identity {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = Channel::from_shared(url.to_owned()).expect("a URL").tls_config(config).expect("a configuration");
    endpoint.connect().await.map_err(|error| format!("{error:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_the_configured_authority_lets_in_and_no_other() {
    let database = TestDatabase::sqlite();
    let store = database.store().await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (url, shutdown, server) = serve_tls(&store, &authority, None).await;

    let channel = tls_channel(&url, &authority, Some(authority.issue("proxy"))).await.expect("connected");
    assert!(first_message(channel, Request::new(opening())).await.expect("admitted"));
    for identity in [None, Some(stranger.issue("proxy"))] {
        // TLS 1.3 tells the client late: on connecting or with the first call.
        if let Ok(channel) = tls_channel(&url, &authority, identity).await {
            first_message(channel, Request::new(opening())).await.expect_err("turned away");
        }
    }
    shutdown.cancel();
    server.await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_token_lets_in_without_a_certificate() {
    let database = TestDatabase::sqlite();
    let store = database.store().await;
    let authority = Authority::new();
    let (url, shutdown, server) = serve_tls(&store, &authority, Some(TOKEN)).await;
    let channel = tls_channel(&url, &authority, None).await.expect("connected");
    assert!(first_message(channel.clone(), proven(SUBSCRIBE, TOKEN, opening())).await.expect("admitted"));
    let refused = first_message(channel, Request::new(opening())).await.expect_err("neither");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let channel = tls_channel(&url, &authority, Some(authority.issue("proxy"))).await.expect("connected");
    assert!(first_message(channel, Request::new(opening())).await.expect("the certificate alone will do"));
    shutdown.cancel();
    server.await.expect("stopped");
}
