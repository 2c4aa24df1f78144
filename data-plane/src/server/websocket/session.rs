//! A socket from its opening to its close.

use std::{collections::HashMap, error::Error as _, future::pending, sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::HeaderMap;
use omniroute_core::error::{ErrorClass, GatewayError};
use tokio::{
    sync::{
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_tungstenite::tungstenite;

use super::{
    call,
    message::{self, Asked, Fault, Incoming, cancelled, refused},
};
use crate::{
    admit::{admit, request_id::RequestId},
    server::{Gateway, Phase},
};

/// Requests of one socket at the same time.
pub(super) const MAX_RUNNING: usize = 32;
/// The client is asked whether it is there this often, and given up when it was not heard for so long.
pub(super) const PING_EVERY: Duration = Duration::from_secs(25);
pub(super) const IDLE: Duration = Duration::from_secs(90);

/// Frames that wait for a client that reads slowly.
const QUEUE: usize = 32;
/// A client that takes nothing for so many times `CLIENT_TIMEOUT` is gone.
const UNREAD_FACTOR: u32 = 4;
/// After the close frame, the client has this long to take it.
const LINGER: Duration = Duration::from_secs(2);

const GOING_AWAY: u16 = 1001;
const UNSUPPORTED: u16 = 1003;
const TOO_LONG: u16 = 1009;
/// As 401 is HTTP's.
const UNAUTHENTICATED: u16 = 4401;

/// Why the gateway closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Closing {
    code: u16,
    reason: &'static str,
}

/// One socket.
pub(super) struct Session {
    gateway: Arc<Gateway>,
    credentials: HeaderMap,
    id: String,
    running: HashMap<String, Running>,
    calls: JoinSet<Call>,
    started: u64,
}

/// A request: its id, and its number among those of the socket. An id may be used again while a call that was cancelled is
/// still on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
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
    pub(super) fn new(gateway: Arc<Gateway>, credentials: HeaderMap) -> Self {
        let id = RequestId::generate().as_str().replacen("req_", "ws_", 1);
        Self { gateway, credentials, id, running: HashMap::new(), calls: JoinSet::new(), started: 0 }
    }

    /// Serves the socket until one side closes it.
    pub(super) async fn run(mut self, socket: WebSocket) {
        let _open = self.gateway.lifecycle.connected();
        let (sink, mut stream) = socket.split();
        let (out, queue) = mpsc::channel(QUEUE);
        let patience = self.gateway.limits.client_timeout * UNREAD_FACTOR;
        let writer = tokio::spawn(write(sink, queue, patience));
        let ready = message::ready(&self.id);
        let closing = match out.send(Message::Text(ready.into())).await {
            Ok(()) => self.serve(&mut stream, &out).await,
            Err(_) => None,
        };
        // Whatever still runs is cancelled, upstream too.
        self.running.clear();
        self.calls.shutdown().await;
        if let Some(Closing { code, reason }) = closing {
            let frame = CloseFrame { code, reason: reason.into() };
            let _ = tokio::time::timeout(LINGER, out.send(Message::Close(Some(frame)))).await;
        }
        drop(out);
        if tokio::time::timeout(LINGER, writer).await.is_err() {
            tracing::debug!(session = %self.id, "the client of a socket did not take its last frames");
        }
    }

    /// `Some`: the gateway closes the socket. `None`: the client has.
    async fn serve(&mut self, stream: &mut SplitStream<WebSocket>, out: &Sender<Message>) -> Option<Closing> {
        let mut phase = self.gateway.lifecycle.watch();
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.tick().await;
        let mut heard = Instant::now();
        loop {
            let now_in = *phase.borrow_and_update();
            if now_in != Phase::Serving && (self.running.is_empty() || now_in == Phase::Cutting) {
                return Some(Closing { code: GOING_AWAY, reason: "draining" });
            }
            tokio::select! {
                read = stream.next() => {
                    heard = Instant::now();
                    match read {
                        Some(Ok(Message::Text(text))) => {
                            if let Some(closing) = self.take(&text, out).await {
                                return closing;
                            }
                        }
                        Some(Ok(Message::Binary(_))) => {
                            return Some(Closing { code: UNSUPPORTED, reason: "text_only" });
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Err(error)) if is_too_long(&error) => {
                            return Some(Closing { code: TOO_LONG, reason: "message_too_long" });
                        }
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    }
                }
                Call { id, number } = ended(&mut self.calls) => {
                    if self.running.get(&id).is_some_and(|running| running.number == number) {
                        self.running.remove(&id);
                    }
                }
                // Nobody writes any more: the client takes nothing.
                () = out.closed() => return None,
                _ = pings.tick() => {
                    if heard.elapsed() >= IDLE {
                        return Some(Closing { code: GOING_AWAY, reason: "idle_timeout" });
                    }
                    if self.check_key().is_err() {
                        return Some(Closing { code: UNAUTHENTICATED, reason: "key_refused" });
                    }
                    // With a full queue there is enough on its way to tell whether the client is there.
                    let _ = out.try_send(Message::Ping(bytes::Bytes::new()));
                }
                _ = phase.changed() => {}
            }
        }
    }

    /// Takes a message. `Some`: the socket ends with it.
    async fn take(&mut self, text: &str, out: &Sender<Message>) -> Option<Option<Closing>> {
        let reply = match message::read(text) {
            Ok(Incoming::Ping) => Some(message::pong(&self.id)),
            Ok(Incoming::Cancel(id)) => match self.running.remove(&id) {
                // The call itself says that it was cancelled.
                Some(_) => None,
                None => Some(unknown(id).frame()),
            },
            Ok(Incoming::Request(asked)) => {
                let checked = self.check_key();
                let is_refused = checked.is_err();
                let reply = checked.err().map(|error| refused(&asked.id, &error)).or_else(|| self.start(*asked, out));
                if is_refused {
                    if let Some(reply) = reply {
                        let _ = out.send(Message::Text(reply.into())).await;
                    }
                    return Some(Some(Closing { code: UNAUTHENTICATED, reason: "key_refused" }));
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
        let gateway = &self.gateway;
        admit(&gateway.snapshot.load(), gateway.access, &self.credentials, None, gateway.clock.now()).map(drop)
    }

    /// Starts a request, or says why not.
    fn start(&mut self, asked: Asked, out: &Sender<Message>) -> Option<String> {
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
        let call = Call { id: asked.id.clone(), number: self.started };
        self.running.insert(call.id.clone(), Running { number: call.number, _cancel: cancel });
        let (gateway, credentials, out) = (Arc::clone(&self.gateway), self.credentials.clone(), out.clone());
        self.calls.spawn(async move {
            tokio::select! {
                biased;
                _ = cancelling => {
                    let _ = out.send(Message::Text(cancelled(&call.id).into())).await;
                }
                // That the client is gone is noticed where its messages are read.
                _ = Box::pin(call::run(&gateway, &credentials, asked, &out)) => {}
            }
            call
        });
        None
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<tungstenite::Error>());
    cause.is_some_and(|cause| matches!(cause, tungstenite::Error::Capacity(_)))
}

fn unknown(id: String) -> Fault {
    Fault { code: "unknown_request", message: "no request with this id is running", id: Some(id) }
}

/// The id of the next request that ends; never, while none runs.
async fn ended(calls: &mut JoinSet<Call>) -> Call {
    loop {
        match calls.join_next().await {
            Some(Ok(call)) => return call,
            Some(Err(_)) => {}
            None => return pending().await,
        }
    }
}

/// Writes frames as the client takes them.
async fn write(mut sink: SplitSink<WebSocket, Message>, mut queue: Receiver<Message>, patience: Duration) {
    while let Some(message) = queue.recv().await {
        let is_last = matches!(message, Message::Close(_));
        match tokio::time::timeout(patience, sink.send(message)).await {
            Ok(Ok(())) if !is_last => {}
            _ => break,
        }
    }
    let _ = tokio::time::timeout(LINGER, sink.close()).await;
}
