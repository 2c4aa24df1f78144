//! The gateway under test: the real programs, with one provider and one key.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::thread::CpuSet;

use super::{
    cores::Cores,
    dialect::Dialect,
    program::Program,
    question::{Ask, Kind, Question},
    rest::{self, Rest},
    site::Site,
    upstream::Upstream,
};

const START: Duration = Duration::from_secs(30);
/// An edit may take so long to reach the proxy.
const REACHES: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);
/// Usage events gather so long before they are sent; the gauge tells nothing until then.
const LINGER: Duration = Duration::from_millis(500);
const DELIVERED: Duration = Duration::from_secs(30);

/// Both planes. Dropped in this order: the proxy first.
pub(super) struct Gateway {
    pub(super) proxy: Program,
    pub(super) control_plane: Program,
    pub(super) key: String,
    pub(super) site: Site,
}

// === impl Gateway ===

impl Gateway {
    /// Starts both planes, in front of both faces of the upstream, the proxy on a core of its own, and configures them through REST.
    pub(super) async fn start(site: Site, cores: &Cores, upstream: &Upstream) -> anyhow::Result<Self> {
        let gateway = Self::start_at_full_share(site, cores, upstream).await?;
        // It shares a core with the load, which must not wait for it. It catches up when a round is over.
        gateway.control_plane.step_back()?;
        Ok(gateway)
    }

    /// The same, and the control plane runs whenever it has something to do.
    pub(super) async fn start_at_full_share(site: Site, cores: &Cores, upstream: &Upstream) -> anyhow::Result<Self> {
        let control_plane = start_control_plane(&site, cores.load()).await?;
        let rest = Rest::sign_in(site.control_plane).await?;
        for dialect in [Dialect::Chat, Dialect::Messages] {
            rest.add_provider(upstream.address(), dialect).await?;
        }
        rest.add_secure_provider(upstream.secure_address()).await?;
        let key = rest.add_key().await?;
        let proxy = start_proxy(&site, "proxy", cores.program()).await?;
        let gateway = Self { proxy, control_plane, key, site };
        let question = Question::new(&Ask::chat(Kind::Chat, 900), gateway.site.proxy, &gateway.key)?;
        question.until_answered(gateway.site.proxy, REACHES).await?;
        Ok(gateway)
    }

    /// Waits until the control plane has taken every usage event, which is part of what a request costs.
    pub(super) async fn delivered(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DELIVERED;
        loop {
            tokio::time::sleep(LINGER).await;
            let page = rest::get(self.site.proxy, "/metrics").await.context("no metrics")?;
            let page = String::from_utf8_lossy(&page.body);
            let pending = page.lines().find_map(|line| line.strip_prefix("omniroute_journal_pending_events "));
            match pending.map(str::trim).map(str::parse::<f64>) {
                Some(Ok(0.0)) => return Ok(()),
                Some(Ok(_)) if Instant::now() < deadline => {}
                Some(Ok(pending)) => bail!("{pending} usage events are not delivered after {DELIVERED:?}"),
                _ => bail!("the metrics do not tell the usage events that are pending"),
            }
        }
    }
}

impl Question {
    /// Asks until the answer is 200.
    pub(super) async fn until_answered(&self, address: SocketAddr, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let answer = rest::ask(address, self).await;
            match answer {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                _ if Instant::now() < deadline => tokio::time::sleep(POLL).await,
                Ok(answer) => bail!("no answer within {limit:?}: {}", answer.text()),
                Err(error) => return Err(error.context(format!("no answer within {limit:?}"))),
            }
        }
    }
}

pub(super) async fn start_control_plane(site: &Site, cores: CpuSet) -> anyhow::Result<Program> {
    let log = site.root().join("control-plane.log");
    let mut program = Program::start("omniroute-control-plane", site.of_control_plane(), cores, &log)?;
    until_ready(&mut program, site.control_plane).await?;
    Ok(program)
}

/// `name` is also that of its directory.
pub(super) async fn start_proxy(site: &Site, name: &str, cores: CpuSet) -> anyhow::Result<Program> {
    let log = site.root().join(format!("{name}.log"));
    let mut program = Program::start("omniroute-data-plane", site.of_proxy(name), cores, &log)?;
    until_ready(&mut program, site.proxy).await?;
    Ok(program)
}

async fn until_ready(program: &mut Program, address: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + START;
    loop {
        program.check()?;
        if rest::get(address, "/readyz").await.is_some_and(|answer| answer.status.is_success()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("not ready after {START:?}; it said:\n{}", program.last_words());
        }
        tokio::time::sleep(POLL).await;
    }
}
