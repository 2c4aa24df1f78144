//! One HTTP/2 connection: many requests at a time, as many as the peer takes and as windows have room for.

use std::{
    collections::HashMap,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong, Reason, RecvStream, SendStream,
    client::{Builder, Connection, SendRequest},
};
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
    time::{Instant, Sleep},
};

use super::{
    CallError, CallErrorKind,
    body::UpstreamBody,
    connect::{EstablishedConnection, Transport},
    error::BodyError,
    pool::Waiters,
};

/// Requests on one connection at most, whatever its peer would take.
pub(super) const STREAMS: usize = 32;
/// So much of an answer may come before somebody reads it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Of all streams together: one that nobody reads takes nothing from the others.
#[expect(clippy::cast_possible_truncation, reason = "8 MiB")]
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// What small frames that nobody reads may cost, by h2's account: for each of less than 256 bytes, what it lacks of them. By
/// default it is half the window, which a few slow readers of short events would use up, and h2 then breaks the connection.
const SMALL_FRAMES: usize = 64 * 1024 * 1024;
const MAX_HEADERS: u32 = 64 * 1024;
/// A connection that carries requests is pinged this often, and given up when the answer is this late.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Once the answer to a ping is this late, the connection takes no new requests until it comes.
const PING_LATE: Duration = Duration::from_secs(2);
/// A new connection whose peer has not told its settings by then is given up.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection on which a request has waited this long for the peer to take more of its body takes no new ones: they would
/// wait behind it, where its peer has one window for all. What comes before that waits; a peer that is merely far away opens its
/// window sooner.
const UPLOAD_STALLED: Duration = Duration::from_millis(200);
/// Once all bytes of an answer are there, the frame that ends it has this long to come.
const LINGER: Duration = Duration::from_secs(2);

/// What h2 says of the peer's limit before the peer has told it.
const UNTOLD: usize = usize::MAX - 1;

/// A connection in the pool.
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    pub(super) peer: IpAddr,
    pub(super) opened_at: Instant,
    load: Arc<Load>,
}

/// The streams of a connection.
#[derive(Debug)]
struct Load {
    active: AtomicUsize,
    /// What the peer takes, if that is less than [`STREAMS`]. [`UNTOLD`] until it has said so: only the request that opened
    /// the connection is on it until then.
    limit: AtomicUsize,
    /// When the last stream ended.
    idle_since: Mutex<Instant>,
    /// The answer to a ping is late.
    is_late: AtomicBool,
    uploads: Mutex<StalledUploads>,
    waiters: Arc<Waiters>,
}

/// Bodies that wait for the peer to take more, and since when.
#[derive(Debug, Default)]
struct StalledUploads {
    since: HashMap<u64, Instant>,
    next: u64,
}

/// The right to one stream of a connection; given back on drop.
#[derive(Debug)]
pub(super) struct Stream {
    sender: SendRequest<Bytes>,
    slot: StreamSlot,
}

#[derive(Debug)]
struct StreamSlot(Arc<Load>);

/// Drives a connection until it ends.
struct Driver<T> {
    /// `None` once it is over.
    connection: Option<Connection<T, Bytes>>,
    load: Arc<Load>,
    pings: Option<Pings>,
}

struct Pings {
    pings: PingPong,
    timer: Pin<Box<Sleep>>,
    /// When the ping went out that is not answered yet.
    sent_at: Option<Instant>,
}

/// Sends a body as fast as the peer takes it.
struct Pump<B> {
    body: B,
    stream: SendStream<Bytes>,
    held: Option<Bytes>,
    load: Arc<Load>,
    /// Its place among the stalled uploads.
    stalled: Option<u64>,
}

/// The body of an answer.
pub(super) struct Received {
    /// `None` once its end has come.
    open: Option<Open>,
    /// Bytes to come, where the head told.
    remaining: Option<u64>,
}

