//! The upstream: as little work as possible, so that what is measured is what stands in front of it.
//!
//! Every answer is made once. A stream's chunks go out one write each, as a model's tokens do: a body that had them all
//! ready would be sent in a few large writes, and cost every proxy next to nothing.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::TcpListener,
    sync::Barrier,
    task::{JoinHandle, JoinSet},
    time::Sleep,
};

use super::{
    answers::{Answers, CHUNKS, Script},
    dialect::Dialect,
    question::{Kind, TELLING},
};
use crate::mock_provider::secure::Identity;

/// A slow stream has this many, this far apart.
pub(super) const SLOW_CHUNKS: u32 = 20;
pub(super) const SLOW_PACE: Duration = Duration::from_millis(200);

/// So many requests that are held are answered together, this long after the last of them has come whole.
pub(super) const HELD_TOGETHER: usize = 2;
const HOLD: Duration = Duration::from_millis(300);

/// A running upstream; it stops when it is dropped.
pub(super) struct Upstream {
    address: SocketAddr,
    /// Where it is behind TLS, and speaks HTTP/2.
    secure_address: SocketAddr,
    identity: Arc<Identity>,
    state: Arc<State>,
    tasks: [JoinHandle<()>; 2],
}

struct State {
    answers: Answers,
    /// Where requests that are held wait for each other.
    gathering: Barrier,
    /// Requests that have come whole and wait for their answer.
    held: AtomicUsize,
}

/// An answer on its way.
enum Answer {
    Whole(Bytes),
    Stream(Stream),
}

struct Stream {
    state: Arc<State>,
    dialect: Dialect,
    /// Events that have gone out.
    sent: u32,
    /// Pieces of text in all.
    chunks: u32,
    pause: Pause,
}

/// What happens between two chunks.
enum Pause {
    /// Other tasks get their turn, and what is there is written. `true`: it is time for the next.
    Yield(bool),
    Wait(Pin<Box<Sleep>>),
}

// === impl Upstream ===

