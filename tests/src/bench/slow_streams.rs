//! What streams hold while they wait for the model: resident memory with many of them open, less what it was before.

use std::{net::SocketAddr, time::Duration};

use anyhow::ensure;
use serde::Serialize;

use super::{
    load::Clients,
    process::Memory,
    program::Program,
    question::{Ask, Kind, Question},
    rounds::Rounds,
};

/// Memory is read this often while they are open.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize)]
pub(super) struct SlowStreams {
    pub(super) streams: usize,
    pub(super) floor_added: Memory,
    pub(super) gateway_added: Memory,
    pub(super) failed: u64,
}

pub(super) async fn measure(rounds: &Rounds<'_>, streams: usize) -> anyhow::Result<SlowStreams> {
    let gateway = rounds.gateway;
    let (floor_added, failed) = added(rounds.floor, rounds.floor_address, &gateway.key, streams).await?;
    let (gateway_added, also) = added(&gateway.proxy, gateway.site.proxy, &gateway.key, streams).await?;
    gateway.delivered().await?;
    Ok(SlowStreams { streams, floor_added, gateway_added, failed: failed + also })
}

/// The most that `program` held beyond what it held before.
async fn added(program: &Program, address: SocketAddr, key: &str, streams: usize) -> anyhow::Result<(Memory, u64)> {
    let before = Memory::of(program.pid())?;
    let mut clients =
        Clients::connect(Question::new(&Ask::chat(Kind::Slow, 900), address, key)?, address, streams).await?;
    let open = clients.run(Duration::ZERO, 0);
    let mut open = std::pin::pin!(open);
    let mut most = before;
    let outcome = loop {
        match tokio::time::timeout(LOOK, open.as_mut()).await {
            Ok(outcome) => break outcome?,
            Err(_) => most = most.larger(Memory::of(program.pid())?),
        }
    };
    let shown = outcome.first_failure.as_deref().unwrap_or("too many");
    ensure!(outcome.requests == streams as u64, "{} slow streams instead of {streams}: {shown}", outcome.requests);
    let failed = outcome.failed;
    ensure!(failed == 0, "{failed} slow streams failed: {shown}");
    Ok((most.added_since(before), failed))
}