struct Open {
    stream: RecvStream,
    /// The rest of the request, when the answer began before that was sent.
    upload: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _slot: StreamSlot,
}

/// What became of the attempt to get a stream.
pub(super) enum StreamCheckout {
    Stream(Stream),
    /// It has as many streams as it may.
    Full,
    /// It takes no new streams: the peer is going away, or it broke.
    Closed,
}

// === impl Http2 ===

impl Http2 {
    /// A connection, and the stream for whoever opened it.
    pub(super) async fn open(
        connected: EstablishedConnection,
        waiters: &Arc<Waiters>,
    ) -> Result<(Self, Stream), CallErrorKind> {
        let EstablishedConnection { stream, peer, .. } = connected;
        match stream {
            Transport::Direct(stream) => Self::open_on(TokioIo::new(stream), peer, waiters).await,
            Transport::Tunnel(tunnel) => Self::open_on(tunnel, peer, waiters).await,
        }
    }

    async fn open_on<T>(stream: T, peer: IpAddr, waiters: &Arc<Waiters>) -> Result<(Self, Stream), CallErrorKind>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let opening = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(UNTOLD)
            .data_frame_budget(SMALL_FRAMES)
            .max_header_list_size(MAX_HEADERS)
            .handshake(stream);
        let (sender, mut connection) = opening.await.map_err(|_| CallErrorKind::Connect)?;
        let load = Arc::new(Load {
            active: AtomicUsize::new(1),
            limit: AtomicUsize::new(UNTOLD),
            idle_since: Mutex::new(Instant::now()),
            is_late: AtomicBool::new(false),
            uploads: Mutex::default(),
            waiters: Arc::clone(waiters),
        });
        let pings = connection.ping_pong().map(Pings::new);
        tokio::spawn(Driver { connection: Some(connection), load: Arc::clone(&load), pings });
        let stream = Stream { sender: sender.clone(), slot: StreamSlot(Arc::clone(&load)) };
        Ok((Self { sender, peer, opened_at: Instant::now(), load }, stream))
    }

    pub(super) fn checkout(&self) -> StreamCheckout {
        let Some(limit) = self.limit() else {
            return if self.is_closed() { StreamCheckout::Closed } else { StreamCheckout::Full };
        };
        if self.load.is_stuck() {
            return StreamCheckout::Full;
        }
        let one_more = |active: usize| (active < limit).then_some(active + 1);
        if self.load.active.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_err() {
            return StreamCheckout::Full;
        }
        let slot = StreamSlot(Arc::clone(&self.load));
        self.sender().map_or(StreamCheckout::Closed, |sender| StreamCheckout::Stream(Stream { sender, slot }))
    }

    /// A handle for one request, while new ones are taken.
    fn sender(&self) -> Option<SendRequest<Bytes>> {
        let mut sender = self.sender.clone();
        // It never waits: this handle has not sent anything.
        let told = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        (!matches!(told, Poll::Ready(Err(_)))).then_some(sender)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender().is_none()
    }

    /// Streams that it may have at once; `None` until its peer has said so.
    pub(super) fn limit(&self) -> Option<usize> {
        Some(self.load.limit.load(Ordering::Relaxed)).filter(|limit| *limit != UNTOLD)
    }

    /// Since when nothing is on it.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.load.active.load(Ordering::Relaxed) == 0).then(|| *self.load.idle_since.lock())
    }
}

// === impl Load ===

impl Load {
    /// What goes out on it now may wait for what does not move.
    fn is_stuck(&self) -> bool {
        let is_stalled = || self.uploads.lock().since.values().any(|since| since.elapsed() > UPLOAD_STALLED);
        self.is_late.load(Ordering::Relaxed) || is_stalled()
    }

    /// An upload waits for the peer, from now on. Gives its place among those that do.
    fn stalls(&self) -> u64 {
        let mut uploads = self.uploads.lock();
        let place = uploads.next;
        uploads.next += 1;
        uploads.since.insert(place, Instant::now());
        place
    }