impl Upstream {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let secure_listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let secure_address = secure_listener.local_addr()?;
        let (state, identity) = (Arc::new(State::new()), Arc::new(Identity::new()?));
        let tasks = [
            tokio::spawn(serve(listener, Arc::clone(&state))),
            tokio::spawn(serve_secure(secure_listener, Arc::clone(&state), Arc::clone(&identity))),
        ];
        Ok(Self { address, secure_address, identity, state, tasks })
    }

    pub(super) fn secure_address(&self) -> SocketAddr {
        self.secure_address
    }

    /// A file with the CA of its certificate.
    pub(super) fn ca(&self) -> PathBuf {
        self.identity.ca()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether as many requests as are held together have come whole and wait.
    pub(super) fn holds_all(&self) -> bool {
        self.state.held.load(Ordering::Relaxed) == HELD_TOGETHER
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        let service = service_fn(move |request| answer(Arc::clone(&state), request));
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        connections.spawn(async move {
            // A client that leaves is no news.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_secure(listener: TcpListener, state: Arc<State>, identity: Arc<Identity>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let (state, identity) = (Arc::clone(&state), Arc::clone(&identity));
        connections.spawn(async move {
            let Ok(stream) = identity.acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            let server = auto::Builder::new(TokioExecutor::new());
            // A client that leaves is no news.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    if request.method() == Method::GET {
        return Ok(json(Answer::Whole(state.answers.models.clone()), &[]));
    }
    let dialect = Dialect::of_path(request.uri().path());
    let script = state.answers.of(dialect);
    let mut body = request.into_body();
    let (mut kind, mut start) = (None, Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let mut broken = Response::new(Answer::Whole(Bytes::new()));
            *broken.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(broken);
        };
        if let (None, Some(data)) = (kind, frame.data_ref()) {
            // Over HTTP/2, a body may come in the pieces that it was made of.
            start.extend_from_slice(&data[..data.len().min(TELLING)]);
            kind = (start.len() >= TELLING).then(|| Kind::of_body(&start));
        }
    }
    let (chunks, pause) = match kind {
        None | Some(Kind::Chat) => return Ok(json(Answer::Whole(script.document.clone()), script.headers)),
        Some(Kind::Held) => {
            state.hold().await;
            return Ok(json(Answer::Whole(script.document.clone()), script.headers));
        }
        Some(Kind::Stream) => (CHUNKS, Pause::Yield(true)),
        Some(Kind::Slow) => (SLOW_CHUNKS, Pause::Wait(Box::pin(tokio::time::sleep(SLOW_PACE)))),
    };
    let headers = script.headers;
    let stream = Stream { state: Arc::clone(&state), dialect, sent: 0, chunks, pause };
    let mut response = Response::new(Answer::Stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    vendor_headers(&mut response, headers);
    Ok(response)
}

fn json(answer: Answer, headers: &[(&'static str, &'static str)]) -> Response<Answer> {
    let mut response = Response::new(answer);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    vendor_headers(&mut response, headers);
    response
}

fn vendor_headers(response: &mut Response<Answer>, headers: &[(&'static str, &'static str)]) {
    for (name, value) in headers {
        response.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
}

// === impl State ===

impl State {
    fn new() -> Self {
        Self { answers: Answers::new(), gathering: Barrier::new(HELD_TOGETHER), held: AtomicUsize::new(0) }
    }

    /// Waits until the others have come, and a while longer.
    async fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.gathering.wait().await;
        tokio::time::sleep(HOLD).await;
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Stream ===

impl Stream {
    fn script(&self) -> &Script {
        self.state.answers.of(self.dialect)
    }

    fn next(&mut self) -> Option<Bytes> {
        let event = self.script().event(self.sent, self.chunks).cloned();
        self.sent += 1;
        event
    }

    /// The end follows the last chunk at once, as from a server that knows that it is done.
    fn is_at_its_end(&self) -> bool {
        self.sent >= self.script().with_text(self.chunks)
    }
}

// === impl Pause ===

impl Pause {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Yield(is_time) => {
                if std::mem::replace(is_time, !*is_time) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Self::Wait(sleep) => {
                std::task::ready!(sleep.as_mut().poll(cx));
                let next = sleep.deadline() + SLOW_PACE;
                sleep.as_mut().reset(next);
                Poll::Ready(())
            }
        }
    }
}

// === impl Answer ===

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(stream) => {
                if !stream.is_at_its_end() {
                    std::task::ready!(stream.pause.poll(cx));
                }
                Poll::Ready(stream.next().map(|chunk| Ok(Frame::data(chunk))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::answers::TOKEN, *};

    #[tokio::test]
    async fn a_stream_has_all_its_chunks_and_ends() {
        for dialect in [Dialect::Chat, Dialect::Messages] {
            let stream =
                Stream { state: Arc::new(State::new()), dialect, sent: 0, chunks: CHUNKS, pause: Pause::Yield(true) };
            let whole = Answer::Stream(stream).collect().await.expect("a body").to_bytes();
            let text = dialect.text_of_stream(&whole).expect("events");
            assert_eq!(text, TOKEN.repeat(CHUNKS as usize));
            assert!(dialect.is_end_of_stream(&whole));
        }
    }

    #[tokio::test]
    async fn requests_that_are_held_wait_for_each_other() {
        let state = Arc::new(State::new());
        let first = tokio::spawn({
            let state = Arc::clone(&state);
            async move { state.hold().await }
        });
        tokio::time::sleep(HOLD + HOLD / 3).await;
        assert!(!first.is_finished());
        assert_eq!(state.held.load(Ordering::Relaxed), 1);
        state.hold().await;
        first.await.expect("answered");
        assert_eq!(state.held.load(Ordering::Relaxed), 0);
    }
}
