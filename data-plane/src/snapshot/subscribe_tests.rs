use std::pin::Pin;

use omniroute_proto::{
    DigestSet, Kind,
    v1::{
        ConfigResponse,
        config_stream_server::{ConfigStream, ConfigStreamServer},
        resource::Body,
    },
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Response, Streaming};

use super::*;
use crate::control::testing::{self, Shared};

/// A control plane that plays what a test scripted, one script per session, and notes what it hears.
#[derive(Clone, Default)]
struct Script {
    sessions: Shared<Vec<Vec<In>>>,
    heard: Shared<Vec<Out>>,
    /// Answers the handshake with another fleet's secret.
    impostor: bool,
}

#[tonic::async_trait]
impl ConfigStream for Script {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<ConfigResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<ConfigRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let answer = if self.impostor { Response::new(()) } else { testing::admit(&request, PATH, "token", ())? };
        let heard = Arc::clone(&self.heard);
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                heard.lock().extend(message.body);
            }
        });
        let mut sessions = self.sessions.lock();
        let session = if sessions.is_empty() { Vec::new() } else { sessions.remove(0) };
        let messages = tokio_stream::iter(session).map(|body| Ok(ConfigResponse { body: Some(body) }));
        // The stream stays open, as a real one does.
        let messages = messages.chain(tokio_stream::pending());
        let (metadata, (), extensions) = answer.into_parts();
        Ok(Response::from_parts(metadata, Box::pin(messages), extensions))
    }
}

fn key(id: &str, revision: u64) -> v1::Resource {
    let key = v1::ApiKey {
        key_hash: vec![u8::try_from(revision).expect("small"); 32],
        is_active: true,
        ..v1::ApiKey::default()
    };
    v1::Resource {
        id: id.into(),
        revision,
        kind: "api_key".into(),
        body: Some(Body::ApiKey(key)),
        ..v1::Resource::default()
    }
}

fn digests(held: &[(&str, u64)]) -> Vec<v1::Digest> {
    let mut set = DigestSet::default();
    for (id, revision) in held {
        set.add(Kind::ApiKey, id, *revision, 0);
    }
    set.to_proto()
}

fn update(revision: u64, full: bool, resources: Vec<v1::Resource>, held: &[(&str, u64)]) -> Vec<In> {
    vec![
        In::Begin(v1::Begin { revision, full, count: resources.len() as u64 }),
        In::Resources(v1::Resources { resources }),
        In::End(v1::End { revision, digests: digests(held) }),
    ]
}