    fn moves(&self, place: u64) {
        self.uploads.lock().since.remove(&place);
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::SeqCst) == 1 {
            *self.0.idle_since.lock() = Instant::now();
        }
        self.0.waiters.tell();
    }
}

// === impl Driver ===

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    fn note_limit(&self) {
        let told = self.connection.as_ref().map_or(UNTOLD, Connection::max_concurrent_send_streams);
        if told == UNTOLD {
            return;
        }
        let limit = told.min(STREAMS);
        if self.load.limit.swap(limit, Ordering::SeqCst) != limit {
            self.load.waiters.tell();
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let ended = this.connection.as_mut().is_none_or(|connection| Pin::new(connection).poll(cx).is_ready());
        this.note_limit();
        if ended {
            return Poll::Ready(());
        }
        let is_used = this.load.active.load(Ordering::Relaxed) > 0;
        // Dropping the connection tells everybody on it.
        match &mut this.pings {
            Some(pings) => {
                let gone = pings.poll(is_used, this.load.limit.load(Ordering::Relaxed) != UNTOLD, cx);
                let is_late = pings.is_late();
                if this.load.is_late.swap(is_late, Ordering::Relaxed) != is_late {
                    this.load.waiters.tell();
                }
                gone
            }
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        // First it takes no streams any more, then whoever waits for one looks elsewhere.
        self.connection = None;
        self.load.waiters.tell();
    }
}

// === impl Pings ===

impl Pings {
    fn new(pings: PingPong) -> Self {
        Self { pings, timer: Box::pin(tokio::time::sleep(SETTINGS_TIMEOUT)), sent_at: None }
    }

    fn is_late(&self) -> bool {
        self.sent_at.is_some_and(|at| at.elapsed() >= PING_LATE)
    }

    /// Ready when the peer does not answer. `is_settled`: it has told its settings.
    fn poll(&mut self, is_used: bool, is_settled: bool, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.sent_at.is_some() && self.pings.poll_pong(cx).is_ready() {
                self.sent_at = None;
                self.timer.as_mut().reset(Instant::now() + PING_EVERY);
            }
            std::task::ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let next = match self.sent_at {
                _ if !is_settled => return Poll::Ready(()),
                Some(at) if now >= at + PING_TIMEOUT => return Poll::Ready(()),
                Some(at) => at + PING_TIMEOUT,
                None if is_used && self.pings.send_ping(Ping::opaque()).is_ok() => {
                    self.sent_at = Some(now);
                    now + PING_LATE
                }
                None => now + PING_EVERY,
            };
            self.timer.as_mut().reset(next);
        }
    }
}

// === impl Stream ===

impl Stream {
    /// Sends `request` and waits for the head of its answer.
    pub(super) async fn send<B>(mut self, request: Request<B>) -> Result<Response<UpstreamBody>, CallError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (mut head, body) = request.into_parts();
        head.version = Version::HTTP_2;
        if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
            head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        let is_whole = body.is_end_stream();
        let sent = self.sender.send_request(Request::from_parts(head, ()), is_whole);
        let (mut answer, stream) = sent.map_err(|error| {
            // It never went out: the connection had ended, or was about to.
            CallError { is_unprocessed: true, ..CallError::of_http2(&error) }
        })?;
        let load = &self.slot.0;
        let mut pump = (!is_whole).then(|| Pump { body, stream, held: None, load: Arc::clone(load), stalled: None });
        let answer = std::future::poll_fn(|cx| {
            if pump.as_mut().is_some_and(|pump| Pin::new(pump).poll(cx).is_ready()) {
                pump = None;
            }
            Pin::new(&mut answer).poll(cx)
        });
        let (head, stream) = answer.await.map_err(|error| CallError::of_http2(&error))?.into_parts();
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        // Those without a body tell the length of the one that they stand for.
        let has_body = !stream.is_end_stream();
        let upload = pump.map(|pump| Box::pin(pump) as _);
        let body = Received {
            open: Some(Open { stream, upload, _slot: self.slot }),
            remaining: if has_body { length } else { Some(0) },
        };
        Ok(Response::from_parts(head, UpstreamBody::http2(body)))
    }
}

