use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use omniroute_core::address::{AddressError, AddressPolicy};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    CallLimits, Caller, EgressError, OutboundProxy, ProxySpec, ProxySpecError,
    testing::{Speaks, TestProxy, TestProxyOptions},
};

const CREDENTIALS: (&str, &str) = ("us er", "p:ss");
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const LIMITS: CallLimits = CallLimits { connect: Duration::from_secs(20), total: Duration::from_secs(20), body: 1024 };

fn spec(kind: &'static str, address: SocketAddr) -> ProxySpec<'static> {
    ProxySpec { kind, host: "127.0.0.1", port: address.port().into(), username: "", password: "", family: "" }
}

fn compile(spec: &ProxySpec<'_>) -> Result<OutboundProxy, ProxySpecError> {
    OutboundProxy::compile("p", spec, AddressPolicy::AllowPrivate, Arc::default())
}

fn with_credentials(kind: &'static str, address: SocketAddr, (username, password): (&str, &str)) -> OutboundProxy {
    compile(&ProxySpec { username, password, ..spec(kind, address) }).expect("a proxy")
}

/// A server's side, and a client's that trusts it.
fn tls(name: &str) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let names = [name.to_owned(), "127.0.0.1".to_owned()];
    let own = CertificateParams::new(names).expect("names").signed_by(&key, &ca).expect("signed");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).expect("a CA");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn caller(tls: &Arc<ClientConfig>, policy: AddressPolicy) -> Caller {
    Caller::new(Arc::new(move || policy), Arc::clone(tls), LIMITS)
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, text: &'static str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A provider, in the clear or not, that answers every request with `text`.
async fn provider(tls: Option<Arc<ServerConfig>>, text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    Some(config) => {
                        if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                            answer(stream, text).await;
                        }
                    }
                    None => answer(stream, text).await,
                }
            });
        }
    });
    address
}

async fn get(caller: &Caller, proxy: &OutboundProxy, url: &str) -> Result<Bytes, EgressError> {
    let request = Request::get(url).body(Bytes::new()).expect("a request");
    caller.call(proxy, request).await.map(http::Response::into_body)
}

#[tokio::test]
async fn each_kind_of_proxy_opens_a_way_with_credentials_and_resolves_names_itself() {
    let (server, client) = tls("provider.test");
    let (plain, secure) = (provider(None, ANSWER).await, provider(Some(Arc::clone(&server)), ANSWER).await);
    for (kind, speaks) in
        [("http", Speaks::Connect), ("https", Speaks::Secure(Arc::clone(&server))), ("socks5", Speaks::Socks5)]
    {
        // HTTP's user names have no colon; passwords may.
        let names = HashMap::from([("plain.test".to_owned(), plain), ("provider.test".to_owned(), secure)]);
        let options = TestProxyOptions { speaks, credentials: Some(CREDENTIALS), names };
        let server = TestProxy::start(options).await.expect("a proxy");
        let proxy = with_credentials(kind, server.address, CREDENTIALS);
        let caller = caller(&client, AddressPolicy::AllowPrivate);
        assert_eq!(get(&caller, &proxy, "http://plain.test:81/x").await.expect("an answer"), "hi", "{kind}");
        assert_eq!(get(&caller, &proxy, "https://provider.test/x").await.expect("an answer"), "hi", "{kind}");
        let literal = format!("https://{secure}/x");
        assert_eq!(get(&caller, &proxy, &literal).await.expect("an answer"), "hi", "{kind}");
        assert_eq!(
            server.targets(),
            ["plain.test:81".to_owned(), "provider.test:443".to_owned(), secure.to_string()],
            "{kind}"
        );
        assert_eq!(server.refused(), 0, "{kind}");
    }
}

#[tokio::test]
async fn wrong_credentials_and_none_are_told_from_a_proxy_that_does_not_run() {
    let (server, client) = tls("x.test");
    let caller = caller(&client, AddressPolicy::AllowPrivate);
    for (kind, speaks) in [("http", Speaks::Connect), ("https", Speaks::Secure(server)), ("socks5", Speaks::Socks5)] {
        let options = TestProxyOptions { speaks, credentials: Some(CREDENTIALS), ..TestProxyOptions::default() };
        let server = TestProxy::start(options).await.expect("a proxy");
        for (username, password) in [("", ""), ("us er", "wrong")] {
            let proxy = with_credentials(kind, server.address, (username, password));
            let refused = get(&caller, &proxy, "http://provider.test/").await;
            assert_eq!(refused, Err(EgressError::Credentials), "{kind} {username}");
        }
        assert_eq!((server.refused(), server.targets().len()), (2, 0), "{kind}");
    }
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("bound").local_addr().expect("an address");
    for kind in ["http", "https", "socks5"] {
        let proxy = compile(&spec(kind, unused)).expect("a proxy");
        assert_eq!(get(&caller, &proxy, "http://provider.test/").await, Err(EgressError::ProxyUnreachable), "{kind}");
    }
}

#[tokio::test]
async fn what_is_no_proxy_is_told() {
    let (_, client) = tls("x.test");
    let caller = caller(&client, AddressPolicy::AllowPrivate);
    const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>Welcome</html>";
    for (kind, text, wanted) in [
        ("http", PAGE, EgressError::NoProxy),
        ("http", "SSH-2.0-OpenSSH_9.6\r\n", EgressError::NoProxy),
        ("http", "HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\n\r\n<html>", EgressError::Denied(403)),
        ("http", "HTTP/1.1 504 Gateway Timeout\r\n\r\n", EgressError::TargetUnreachable),
        ("http", "", EgressError::Closed),
        ("https", PAGE, EgressError::ProxyTls),
        ("socks5", PAGE, EgressError::NoProxy),
        ("socks5", "", EgressError::Closed),
    ] {
        let options = TestProxyOptions { speaks: Speaks::Only(text), ..TestProxyOptions::default() };
        let server = TestProxy::start(options).await.expect("a proxy");
        let proxy = compile(&spec(kind, server.address)).expect("a proxy");
        assert_eq!(get(&caller, &proxy, "http://provider.test/").await, Err(wanted), "{kind} {text}");
    }
}

