//! Through outbound proxies: real ones, that ask for credentials and resolve names of their own.

use std::collections::HashMap;

use omniroute_egress::{
    Used,
    testing::{Speaks, TestProxy, TestProxyOptions},
};
use omniroute_proto::v1::OutboundProxy;

use super::{
    tls_upstream::{Exchange, TlsUpstream, tls},
    upstream::{chat_answer, event_stream, json},
    *,
};
use crate::server::testing::try_snapshot_with;

const CREDENTIALS: (&str, &str) = ("omni", "p:ss word");
const LIST: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

async fn proxy_of(speaks: Speaks, upstream: SocketAddr) -> TestProxy {
    let names = HashMap::from([("provider.test".to_owned(), upstream)]);
    TestProxy::start(TestProxyOptions { speaks, credentials: Some(CREDENTIALS), names }).await.expect("a proxy")
}

fn with_credentials(message: &mut OutboundProxy) {
    (message.username, message.password) = (CREDENTIALS.0.to_owned(), CREDENTIALS.1.to_owned());
}

/// A node `mock` at a name that only the proxy `p` knows, and its connection `c1`.
fn behind(kind: &str, proxy: &TestProxy, add: impl FnOnce(&mut Resources)) -> Arc<Snapshot> {
    snapshot_with(|resources| {
        resources.node("mock", "http://provider.test/v1");
        resources.connection("c1", "mock", |_| {});
        resources.outbound_proxy("p", kind, proxy.address, with_credentials);
        add(resources);
    })
}

fn used(proxy: &Proxy) -> Used {
    let snapshot = proxy.inner.stages.snapshot.load();
    snapshot.outbound().find(|proxy| proxy.id() == "p").expect("the proxy").used().now()
}

async fn answered() -> Upstream {
    Upstream::answering(|_| chat_answer()).await
}

#[tokio::test]
async fn a_chat_goes_through_each_kind_of_proxy_and_its_connection_is_used_again() {
    let (acceptor, pem) = tls("127.0.0.1", &[]);
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, pem).expect("written");
    let speaks = [
        ("http", Speaks::Connect),
        ("https", Speaks::Secure(Arc::clone(acceptor.config()))),
        ("socks5", Speaks::Socks5),
    ];
    for (kind, speaks) in speaks {
        let upstream = answered().await;
        let outbound = proxy_of(speaks, upstream.address).await;
        let snapshot = behind(kind, &outbound, |resources| resources.proxy_assignment("p", "global", ""));
        let proxy = Proxy::start(&[("UPSTREAM_TLS_CA", ca.to_str().expect("a text"))], snapshot).await;
        for _ in 0..3 {
            assert_eq!(proxy.chat(CHAT).await.status, 200, "{kind}");
        }
        let asked = upstream.last();
        assert_eq!(
            (asked.path.as_str(), &asked.headers["host"]),
            ("/v1/chat/completions", &"provider.test".parse().expect("a value"))
        );
        assert!(!asked.headers.contains_key("proxy-authorization"), "{kind}");
        assert_eq!(outbound.targets(), ["provider.test:80"], "{kind}: one connection for all");
        let used = used(&proxy);
        assert_eq!((used.succeeded, used.failed, used.timed_out, used.opened), (3, 0, 0, 1), "{kind}");
    }
}

