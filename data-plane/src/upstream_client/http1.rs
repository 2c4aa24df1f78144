//! One HTTP/1 connection: a request at a time, driven by whoever waits for its answer.
//!
//! hyper hands out a connection as a future that somebody has to poll. In a task of its own, every request would cost two
//! wakes more, and a channel each way between two tasks. So whoever waits for the head or the body of an answer polls the
//! connection as well, and one that nothing is on is not polled at all: what happens to it meanwhile (the peer closes it) is
//! noted by its [`Turn`], and looked at when it is to be used again, or swept.

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{HeaderValue, Request, Response, Uri, Version, header, uri::PathAndQuery};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    rt,
};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::{
    CallError, CallErrorKind,
    body::UpstreamBody,
    connect::{EstablishedConnection, Transport},
    error::BodyError,
    pool::Origin,
};

/// The connection may be polled so often before others have their turn: it is ready again at once only while its peer is
/// faster than we are, or when it has used up its share.
const PASSES: usize = 8;

/// Something has happened to the connection since it was polled last.
const WOKEN: u8 = 1;
/// It is being driven: who drives it will see that it was woken.
const DRIVEN: u8 = 2;

/// A connection as hyper makes it.
type Driven = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A connection, and the request that is on it, if there is one.
pub(super) struct Http1<B> {
    sender: SendRequest<B>,
    /// `None` once it has ended.
    connection: Option<Driven>,
    turn: Arc<Turn>,
    /// The same, as what hyper wakes.
    waker: Waker,
    pub(super) peer: IpAddr,
    /// When its last answer came to its end; `None` before the first.
    pub(super) idle_since: Option<Instant>,
}

/// Whether a connection has something to do, and which task is to know of it.
struct Turn {
    state: AtomicU8,
    task: AtomicWaker,
}

/// The body of an answer.
pub(super) struct Received<B> {
    body: Incoming,
    /// `None` once the answer has come to its end, or broken off.
    connection: Option<Box<Http1<B>>>,
    origin: Arc<Origin<B>>,
    /// The frame behind the last one, where that has come already.
    ahead: Option<Result<Frame<Bytes>, BodyError>>,
}

// === impl Http1 ===

impl<B> Http1<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) async fn open(connected: EstablishedConnection) -> Result<Box<Self>, CallErrorKind> {
        let EstablishedConnection { stream, peer, .. } = connected;
        let (sender, connection) = match stream {
            Transport::Direct(stream) => handshake(stream).await,
            Transport::Tunnel(tunnel) => handshake(TokioIo::new(tunnel)).await,
        }
        .map_err(|_| CallErrorKind::Connect)?;
        let turn = Arc::new(Turn { state: AtomicU8::new(WOKEN), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&turn));
        Ok(Box::new(Self { sender, connection: Some(connection), turn, waker, peer, idle_since: None }))
    }

    /// Sends `request`. Its answer gives the connection back to `origin` once that has come to its end. The request comes
    /// back when the connection was closed before it took it.
    ///
    /// The request is with hyper when this returns: the future that waits for the answer is small.
    pub(super) fn send(
        mut self: Box<Self>,
        mut request: Request<B>,
        origin: Arc<Origin<B>>,
    ) -> impl Future<Output = Result<Response<UpstreamBody>, (CallError, Option<Request<B>>)>> + Send {
        let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let whole_uri = std::mem::replace(request.uri_mut(), Uri::from(path));
        *request.version_mut() = Version::HTTP_11;
        if !request.headers().contains_key(header::HOST) {
            request.headers_mut().insert(header::HOST, origin.host().clone());
        }
        let answer = self.sender.try_send_request(request);
        async move {
            let answered = {
                let mut answer = pin!(answer);
                poll_fn(|cx| self.drive(cx, |cx| answer.as_mut().poll(cx))).await
            };
            match answered {
                Ok(response) => Ok(response.map(|body| UpstreamBody::http1(Received::new(body, self, origin)))),
                Err(mut error) => {
                    let mut unsent = error.take_message();
                    if let Some(request) = &mut unsent {
                        *request.uri_mut() = whole_uri;
                    }
                    Err((CallError::of_http1(error.error(), unsent.is_some()), unsent))
                }
            }
        }
    }
}

impl<B> Http1<B> {
    /// Whether it can take a request now.
    pub(super) fn is_ready(&mut self) -> bool {
        if self.turn.take() {
            // Nobody has looked at what has happened since it became idle.
            poll(&mut self.connection, &self.waker);
        }
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Polls for what is `wanted` of the connection, and the connection as long as it has something to do.
    fn drive<T>(&mut self, cx: &Context<'_>, mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let Self { connection, turn, waker, .. } = self;
        turn.begin(cx.waker());
        for _ in 0..PASSES {
            // Only the connection brings it, and that has a waker of its own.
            if let Poll::Ready(wanted) = wanted(&mut Context::from_waker(Waker::noop())) {
                turn.end();
                return Poll::Ready(wanted);
            }
            if !turn.take() && turn.wait() {
                return Poll::Pending;
            }
            poll(connection, waker);
        }
        turn.end();
        // Also those that wait for a socket go on first, at which a thread with tasks that are ready looks but seldom.
        let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(cx.waker()));
        Poll::Pending
    }

