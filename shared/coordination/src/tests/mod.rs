//! One suite for both implementations, and what only a shared one can get wrong.

mod fleet;
mod outage;
mod server;
mod stores;
mod suite;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use omniroute_core::time::{Clock as _, SystemClock, UnixMillis};

use crate::{Coordination, RedisCoordination};

/// How long a test waits for what must happen; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn from_now(ms: u64) -> UnixMillis {
    SystemClock.now().saturating_add(Duration::from_millis(ms))
}

/// A name that no other test uses, on a server that may be shared.
fn unique(name: &str) -> String {
    format!("{name}-{:016x}", rand::random::<u64>())
}

/// Polls until `condition` holds and says how long it took.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

fn is_cooling(who: &dyn Coordination, id: &str) -> bool {
    who.cooling(id).is_some()
}

/// An instance on `url`, once it is connected.
async fn instance(url: &str) -> RedisCoordination {
    let instance = RedisCoordination::connect(url, Arc::new(SystemClock)).expect("a usable URL");
    eventually("connected", || instance.health().connected).await;
    instance
}