#[tokio::test]
async fn http2_and_streams_pass_through_a_tunnel() {
    let upstream = TlsUpstream::start(None, |mut exchange: Exchange| async move {
        let mut stream = exchange.begin(200, "application/json", Some(LIST.len()));
        let _ = stream.send_data(Bytes::from_static(LIST.as_bytes()), true);
    })
    .await;
    let outbound = proxy_of(Speaks::Socks5, upstream.address).await;
    let snapshot = snapshot_with(|resources| {
        resources.node("mock", &upstream.base_url());
        resources.connection("c1", "mock", |_| {});
        resources.outbound_proxy("p", "socks5", outbound.address, with_credentials);
        resources.proxy_assignment("p", "provider", "mock");
    });
    let ca = upstream.ca();
    let proxy = Proxy::start(&[("UPSTREAM_TLS_CA", ca.to_str().expect("a text"))], snapshot).await;
    for _ in 0..2 {
        assert_eq!(proxy.chat(CHAT).await.status, 200);
    }
    assert_eq!((upstream.connections(), outbound.targets().len()), (1, 1));

    let plain = Upstream::answering(|_| {
        let (sender, given) = event_stream();
        tokio::spawn(async move {
            let piece = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":\"stop\"}]}\n\n";
            let _ = sender.send(piece).await;
            let _ = sender.send("data: [DONE]\n\n").await;
        });
        given
    })
    .await;
    let outbound = proxy_of(Speaks::Connect, plain.address).await;
    let snapshot = behind("http", &outbound, |resources| resources.proxy_assignment("p", "account", "c1"));
    let proxy = Proxy::start(&[], snapshot).await;
    let answer = proxy.chat(STREAM).await;
    assert!(answer.text().contains("Hello") && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
}

#[tokio::test]
async fn the_nearest_assignment_counts_and_what_has_none_goes_directly() {
    let upstream = answered().await;
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(TestProxy::start(TestProxyOptions::default()).await.expect("a proxy"));
    }
    let set = |resources: &mut Resources, scopes: &[(&str, &str, &str)]| {
        for (id, proxy) in ["own", "providers", "everybodys"].iter().zip(&proxies) {
            resources.outbound_proxy(id, "http", proxy.address, |_| {});
        }
        for (proxy, scope, id) in scopes {
            resources.proxy_assignment(proxy, scope, id);
        }
    };
    let all = [("own", "account", "c1"), ("providers", "provider", "mock"), ("everybodys", "global", "")];
    for (scopes, expected) in [
        (&all[..], [1, 0, 0]),
        (&all[1..], [1, 1, 0]),
        (&all[2..], [1, 1, 1]),
        (&[("own", "account", "another"), ("providers", "combo", "c"), ("everybodys", "provider", "other")], [1, 1, 1]),
    ] {
        let proxy = Proxy::with(&[], &upstream, |resources| set(resources, scopes)).await;
        assert_eq!(proxy.chat(CHAT).await.status, 200);
        assert_eq!(proxies.iter().map(|proxy| proxy.targets().len()).collect::<Vec<_>>(), expected, "{scopes:?}");
    }
    assert_eq!(upstream.asked().len(), 4);
}

