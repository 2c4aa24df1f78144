//! The proxy's connection to the control plane: one, for the configuration, the usage and the status, so that all three reach
//! the same control plane behind an address with several.

#![cfg(test)]

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use omniroute_tests::harness::{Engine, Setup, Stack, eventually, free_port};
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes connections on, counts them, and breaks them when it is told to.
struct Relay {
    url: String,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    breaks: watch::Sender<()>,
}

impl Relay {
    async fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let relay = Self { url, made: Arc::default(), open: Arc::default(), breaks: watch::Sender::new(()) };
        let (made, open, breaks) = (Arc::clone(&relay.made), Arc::clone(&relay.open), relay.breaks.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                made.fetch_add(1, Ordering::Relaxed);
                open.fetch_add(1, Ordering::Relaxed);
                let (open, mut broken) = (Arc::clone(&open), breaks.subscribe());
                tokio::spawn(async move {
                    let pass = async {
                        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                        copy_bidirectional(&mut client, &mut server).await
                    };
                    tokio::select! {
                        _ = pass => {}
                        _ = broken.changed() => {}
                    }
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        relay
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// Configuration comes down, usage and status go up.
async fn all_three_streams_work(stack: &Stack, name: &str) {
    let (_, key) = stack.new_key(&json!({ "name": name })).await;
    let client = stack.client.with_key(key);
    eventually("the proxy knows the new key", || async { client.chat("mock/gpt-mock", name).await.status == 200 })
        .await;
    eventually("the ledger has the usage", || async { stack.ledger.answered().await == stack.provider.total() }).await;
    eventually("the proxy has told that it has the newest configuration", || async {
        let health: Value = stack.rest.get("/api/monitoring/health").await;
        let proxy = &health["proxies"][0];
        (&proxy["state"], &proxy["lag"], &proxy["journalPending"]) == (&json!("serving"), &json!(0), &json!(0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_a_proxy_share_one_connection_and_move_to_a_new_one_together() {
    let grpc = free_port();
    let relay = Relay::before(grpc).await;
    let setup = Setup::on(Engine::Sqlite).control_plane("GRPC_PORT", &grpc.to_string());
    let stack = setup.proxy("CONTROL_PLANE_URL", &relay.url).start().await;
    all_three_streams_work(&stack, "first").await;
    assert_eq!((relay.made(), relay.open()), (1, 1));

    relay.breaks.send_replace(());
    all_three_streams_work(&stack, "second").await;
    // A stream that noticed the break first may have opened one of its own, which it leaves for the common one.
    eventually("they are together again", || async { relay.open() == 1 }).await;
    assert!(relay.made() > 1);
}
