//! Requests that come twice: the second gets the first one's answer.
//!
//! A client that names its request (`Idempotency-Key`, else `X-Request-Id`) and repeats it while it runs, or shortly
//! after, is not charged twice. The first takes a claim that the whole fleet sees; duplicates wait for what comes of it.
//! Only whole, good answers are given again: what failed is worth another try, and what is too large is cheaper to ask
//! for again than to keep. Events of progress are not part of an answer; what an answer leaves out of its request is, so that
//! a client that would rather be refused than lose something is refused the second time too.
//!
//! The two names differ in what another body under the same name means. An idempotency key stands for one request, so
//! that is a mistake. A request id may stand for a whole trace, many requests of which carry it: there the body is part
//! of the name. Equal requests of one trace that are not one request (samples of the same prompt) need an idempotency key
//! each.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, request};
use metrics::counter;
use omniroute_coordination::{Claim, Coordination, Key, StoreLimits, Waited};
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    hash::{Pepper, mac},
    settings::DataPlaneSettings,
};
use omniroute_telemetry::names;
use prost::Message as _;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::{
    reply::{
        Reply,
        headers::X_OMNIROUTE_DROPPED,
        observed::{Observer, Pause},
    },
    request::{Caller, RequestId, TimeLimits, X_REQUEST_ID, is_strict, would_be_lost},
    seal::Cipher,
    shared_store::{ENTRIES_PER_KEY, SHARE, Store, in_background},
    snapshot::Settings,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const X_OMNIROUTE_IDEMPOTENT: HeaderName = HeaderName::from_static("x-omniroute-idempotent");

/// Longest name that a request may have.
const LONGEST_NAME: usize = 255;

/// A claim's mark is this, something random and the fingerprint of the request; an answer has the same shape.
const RUNNING: u8 = 0;
const ANSWERED: u8 = 1;
const RANDOM: usize = 16;
const FINGERPRINT: usize = 32;
const HEAD: usize = 1 + RANDOM + FINGERPRINT;

/// Keeps the answers of requests that may come twice.
pub(crate) struct Idempotency {
    kept: Store,
    /// Bytes of answers that are being captured, and how many they may be.
    captured: Arc<AtomicU64>,
    most_captured: u64,
    times: TimeLimits,
}

/// By what a request is known when it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'h> {
    Key(&'h [u8]),
    RequestId(&'h [u8]),
}

/// What is to be done with a request.
pub(crate) enum Lookup {
    /// It is the first of its name: it runs, and its answer is kept.
    Miss(Box<Claimed>),
    /// It runs, and nobody waits for it.
    Bypass,
    /// The answer that its first coming got.
    Replay(Response<Reply>),
}

/// The right to answer for all requests of a name. Given back when it is dropped without an answer.
pub(crate) struct Claimed {
    kept: Store,
    at_rest: AtRest,
    key: Key,
    mark: Bytes,
    /// Bytes of answers that are being captured, all together, and how many they may be.
    captured: Arc<AtomicU64>,
    most_captured: u64,
}

/// How an answer is kept: sealed where it leaves this process, which most do not. Sealing costs more than all the rest.
#[derive(Clone)]
struct AtRest(Option<Cipher>);

/// An answer as it is kept.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredAnswer {
    #[prost(uint32, tag = "1")]
    status: u32,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<Header>,
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

// === impl Idempotency ===

impl Idempotency {
    /// `times`: the limits of this process.
    pub(crate) fn open(coordination: &dyn Coordination, settings: &DataPlaneSettings, times: TimeLimits) -> Self {
        let memory = settings.idempotency_memory.0;
        let limits = StoreLimits {
            name: "answers",
            value_bytes: usize::try_from(settings.idempotency_answer_max.0).unwrap_or(usize::MAX),
            scope_bytes: memory / SHARE,
            scope_entries: ENTRIES_PER_KEY,
            process_bytes: memory,
        };
        let kept = Store::open(coordination, settings.idempotency_window.0, limits);
        Self { kept, captured: Arc::default(), most_captured: memory, times }
    }
}

/// The name that a client gave its request, where such names count.
///
/// # Errors
/// When an idempotency key is too long.
pub(crate) fn name<'h>(idempotency: &Idempotency, headers: &'h HeaderMap) -> Result<Option<Name<'h>>, GatewayError> {
    if idempotency.kept.ttl.is_zero() {
        return Ok(None);
    }
    if let Some(key) = headers.get(IDEMPOTENCY_KEY).filter(|key| !key.is_empty()) {
        if key.len() > LONGEST_NAME {
            return Err(GatewayError::bad_request(
                "invalid_idempotency_key",
                format!("`Idempotency-Key` is longer than {LONGEST_NAME} bytes"),
            ));
        }
        return Ok(Some(Name::Key(key.as_bytes())));
    }
    let id = headers.get(X_REQUEST_ID).filter(|id| !id.is_empty() && id.len() <= LONGEST_NAME);
    Ok(id.map(|id| Name::RequestId(id.as_bytes())))
}