struct Running {
    script: Script,
    snapshot: SnapshotHandle,
    health: StreamHealth,
    repairs: mpsc::Receiver<Vec<ConnectionId>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn start(script: Script, token: &str, disk: Option<DiskCopy>) -> Running {
    let (listener, address) = testing::listener().await;
    let server = testing::serve(listener, ConfigStreamServer::new(script.clone())).await;
    let snapshot = SnapshotHandle::new();
    let link = testing::link(address, token);
    let mut subscriber = Subscriber::new(snapshot.clone(), link, "p1".into(), "b1".into(), disk);
    let health = subscriber.health.clone();
    let repairs = subscriber.repairs();
    let client = tokio::spawn(subscriber.run());
    Running { script, snapshot, health, repairs, tasks: vec![server, client] }
}

fn haves(script: &Script) -> Vec<u64> {
    let heard = script.heard.lock();
    heard.iter().filter_map(|out| if let Out::Subscribe(hello) = out { Some(hello.have) } else { None }).collect()
}

#[tokio::test]
async fn updates_are_applied_at_their_end_and_acknowledged() {
    let script = Script::default();
    let mut session = update(2, true, vec![key("a", 1), key("b", 2)], &[("a", 1), ("b", 2)]);
    session.extend(update(3, false, vec![key("a", 3)], &[("a", 3), ("b", 2)]));
    script.sessions.lock().push(session);
    let running = start(script, "token", None).await;
    testing::until("the second revision", || running.snapshot.load().revision() == 3).await;
    assert!(running.snapshot.ready() && !running.snapshot.stale());
    testing::until("both acknowledged", || {
        let heard = running.script.heard.lock();
        heard.iter().filter(|out| matches!(out, Out::Ack(_))).count() == 2
    })
    .await;
}

#[tokio::test]
async fn a_broken_resource_is_named_in_the_answer() {
    let script = Script::default();
    let mut broken = key("bad", 2);
    broken.body = Some(Body::ApiKey(v1::ApiKey::default()));
    script.sessions.lock().push(update(2, true, vec![key("a", 1), broken], &[("a", 1), ("bad", 2)]));
    let running = start(script, "token", None).await;
    testing::until("the answer", || running.script.heard.lock().iter().any(|out| matches!(out, Out::Nack(_)))).await;
    let heard = running.script.heard.lock().clone();
    let Some(Out::Nack(nack)) = heard.last() else { panic!("a nack") };
    assert_eq!(nack.rejections.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["bad"]);
    assert!(running.snapshot.load().key_by_id("a").is_some());
}

#[tokio::test]
async fn a_corrected_credential_is_told_once_it_is_in_force() {
    fn connection(revision: u64, secret: &str) -> v1::Resource {
        let body = v1::Connection {
            provider: "openai".into(),
            auth_type: "apikey".into(),
            secret: secret.into(),
            is_active: true,
            ..v1::Connection::default()
        };
        let body = Some(Body::Connection(body));
        v1::Resource { id: "c1".into(), revision, kind: "connection".into(), body, ..v1::Resource::default() }
    }
    let script = Script::default();
    let mut session = update(1, true, vec![connection(1, "sk-wrong")], &[]);
    session.extend(update(2, false, vec![connection(2, "sk-right")], &[]));
    for message in &mut session {
        if let In::End(end) = message {
            let mut held = DigestSet::default();
            held.add(Kind::Connection, "c1", end.revision, 0);
            end.digests = held.to_proto();
        }
    }
    script.sessions.lock().push(session);
    let mut running = start(script, "token", None).await;
    let repaired = tokio::time::timeout(Duration::from_secs(10), running.repairs.recv()).await.expect("in time");
    assert_eq!(repaired, Some(vec!["c1".into()]));
    let snapshot = running.snapshot.load();
    assert_eq!(snapshot.connection("c1").expect("there").upstream.secret(), "sk-right");
}

#[tokio::test]
async fn drift_heals_by_fetching_everything() {
    let script = Script::default();
    let mut first = update(2, true, vec![key("a", 1)], &[("a", 1)]);
    first.push(In::Heartbeat(v1::Heartbeat {
        revision: 2,
        digests: digests(&[("a", 1), ("b", 2)]),
        server_time_ms: 0,
    }));
    let second = update(2, true, vec![key("a", 1), key("b", 2)], &[("a", 1), ("b", 2)]);
    script.sessions.lock().extend([first, second]);
    let running = start(script, "token", None).await;
    testing::until("the second session", || haves(&running.script).len() == 2).await;
    assert_eq!(haves(&running.script), [0, 0]);
    testing::until("the whole", || running.snapshot.load().key_by_id("b").is_some()).await;
}

#[tokio::test]
async fn a_new_session_goes_on_from_the_revision_that_is_held() {
    let script = Script::default();
    // The first session ends with nonsense, after an update that counts.
    let mut first = update(2, true, vec![key("a", 1)], &[("a", 1)]);
    first.push(In::End(v1::End::default()));
    script.sessions.lock().extend([first, Vec::new()]);
    let running = start(script, "token", None).await;
    testing::until("the second session", || haves(&running.script).len() == 2).await;
    assert_eq!(haves(&running.script), [0, 2]);
    assert!(running.snapshot.ready());
}

#[tokio::test]
async fn an_impostor_configures_nothing() {
    let script = Script { impostor: true, ..Script::default() };
    script.sessions.lock().push(update(2, true, vec![key("a", 1)], &[("a", 1)]));
    let running = start(script, "token", None).await;
    testing::until("the refusal", || running.health.last_error().is_some()).await;
    assert!(!running.snapshot.ready());
    let (reason, _) = running.health.last_error().expect("an error");
    assert!(reason.contains("join token"), "{reason}");
}

#[tokio::test]
async fn a_proxy_with_another_token_is_refused_and_says_so() {
    let script = Script::default();
    script.sessions.lock().push(update(2, true, vec![key("a", 1)], &[("a", 1)]));
    let running = start(script, "other", None).await;
    testing::until("the refusal", || running.health.last_error().is_some()).await;
    assert!(!running.snapshot.ready());
}

#[tokio::test]
async fn what_was_received_is_there_after_a_restart_without_the_control_plane() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = || {
        let secret = omniroute_core::handshake::JoinSecret::new("token");
        DiskCopy::new(directory.path().join("snapshot.bin"), &secret)
    };
    let script = Script::default();
    script.sessions.lock().push(update(2, true, vec![key("a", 1)], &[("a", 1)]));
    let running = start(script, "token", Some(disk())).await;
    testing::until("the update", || running.snapshot.ready()).await;
    drop(running);

    let snapshot = SnapshotHandle::new();
    let nobody = testing::link("127.0.0.1:9".parse().expect("an address"), "token");
    let mut subscriber = Subscriber::new(snapshot.clone(), nobody, "p1".into(), "b2".into(), Some(disk()));
    subscriber.start_from_disk(Span(Duration::from_hours(1)));
    assert!(snapshot.ready() && snapshot.stale());
    assert!(snapshot.load().key_by_id("a").is_some());
}
