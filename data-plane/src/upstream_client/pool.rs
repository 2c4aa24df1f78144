//! Connections by origin, and who gets which.
//!
//! A connection whose address the operator does not allow any more is not given out again. Connections are bounded by the
//! requests that run: one is opened only for a request for which no other has room. A request waits, though never longer
//! than its connect timeout, where a connection that is being opened will have room for it too.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Uri, uri::Authority};
use http_body::Body;
use omniroute_egress::OutboundProxy;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior},
};

use super::{
    CallErrorKind, POOL_IDLE,
    connect::Connector,
    http1::{Http1, host_header},
    http2::{self, Http2, STREAMS, StreamCheckout},
};

/// How often connections are looked at that have been idle too long.
const SWEEP: Duration = Duration::from_secs(10);

/// So long a connection that has just been opened is expected to have room for more than who opened it.
const SETTLING: Duration = Duration::from_secs(1);

/// The pool; clones share it.
pub(super) struct Pool<B>(Arc<Inner<B>>);

struct Inner<B> {
    connector: Connector,
    /// Idle HTTP/1 connections per origin.
    most_idle: usize,
    origins: Mutex<Origins<B>>,
}

struct Origins<B> {
    all: HashMap<Key, Arc<Origin<B>>>,
    /// Somebody looks after them.
    is_swept: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    /// Which proxy is between, and whether TLS is spoken.
    way: u64,
    authority: Authority,
}

/// The connections to one origin.
pub(super) struct Origin<B> {
    uri: Uri,
    through: Option<Arc<OutboundProxy>>,
    host: HeaderValue,
    most_idle: usize,
    connections: Mutex<Connections<B>>,
    waiters: Arc<Waiters>,
}

struct Connections<B> {
    /// Those that are free; the one that was used last is at the end.
    #[expect(clippy::vec_box, reason = "each goes in and out once a request, as a pointer")]
    http1: Vec<Box<Http1<B>>>,
    http2: Vec<Http2>,
    /// What the newest connection speaks; `None` before the first.
    speaks: Option<Protocol>,
    /// Connections that are being opened.
    opening: usize,
    /// The last attempt to open one failed, so nobody relies on another's.
    failed: bool,
    /// Streams that the peer took on the newest HTTP/2 connection.
    room: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Tells those who wait that a look at the pool may be worth it.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    notify: Notify,
    waiting: AtomicUsize,
}

/// A connection, or a part of one, for one request.
pub(super) enum PooledConnection<B> {
    Http1(Box<Http1<B>>),
    Http2(http2::Stream),
}

/// What it takes to get a connection where none is free.
pub(super) enum CheckoutMiss {
    /// One has to be opened.
    Connect,
    /// One that is being opened will have room.
    Wait,
}

/// A connection is being opened; tells those who wait for it when that is over, however it ends.
struct Connecting<'o, B>(&'o Origin<B>);

/// Waits for a connection.
struct Waiter<'f>(&'f Waiters);

