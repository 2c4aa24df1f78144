//! A proxy's side of the configuration stream, as plain as can be.

use std::{collections::BTreeMap, time::Duration};

use omniroute_core::{
    handshake::{CONTROL_PLANE_HEADER, JoinSecret, PROXY_HEADER},
    time::{Clock as _, SystemClock},
};
use omniroute_proto::{
    DigestSet, Kind, PROTOCOL_MINOR,
    v1::{self, config_request, config_response::Body, config_stream_client::ConfigStreamClient},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, transport::Channel};

use super::{Replica, SOON, TOKEN};

pub(super) const SUBSCRIBE: &str = "/omniroute.v1.ConfigStream/Subscribe";
const NONCE: [u8; 16] = [5; 16];

/// One update, as it came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) full: bool,
    pub(super) revision: u64,
    pub(super) resources: Vec<v1::Resource>,
}

pub(super) struct TestProxy {
    requests: mpsc::Sender<v1::ConfigRequest>,
    responses: Streaming<v1::ConfigResponse>,
    pub(super) held: BTreeMap<(String, String), v1::Resource>,
    pub(super) digests: DigestSet,
    pub(super) revision: u64,
}

/// What a proxy holds while it has no stream.
pub(super) struct Away {
    held: BTreeMap<(String, String), v1::Resource>,
    pub(super) digests: DigestSet,
    pub(super) revision: u64,
}

impl Away {
    /// Subscribes anew with what is held.
    pub(super) async fn back(self, url: &str) -> TestProxy {
        let mut proxy = TestProxy::connect(url, subscribe(self.revision, self.digests.to_proto())).await;
        proxy.held = self.held;
        proxy.digests = self.digests;
        proxy.revision = self.revision;
        proxy
    }
}

/// Adds this side's proof for a call.
pub(super) fn proven<T>(path: &str, token: &str, message: T) -> Request<T> {
    let proof = JoinSecret::new(token).proxy_proof(path, NONCE, SystemClock.now());
    let mut request = Request::new(message);
    request.metadata_mut().insert(PROXY_HEADER, proof.parse().expect("a header"));
    request
}

pub(super) async fn channel(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).expect("a URL").connect().await.expect("connected")
}

pub(super) fn subscribe(have: u64, digests: Vec<v1::Digest>) -> v1::Subscribe {
    v1::Subscribe {
        proxy_id: "p1".into(),
        boot_id: "boot".into(),
        version: "0.1.0".into(),
        protocol: PROTOCOL_MINOR,
        have,
        digests,
    }
}

impl TestProxy {
    pub(super) async fn connect(url: &str, opening: v1::Subscribe) -> Self {
        let (requests, stream) = mpsc::channel(8);
        let request = proven(SUBSCRIBE, TOKEN, ReceiverStream::new(stream));
        // The answer comes before anything is sent: only then does a proxy know whom it talks to.
        let response = ConfigStreamClient::new(channel(url).await).subscribe(request).await.expect("subscribed");
        let answer = response.metadata().get(CONTROL_PLANE_HEADER).expect("an answer").to_str().expect("text");
        JoinSecret::new(TOKEN).verify_answer(SUBSCRIBE, NONCE, answer).expect("it knows the token");
        let proxy = Self {
            requests,
            responses: response.into_inner(),
            held: BTreeMap::new(),
            digests: DigestSet::default(),
            revision: 0,
        };
        proxy.send(config_request::Body::Subscribe(opening)).await;
        proxy
    }

    /// Subscribes from nothing and takes the full snapshot.
    pub(super) async fn synced(url: &str) -> Self {
        let mut proxy = Self::connect(url, subscribe(0, Vec::new())).await;
        assert!(proxy.take().await.full);
        proxy
    }

    /// Ends the stream and waits until the control plane has noticed.
    pub(super) async fn leave(self, replica: &Replica) -> Away {
        let away = Away { held: self.held, digests: self.digests, revision: self.revision };
        drop((self.requests, self.responses));
        let noticed = async {
            while !replica.publisher.subscriptions().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, noticed).await.expect("noticed");
        away
    }

    pub(super) async fn send(&self, body: config_request::Body) {
        self.requests.send(v1::ConfigRequest { body: Some(body) }).await.expect("sent");
    }

    pub(super) async fn ack(&self, revision: u64) {
        self.send(config_request::Body::Ack(v1::Ack { revision, complete: false })).await;
    }

    pub(super) async fn nack(&self, revision: u64, kind: &str, id: &str, reason: &str) {
        let rejections = vec![v1::Rejection { kind: kind.into(), id: id.into(), reason: reason.into() }];
        self.send(config_request::Body::Nack(v1::Nack { revision, rejections, complete: false })).await;
    }

    pub(super) async fn next(&mut self) -> Result<Option<Body>, Status> {
        let next = timeout(SOON, self.responses.message()).await.expect("something comes soon");
        next.map(|message| message.map(|message| message.body.expect("a body")))
    }

    /// The next update, applied but not acknowledged. Its digests must be those of what is now held.
    pub(super) async fn update(&mut self) -> Received {
        let begin = loop {
            match self.next().await.expect("no error").expect("not the end") {
                Body::Begin(begin) => break begin,
                Body::Heartbeat(_) => {}
                other => panic!("expected Begin: {other:?}"),
            }
        };
        let mut resources = Vec::new();
        let end = loop {
            match self.next().await.expect("no error").expect("not the end") {
                Body::Resources(chunk) => resources.extend(chunk.resources),
                Body::End(end) => break end,
                other => panic!("expected Resources or End: {other:?}"),
            }
        };
        assert_eq!((begin.revision, begin.count), (end.revision, resources.len() as u64));
        self.apply(begin.full, &resources);
        self.revision = end.revision;
        assert!(self.digests.matches(&end.digests), "what is held differs from what the control plane says");
        Received { full: begin.full, revision: end.revision, resources }
    }

    /// The next update, applied and acknowledged.
    pub(super) async fn take(&mut self) -> Received {
        let received = self.update().await;
        self.ack(received.revision).await;
        received
    }

    /// Takes updates until this revision is reached.
    pub(super) async fn take_until(&mut self, revision: u64) {
        while self.revision < revision {
            self.take().await;
        }
    }

    /// Nothing but heartbeats for this long.
    pub(super) async fn quiet(&mut self, span: Duration) {
        let until = tokio::time::Instant::now() + span;
        while let Ok(message) = tokio::time::timeout_at(until, self.responses.message()).await {
            match message.expect("no error").and_then(|message| message.body) {
                Some(Body::Heartbeat(_)) => {}
                other => panic!("expected silence: {other:?}"),
            }
        }
    }

    fn apply(&mut self, full: bool, resources: &[v1::Resource]) {
        if full {
            self.held.clear();
            self.digests = DigestSet::default();
        }
        for resource in resources {
            let kind = Kind::of(resource).expect("a known kind");
            let key = (resource.kind.clone(), resource.id.clone());
            if let Some(old) = self.held.remove(&key) {
                self.digests.remove(kind, &old.id, old.revision, old.content);
            }
            if !resource.deleted {
                self.digests.add(kind, &resource.id, resource.revision, resource.content);
                self.held.insert(key, resource.clone());
            }
        }
    }

    pub(super) fn key_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .held
            .values()
            .filter_map(|resource| match &resource.body {
                Some(v1::resource::Body::ApiKey(key)) => Some(key.name.clone()),
                _ => None,
            })
            .collect();
        names.sort();
        names
    }
}
