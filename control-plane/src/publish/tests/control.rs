//! Proxies attach, are listed, are told things, and get lost.

use std::time::Duration;

use omniroute_proto::v1::{self, proxy_command::Body, proxy_control_client::ProxyControlClient};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{
    QUICK, Replica, SOON, TOKEN,
    proxy::{channel, proven},
};
use crate::store::{Command, testing::on_both_engines};

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
        here.proxies.order("p1", Command::Drain { deadline: Duration::from_secs(30) }).await.expect("ordered");
        let drain = Body::Drain(v1::Drain { deadline_ms: 30_000 });
        assert_eq!(command(&mut commands).await.expect("no error"), Some(drain));
        there.proxies.order("p1", Command::Resume).await.expect("ordered");
        there.proxies.order("p1", Command::Resync).await.expect("ordered");
        there.proxies.order("p1", Command::Forgive { connection: "c1".to_owned() }).await.expect("ordered");
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
        replica.proxies.order("p1", Command::Resync).await.expect("ordered");
        assert_eq!(command(&mut new_commands).await.expect("no error"), Some(Body::Resync(v1::Resync {})));
        replica.stop().await;
    }
}
