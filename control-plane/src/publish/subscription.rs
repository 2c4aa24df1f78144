//! One proxy's subscription, level-triggered: it remembers what the proxy acknowledged, and sends the delta from there
//! to the head, one at a time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use omniroute_proto::{
    Kind, PROTOCOL_MINOR,
    v1::{self, config_request, config_response::Body},
};
use omniroute_telemetry::names;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::{Publisher, SubscriptionView, frame::Frame, head::Head, updates::Update};
use crate::store::{clean, records::RejectionRow};

/// Time for the first message.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time to tell a proxy why its stream ends.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Rejections kept for a proxy, so that a wholly incompatible one does not fill the database.
const MAX_REJECTIONS: usize = 100;

pub(super) type FrameSender = mpsc::Sender<Result<Frame, Status>>;

/// Serves one subscription until the proxy leaves, misbehaves, or the process stops.
pub(super) async fn serve<S>(publisher: Publisher, mut requests: S, out: FrameSender)
where
    S: Stream<Item = Result<v1::ConfigRequest, Status>> + Unpin,
{
    let ended = match opening(&mut requests).await {
        Ok(_) if publisher.withheld().is_some() => Err(withheld(&publisher)),
        Ok(subscribe) => {
            let mut subscription = Subscription::new(publisher, subscribe, out.clone()).await;
            let ended = subscription.run(&mut requests).await;
            subscription.publisher.leave(&subscription.proxy_id, subscription.number);
            ended
        }
        Err(status) => Err(status),
    };
    if let Err(status) = ended {
        tracing::info!(code = i32::from(status.code()), reason = status.message(), "a subscription ended");
        let _ = timeout(LAST_WORD, out.send(Err(status))).await;
    }
}

/// The proxy tries again, and reaches another control plane where there are several behind the address.
fn withheld(publisher: &Publisher) -> Status {
    Status::unavailable(publisher.withheld().unwrap_or_else(|| "the configuration cannot be read".to_owned()))
}

async fn until_withheld(withheld: &mut watch::Receiver<Option<String>>) {
    let _ = withheld.wait_for(Option::is_some).await;
}

