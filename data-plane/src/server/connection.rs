//! One client connection, from its first byte to its end.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Request, Response, uri::PathAndQuery};
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use omniroute_ingress::{Opened, Opening, Prefixed, Protocol, open};
use pin_project_lite::pin_project;
use tokio::{
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, watch},
};

use super::{
    Shared,
    bad_head::BadHeadIo,
    head_timeout, service, socket,
    write_timeout::{StreamActivity, TrackedBody, WriteTimeout, last_frames, with_write_timeout},
};
use crate::{lifecycle::Phase, reply::Reply, request::X_REQUEST_ID};

/// An HTTP/2 client that is silent is pinged this often, and given up when it does not answer in time.
const H2_PING_EVERY: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that one HTTP/2 connection may have open.
const H2_STREAMS: u32 = 1024;

tokio::task_local! {
    /// Of the HTTP/2 stream that the present task serves.
    static ACTIVITY: Arc<StreamActivity>;
}

pin_project! {
    /// A request that is being answered, unless that is cut before the answer has begun.
    struct Answered<F> {
        #[pin]
        answer: F,
        path: Option<PathAndQuery>,
        request_id: Option<HeaderValue>,
        activity: Arc<StreamActivity>,
    }
}

/// Runs the streams of one HTTP/2 connection, and counts them.
#[derive(Clone)]
struct Streams {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    streams: AtomicUsize,
    /// The last of them has ended.
    ended: Notify,
}

/// Serves one connection. Errors are the client's (it left, it sent no HTTP) and nobody's news.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, _slot: OwnedSemaphorePermit) {
    let _open = shared.stages.lifecycle.connected();
    let limits = &shared.stages.limits;
    if let Err(error) = socket::tune(&stream, limits.unread()) {
        tracing::debug!(%error, "socket options");
    }
    let opening = Opening {
        trusted: &shared.stages.trusted,
        proxy_protocol: shared.stages.proxy_protocol,
        limit: limits.client_timeout,
    };
    let Some(Opened { stream, protocol, peer }) = open(stream, peer, opening).await else {
        return;
    };
    match protocol {
        Protocol::Http1 => http1(shared, stream, peer).await,
        Protocol::Http2 => Box::pin(http2(shared, stream, peer)).await,
    }
}

async fn http1(shared: Arc<Shared>, stream: Prefixed<TcpStream>, peer: SocketAddr) {
    let activity = StreamActivity::new();
    let limits = shared.stages.limits;
    let mut phase = shared.stages.lifecycle.watch();
    let (stream, head_timer) = head_timeout::watch(stream, limits.client_timeout);
    let mut builder = http1::Builder::new();
    builder.timer(head_timer).header_read_timeout(head_timeout::IDLE.max(limits.client_timeout));
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |request| answer(&shared, peer, request, Arc::clone(&activity))
    });
    let stream = TokioIo::new(BadHeadIo::new(stream, Arc::clone(&activity)));
    let mut connection = builder.serve_connection(stream, service).with_upgrades();
    let served = {
        let mut guarded = pin!(WriteTimeout::new(&mut connection, Arc::clone(&activity), limits.unread()));
        let draining = draining(&mut phase);
        tokio::select! {
            // No dice: who drains has time.
            biased;
            served = guarded.as_mut() => served,
            // Idle connections close at once, busy ones after what they are doing.
            () = draining => {
                Pin::new(&mut **guarded.as_mut().inner().get_mut()).graceful_shutdown();
                tokio::select! {
                    biased;
                    served = guarded.as_mut() => served,
                    () = cutting(&mut phase) => {
                        activity.cut();
                        // Dropping the connection cancels what still runs on it.
                        last_frames(guarded).await
                    }
                }
            }
        }
    };
    let Some(Err(error)) = served else { return };
    tracing::debug!(%error, "client connection ended");
    if error.is_timeout()
        && let Some(parts) = connection.into_parts()
    {
        parts.io.into_inner().refuse_slow_head(limits.client_timeout).await;
    }
}

