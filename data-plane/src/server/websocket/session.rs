//! A socket from its opening to its close.

use std::{collections::HashMap, future::pending, pin::pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;
use omniroute_core::error::{ErrorClass, GatewayError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    call,
    frames::{self, Bounds, ClientFrame, FrameReader, ReadError, Text},
    message::{self, CallRequest, Fault, Incoming, cancelled, refused},
};
use crate::{admit::body::BodyError, request::RequestId, server::Stages};

/// Requests of one socket at the same time.
pub(super) const MAX_RUNNING: usize = 32;
/// The client is asked whether it is there this often, and given up when it was not heard for so long.
pub(super) const PING_EVERY: Duration = Duration::from_secs(25);
pub(super) const IDLE: Duration = Duration::from_secs(90);

/// Frames that wait for a client that reads slowly.
const QUEUE: usize = 32;
/// After the close frame, the client has this long to take it.
const LINGER: Duration = Duration::from_secs(2);

const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;
const PROTOCOL: u16 = 1002;
const UNSUPPORTED: u16 = 1003;
const NOT_UTF8: u16 = 1007;
const POLICY: u16 = 1008;
const TOO_LONG: u16 = 1009;
/// As 401 is HTTP's.
const UNAUTHENTICATED: u16 = 4401;

/// Why the gateway closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CloseReason {
    code: u16,
    reason: &'static str,
}

/// One socket.
pub(super) struct Session {
    stages: Arc<Stages>,
    credentials: HeaderMap,
    id: String,
    running: HashMap<String, Running>,
    calls: JoinSet<CallId>,
    started: u64,
}

/// A request: its id, and its number among those of the socket. An id may be used again while a call that was cancelled is
/// still on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CallId {
    id: String,
    number: u64,
}

/// A request that runs.
#[derive(Debug)]
struct Running {
    number: u64,
    /// Dropping it cancels the request.
    _cancel: oneshot::Sender<()>,
}

// === impl Session ===

impl Session {
    pub(super) fn new(stages: Arc<Stages>, credentials: HeaderMap) -> Self {
        let id = RequestId::generate().as_str().replacen("req_", "ws_", 1);
        Self { stages, credentials, id, running: HashMap::new(), calls: JoinSet::new(), started: 0 }
    }

