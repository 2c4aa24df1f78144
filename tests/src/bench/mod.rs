//! What a request costs: the gateway beside a bare reverse proxy, on this machine, in one run.
//!
//! Three things answer the same requests: the upstream itself ([`upstream`], *direct*), a hyper reverse proxy that does
//! nothing ([`floor`]), and the gateway as it is deployed ([`gateway`]: both planes, SQLite, one key). A [`program`] under
//! test has one core for itself; the load generator ([`load`]) and the upstream share the other one, in this process.
//! [`rounds`] runs the same load against each in turn and takes medians, because machines are noisy; [`process`] reads
//! CPU time and memory from `/proc`. [`ledger`] shows what the
//! control plane spends on keeping the usage, on SQLite and on Postgres. Some loads pass as they are; where client and upstream speak different [`dialect`]s
//! the gateway translates, and the floor passes what the upstream says. Beyond the request path, [`slow_streams`] shows
//! what an idle stream holds, [`large_requests`] what two long [`conversation`]s do, [`first_request`] how soon `omniroute
//! up` serves, and [`scale`] what 100,000 keys (put there by [`seed`]) cost.
//!
//! [`report`] prints all of it next to the targets. A missed target is said, and is no failure; a failed request is.

mod answers;
mod conversation;
mod cores;
mod dialect;
mod first_request;
pub mod floor;
mod gateway;
mod large_requests;
mod ledger;
mod load;
mod options;
mod process;
mod program;
mod question;
mod report;
mod rest;
mod rounds;
mod scale;
mod scenario;
mod seed;
mod site;
mod slow_streams;
mod summary;
mod upstream;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};

pub use self::options::Options;
use self::{
    cores::Cores,
    gateway::Gateway,
    options::Plan,
    process::Memory,
    program::Program,
    report::{Idle, Report},
    rounds::Rounds,
    site::Site,
    upstream::Upstream,
};

/// Whatever happens, it is over by then.
const LONGEST: Duration = Duration::from_mins(15);
/// How long a process is left alone before its idle memory is read.
const SETTLED: Duration = Duration::from_secs(2);

/// Runs everything that was asked for, prints the table and writes the file.
///
/// # Errors
/// When a process does not start, a request fails, or it takes far too long. Every process that was started has ended.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let report = tokio::select! {
        report = tokio::time::timeout(LONGEST, measure(&options)) => report.context("it took too long")??,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminate.recv() => bail!("told to stop"),
    };
    summary::print(&report);
    report.write(options.out.as_deref())?;
    ensure!(report.failed_requests() == 0, "{} requests failed", report.failed_requests());
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let plan = Plan::of(options);
    let cores = Cores::split()?;
    cores.take_load_core()?;
    let upstream = Upstream::start().await?;
    let mut report = Report::new(options, &cores);

    if plan.wants_gateway() {
        summary::step("starting the floor and the gateway");
        let floor_site = Site::new()?;
        let floor = start_floor(&floor_site, upstream.address(), &cores).await?;
        let secure_site = Site::new()?.trusting(upstream.ca());
        let secure_floor = start_secure_floor(&secure_site, &upstream, &cores).await?;
        let gateway = Gateway::start(Site::new()?.trusting(upstream.ca()), &cores, &upstream).await?;
        tokio::time::sleep(SETTLED).await;
        report.idle = Some(Idle {
            floor: Memory::of(floor.pid())?,
            proxy: Memory::of(gateway.proxy.pid())?,
            control_plane: Memory::of(gateway.control_plane.pid())?,
        });
        let rounds = Rounds {
            upstream: upstream.address(),
            floor: &floor,
            floor_address: floor_site.proxy,
            secure_floor: &secure_floor,
            secure_floor_address: secure_site.proxy,
            gateway: &gateway,
            count: plan.rounds,
            length: plan.round,
        };
        if plan.slow_streams {
            summary::step("slow streams");
            report.slow_streams = Some(slow_streams::measure(&rounds, plan.slow_stream_count).await?);
        }
        for scenario in &plan.scenarios {
            summary::step(scenario.name);
            report.scenarios.push(rounds.measure(scenario).await?);
        }
        for scenario in &plan.translations {
            summary::step(scenario.name);
            report.translations.push(rounds.measure(scenario).await?);
        }
        report.loaded = Some(Idle {
            floor: Memory::of(floor.pid())?,
            proxy: Memory::of(gateway.proxy.pid())?,
            control_plane: Memory::of(gateway.control_plane.pid())?,
        });
    }
    if plan.ledger {
        summary::step("the ledger");
        report.ledger = ledger::measure(&cores, &upstream, plan.rounds, plan.round).await.context("the ledger")?;
    }
    if plan.large_requests {
        summary::step("large requests");
        report.large_requests = Some(large_requests::measure(&cores, &upstream).await.context("large requests")?);
    }
    if plan.first_request {
        summary::step("`omniroute up` to the first answer");
        report.first_request = Some(first_request::measure(&cores, upstream.address()).await?);
    }
    if plan.scale {
        summary::step("100,000 keys and 10,000 connections");
        report.scale = Some(scale::measure(&cores, upstream.address(), plan.edits).await?);
    }
    Ok(report)
}

/// The bare reverse proxy in front of the upstream behind TLS.
async fn start_secure_floor(site: &Site, upstream: &Upstream, cores: &Cores) -> anyhow::Result<Program> {
    let environment = [
        ("LISTEN", site.proxy.to_string()),
        ("UPSTREAM", upstream.secure_address().to_string()),
        ("UPSTREAM_TLS_CA", upstream.ca().display().to_string()),
    ];
    let mut floor = Program::start("floor", environment, cores.program(), &site.root().join("floor.log"))?;
    floor.wait_for(site.proxy, Duration::from_secs(5)).await?;
    Ok(floor)
}

/// The bare reverse proxy in front of `upstream`.
async fn start_floor(site: &Site, upstream: SocketAddr, cores: &Cores) -> anyhow::Result<Program> {
    let environment = [("LISTEN", site.proxy.to_string()), ("UPSTREAM", upstream.to_string())];
    let mut floor = Program::start("floor", environment, cores.program(), &site.root().join("floor.log"))?;
    floor.wait_for(site.proxy, Duration::from_secs(5)).await?;
    Ok(floor)
}
