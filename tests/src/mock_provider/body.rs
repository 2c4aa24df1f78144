//! How an answer goes out: whole, slowly, in odd pieces, or not to its end.

use std::{io, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    journal::{Fate, Running},
    script::Script,
    stream::Event,
};

pub(super) type Body = BoxBody<Bytes, io::Error>;

/// What hyper has taken is on the wire after this time; then the connection may break.
const FLUSH: Duration = Duration::from_millis(20);

pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body that never sends a byte and ends when the client leaves.
pub(super) fn silent(running: Running) -> Body {
    let (pieces, body) = Pieces::new();
    tokio::spawn(async move {
        pieces.0.closed().await;
        drop(running);
    });
    body
}

/// The first bytes of a document, then a broken connection.
pub(super) fn broken(document: Vec<u8>, after: usize, running: Running) -> Body {
    let (pieces, body) = Pieces::new();
    tokio::spawn(async move {
        let head = document[..after.min(document.len())].to_vec();
        if pieces.send(head).await.is_ok() {
            pieces.hang_up().await;
            running.end(Fate::HungUp);
        }
    });
    body
}

/// A document after a wait.
pub(super) fn late(document: Vec<u8>, wait: Duration, running: Running) -> Body {
    let (pieces, body) = Pieces::new();
    tokio::spawn(async move {
        if pieces.pause(wait).await.is_ok() && pieces.send(document).await.is_ok() {
            running.end(Fate::Answered);
        }
    });
    body
}

/// What a stream breaks off with, in its vendor's form.
pub(super) struct Faults {
    pub error: Vec<u8>,
    pub garbage: Vec<u8>,
}

/// A stream under a script.
pub(super) fn events(events: Vec<Event>, script: Script, faults: Faults, running: Running) -> Body {
    let (pieces, body) = Pieces::new();
    tokio::spawn(async move {
        match pump(&pieces, events, &script, faults, &running).await {
            Ok(fate) => running.end(fate),
            Err(Gone) => drop(running),
        }
    });
    body
}

async fn pump(
    pieces: &Pieces,
    events: Vec<Event>,
    script: &Script,
    faults: Faults,
    running: &Running,
) -> Result<Fate, Gone> {
    pieces.pause(Duration::from_millis(script.body_delay_ms)).await?;
    let mut frames = Frames { size: script.frame_bytes, rest: Vec::new() };
    for (index, event) in events.into_iter().enumerate() {
        if index > 0 {
            pieces.pause(Duration::from_millis(script.chunk_delay_ms)).await?;
        }
        let now = |after: Option<usize>| after == Some(index);
        if now(script.hang_up_after) {
            frames.rest(pieces).await?;
            pieces.hang_up().await;
            return Ok(Fate::HungUp);
        }
        if now(script.stall_after) {
            frames.rest(pieces).await?;
            pieces.0.closed().await;
            return Err(Gone);
        }
        if now(script.error_after) {
            frames.push(pieces, faults.error).await?;
            frames.rest(pieces).await?;
            return Ok(Fate::HungUp);
        }
        if now(script.garbage_after) {
            frames.push(pieces, faults.garbage).await?;
            frames.rest(pieces).await?;
            return Ok(Fate::HungUp);
        }
        // Charged before it is sent: whoever has it, owes it.
        running.note(|seen| seen.completion_tokens += event.completion_tokens);
        frames.push(pieces, event.bytes).await?;
    }
    frames.rest(pieces).await?;
    Ok(Fate::Answered)
}

/// The client has left.
struct Gone;

struct Pieces(mpsc::Sender<Result<Frame<Bytes>, io::Error>>);

/// Cuts what passes into frames of one size.
struct Frames {
    size: Option<usize>,
    rest: Vec<u8>,
}

// === impl Pieces ===

impl Pieces {
    fn new() -> (Self, Body) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), StreamBody::new(ReceiverStream::new(receiver)).boxed())
    }

    async fn send(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        self.0.send(Ok(Frame::data(bytes.into()))).await.map_err(|_| Gone)
    }

    async fn pause(&self, wait: Duration) -> Result<(), Gone> {
        if wait.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.0.closed() => Err(Gone),
        }
    }

    async fn hang_up(&self) {
        tokio::time::sleep(FLUSH).await;
        let _ = self.0.send(Err(io::Error::other("the script says so"))).await;
    }
}

// === impl Frames ===

impl Frames {
    async fn push(&mut self, pieces: &Pieces, bytes: Vec<u8>) -> Result<(), Gone> {
        let Some(size) = self.size.filter(|size| *size > 0) else {
            return pieces.send(bytes).await;
        };
        self.rest.extend(bytes);
        while self.rest.len() >= size {
            let behind = self.rest.split_off(size);
            pieces.send(std::mem::replace(&mut self.rest, behind)).await?;
        }
        Ok(())
    }

    async fn rest(&mut self, pieces: &Pieces) -> Result<(), Gone> {
        match std::mem::take(&mut self.rest) {
            rest if rest.is_empty() => Ok(()),
            rest => pieces.send(rest).await,
        }
    }
}