async fn opening<S>(requests: &mut S) -> Result<v1::Subscribe, Status>
where
    S: Stream<Item = Result<v1::ConfigRequest, Status>> + Unpin,
{
    let first = timeout(SUBSCRIBE_TIMEOUT, requests.next()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no Subscribe within ten seconds"))?;
    let Some(config_request::Body::Subscribe(subscribe)) = first.transpose()?.and_then(|request| request.body) else {
        return Err(Status::invalid_argument("the first message must be Subscribe"));
    };
    if subscribe.proxy_id.is_empty() {
        return Err(Status::invalid_argument("Subscribe.proxy_id is empty"));
    }
    if subscribe.protocol.abs_diff(PROTOCOL_MINOR) > 1 {
        return Err(Status::failed_precondition(format!(
            "the proxy speaks protocol {}, this control plane {PROTOCOL_MINOR}; they may differ by one",
            subscribe.protocol
        )));
    }
    Ok(subscribe)
}

struct Subscription {
    publisher: Publisher,
    proxy_id: String,
    /// Tells the subscriptions of one proxy apart.
    number: u64,
    out: FrameSender,
    /// What the proxy holds for certain; `None` when it must start from nothing.
    held: Option<u64>,
    /// Until the first update is acknowledged, even an empty one is sent: it tells the proxy that it is up to date.
    confirmed: bool,
    waiting: Option<Waiting>,
    rejections: BTreeMap<(String, String), String>,
}

/// An update that the proxy has not answered yet.
struct Waiting {
    update: Arc<Update>,
    until: Instant,
}

// === impl Subscription ===

impl Subscription {
    async fn new(publisher: Publisher, subscribe: v1::Subscribe, out: FrameSender) -> Self {
        // The proxy may know a revision from another replica that this one has not noticed yet.
        if let Err(error) = publisher.refresh().await {
            tracing::debug!(%error, "the head cannot be refreshed for a new subscription");
        }
        let head = publisher.0.head.borrow().clone();
        let held = held(&subscribe, &head);
        let mut rejections = BTreeMap::new();
        if held.is_some() {
            let known = publisher.0.store.proxies().rejections(&subscribe.proxy_id).await.unwrap_or_default();
            rejections.extend(known.into_iter().map(|rejection| ((rejection.kind, rejection.id), rejection.reason)));
        }
        let view = SubscriptionView {
            proxy_id: subscribe.proxy_id.clone(),
            boot_id: subscribe.boot_id,
            version: subscribe.version,
            since: publisher.0.store.clock().now(),
            acknowledged: None,
            rejections: rows(&rejections),
        };
        tracing::info!(proxy = subscribe.proxy_id, have = subscribe.have, full = held.is_none(), "a proxy subscribed");
        let number = publisher.enter(view);
        Self { publisher, proxy_id: subscribe.proxy_id, number, out, held, confirmed: false, waiting: None, rejections }
    }

    async fn run<S>(&mut self, requests: &mut S) -> Result<(), Status>
    where
        S: Stream<Item = Result<v1::ConfigRequest, Status>> + Unpin,
    {
        let shutdown = self.publisher.0.shutdown.clone();
        let timing = self.publisher.0.timing;
        let mut heads = self.publisher.0.head.subscribe();
        let mut withholding = self.publisher.0.withheld.subscribe();
        let mut heartbeat = interval_at(Instant::now() + timing.heartbeat, timing.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let revision = heads.borrow_and_update().revision;
            if self.waiting.is_none() && (!self.confirmed || self.held != Some(revision)) {
                self.send_update(revision).await?;
            }
            let ack_due = self.waiting.as_ref().map(|waiting| waiting.until);
            tokio::select! {
                () = shutdown.cancelled() => return Err(Status::unavailable("the control plane is stopping")),
                () = until_withheld(&mut withholding) => return Err(withheld(&self.publisher)),
                changed = heads.changed() => changed.map_err(|_| Status::unavailable("the publisher has stopped"))?,
                request = requests.next() => match request.transpose()? {
                    Some(request) => self.answered(request).await?,
                    None => return Ok(()),
                },
                _ = heartbeat.tick() => self.send_heartbeat().await?,
                () = sleep_until(ack_due.unwrap_or_else(Instant::now)), if ack_due.is_some() => {
                    return Err(Status::deadline_exceeded("no answer to the update in time"));
                }
            }
        }
    }

    async fn send_update(&mut self, head: u64) -> Result<(), Status> {
        // A head below what the proxy holds: the database was restored, and the proxy has to start over.
        let from = self.held.filter(|held| *held <= head);
        let update = self.publisher.update(from).await.map_err(|error| {
            tracing::error!(%error, code = error.code(), "an update cannot be built");
            Status::unavailable("the configuration cannot be read")
        })?;
        for frame in &update.frames {
            self.send(frame.clone()).await?;
        }
        let kind = if update.is_full() { "full" } else { "delta" };
        metrics::counter!(names::SNAPSHOTS_SENT, "mode" => kind).increment(1);
        self.waiting = Some(Waiting { update, until: Instant::now() + self.publisher.0.timing.ack });
        Ok(())
    }

    async fn send_heartbeat(&self) -> Result<(), Status> {
        let head = self.publisher.0.head.borrow().clone();
        let heartbeat = v1::Heartbeat {
            revision: head.revision,
            digests: head.digests.to_proto(),
            server_time_ms: self.publisher.0.store.clock().now().0,
        };
        self.send(Frame::of(Body::Heartbeat(heartbeat))).await
    }

    async fn send(&self, frame: Frame) -> Result<(), Status> {
        match timeout(self.publisher.0.timing.send, self.out.send(Ok(frame))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the proxy left")),
            Err(_) => Err(Status::deadline_exceeded("the proxy does not read")),
        }
    }

    async fn answered(&mut self, request: v1::ConfigRequest) -> Result<(), Status> {
        let (revision, rejected, complete) = match request.body {
            Some(config_request::Body::Ack(ack)) => (ack.revision, Vec::new(), ack.complete),
            Some(config_request::Body::Nack(nack)) => (nack.revision, nack.rejections, nack.complete),
            _ => return Err(Status::invalid_argument("only Ack and Nack may follow Subscribe")),
        };
        let Some(waiting) = self.waiting.take().filter(|waiting| waiting.update.to == revision) else {
            return Err(Status::invalid_argument(format!("no update to revision {revision} is waiting for an answer")));
        };
        self.held = Some(revision);
        self.confirmed = true;
        self.keep_rejections(&waiting.update, rejected, complete).await;
        self.publisher.change_view(&self.proxy_id, self.number, |view| view.acknowledged = Some(revision));
        Ok(())
    }

    /// A resource stays rejected until the proxy says that it is not, which it does with every answer when the list is
    /// `complete`; an older proxy's stays until a version of the resource is taken.
    async fn keep_rejections(&mut self, update: &Update, rejected: Vec<v1::Rejection>, complete: bool) {
        let before = self.rejections.clone();
        if update.is_full() || complete {
            self.rejections.clear();
        } else {
            self.rejections.retain(|resource, _| !update.touched.contains(resource));
        }
        for rejection in rejected {
            let (resource, reason) = ((clean(&rejection.kind), clean(&rejection.id)), clean(&rejection.reason));
            if before.get(&resource) != Some(&reason) {
                tracing::warn!(
                    proxy = self.proxy_id,
                    kind = resource.0,
                    id = resource.1,
                    reason,
                    "a proxy rejected a resource and keeps its previous version"
                );
                metrics::counter!(names::CONFIG_REJECTIONS, "kind" => known_kind(&rejection.kind)).increment(1);
            }
            if self.rejections.len() < MAX_REJECTIONS {
                self.rejections.insert(resource, reason);
            }
        }
        // After a full snapshot what the database holds may be of an earlier life of this proxy.
        if self.rejections == before && !update.is_full() {
            return;
        }
        let rows = rows(&self.rejections);
        if let Err(error) = self.publisher.0.store.proxies().set_rejections(&self.proxy_id, &rows).await {
            tracing::warn!(%error, "a proxy's rejections are known to this replica only");
        }
        self.publisher.change_view(&self.proxy_id, self.number, |view| view.rejections = rows);
    }
}

/// The revision from which a delta will do. A proxy at the head must also hold the same resources.
fn held(subscribe: &v1::Subscribe, head: &Head) -> Option<u64> {
    if subscribe.have == 0 || subscribe.have > head.revision {
        return None;
    }
    if subscribe.have == head.revision && !head.digests.matches(&subscribe.digests) {
        tracing::warn!(proxy = subscribe.proxy_id, "a proxy holds something else at this revision: full snapshot");
        metrics::counter!(names::CONFIG_DRIFT, "side" => "proxy").increment(1);
        return None;
    }
    Some(subscribe.have)
}

/// A proxy's word must not become a label as it is.
fn known_kind(name: &str) -> &'static str {
    Kind::from_name(name).map_or("unknown", Kind::as_str)
}

fn rows(rejections: &BTreeMap<(String, String), String>) -> Vec<RejectionRow> {
    let row = |((kind, id), reason): (&(String, String), &String)| RejectionRow {
        kind: kind.clone(),
        id: id.clone(),
        reason: reason.clone(),
    };
    rejections.iter().map(row).collect()
}
