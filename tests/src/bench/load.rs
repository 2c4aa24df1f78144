//! The load generator: clients that each keep one connection and send the next request when the last is answered.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::{JoinHandle, JoinSet},
};

use super::{
    answers::{CHUNKS, TOKEN},
    question::Question,
    rest,
};

/// No answer takes longer, or the request has failed.
const ANSWER: Duration = Duration::from_secs(30);
/// An answer that is shorter is not the one that the upstream gave.
const SHORTEST: usize = 900;
/// Of a stream, so many bytes at its end are looked at. The last event of some repeats all of the answer.
const END: usize = 16 * 1024;
/// Requests may fail this often before a client gives up.
const FAILURES: u64 = 3;

/// Clients with open connections.
pub(super) struct Clients {
    question: Question,
    address: SocketAddr,
    idle: Vec<Client>,
}

struct Client(SendRequest<Full<Bytes>>);

/// Keeps this thread from sleeping.
///
/// Whoever writes to a socket pays for waking its reader, and on a virtual machine that costs as much as the rest of
/// the write. A fast program keeps the load busy and would be spared that, a slow one would pay it every time.
struct StayAwake(JoinHandle<()>);

/// What came of it.
pub(super) struct Outcome {
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) first_failure: Option<String>,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
    /// Nanoseconds from request to the last byte of the answer.
    pub(super) latency: Histogram<u64>,
}

// === impl Clients ===

impl Clients {
    pub(super) async fn connect(question: Question, address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let mut idle = Vec::with_capacity(count);
        for _ in 0..count {
            idle.push(Client::connect(address).await?);
        }
        Ok(Self { question, address, idle })
    }

    /// Every client sends one request after the other for `length`, and one in any case; about `most` together. When
    /// this returns, nothing is under way.
    pub(super) async fn run(&mut self, length: Duration, most: u64) -> anyhow::Result<Outcome> {
        let started = Instant::now();
        let until = started + length;
        let each = most / self.idle.len().max(1) as u64;
        let awake = StayAwake::new();
        let mut running = JoinSet::new();
        for client in self.idle.drain(..) {
            running.spawn(client.run(self.question.clone(), self.address, until, each));
        }
        let mut outcome = Outcome::new()?;
        while let Some(ended) = running.join_next().await {
            let (client, part) = ended.context("a client")??;
            outcome.add(part)?;
            self.idle.extend(client);
        }
        outcome.elapsed = started.elapsed();
        drop(awake);
        Ok(outcome)
    }
}

// === impl StayAwake ===

impl StayAwake {
    fn new() -> Self {
        Self(tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        }))
    }
}

impl Drop for StayAwake {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Client ===

impl Client {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn run(
        mut self,
        question: Question,
        address: SocketAddr,
        until: Instant,
        most: u64,
    ) -> anyhow::Result<(Option<Self>, Outcome)> {
        let mut outcome = Outcome::new()?;
        while outcome.requests == 0 || (Instant::now() < until && outcome.requests < most) {
            let sent = Instant::now();
            let answer = tokio::time::timeout(ANSWER, self.ask(&question)).await;
            outcome.requests += 1;
            match answer.context("no answer in time").and_then(|answer| answer) {
                Ok(()) => outcome.latency.saturating_record(u64::try_from(sent.elapsed().as_nanos())?),
                Err(error) => {
                    outcome.failed += 1;
                    outcome.first_failure.get_or_insert_with(|| format!("{error:#}"));
                    if outcome.failed >= FAILURES {
                        return Ok((None, outcome));
                    }
                    self = Self::connect(address).await?;
                }
            }
        }
        Ok((Some(self), outcome))
    }

    /// One request, to the end of its answer.
    async fn ask(&mut self, question: &Question) -> anyhow::Result<()> {
        self.0.ready().await?;
        let response = self.0.send_request(question.request()).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut length = 0;
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            length += data.len();
            frames.push(data);
        }
        let last = end_of(&frames);
        let is_whole =
            if question.kind.is_stream() { question.dialect.is_end_of_stream(&last) } else { last.ends_with(b"}") };
        if status != StatusCode::OK || length < SHORTEST || !is_whole {
            let shown = &last[last.len().saturating_sub(300)..];
            bail!("{status}, {length} bytes, the last: {}", String::from_utf8_lossy(shown));
        }
        Ok(())
    }
}

/// The end of an answer that came in pieces.
fn end_of(frames: &[Bytes]) -> Bytes {
    let mut from = frames.len();
    let mut length = 0;
    while from > 0 && length < END {
        from -= 1;
        length += frames[from].len();
    }
    frames[from..].concat().into()
}

/// Asks once and reads all of the answer: is it what the upstream says?
///
/// # Errors
/// When it is not, or there is none.
pub(super) async fn prove(address: SocketAddr, question: &Question) -> anyhow::Result<()> {
    let answer = rest::ask(address, question).await?;
    let dialect = question.dialect;
    let (right, whole) = if question.kind.is_stream() {
        let text = dialect.text_of_stream(&answer.body).context("a stream")?;
        (text == TOKEN.repeat(CHUNKS as usize), dialect.is_end_of_stream(&answer.body))
    } else {
        (dialect.text_of_document(&answer.body).context("an answer")?.starts_with("Lorem ipsum"), true)
    };
    ensure!(answer.status.is_success() && right && whole, "another answer than the upstream's: {}", answer.text());
    Ok(())
}

// === impl Outcome ===

impl Outcome {
    fn new() -> anyhow::Result<Self> {
        let latency = Histogram::new_with_bounds(100, 60_000_000_000, 3)?;
        Ok(Self { requests: 0, failed: 0, first_failure: None, elapsed: Duration::ZERO, latency })
    }

    fn add(&mut self, part: Self) -> anyhow::Result<()> {
        self.requests += part.requests;
        self.failed += part.failed;
        self.first_failure = self.first_failure.take().or(part.first_failure);
        self.latency.add(&part.latency)?;
        Ok(())
    }

    pub(super) fn answered(&self) -> u64 {
        self.requests - self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_put_together_of_as_much_as_it_takes() {
        let frames =
            vec![Bytes::from(vec![b'a'; END]), Bytes::from_static(b"data: "), Bytes::from_static(b"[DONE]\n\n")];
        let end = end_of(&frames);
        assert_eq!(end.len(), END + 14);
        assert!(end.ends_with(b"data: [DONE]\n\n"));
        assert_eq!(end_of(&[vec![frames[0].clone(); 3], frames].concat()).len(), END + 14);
        assert!(end_of(&[]).is_empty());
    }
}