    /// Serves the socket until one side closes it.
    pub(super) async fn run<S>(mut self, socket: S, bounds: Bounds)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let _open = self.stages.lifecycle.connected();
        let (input, output) = tokio::io::split(socket);
        let mut reader = FrameReader::new(input, bounds);
        let (out, queue) = mpsc::channel(QUEUE);
        let patience = self.stages.limits.unread();
        let writer = tokio::spawn(write(output, queue, patience));
        let ready = message::ready(&self.id);
        let closing = match out.send(Message::Text(ready.into())).await {
            Ok(()) => {
                // What is being read stays in the stream while something else is looked at.
                let heard = stream::unfold(&mut reader, |reader| async { Some((reader.next().await, reader)) });
                self.serve(pin!(heard), &out).await
            }
            Err(_) => None,
        };
        // Whatever still runs is cancelled, upstream too.
        self.running.clear();
        self.calls.shutdown().await;
        let said_why = closing.is_some();
        if let Some(CloseReason { code, reason }) = closing {
            let frame = CloseFrame { code: code.into(), reason: reason.into() };
            let _ = tokio::time::timeout(LINGER, out.send(Message::Close(Some(frame)))).await;
        }
        drop(out);
        if tokio::time::timeout(LINGER, writer).await.is_err() {
            tracing::debug!(session = %self.id, "the client of a socket did not take its last frames");
        }
        if said_why {
            // Bytes that nobody reads would make the system reset the connection, and the close frame would be lost.
            let _ = tokio::time::timeout(LINGER, reader.drain()).await;
        }
    }

    /// `Some`: a close frame is owed to the client. `None`: it is gone.
    async fn serve(
        &mut self,
        mut stream: impl Stream<Item = Result<ClientFrame, ReadError>> + Unpin,
        out: &Sender<Message>,
    ) -> Option<CloseReason> {
        let mut phase = self.stages.lifecycle.watch();
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.tick().await;
        let mut heard = Instant::now();
        loop {
            let now_in = *phase.borrow_and_update();
            // What is cut ends by itself, with a word about it.
            if !now_in.takes_work() && self.running.is_empty() {
                return Some(CloseReason { code: GOING_AWAY, reason: "draining" });
            }
            tokio::select! {
                read = stream.next() => {
                    heard = Instant::now();
                    match read {
                        Some(Ok(ClientFrame::Text(text))) => {
                            if let Some(closing) = self.take(text, out).await {
                                return closing;
                            }
                        }
                        Some(Ok(ClientFrame::Refused(beginning))) => {
                            let refused = no_memory(&beginning);
                            if out.send(Message::Text(refused.into())).await.is_err() {
                                return None;
                            }
                        }
                        Some(Ok(ClientFrame::Binary)) => {
                            return Some(CloseReason { code: UNSUPPORTED, reason: "text_only" });
                        }
                        Some(Ok(ClientFrame::Ping(payload))) => {
                            // With a full queue, the client has more to read before it wonders whether we are there.
                            let _ = out.try_send(Message::Pong(payload));
                        }
                        Some(Ok(ClientFrame::Pong)) => {}
                        Some(Ok(ClientFrame::Close(code))) => {
                            let code = code.filter(|code| CloseCode::from(*code).is_allowed());
                            return Some(CloseReason { code: code.unwrap_or(NORMAL), reason: "" });
                        }
                        Some(Err(error)) => return error.closing(),
                        None => return None,
                    }
                }
                CallId { id, number } = ended(&mut self.calls) => {
                    if self.running.get(&id).is_some_and(|running| running.number == number) {
                        self.running.remove(&id);
                    }
                }
                // Nobody writes any more: the client takes nothing.
                () = out.closed() => return None,
                _ = pings.tick() => {
                    if heard.elapsed() >= IDLE {
                        return Some(CloseReason { code: GOING_AWAY, reason: "idle_timeout" });
                    }
                    if self.check_key().is_err() {
                        return Some(CloseReason { code: UNAUTHENTICATED, reason: "key_refused" });
                    }
                    // With a full queue there is enough on its way to tell whether the client is there.
                    let _ = out.try_send(Message::Ping(bytes::Bytes::new()));
                }
                _ = phase.changed() => {}
            }
        }
    }

    /// Takes a message. `Some`: the socket ends with it.
    async fn take(&mut self, text: Text, out: &Sender<Message>) -> Option<Option<CloseReason>> {
        let reply = match message::read(&text.bytes) {
            Ok(Incoming::Ping) => Some(message::pong(&self.id)),
            Ok(Incoming::Cancel(id)) => match self.running.remove(&id) {
                // The call itself says that it was cancelled.
                Some(_) => None,
                None => Some(unknown(id).frame()),
            },
            Ok(Incoming::Request(mut asked)) => {
                asked.share = text.share;
                let checked = self.check_key();
                let is_refused = checked.is_err();
                let reply = checked.err().map(|error| refused(&asked.id, &error)).or_else(|| self.start(*asked, out));
                if is_refused {
                    if let Some(reply) = reply {
                        let _ = out.send(Message::Text(reply.into())).await;
                    }
                    return Some(Some(CloseReason { code: UNAUTHENTICATED, reason: "key_refused" }));
                }
                reply
            }
            Err(fault) => Some(fault.frame()),
        };
        let reply = reply?;
        out.send(Message::Text(reply.into())).await.is_err().then_some(None)
    }

    /// Whether the key is still good: it may have been revoked since the socket was opened.
    fn check_key(&self) -> Result<(), GatewayError> {
        self.stages.admission.check_key(&self.credentials, self.stages.clock.now())
    }

    /// Starts a request, or says why not.
    fn start(&mut self, asked: CallRequest, out: &Sender<Message>) -> Option<String> {
        if self.running.contains_key(&asked.id) {
            let fault =
                Fault { code: "duplicate_request", message: "a request with this id is running", id: Some(asked.id) };
            return Some(fault.frame());
        }
        if self.running.len() >= MAX_RUNNING {
            let error = GatewayError::new(
                ErrorClass::RateLimited,
                "too_many_requests",
                format!("a socket runs {MAX_RUNNING} requests at most"),
            );
            return Some(refused(&asked.id, &error));
        }
        let (cancel, cancelling) = oneshot::channel::<()>();
        self.started += 1;
        let call = CallId { id: asked.id.clone(), number: self.started };
        self.running.insert(call.id.clone(), Running { number: call.number, _cancel: cancel });
        let (stages, credentials, out) = (Arc::clone(&self.stages), self.credentials.clone(), out.clone());
        self.calls.spawn(async move {
            tokio::select! {
                biased;
                _ = cancelling => {
                    let _ = out.send(Message::Text(cancelled(&call.id).into())).await;
                }
                // That the client is gone is noticed where its messages are read.
                _ = Box::pin(call::serve(&stages, &credentials, asked, &out)) => {}
            }
            call
        });
        None
    }
}