#[tokio::test]
async fn what_lies_behind_a_proxy_is_not_held_against_it() {
    let (server, client) = tls("provider.test");
    let (_, stranger) = tls("provider.test");
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("bound").local_addr().expect("an address");
    let secure = provider(Some(server), ANSWER).await;
    let large = provider(None, "HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n").await;
    let garbage = provider(None, "hello\r\n\r\n").await;
    for (kind, speaks) in [("http", Speaks::Connect), ("socks5", Speaks::Socks5)] {
        let names = HashMap::from([("provider.test".to_owned(), secure)]);
        let options = TestProxyOptions { speaks, names, ..TestProxyOptions::default() };
        let server = TestProxy::start(options).await.expect("a proxy");
        let proxy = compile(&spec(kind, server.address)).expect("a proxy");
        let trusting = caller(&client, AddressPolicy::AllowPrivate);
        let url = format!("http://{closed}/");
        assert_eq!(get(&trusting, &proxy, &url).await, Err(EgressError::TargetUnreachable), "{kind}");
        let strange = caller(&stranger, AddressPolicy::AllowPrivate);
        assert_eq!(get(&strange, &proxy, "https://provider.test/").await, Err(EgressError::TargetTls), "{kind}");
        let url = format!("http://{large}/");
        assert_eq!(get(&trusting, &proxy, &url).await, Err(EgressError::Broken), "{kind}");
        assert_eq!(get(&trusting, &proxy, &format!("http://{garbage}/")).await, Err(EgressError::Broken), "{kind}");
    }
}

#[tokio::test]
async fn nothing_leads_to_a_metadata_service_or_where_the_policy_forbids() {
    let (_, client) = tls("x.test");
    let server = TestProxy::start(TestProxyOptions::default()).await.expect("a proxy");
    let proxy = compile(&spec("http", server.address)).expect("a proxy");
    let open = caller(&client, AddressPolicy::AllowPrivate);
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://metadata.google.internal/",
        "http://METADATA.google.internal./",
        "http://instance-data/",
    ] {
        assert_eq!(get(&open, &proxy, url).await, Err(EgressError::TargetForbidden), "{url}");
    }
    let public = caller(&client, AddressPolicy::PublicOnly);
    for url in ["http://10.0.0.1/", "http://localhost:8080/", "http://127.0.0.1/", "http://[::1]/"] {
        assert_eq!(get(&public, &proxy, url).await, Err(EgressError::TargetForbidden), "{url}");
    }
    assert_eq!(get(&public, &proxy, "http://provider.test/").await, Err(EgressError::ProxyForbidden));
    assert!(server.targets().is_empty(), "{:?}", server.targets());
}

#[test]
fn what_cannot_be_a_proxy_is_named_by_its_field() {
    let good =
        ProxySpec { kind: "socks5", host: "proxy.example", port: 1080, username: "a:b", password: "", family: "auto" };
    assert!(compile(&good).is_ok(), "SOCKS5 takes a colon");
    let long = "x".repeat(256);
    for (spec, field) in [
        (ProxySpec { kind: "socks4", ..good }, "type"),
        (ProxySpec { kind: "vercel", ..good }, "type"),
        (ProxySpec { host: "", ..good }, "host"),
        (ProxySpec { host: "a b", ..good }, "host"),
        (ProxySpec { host: "user@proxy", ..good }, "host"),
        (ProxySpec { host: "proxy/path", ..good }, "host"),
        (ProxySpec { host: "proxy:8080", ..good }, "host"),
        (ProxySpec { host: "169.254.169.254", ..good }, "host"),
        (ProxySpec { host: "10.0.0.1", family: "ipv6", ..good }, "host"),
        (ProxySpec { port: 0, ..good }, "port"),
        (ProxySpec { port: 65_536, ..good }, "port"),
        (ProxySpec { family: "ipv5", ..good }, "family"),
        (ProxySpec { kind: "http", ..good }, "username"),
        (ProxySpec { username: &long, ..good }, "username"),
        (ProxySpec { password: "a\r\nb", ..good }, "password"),
    ] {
        assert_eq!(compile(&spec).map(drop).map_err(|error| error.field()), Err(field), "{} {}", spec.kind, spec.host);
    }
    let private = ProxySpec { host: "::1", family: "ipv6", ..good };
    assert_eq!(compile(&private).expect("a proxy").host(), "[::1]");
    let refused = OutboundProxy::compile("p", &private, AddressPolicy::PublicOnly, Arc::default());
    assert_eq!(refused.err(), Some(ProxySpecError::Address(AddressError::Private)));
}

#[test]
fn a_proxy_shows_no_credential_and_each_version_has_its_own_route() {
    let spec = ProxySpec {
        kind: "http",
        host: "proxy.example",
        port: 3128,
        username: "planted-user",
        password: "planted-password",
        family: "",
    };
    let (one, two) = (compile(&spec).expect("a proxy"), compile(&spec).expect("a proxy"));
    assert!(!format!("{one:?}").contains("planted"));
    assert!(one == two && one.route() != two.route());
    assert!(one != compile(&ProxySpec { password: "other", ..spec }).expect("a proxy"));
}