// === impl Pool ===

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(connector: Connector, most_idle: usize) -> Self {
        let origins = Origins { all: HashMap::new(), is_swept: false };
        Self(Arc::new(Inner { connector, most_idle, origins: Mutex::new(origins) }))
    }

    /// The origin of `uri` as it is reached `through` a proxy, or directly; `None` when there is none.
    pub(super) fn origin(&self, uri: &Uri, through: Option<&Arc<OutboundProxy>>) -> Option<Arc<Origin<B>>> {
        let is_secure = uri.scheme_str()? == "https";
        let authority = uri.authority()?;
        // No proxy has the route 0.
        let way = (through.map_or(0, |proxy| proxy.route()) << 1) | u64::from(is_secure);
        let key = Key { way, authority: authority.clone() };
        let mut origins = self.0.origins.lock();
        if let Some(origin) = origins.all.get(&key) {
            return Some(Arc::clone(origin));
        }
        // Nothing of the first request's path is kept: some providers have the credential in there.
        let scheme = uri.scheme_str()?;
        let origin = Arc::new(Origin {
            uri: Uri::builder().scheme(scheme).authority(authority.clone()).path_and_query("/").build().ok()?,
            through: through.map(Arc::clone),
            host: host_header(uri)?,
            most_idle: self.0.most_idle,
            connections: Mutex::new(Connections {
                http1: Vec::new(),
                http2: Vec::new(),
                // HTTP/2 is agreed upon in the TLS handshake only.
                speaks: (!is_secure).then_some(Protocol::Http1),
                opening: 0,
                failed: false,
                room: STREAMS,
            }),
            waiters: Arc::default(),
        });
        origins.all.insert(key, Arc::clone(&origin));
        if !std::mem::replace(&mut origins.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
        Some(origin)
    }

    /// A connection to `origin` that can take a request, or what [`Self::wait`] has to do to get one.
    pub(super) fn checkout(&self, origin: &Arc<Origin<B>>) -> Result<PooledConnection<B>, CheckoutMiss> {
        origin.next(&self.0.connector, origin.waiters.waiting())
    }

    /// A connection to `origin` that can take a request, within `limit`, now that [`Self::checkout`] found none.
    ///
    /// # Errors
    /// With why it failed.
    pub(super) async fn wait(
        &self,
        origin: &Arc<Origin<B>>,
        miss: CheckoutMiss,
        limit: Duration,
    ) -> Result<PooledConnection<B>, CallErrorKind> {
        let until = Instant::now() + limit;
        if let CheckoutMiss::Connect = miss {
            return self.open(origin, limit).await;
        }
        loop {
            let waiting = Waiter::new(&origin.waiters);
            let mut told = std::pin::pin!(origin.waiters.notify.notified());
            // Listens before it looks, so that nothing can become free unnoticed in between.
            told.as_mut().enable();
            match origin.next(&self.0.connector, origin.waiters.waiting().saturating_sub(1)) {
                Ok(pooled) => return Ok(pooled),
                Err(CheckoutMiss::Connect) => {
                    drop(waiting);
                    return self.open(origin, until.saturating_duration_since(Instant::now())).await;
                }
                Err(CheckoutMiss::Wait) => {
                    // Nobody tells when what is waited for has become too old to be relied on.
                    let look = until.min(Instant::now() + SETTLING);
                    let is_told = tokio::time::timeout_at(look, told).await.is_ok();
                    if !is_told && Instant::now() >= until {
                        return Err(CallErrorKind::ConnectTimeout);
                    }
                }
            }
        }
    }

    /// Opens a connection; [`Origin::next`] has counted it.
    async fn open(&self, origin: &Arc<Origin<B>>, limit: Duration) -> Result<PooledConnection<B>, CallErrorKind> {
        let _connecting = Connecting(origin);
        let opened = self.opened(origin, limit).await;
        let mut connections = origin.connections.lock();
        connections.failed = opened.is_err();
        let (connection, pooled) = opened?;
        connections.speaks = Some(if connection.is_some() { Protocol::Http2 } else { Protocol::Http1 });
        connections.http2.extend(connection);
        Ok(pooled)
    }

    async fn opened(
        &self,
        origin: &Arc<Origin<B>>,
        limit: Duration,
    ) -> Result<(Option<Http2>, PooledConnection<B>), CallErrorKind> {
        let begun = Instant::now();
        let until = begun + limit;
        let connected = match &origin.through {
            None => self.0.connector.connect(origin.uri.clone(), limit).await?,
            Some(proxy) => {
                let connected = Box::pin(self.0.connector.connect_through(proxy, &origin.uri, limit)).await?;
                proxy.used().opened(begun.elapsed());
                connected
            }
        };
        let handshake = async {
            if connected.is_http2 {
                let (connection, stream) = Http2::open(connected, &origin.waiters).await?;
                return Ok((Some(connection), PooledConnection::Http2(stream)));
            }
            Ok((None, PooledConnection::Http1(Http1::open(connected).await?)))
        };
        tokio::time::timeout_at(until, handshake).await.unwrap_or(Err(CallErrorKind::ConnectTimeout))
    }
}