/// Finds out whether the request is the first of its name, and waits for the first when it is not.
///
/// # Errors
/// When the name stands for another request, or the answer left something out and the client does not want such a one.
pub(crate) async fn look_up(
    idempotency: &Idempotency,
    name: Name<'_>,
    head: &request::Parts,
    caller: &Caller,
    settings: &Settings,
    body: &Bytes,
) -> Result<Lookup, GatewayError> {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let fingerprint = fingerprint(&settings.pepper, target, body);
    let key = match name {
        Name::Key(key) => Key::new(caller.scope(), &[b"key 2", head.uri.path().as_bytes(), key]),
        Name::RequestId(id) => Key::new(caller.scope(), &[b"id 2", id, &fingerprint]),
    };
    let kept = &idempotency.kept;
    let mark = shaped(RUNNING, &fingerprint, &[]);
    let at_rest = AtRest(kept.shared.is_shared().then(|| Cipher::new(&settings.pepper)));
    let deadline = Instant::now() + idempotency.times.overridden(&settings.timeouts).total;
    loop {
        let mut held = match kept.shared.claim(&key, &mark).await {
            Claim::Mine => {
                return Ok(Lookup::Miss(Box::new(Claimed {
                    kept: kept.clone(),
                    at_rest,
                    key,
                    mark,
                    captured: Arc::clone(&idempotency.captured),
                    most_captured: idempotency.most_captured,
                })));
            }
            Claim::Held(held) => held,
        };
        check(&held, &fingerprint)?;
        if held.first() == Some(&RUNNING) {
            let left = deadline.saturating_duration_since(Instant::now());
            held = match kept.shared.wait(&key, &held, left).await {
                Waited::Value(value) => value,
                // The first came to nothing: this may be the next first.
                Waited::Gone if !left.is_zero() => continue,
                Waited::Gone | Waited::Late => return Ok(Lookup::Bypass),
            };
            check(&held, &fingerprint)?;
        }
        if held.first() == Some(&RUNNING) {
            // Another first has begun meanwhile.
            continue;
        }
        let again =
            held.get(HEAD..).and_then(|kept| at_rest.open(&fingerprint, &held.slice_ref(kept))).and_then(replayed);
        return Ok(match again {
            Some(mut response) => {
                let dropped = response.headers().get(X_OMNIROUTE_DROPPED).and_then(|names| names.to_str().ok());
                if let Some(dropped) = dropped.filter(|_| is_strict(&head.headers)) {
                    return Err(would_be_lost(dropped));
                }
                counter!(names::IDEMPOTENT_ANSWERS).increment(1);
                response.headers_mut().insert(X_REQUEST_ID, RequestId::of(&head.headers).header());
                Lookup::Replay(response)
            }
            None => Lookup::Bypass,
        });
    }
}

/// What tells requests apart. Of the body it takes a hash that is no cryptographic one: at 100 KB that saves more than the
/// rest of the request costs. It is keyed with what only the fleet knows, so that nobody can make two bodies meet.
fn fingerprint(pepper: &Pepper, target: &str, body: &[u8]) -> [u8; FINGERPRINT] {
    let [a, b, c, d, e, f, g, h, ..] = mac(pepper.as_bytes(), &[b"omniroute request bodies"]);
    let hash = xxh3_128_with_seed(body, u64::from_be_bytes([a, b, c, d, e, f, g, h]));
    mac(pepper.as_bytes(), &[b"omniroute request", target.as_bytes(), &hash.to_be_bytes()])
}

/// That what stands under a name belongs to a request with this fingerprint.
fn check(held: &[u8], fingerprint: &[u8]) -> Result<(), GatewayError> {
    if held.get(1 + RANDOM..HEAD) == Some(fingerprint) {
        return Ok(());
    }
    Err(GatewayError::new(
        ErrorClass::Conflict,
        "idempotency_key_reused",
        "this `Idempotency-Key` was used a moment ago for a request with another body or target",
    )
    .with_hint("give every request a key of its own, and repeat a request as it was"))
}

fn shaped(kind: u8, fingerprint: &[u8; FINGERPRINT], rest: &[u8]) -> Bytes {
    let random: [u8; RANDOM] = rand::random();
    [&[kind], &random[..], fingerprint, rest].concat().into()
}

