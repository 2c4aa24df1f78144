//! The upstream: as little work as possible, so that what is measured is what stands in front of it.
//!
//! Every answer is made once. A stream's chunks go out one write each, as a model's tokens do: a body that had them all
//! ready would be sent in a few large writes, and cost every proxy next to nothing.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::Sleep,
};

use super::question::Kind;

/// Pieces of text in a stream.
pub(super) const CHUNKS: u32 = 200;
/// A slow stream has this many, this far apart.
pub(super) const SLOW_CHUNKS: u32 = 20;
pub(super) const SLOW_PACE: Duration = Duration::from_millis(200);

/// Bytes of an answer that is no stream, about.
const ANSWER: usize = 1024;

/// A running upstream; it stops when it is dropped.
pub(super) struct Upstream {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What is sent, made once.
struct Answers {
    document: Bytes,
    models: Bytes,
    chunk: Bytes,
    /// Finish reason, usage, terminator.
    last: [Bytes; 3],
}

/// An answer on its way.
enum Answer {
    Whole(Bytes),
    Stream(Stream),
}

struct Stream {
    answers: Arc<Answers>,
    /// Chunks and last events that have gone out.
    sent: u32,
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
        Ok(Self { address, task: tokio::spawn(serve(listener)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener) {
    let answers = Arc::new(Answers::new());
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let answers = Arc::clone(&answers);
        let service = service_fn(move |request| answer(Arc::clone(&answers), request));
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        connections.spawn(async move {
            // A client that leaves is no news.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(answers: Arc<Answers>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    if request.method() == Method::GET {
        return Ok(json(Answer::Whole(answers.models.clone())));
    }
    let mut body = request.into_body();
    let mut kind = None;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let mut broken = Response::new(Answer::Whole(Bytes::new()));
            *broken.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(broken);
        };
        if let (None, Some(data)) = (kind, frame.data_ref()) {
            kind = Some(Kind::of_body(data));
        }
    }
    let (chunks, pause) = match kind {
        None | Some(Kind::Chat) => return Ok(json(Answer::Whole(answers.document.clone()))),
        Some(Kind::Stream) => (CHUNKS, Pause::Yield(true)),
        Some(Kind::Slow) => (SLOW_CHUNKS, Pause::Wait(Box::pin(tokio::time::sleep(SLOW_PACE)))),
    };
    let mut response = Response::new(Answer::Stream(Stream { answers, sent: 0, chunks, pause }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    vendor_headers(&mut response);
    Ok(response)
}

fn json(answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    vendor_headers(&mut response);
    response
}

/// A few that real providers send, some of which a gateway passes on.
fn vendor_headers(response: &mut Response<Answer>) {
    for (name, value) in [
        ("x-request-id", "req_0123456789abcdef0123456789abcdef"),
        ("openai-processing-ms", "12"),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", "149984"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

// === impl Answers ===

impl Answers {
    fn new() -> Self {
        const HEAD: &str = r#"{"id":"chatcmpl-0123456789abcdefghijklmnop","object":"chat.completion","created":1735689600,"model":"chat","choices":[{"index":0,"message":{"role":"assistant","content":""#;
        const TAIL: &str = r#"","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":230,"completion_tokens":140,"total_tokens":370,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":"fp_bench"}"#;
        let text = "Lorem ipsum dolor sit amet, consectetur adipiscing elit. ".repeat(ANSWER / 50);
        let text = &text[..ANSWER - HEAD.len() - TAIL.len()];
        let event = |choices: &str, usage: &str| {
            let text = format!(
                "data: {{\"id\":\"chatcmpl-0123456789abcdefghijklmnop\",\"object\":\"chat.completion.chunk\",\
                 \"created\":1735689600,\"model\":\"stream\",\"system_fingerprint\":\"fp_bench\",\
                 \"choices\":{choices},\"usage\":{usage}}}\n\n"
            );
            Bytes::from(text)
        };
        let delta = |delta: &str, finish: &str| {
            format!("[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]")
        };
        let usage = "{\"prompt_tokens\":230,\"completion_tokens\":200,\"total_tokens\":430}";
        Self {
            document: format!("{HEAD}{text}{TAIL}").into(),
            models: Bytes::from_static(
                br#"{"object":"list","data":[{"id":"chat","object":"model"},{"id":"stream","object":"model"},{"id":"slow","object":"model"}]}"#,
            ),
            chunk: event(&delta("{\"content\":\" token\"}", "null"), "null"),
            last: [
                event(&delta("{}", "\"stop\""), "null"),
                event("[]", usage),
                Bytes::from_static(b"data: [DONE]\n\n"),
            ],
        }
    }
}

// === impl Stream ===

impl Stream {
    fn next(&mut self) -> Option<Bytes> {
        let at = self.sent;
        self.sent += 1;
        if at < self.chunks {
            return Some(self.answers.chunk.clone());
        }
        self.answers.last.get((at - self.chunks) as usize).cloned()
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
                // The end follows the last chunk at once, as from a server that knows that it is done.
                if stream.sent < stream.chunks {
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
    use super::*;

    #[test]
    fn answers_have_their_sizes_and_are_json() {
        let answers = Answers::new();
        assert_eq!(answers.document.len(), ANSWER);
        assert!(serde_json::from_slice::<serde_json::Value>(&answers.document).is_ok());
        for event in [&answers.chunk, &answers.last[0], &answers.last[1]] {
            let json = event.strip_prefix(b"data: ").expect("an event");
            assert!(serde_json::from_slice::<serde_json::Value>(json).is_ok(), "{event:?}");
        }
    }

    #[tokio::test]
    async fn a_stream_has_all_its_chunks_and_ends() {
        let stream = Stream { answers: Arc::new(Answers::new()), sent: 0, chunks: CHUNKS, pause: Pause::Yield(true) };
        let whole = Answer::Stream(stream).collect().await.expect("a body").to_bytes();
        let events = String::from_utf8_lossy(&whole).matches("data: ").count();
        assert_eq!(events, CHUNKS as usize + 3);
        assert!(whole.ends_with(b"data: [DONE]\n\n"));
    }
}