/// Closes what has been idle too long, and forgets origins without connections, as long as there is a pool.
async fn sweep<B>(pool: Weak<Inner<B>>)
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        let mut origins = pool.origins.lock();
        origins.all.retain(|_, origin| !origin.sweep(&pool.connector) || Arc::strong_count(origin) > 1);
        if origins.all.is_empty() {
            origins.is_swept = false;
            return;
        }
    }
}

// === impl Origin ===

impl<B> Origin<B> {
    pub(super) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Takes back a connection that is free.
    pub(super) fn keep(&self, connection: Box<Http1<B>>) {
        let mut connections = self.connections.lock();
        if connections.http1.len() < self.most_idle {
            connections.http1.push(connection);
        }
    }
}

impl<B> Origin<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A connection for a request, or how it gets one. [`CheckoutMiss::Connect`] has been counted: [`Connecting`] takes it
    /// off.
    /// `others`: requests that wait.
    fn next(&self, connector: &Connector, others: usize) -> Result<PooledConnection<B>, CheckoutMiss> {
        let mut connections = self.connections.lock();
        if let Some(pooled) = connections.checkout(connector) {
            return Ok(pooled);
        }
        if connections.may_wait(others) {
            return Err(CheckoutMiss::Wait);
        }
        connections.opening += 1;
        Err(CheckoutMiss::Connect)
    }

    /// Whether nothing is left of it.
    fn sweep(&self, connector: &Connector) -> bool {
        let now = Instant::now();
        let is_old = |since: Option<Instant>| since.is_some_and(|since| now >= since + POOL_IDLE);
        let mut connections = self.connections.lock();
        connections.http1.retain_mut(|one| !is_old(one.idle_since) && one.is_ready() && connector.allows(one.peer));
        connections.http2.retain(|one| !is_old(one.idle_since()) && !one.is_closed() && connector.allows(one.peer));
        connections.http1.is_empty() && connections.http2.is_empty() && connections.opening == 0
    }
}

// === impl Connections ===

impl<B> Connections<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// The oldest HTTP/2 connection with room, so that those behind it become idle when there is less to do; else the
    /// HTTP/1 connection that was used last.
    fn checkout(&mut self, connector: &Connector) -> Option<PooledConnection<B>> {
        let mut at = 0;
        while let Some(connection) = self.http2.get(at) {
            match connector.allows(connection.peer).then(|| connection.checkout()) {
                Some(StreamCheckout::Stream(stream)) => return Some(PooledConnection::Http2(stream)),
                Some(StreamCheckout::Full) => at += 1,
                // What is on it goes on to its end.
                Some(StreamCheckout::Closed) | None => drop(self.http2.remove(at)),
            }
        }
        while let Some(mut connection) = self.http1.pop() {
            let is_young = connection.idle_since.is_some_and(|since| since.elapsed() < POOL_IDLE);
            if is_young && connection.is_ready() && connector.allows(connection.peer) {
                return Some(PooledConnection::Http1(connection));
            }
        }
        None
    }

    /// Whether a connection that is about to be ready will have room for one request more than those that wait.
    fn may_wait(&mut self, others: usize) -> bool {
        if let Some(limit) = self.http2.iter().rev().find_map(Http2::limit) {
            self.room = limit.max(1);
        }
        if self.failed {
            return false;
        }
        match self.speaks {
            Some(Protocol::Http1) => false,
            None => self.opening > 0,
            Some(Protocol::Http2) => {
                // One whose peer says nothing for long is not relied on.
                let is_new = |one: &&Http2| one.limit().is_none() && one.opened_at.elapsed() < SETTLING;
                let soon = self.opening + self.http2.iter().filter(is_new).count();
                // Whoever opens one takes a stream of it.
                others < soon * (self.room - 1)
            }
        }
    }
}

// === impl Connecting ===

impl<B> Drop for Connecting<'_, B> {
    fn drop(&mut self) {
        self.0.connections.lock().opening -= 1;
        self.0.waiters.tell();
    }
}

// === impl Waiters ===

impl Waiters {
    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(super) fn tell(&self) {
        if self.waiting() > 0 {
            self.notify.notify_waiters();
        }
    }
}

// === impl Waiter ===

impl<'f> Waiter<'f> {
    fn new(waiters: &'f Waiters) -> Self {
        waiters.waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiters)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
