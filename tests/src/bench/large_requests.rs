//! What large requests hold: resident memory with two of 3 MB in the gateway at once, less what it was before.
//!
//! The upstream answers neither before it has both as a whole, so that both are there together. What is judged is the
//! peak, which lies before: while one is translated, it exists twice. Each is measured on programs that have done next
//! to nothing before; memory that an allocator has kept from other work would hide what these take.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::{
    cores::Cores,
    dialect::Dialect,
    gateway::Gateway,
    load::{Clients, prove},
    process::Memory,
    program::Program,
    question::{Ask, Kind, Prompt, Question},
    site::Site,
    start_floor,
    upstream::{HELD_TOGETHER, Upstream},
};

pub(super) const BYTES: usize = 3_000_000;
/// Memory is read this often.
const LOOK: Duration = Duration::from_millis(2);
/// How often it is done; the most counts.
const TIMES: u32 = 3;
/// How long a process is left alone before its memory is read.
const SETTLED: Duration = Duration::from_secs(1);

const TRANSLATED: Ask = Ask {
    kind: Kind::Held,
    prompt: Prompt::Conversation(BYTES),
    client: Dialect::Messages,
    upstream: Dialect::Chat,
    secure: false,
};

#[derive(Debug, Serialize)]
pub(super) struct LargeRequests {
    pub(super) requests: usize,
    pub(super) bytes: usize,
    pub(super) floor: Added,
    pub(super) passed: Added,
    pub(super) translated: Added,
}

/// Resident bytes beyond those before.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Added {
    /// At any moment.
    pub(super) peak: u64,
    /// While the upstream had both and answered neither.
    pub(super) waiting: u64,
}

pub(super) async fn measure(cores: &Cores, upstream: &Upstream) -> anyhow::Result<LargeRequests> {
    let passed = TRANSLATED.untranslated();
    let site = Site::new()?;
    let floor = start_floor(&site, upstream.address(), cores).await?;
    let floor = added(&floor, site.proxy, "no key", &passed, upstream).await.context("floor")?;
    let mut gateways = [Added::default(); 2];
    for (ask, gateway_added) in [passed, TRANSLATED].iter().zip(&mut gateways) {
        let gateway = Gateway::start(Site::new()?.trusting(upstream.ca()), cores, upstream).await?;
        *gateway_added = added(&gateway.proxy, gateway.site.proxy, &gateway.key, ask, upstream).await?;
    }
    let [passed, translated] = gateways;
    Ok(LargeRequests { requests: HELD_TOGETHER, bytes: BYTES, floor, passed, translated })
}

async fn added(
    program: &Program,
    address: SocketAddr,
    key: &str,
    ask: &Ask,
    upstream: &Upstream,
) -> anyhow::Result<Added> {
    // A small one of the same way, so that what is made once is there.
    let small = Ask { kind: Kind::Chat, prompt: Prompt::Conversation(0), ..*ask };
    prove(address, &Question::new(&small, address, key)?).await?;
    tokio::time::sleep(SETTLED).await;
    let before = Memory::of(program.pid())?;
    let mut clients = Clients::connect(Question::new(ask, address, key)?, address, HELD_TOGETHER).await?;
    let mut most = Added::default();
    for _ in 0..TIMES {
        let peak_is_fresh = Memory::forget_peak(program.pid());
        let mut look = |peak: bool| -> anyhow::Result<()> {
            let now = Memory::of(program.pid())?;
            let since = now.added_since(before);
            most.peak = most.peak.max(since.resident);
            if peak {
                most.peak = most.peak.max(now.peak.saturating_sub(before.resident));
            }
            if upstream.holds_all() {
                most.waiting = most.waiting.max(since.resident);
            }
            Ok(())
        };
        let mut under_way = std::pin::pin!(clients.run(Duration::ZERO, 0));
        let outcome = loop {
            match tokio::time::timeout(LOOK, under_way.as_mut()).await {
                Ok(outcome) => break outcome?,
                Err(_) => look(false)?,
            }
        };
        look(peak_is_fresh)?;
        let shown = outcome.first_failure.as_deref().unwrap_or_default();
        ensure!(outcome.failed == 0, "{} large requests failed: {shown}", outcome.failed);
    }
    ensure!(most.waiting > 0, "the two large requests were never there together");
    Ok(most)
}
