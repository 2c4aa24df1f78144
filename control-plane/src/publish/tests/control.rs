//! Proxies attach, are listed, are told things, and get lost.

use std::{sync::Arc, time::Duration};

use omniroute_proto::v1::{self, proxy_command::Body, proxy_control_client::ProxyControlClient};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{
    QUICK, Replica, SOON, TOKEN,
    proxy::{channel, proven},
};
use crate::{
    publish::RefusedTokens,
    store::{
        Command, Delivery, Store,
        testing::{TestDatabase, on_both_engines},
    },
};

const ATTACH: &str = "/omniroute.v1.ProxyControl/Attach";

fn status(id: &str, revision: u64) -> v1::ProxyStatus {
    v1::ProxyStatus {
        proxy_id: id.into(),
        boot_id: "boot".into(),
        version: "0.1.0".into(),
        revision,
        ..Default::default()
    }
}

async fn attach(url: &str) -> (mpsc::Sender<v1::ProxyStatus>, Streaming<v1::ProxyCommand>) {
    let (statuses, stream) = mpsc::channel(8);
    let request = proven(ATTACH, TOKEN, ReceiverStream::new(stream));
    let response = ProxyControlClient::new(channel(url).await).attach(request).await.expect("attached");
    (statuses, response.into_inner())
}

async fn command(commands: &mut Streaming<v1::ProxyCommand>) -> Result<Option<Body>, Status> {
    let next = timeout(SOON, commands.message()).await.expect("something comes");
    next.map(|command| command.and_then(|command| command.body))
}

async fn until_attached(replica: &Replica, id: &str) {
    let attached = async {
        while !replica.proxies.attached().iter().any(|status| status.proxy_id == id) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, attached).await.expect("attached");
}

