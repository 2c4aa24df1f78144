//! The stream from a proxy.

use omniroute_core::handshake::{JoinSecret, PROXY_HEADER};
use omniroute_proto::v1::{self, usage_stream_client::UsageStreamClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::{events, ledger, totals};
use crate::{
    publish::{
        ProxyRegistry, Publisher,
        grpc::{GrpcListener, GrpcOptions, Services},
    },
    run::KINDS,
    store::testing::{NOON, on_both_engines},
};

const REPORT: &str = "/omniroute.v1.UsageStream/Report";

on_both_engines! {
    async fn every_batch_is_acknowledged_in_order_after_its_commit(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let shutdown = CancellationToken::new();
        let join = JoinSecret::new("token");
        let listener = GrpcListener::bind(GrpcOptions {
            address: "127.0.0.1:0".parse().expect("an address"),
            tls: None,
            allow_plaintext: false,
            join: Some(join.clone()),
        });
        let listener = listener.await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let services = Services {
            publisher: Publisher::start(store.clone(), KINDS, shutdown.clone()).await.expect("a publisher"),
            proxies: ProxyRegistry::start(store.clone(), shutdown.clone()),
            ledger: ledger.clone(),
        };
        let stop = shutdown.clone();
        let server = tokio::spawn(async move { listener.serve(services, stop).await.expect("served") });

        let (batches, stream) = mpsc::channel(8);
        let mut request = Request::new(ReceiverStream::new(stream));
        let proof = join.proxy_proof(REPORT, [1; 16], NOON);
        request.metadata_mut().insert(PROXY_HEADER, proof.parse().expect("a header"));
        let mut client = UsageStreamClient::connect(url).await.expect("connected");
        let mut acks = client.report(request).await.expect("admitted").into_inner();
        for (sequence, numbers) in [(1, 0..50), (2, 25..75), (3, 0..75)] {
            let batch = v1::UsageBatch { proxy_id: "p1".into(), sequence, events: events(NOON, numbers) };
            batches.send(batch).await.expect("sent");
        }
        let mut answers = Vec::new();
        for _ in 0..3 {
            let ack = acks.message().await.expect("no error").expect("an acknowledgement");
            answers.push((ack.sequence, ack.inserted));
        }
        assert_eq!(answers, [(1, 50), (2, 25), (3, 0)]);
        assert_eq!(totals(&ledger).await.requests, 75);
        shutdown.cancel();
        let ended = acks.message().await.expect_err("an open stream does not hold up the end");
        assert_eq!(ended.code(), tonic::Code::Unavailable);
        server.await.expect("stopped");
        drop(batches);
    }
}