fn replayed(plain: Bytes) -> Option<Response<Reply>> {
    let answer = StoredAnswer::decode(plain).ok()?;
    let mut response = Response::new(Reply::whole(answer.body));
    *response.status_mut() = StatusCode::from_u16(u16::try_from(answer.status).ok()?).ok()?;
    let headers = response.headers_mut();
    for Header { name, value } in answer.headers {
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::from_maybe_shared(value).ok()?);
    }
    headers.insert(X_OMNIROUTE_IDEMPOTENT, HeaderValue::from_static("true"));
    Some(response)
}

// === impl AtRest ===

impl AtRest {
    fn seal(&self, fingerprint: &[u8; FINGERPRINT], plain: Vec<u8>) -> Option<Bytes> {
        match &self.0 {
            Some(cipher) => cipher.seal(fingerprint, &plain),
            None => Some(plain.into()),
        }
    }

    fn open(&self, fingerprint: &[u8; FINGERPRINT], kept: &Bytes) -> Option<Bytes> {
        match &self.0 {
            Some(cipher) => cipher.open(fingerprint, kept),
            None => Some(kept.clone()),
        }
    }
}

// === impl Claimed ===

impl Claimed {
    /// Keeps the answer, if it becomes a good one.
    pub(crate) fn watch(self, response: Response<Reply>) -> Response<Reply> {
        if !response.status().is_success() {
            return response;
        }
        let headers = response.headers().iter().filter(|(name, _)| **name != X_REQUEST_ID);
        let headers = headers
            .map(|(name, value)| Header {
                name: name.as_str().to_owned(),
                value: Bytes::copy_from_slice(value.as_bytes()),
            })
            .collect();
        let capture = AnswerCapture {
            status: response.status(),
            headers,
            body: Some(CapturedBody { pieces: Vec::new(), length: 0, all: Arc::clone(&self.captured) }),
            claimed: self,
        };
        response.map(|reply| reply.observed(Box::new(capture)))
    }

    fn settle(&self, value: Option<Bytes>) {
        let (kept, key, mark) = (self.kept.clone(), self.key, self.mark.clone());
        in_background(Box::pin(async move { kept.shared.settle(&key, &mark, value, kept.ttl).await }));
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        // Does nothing where an answer stands.
        self.settle(None);
    }
}

/// Captures an answer as it goes out.
struct AnswerCapture {
    status: StatusCode,
    headers: Vec<Header>,
    /// `None`: it got too large.
    body: Option<CapturedBody>,
    claimed: Claimed,
}

/// What has been captured, and counted among what all captures hold.
struct CapturedBody {
    pieces: Vec<Bytes>,
    length: usize,
    all: Arc<AtomicU64>,
}

impl CapturedBody {
    fn take(&mut self, piece: &Bytes, most: usize, most_of_all: u64) -> bool {
        let size = piece.len() as u64;
        if self.length + piece.len() > most {
            return false;
        }
        if self.all.fetch_add(size, Ordering::Relaxed) + size > most_of_all {
            self.all.fetch_sub(size, Ordering::Relaxed);
            return false;
        }
        self.length += piece.len();
        self.pieces.push(piece.clone());
        true
    }
}

impl Drop for CapturedBody {
    fn drop(&mut self) {
        self.all.fetch_sub(self.length as u64, Ordering::Relaxed);
    }
}

impl Observer for AnswerCapture {
    fn see(&mut self, piece: &Bytes, _: bool) -> Option<Pause> {
        let (most, most_of_all) = (self.claimed.kept.value_bytes, self.claimed.most_captured);
        if self.body.as_mut().is_some_and(|body| !body.take(piece, most, most_of_all)) {
            self.body = None;
            // Duplicates that wait need not wait for the end.
            self.claimed.settle(None);
        }
        None
    }

    fn end(&mut self, well: bool) -> Option<Pause> {
        let body = self.body.take().filter(|_| well)?;
        let answer = StoredAnswer {
            status: u32::from(self.status.as_u16()),
            headers: std::mem::take(&mut self.headers),
            body: match body.pieces.as_slice() {
                [only] => only.clone(),
                pieces => pieces.concat().into(),
            },
        };
        let fingerprint: [u8; FINGERPRINT] = self.claimed.mark.get(1 + RANDOM..HEAD)?.try_into().ok()?;
        let kept = self.claimed.at_rest.seal(&fingerprint, answer.encode_to_vec())?;
        self.claimed.settle(Some(shaped(ANSWERED, &fingerprint, &kept)));
        None
    }
}
