//! Upstreams for tests: one that speaks HTTP properly, and one that is scripted byte by byte.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// What an upstream was asked.
#[derive(Clone, Debug)]
pub(super) struct ReceivedRequest {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

type Pieces = std::pin::Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;
pub(super) type UpstreamResponse = Response<Either<Full<Bytes>, StreamBody<Pieces>>>;

/// A server on loopback that remembers what it was asked.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<ReceivedRequest>>>,
}

// === impl Upstream ===

impl Upstream {
    /// Answers every request with what `answer` makes of it.
    pub(super) async fn answering(
        answer: impl Fn(&ReceivedRequest) -> UpstreamResponse + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let upstream = Self { address, asked: Arc::clone(&asked) };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
                        let one = ReceivedRequest { method: head.method, path, headers: head.headers, body };
                        let given = answer(&one);
                        asked.lock().push(one);
                        Ok::<_, hyper::Error>(given)
                    }
                });
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        upstream
    }

    /// Hands each connection, once a whole request has been read from it, to `script`.
    pub(super) async fn scripted<F, Fut>(script: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let upstream = Self { address, asked: Arc::clone(&asked) };
        let script = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (asked, script) = (Arc::clone(&asked), Arc::clone(&script));
                tokio::spawn(async move {
                    if let Some(one) = read_request(&mut stream).await {
                        asked.lock().push(one);
                        script(stream).await;
                    }
                });
            }
        });
        upstream
    }

    /// Writes these bytes to every request and hangs up.
    pub(super) async fn writing(bytes: &'static str) -> Self {
        Self::scripted(move |mut stream| async move {
            let _ = stream.write_all(bytes.as_bytes()).await;
        })
        .await
    }

    /// An address at which nobody listens.
    pub(super) async fn absent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        Self { address: listener.local_addr().expect("an address"), asked: Arc::default() }
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(super) fn asked(&self) -> Vec<ReceivedRequest> {
        self.asked.lock().clone()
    }

    pub(super) fn last(&self) -> ReceivedRequest {
        self.asked.lock().last().cloned().expect("it was asked")
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<ReceivedRequest> {
    let mut read = Vec::new();
    let head_end = loop {
        if let Some(at) = memchr::memmem::find(&read, b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(read[..head_end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.parse().ok()?, first.next()?.to_owned());
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(http::HeaderName::try_from(name).ok()?, value.parse().ok()?);
    }
    let length: usize = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    while read.len() < head_end + length {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    Some(ReceivedRequest { method, path, headers, body: Bytes::from(read.split_off(head_end)) })
}

/// A JSON answer.
pub(super) fn json(status: u16, body: impl Into<Bytes>) -> UpstreamResponse {
    typed(status, "application/json", body)
}

pub(super) fn typed(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> UpstreamResponse {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(content_type));
    response
}

/// A chat answer with known usage: 11 tokens in (4 of them cached), 7 out (2 of them reasoning).
pub(super) fn chat_answer() -> UpstreamResponse {
    json(
        200,
        r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hello!"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}"#,
    )
}

/// An event stream whose frames come through the sender; it ends when the sender is dropped.
pub(super) fn event_stream() -> (mpsc::Sender<&'static str>, UpstreamResponse) {
    let (sender, mut receiver) = mpsc::channel::<&'static str>(16);
    let stream = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|piece| piece.map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    });
    let mut response = Response::new(Either::Right(StreamBody::new(Box::pin(stream) as Pieces)));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/event-stream; charset=utf-8"));
    (sender, response)
}

/// A head, behind which nothing comes.
pub(super) fn event_stream_of_silence() -> UpstreamResponse {
    let (sender, given) = event_stream();
    // For as long as the test runs.
    std::mem::forget(sender);
    given
}

/// An event stream that is complete from the start, each frame after a pause.
pub(super) fn events(frames: &'static [&'static str], pause: Duration) -> UpstreamResponse {
    let (sender, response) = event_stream();
    tokio::spawn(async move {
        for frame in frames {
            tokio::time::sleep(pause).await;
            if sender.send(frame).await.is_err() {
                return;
            }
        }
    });
    response
}