    /// As [`Self::drive`], without waiting.
    fn glance<T>(&mut self, mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let Self { connection, turn, waker, .. } = self;
        turn.state.fetch_or(DRIVEN, Ordering::AcqRel);
        if turn.take() {
            poll(connection, waker);
        }
        let found = wanted(&mut Context::from_waker(Waker::noop()));
        turn.end();
        found
    }
}

async fn handshake<B, T>(stream: T) -> hyper::Result<(SendRequest<B>, Driven)>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T: rt::Read + rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(stream).await?;
    Ok((sender, Box::pin(connection)))
}

fn poll(connection: &mut Option<Driven>, waker: &Waker) {
    // Whoever waits for an answer is told of an error; an idle connection that ends is no news.
    if connection
        .as_mut()
        .is_some_and(|connection| connection.as_mut().poll(&mut Context::from_waker(waker)).is_ready())
    {
        *connection = None;
    }
}

// === impl Turn ===

impl Turn {
    /// The connection is driven by this task from now on.
    fn begin(&self, task: &Waker) {
        self.task.register(task);
        self.state.fetch_or(DRIVEN, Ordering::AcqRel);
    }

    /// Whether the connection has something to do, now that somebody sees to it.
    fn take(&self) -> bool {
        self.state.load(Ordering::Acquire) & WOKEN != 0 && self.state.fetch_and(!WOKEN, Ordering::AcqRel) & WOKEN != 0
    }

    /// The connection waits for its peer, unless it has been woken meanwhile.
    fn wait(&self) -> bool {
        let waits = self.state.compare_exchange(DRIVEN, 0, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !waits {
            self.state.fetch_and(!WOKEN, Ordering::AcqRel);
        }
        waits
    }

    /// Nobody drives it any more; whoever does next sees whether it was woken.
    fn end(&self) {
        self.state.fetch_and(!DRIVEN, Ordering::AcqRel);
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Who drives it, or was woken and has not come yet, sees this one too.
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            self.task.wake();
        }
    }
}

// === impl Received ===

impl<B> Received<B> {
    fn new(body: Incoming, connection: Box<Http1<B>>, origin: Arc<Origin<B>>) -> Self {
        let mut received = Self { body, connection: Some(connection), origin, ahead: None };
        if received.body.is_end_stream() {
            received.finish();
        }
        received
    }

    /// The answer is all there: the connection is free again, if it is of any more use.
    fn finish(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        // The task that had it must not live on in its waker.
        drop(connection.turn.task.take());
        if connection.is_ready() {
            connection.idle_since = Some(Instant::now());
            self.origin.keep(connection);
        }
    }

    /// Looks for what stands behind a frame of an answer whose length nobody told: its end has often come with it.
    fn look_ahead(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let ahead = connection.glance(|cx| Pin::new(&mut self.body).poll_frame(cx));
        match ahead {
            Poll::Ready(Some(frame)) => self.ahead = Some(frame.map_err(|_| BodyError)),
            Poll::Ready(None) => self.finish(),
            Poll::Pending => {}
        }
    }
}

impl<B> Body for Received<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match (this.ahead.take(), &mut this.connection) {
            (Some(ahead), _) => Some(ahead),
            (None, Some(connection)) => {
                let frame = ready!(connection.drive(cx, |cx| Pin::new(&mut this.body).poll_frame(cx)));
                frame.map(|frame| frame.map_err(|_| BodyError))
            }
            (None, None) => return Poll::Ready(None),
        };
        match &frame {
            Some(Ok(_)) if this.body.size_hint().exact().is_none() => this.look_ahead(),
            Some(Ok(_)) if !this.body.is_end_stream() => {}
            Some(Ok(_)) | None => this.finish(),
            Some(Err(_)) => this.connection = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none() && self.ahead.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { self.body.size_hint() }
    }
}

/// What `Host` says of an origin: the port only where it is not the scheme's own.
pub(super) fn host_header(uri: &Uri) -> Option<HeaderValue> {
    let (host, secure) = (uri.host()?, uri.scheme_str() == Some("https"));
    match uri.port_u16() {
        Some(port) if port != if secure { 443 } else { 80 } => HeaderValue::try_from(format!("{host}:{port}")).ok(),
        _ => HeaderValue::try_from(host).ok(),
    }
}