async fn until_listed(store: &Store, ids: &[&str]) {
    let listed = async {
        loop {
            let rows = store.proxies().list().await.expect("proxies");
            if ids.iter().all(|id| rows.iter().any(|row| row.id == *id)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, listed).await.expect("listed");
}

/// Keeps what it hears.
struct Heard(mpsc::Sender<(String, [u8; 16])>);

impl RefusedTokens for Heard {
    fn refused(&self, connection: &str, fingerprint: [u8; 16]) {
        let _ = self.0.try_send((connection.to_owned(), fingerprint));
    }
}

#[tokio::test]
async fn a_token_that_a_provider_refused_is_passed_on_and_nonsense_is_not() {
    let database = TestDatabase::sqlite();
    let replica = Replica::start(&database.store().await).await;
    let (tell, mut heard) = mpsc::channel(8);
    replica.proxies.on_refused_tokens(Arc::new(Heard(tell)));
    let (statuses, _commands) = attach(&replica.url).await;
    let token = |connection: &str, fingerprint: &[u8]| v1::RefusedToken {
        connection_id: connection.into(),
        fingerprint: fingerprint.to_vec(),
    };
    let refused_tokens = vec![token("short", &[1; 3]), token("c1", &[7; 16]), token("c2", &[8; 16])];
    statuses.send(v1::ProxyStatus { refused_tokens, ..status("p1", 3) }).await.expect("sent");
    for expected in [("c1".to_owned(), [7; 16]), ("c2".to_owned(), [8; 16])] {
        assert_eq!(timeout(SOON, heard.recv()).await.expect("something comes"), Some(expected));
    }
}

on_both_engines! {
    async fn a_proxy_is_written_at_most_every_few_seconds_unless_its_configuration_is_another(database: &TestDatabase) {
        let store = database.store().await;
        let replica = Replica::start(&store).await;
        let (statuses, _commands) = attach(&replica.url).await;
        statuses.send(status("p1", 3)).await.expect("sent");
        until_attached(&replica, "p1").await;
        let listed = async {
            loop {
                if let Some(row) = store.proxies().list().await.expect("proxies").pop() {
                    return row;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let row = timeout(SOON, listed).await.expect("listed");
        assert_eq!((row.id.as_str(), row.revision, row.lost), ("p1", 3, false));
        statuses.send(v1::ProxyStatus { requests_total: 77, ..status("p1", 3) }).await.expect("sent");
        while replica.proxies.attached()[0].requests_total != 77 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(store.proxies().list().await.expect("proxies")[0].requests_total, 0, "not written again so soon");
        statuses.send(status("p1", 4)).await.expect("sent");
        let seen = async {
            while store.proxies().list().await.expect("proxies")[0].revision != 4 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, seen).await.expect("new configuration is told at once");
        replica.stop().await;
    }

    async fn orders_arrive_here_and_from_another_replica(database: &TestDatabase) {
        let store = database.store().await;
        let here = Replica::start(&store).await;
        let there = Replica::start(&database.store().await).await;
        let (statuses, mut commands) = attach(&here.url).await;
        statuses.send(status("p1", 1)).await.expect("sent");
        until_attached(&here, "p1").await;
        here.proxies.command("p1", Command::Drain { deadline: Duration::from_secs(30) }).await.expect("ordered");
        let drain = Body::Drain(v1::Drain { deadline_ms: 30_000 });
        assert_eq!(command(&mut commands).await.expect("no error"), Some(drain));
        there.proxies.command("p1", Command::Resume).await.expect("ordered");
        there.proxies.command("p1", Command::Resync).await.expect("ordered");
        there.proxies.command("p1", Command::ResetCooldown { connection: "c1".to_owned() }).await.expect("ordered");
        assert_eq!(command(&mut commands).await.expect("no error"), Some(Body::Resume(v1::Resume {})));
        assert_eq!(command(&mut commands).await.expect("no error"), Some(Body::Resync(v1::Resync {})));
        let forgive = Body::Forgive(v1::Forgive { connection_id: "c1".to_owned() });
        assert_eq!(command(&mut commands).await.expect("no error"), Some(forgive));
        here.stop().await;
        there.stop().await;
    }

    async fn a_silent_proxy_is_let_go_and_its_successor_is_not(database: &TestDatabase) {
        let store = database.store().await;
        let replica = Replica::start_with(&store, QUICK).await;
        let (statuses, mut commands) = attach(&replica.url).await;
        statuses.send(status("p1", 1)).await.expect("sent");
        until_attached(&replica, "p1").await;
        assert_eq!(command(&mut commands).await.expect_err("let go").code(), Code::DeadlineExceeded);
        assert_eq!(replica.proxies.attached(), []);

        let (old, _old_commands) = attach(&replica.url).await;
        old.send(status("p1", 2)).await.expect("sent");
        until_attached(&replica, "p1").await;
        let (new, mut new_commands) = attach(&replica.url).await;
        new.send(status("p1", 3)).await.expect("sent");
        while replica.proxies.attached()[0].revision != 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(old);
        tokio::time::sleep(Duration::from_millis(100)).await;
        replica.proxies.command("p1", Command::Resync).await.expect("ordered");
        assert_eq!(command(&mut new_commands).await.expect("no error"), Some(Body::Resync(v1::Resync {})));
        replica.stop().await;
    }

    async fn two_processes_with_one_id_are_two_proxies_and_a_drain_reaches_the_one_it_names(database: &TestDatabase) {
        let store = database.store().await;
        let here = Replica::start(&store).await;
        let there = Replica::start(&database.store().await).await;
        let of = |boot: &str| v1::ProxyStatus { boot_id: boot.into(), ..status("edge", 1) };
        let (first, mut first_commands) = attach(&here.url).await;
        first.send(of("aaaa-1")).await.expect("sent");
        until_attached(&here, "edge").await;
        until_listed(&store, &["edge"]).await;
        let (second, mut second_commands) = attach(&there.url).await;
        second.send(of("bbbb-2")).await.expect("sent");
        until_attached(&there, "edge~bbbb2").await;
        until_listed(&store, &["edge", "edge~bbbb2"]).await;
        let drain = Command::Drain { deadline: Duration::from_secs(1) };
        assert_eq!(here.proxies.command("edge~bbbb2", drain).await.expect("ordered"), Delivery::Delivered);
        assert_eq!(command(&mut second_commands).await.expect("no error"), Some(Body::Drain(v1::Drain { deadline_ms: 1_000 })));
        assert_eq!(here.proxies.command("edge", Command::Resync).await.expect("ordered"), Delivery::Delivered);
        assert_eq!(command(&mut first_commands).await.expect("no error"), Some(Body::Resync(v1::Resync {})));

        // The first one leaves, and its id is free at once.
        drop((first, first_commands));
        let freed = async {
            loop {
                let (again, commands) = attach(&there.url).await;
                again.send(of("cccc-3")).await.expect("sent");
                let is_own = async {
                    while !there.proxies.attached().iter().any(|one| one.boot_id == "cccc-3") {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                };
                is_own.await;
                let rows = store.proxies().list().await.expect("proxies");
                if rows.iter().any(|row| row.id == "edge" && row.boot_id == "cccc-3") {
                    return (again, commands);
                }
                drop((again, commands));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(SOON, freed).await.expect("the id is free");
        assert_eq!(here.proxies.command("nobody", Command::Resync).await.expect("ordered"), Delivery::Pending);
        here.stop().await;
        there.stop().await;
    }
}