impl ReadError {
    fn closing(self) -> Option<CloseReason> {
        let (code, reason) = match self {
            Self::Gone => return None,
            Self::TooLong => (TOO_LONG, "message_too_long"),
            Self::TooSlow => (POLICY, "message_too_slow"),
            Self::NotUtf8 => (NOT_UTF8, "not_utf8"),
            Self::Broken => (PROTOCOL, "protocol_error"),
        };
        Some(CloseReason { code, reason })
    }
}

/// What is said of a message that there was no memory for, to the request that it was if it can be told.
fn no_memory(beginning: &[u8]) -> String {
    let error = GatewayError::from(BodyError::NoMemory);
    match message::id_of_beginning(beginning) {
        Some(id) => refused(&id, &error),
        None => {
            let message = "too many request bodies are held in memory right now; send this message again in a second";
            Fault { code: error.code, message, id: None }.frame()
        }
    }
}

fn unknown(id: String) -> Fault {
    Fault { code: "unknown_request", message: "no request with this id is running", id: Some(id) }
}

/// The id of the next request that ends; never, while none runs.
async fn ended(calls: &mut JoinSet<CallId>) -> CallId {
    loop {
        match calls.join_next().await {
            Some(Ok(call)) => return call,
            Some(Err(_)) => {}
            None => return pending().await,
        }
    }
}

/// Writes frames as the client takes them.
async fn write(mut output: impl AsyncWrite + Unpin, mut queue: Receiver<Message>, patience: Duration) {
    while let Some(message) = queue.recv().await {
        let is_last = matches!(message, Message::Close(_));
        match tokio::time::timeout(patience, frames::write(&mut output, message)).await {
            Ok(Ok(())) if !is_last => {}
            _ => break,
        }
    }
    let _ = tokio::time::timeout(LINGER, tokio::io::AsyncWriteExt::shutdown(&mut output)).await;
}

#[cfg(test)]
mod tests {
    use futures_util::SinkExt;
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

    use super::*;
    use crate::server::testing::{KEY, TestGateway, snapshot_with};

    type Client = WebSocketStream<DuplexStream>;

    /// A socket in memory, so that the clock can be a fake.
    async fn connected(stages: &TestGateway) -> Client {
        let (client, server) = duplex(64 * 1024);
        let bounds = Bounds {
            largest: 1 << 20,
            silence: Duration::from_secs(30),
            memory: stages.stages.admission.memory().clone(),
        };
        let mut credentials = HeaderMap::new();
        credentials.insert("authorization", format!("Bearer {KEY}").parse().expect("a value"));
        tokio::spawn(Session::new(Arc::clone(&stages.stages), credentials).run(server, bounds));
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        let ready = client.next().await.expect("a message").expect("no error");
        assert!(ready.to_text().expect("text").contains("session.ready"));
        client
    }

    async fn next(client: &mut Client) -> Message {
        client.next().await.expect("a message").expect("no error")
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_is_answered_with_what_it_holds() {
        let stages = TestGateway::new(&[], snapshot_with(|_| {}));
        let mut client = connected(&stages).await;
        client.send(Message::Ping("are you there".into())).await.expect("sent");
        assert_eq!(next(&mut client).await, Message::Pong("are you there".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_asked_whether_it_is_there_and_stays_while_it_answers() {
        let stages = TestGateway::new(&[], snapshot_with(|_| {}));
        let mut client = connected(&stages).await;
        let opened = Instant::now();
        // The client's library answers pings by itself as it reads.
        for ping in 1..=8 {
            assert_eq!(next(&mut client).await, Message::Ping(bytes::Bytes::new()));
            assert_eq!(opened.elapsed().as_secs() / PING_EVERY.as_secs(), ping);
        }
        assert!(opened.elapsed() > 2 * IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_not_heard_is_given_up() {
        let stages = TestGateway::new(&[], snapshot_with(|_| {}));
        let opened = Instant::now();
        let client = connected(&stages).await;
        // It reads without the library that answers.
        let mut raw = client.into_inner();
        let mut read = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut raw, &mut read).await.expect("read");
        let pings = read.windows(2).filter(|bytes| *bytes == [0x89, 0]).count();
        assert_eq!(pings, 3, "{read:?}");
        let close = [&[0x88, 14, 3, 233], b"idle_timeout".as_slice()].concat();
        assert!(read.ends_with(&close), "{read:?}");
        let waited = opened.elapsed();
        assert!(waited >= IDLE && waited < IDLE + PING_EVERY + LINGER, "{waited:?}");
    }
}