async fn http2(shared: Arc<Shared>, stream: Prefixed<TcpStream>, peer: SocketAddr) {
    let mut phase = shared.stages.lifecycle.watch();
    let running = Arc::new(Running::default());
    let streams = Streams { shared: Arc::clone(&shared), running: Arc::clone(&running) };
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_TIMEOUT)
        .max_concurrent_streams(H2_STREAMS);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { answer(&shared, peer, request, ACTIVITY.with(Arc::clone)).await }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ending = async {
        tokio::select! {
            () = draining(&mut phase) => {}
            // Answering pings is no reason to stay.
            () = running.idle(head_timeout::IDLE) => {}
        }
    };
    let served = tokio::select! {
        biased;
        served = connection.as_mut() => served,
        () = ending => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                served = connection.as_mut() => served,
                // The streams see that themselves, and end.
                () = cutting(&mut phase) => {
                    match tokio::time::timeout(super::write_timeout::LAST_FRAMES * 2, connection.as_mut()).await {
                        Ok(served) => served,
                        Err(_) => return,
                    }
                }
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "client connection ended");
    }
}

/// Returns when the proxy begins to drain. Who comes while it drains (a health check) is answered like any other.
async fn draining(phase: &mut watch::Receiver<Phase>) {
    if !phase.borrow_and_update().takes_work() {
        drop(phase.wait_for(|phase| phase.takes_work()).await);
    }
    drop(phase.wait_for(|phase| !phase.takes_work()).await);
}

/// Returns when what still runs is cut.
async fn cutting(phase: &mut watch::Receiver<Phase>) {
    drop(phase.wait_for(|phase| phase.cuts()).await);
}

fn answer(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    request: Request<Incoming>,
    activity: Arc<StreamActivity>,
) -> Answered<impl Future<Output = Response<Reply>> + Send + use<>> {
    let path = request.uri().path_and_query().cloned();
    let request_id = request.headers().get(X_REQUEST_ID).cloned();
    activity.request_began();
    Answered { answer: service::answer(shared, peer, request), path, request_id, activity }
}

// === impl Answered ===

impl<F> Future for Answered<F>
where
    F: Future<Output = Response<Reply>>,
{
    type Output = Result<Response<TrackedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = if this.activity.is_cut() {
            let path = this.path.as_ref().map_or("", PathAndQuery::path);
            service::cut_off(path, this.request_id.take())
        } else {
            ready!(this.answer.poll(cx))
        };
        Poll::Ready(Ok(response.map(|reply| TrackedBody::new(reply, Arc::clone(this.activity)))))
    }
}

// === impl Streams ===

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let Self { shared, running } = self.clone();
        running.streams.fetch_add(1, Ordering::Relaxed);
        let activity = StreamActivity::new();
        let stream = ACTIVITY.scope(Arc::clone(&activity), stream);
        let stages = &shared.stages;
        let guarded = with_write_timeout(stream, activity, stages.limits.unread(), stages.lifecycle.watch());
        tokio::spawn(async move {
            // A stream that is given up is reset.
            guarded.await;
            if running.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
                running.ended.notify_one();
            }
        });
    }
}

// === impl Running ===

impl Running {
    /// Returns once there has been no stream for `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            let ended = self.ended.notified();
            if self.streams.load(Ordering::Relaxed) > 0 {
                ended.await;
            } else if tokio::time::timeout(limit, ended).await.is_err() && self.streams.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(90);

    #[tokio::test(start_paused = true)]
    async fn an_http_2_connection_is_idle_only_while_it_has_no_stream() {
        let running = Arc::new(Running::default());
        let started = Instant::now();
        running.idle(LIMIT).await;
        assert_eq!(started.elapsed(), LIMIT, "a client that never asks has no longer than others");

        running.streams.fetch_add(1, Ordering::Relaxed);
        let waiting = tokio::spawn({
            let running = Arc::clone(&running);
            async move { running.idle(LIMIT).await }
        });
        tokio::time::sleep(10 * LIMIT).await;
        assert!(!waiting.is_finished(), "a stream may take its time");
        let ended = Instant::now();
        running.streams.fetch_sub(1, Ordering::Relaxed);
        running.ended.notify_one();
        waiting.await.expect("no panic");
        assert_eq!(ended.elapsed(), LIMIT);
    }
}