// === impl Pump ===

impl<B> Future for Pump<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Output = ();

    /// Over when all is sent, or nothing more can be. Of an error, whoever waits for the answer is told.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if let Some(held) = &mut this.held {
                this.stream.reserve_capacity(held.len());
                let room = match this.stream.capacity() {
                    0 => match this.stream.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(room))) => room,
                        Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                        Poll::Pending => {
                            if this.stalled.is_none() {
                                this.stalled = Some(this.load.stalls());
                            }
                            return Poll::Pending;
                        }
                    },
                    room => room,
                };
                if let Some(place) = this.stalled.take() {
                    this.load.moves(place);
                }
                let piece = held.split_to(room.min(held.len()));
                let is_rest = held.is_empty();
                if is_rest {
                    this.held = None;
                }
                let is_last = is_rest && this.body.is_end_stream();
                if this.stream.send_data(piece, is_last).is_err() || is_last {
                    return Poll::Ready(());
                }
                continue;
            }
            match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => this.held = frame.into_data().ok().filter(|piece| !piece.is_empty()),
                Some(Err(_)) => {
                    this.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(());
                }
                None => {
                    // Nobody is left who could be told that this failed.
                    let _ = this.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl<B> Drop for Pump<B> {
    fn drop(&mut self) {
        if let Some(place) = self.stalled.take() {
            self.load.moves(place);
        }
    }
}

// === impl Received ===

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl Received {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(open) = &mut self.open else { return Poll::Ready(None) };
        let is_uploading = open.upload.is_some();
        if open.upload.as_mut().is_some_and(|upload| upload.as_mut().poll(cx).is_ready()) {
            open.upload = None;
        }
        let piece = match std::task::ready!(open.stream.poll_data(cx)) {
            Some(Ok(piece)) => piece,
            Some(Err(error)) => {
                // After a whole answer, a server may ask this way not to be sent the rest of the request (RFC 9113 §8.1).
                let is_whole = is_uploading
                    && error.reason() == Some(Reason::NO_ERROR)
                    && self.remaining.is_none_or(|rest| rest == 0);
                return Poll::Ready((!is_whole).then_some(Err(BodyError)));
            }
            None => {
                self.open = None;
                return Poll::Ready(None);
            }
        };
        // It fails when the stream is over, which the next look at it tells.
        let _ = open.stream.flow_control().release_capacity(piece.len());
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.remaining == Some(0) || self.open.as_ref().is_none_or(|open| open.stream.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let Some(mut open) = self.open.take().filter(|open| open.upload.is_none()) else { return };
        if self.remaining != Some(0) || open.stream.is_end_stream() {
            return;
        }
        // All of the answer is there, but for the frame that says so. To cancel it now would cost a frame, from peers that may
        // well count how often that is done to them.
        let mut now = Context::from_waker(Waker::noop());
        if let (Poll::Pending, Ok(runtime)) = (open.stream.poll_data(&mut now), Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(LINGER, async move {
                while open.stream.data().await.is_some_and(|piece| piece.is_ok()) {}
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_does_not_move_keeps_new_requests_away_within_a_moment() {
        let load = Load {
            active: AtomicUsize::new(1),
            limit: AtomicUsize::new(STREAMS),
            idle_since: Mutex::new(Instant::now()),
            is_late: AtomicBool::new(false),
            uploads: Mutex::default(),
            waiters: Arc::default(),
        };
        let place = load.stalls();
        tokio::time::advance(Duration::from_millis(150)).await;
        assert!(!load.is_stuck(), "windows open after a round trip");
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(load.is_stuck());
        load.moves(place);
        assert!(!load.is_stuck());
    }
}