#[tokio::test]
async fn a_proxy_that_fails_fails_the_connection_and_the_next_one_is_tried() {
    let upstream = answered().await;
    let outbound = proxy_of(Speaks::Connect, upstream.address).await;
    let snapshot = snapshot_with(|resources| {
        resources.node("mock", &upstream.base_url());
        resources.connection("c1", "mock", |connection| connection.priority = 1);
        resources.connection("c2", "mock", |connection| connection.priority = 2);
        // The wrong password.
        resources.outbound_proxy("p", "http", outbound.address, |message| message.username = "omni".to_owned());
        resources.proxy_assignment("p", "account", "c1");
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let answer = proxy.chat(CHAT).await;
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.last().headers["authorization"], "Bearer sk-secret-of-c2");
    assert!(outbound.refused() > 0 && outbound.targets().is_empty());
    assert_eq!((used(&proxy).succeeded, used(&proxy).opened), (0, 0));
    assert!(used(&proxy).failed > 0);
}

#[tokio::test]
async fn clients_are_told_that_the_provider_cannot_be_reached_and_nothing_of_the_proxy() {
    let upstream = answered().await;
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>secret-page</html>";
    for (kind, speaks) in [
        ("http", Speaks::Connect),
        ("http", Speaks::Only(page)),
        ("socks5", Speaks::Only(page)),
        ("https", Speaks::Only(page)),
    ] {
        let outbound = proxy_of(speaks, upstream.address).await;
        let snapshot = snapshot_with(|resources| {
            resources.node("mock", &upstream.base_url());
            resources.connection("c1", "mock", |_| {});
            resources.outbound_proxy("p", kind, outbound.address, |message| message.password = "planted".to_owned());
            resources.proxy_assignment("p", "global", "");
        });
        let proxy = Proxy::start(&[], snapshot).await;
        let answer = proxy.chat(CHAT).await;
        let (status, _, code) = answer.error();
        assert_eq!((status, code.as_str()), (502, "upstream_unreachable"), "{kind}");
        assert_discreet(&upstream, &answer);
        let port = outbound.address.port().to_string();
        for secret in ["planted", "secret-page", port.as_str()] {
            assert!(!answer.text().contains(secret), "{secret} in {}", answer.text());
        }
    }
    assert!(upstream.asked().is_empty());
}

#[tokio::test]
async fn nothing_that_was_meant_to_go_through_a_proxy_goes_without_it() {
    let upstream = answered().await;
    let outbound = proxy_of(Speaks::Connect, upstream.address).await;
    let inactive: fn(&mut OutboundProxy) = |message| message.is_active = false;
    let unusable: fn(&mut OutboundProxy) = |message| message.r#type = "carrier-pigeon".to_owned();
    for change in [inactive, unusable] {
        let snapshot = try_snapshot_with(|resources| {
            resources.node("mock", &upstream.base_url());
            resources.connection("c1", "mock", |_| {});
            resources.outbound_proxy("p", "http", outbound.address, change);
            resources.proxy_assignment("p", "provider", "mock");
        });
        let (snapshot, rejections) = snapshot;
        assert_eq!(rejections.len(), 1, "{rejections:?}");
        assert_eq!((rejections[0].kind.as_str(), rejections[0].id.as_str()), ("connection", "c1"));
        assert!(rejections[0].reason.contains("outbound proxy"), "{rejections:?}");
        let proxy = Proxy::start(&[], snapshot).await;
        assert!(proxy.chat(CHAT).await.status.as_u16() >= 400);
    }
    assert!(upstream.asked().is_empty() && outbound.targets().is_empty());
}

#[tokio::test]
async fn targets_obey_the_address_policy_behind_a_proxy_as_before_it() {
    let outbound = TestProxy::start(TestProxyOptions::default()).await.expect("a proxy");
    let closed = |base_url: &'static str| {
        try_snapshot_with(|resources| {
            resources.node("mock", base_url);
            resources.connection("c1", "mock", |_| {});
            resources.outbound_proxy("p", "http", outbound.address, |_| {});
            resources.proxy_assignment("p", "global", "");
        })
    };
    // A literal is refused with the connection, a name when it is called.
    let (_, rejections) = closed("http://169.254.169.254/v1");
    assert_eq!(rejections.len(), 1, "{rejections:?}");
    let (snapshot, _) = closed("http://metadata.google.internal/v1");
    let proxy = Proxy::start(&[], snapshot).await;
    let answer = proxy.chat(CHAT).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(outbound.targets().is_empty());
    let used = used(&proxy);
    assert_eq!((used.succeeded, used.failed, used.timed_out), (0, 0, 0), "that is not its fault");
}

#[tokio::test]
async fn a_proxy_that_is_configured_anew_is_used_at_once() {
    let upstream = answered().await;
    let (one, other) = (
        TestProxy::start(TestProxyOptions::default()).await.expect("a proxy"),
        TestProxy::start(TestProxyOptions::default()).await.expect("a proxy"),
    );
    let through = |outbound: Option<&TestProxy>| {
        in_front_of(&upstream, |resources| {
            if let Some(outbound) = outbound {
                resources.outbound_proxy("p", "http", outbound.address, |_| {});
                resources.proxy_assignment("p", "global", "");
            }
        })
    };
    let proxy = Proxy::start(&[], through(Some(&one))).await;
    for (outbound, expected) in [(Some(&one), (1, 0)), (Some(&other), (1, 1)), (None, (1, 1)), (Some(&one), (2, 1))] {
        proxy.inner.stages.snapshot.publish(through(outbound), false);
        assert_eq!(proxy.chat(CHAT).await.status, 200);
        assert_eq!((one.targets().len(), other.targets().len()), expected);
    }
}

#[tokio::test]
async fn token_counts_go_the_same_way() {
    let upstream = Upstream::answering(|_| json(200, r#"{"input_tokens":42}"#)).await;
    let outbound = proxy_of(Speaks::Connect, upstream.address).await;
    let snapshot = snapshot_with(|resources| {
        resources.node_of("mock", "http://provider.test/v1", "anthropic-compatible", "");
        resources.connection("c1", "mock", |_| {});
        resources.outbound_proxy("p", "http", outbound.address, with_credentials);
        resources.proxy_assignment("p", "global", "");
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let body = r#"{"model":"mock/claude","messages":[{"role":"user","content":"hi"}]}"#;
    let answer = proxy.post("/v1/messages/count_tokens", body).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["input_tokens"]), (200, &42.into()));
    assert_eq!(outbound.targets(), ["provider.test:80"]);
}
