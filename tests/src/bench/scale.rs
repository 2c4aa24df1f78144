//! A large configuration: how soon a fresh proxy is ready with it, and what one edit of it costs.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::{
    cores::Cores,
    dialect::Dialect,
    gateway::{start_control_plane, start_proxy},
    process::{CpuTime, Memory},
    program::Program,
    question::{Ask, Kind, Question},
    rest::{self, Rest},
    rounds::median,
    seed::{self, seed},
    site::Site,
};

const KEYS: usize = 100_000;
const CONNECTIONS: usize = 10_000;

/// An edit is looked for this often.
const POLL: Duration = Duration::from_millis(1);
const REACHES: Duration = Duration::from_secs(10);
/// CPU time of an edit is what is used within this time.
const WINDOW: Duration = Duration::from_millis(300);
/// Background work of the start is over by then.
const SETTLED: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
pub(super) struct Scale {
    pub(super) keys: usize,
    pub(super) connections: usize,
    pub(super) seeding_s: f64,
    /// From the start of a control plane on that database to ready.
    pub(super) control_plane_ready_s: f64,
    /// From the start of a proxy that has no copy on disk to ready.
    pub(super) proxy_ready_s: f64,
    /// The same with a copy.
    pub(super) proxy_ready_from_disk_s: f64,
    /// CPU time of a proxy until it is ready: a full load.
    pub(super) full_load_cpu_ms: f64,
    /// From sending a PATCH or DELETE of a key to the proxy's refusing the key: median and the longest.
    pub(super) edit_ms: f64,
    pub(super) longest_edit_ms: f64,
    /// CPU time of a proxy for one edit, beyond what it uses at rest in the same time.
    pub(super) edit_cpu_ms: f64,
    /// CPU time of the control plane for one edit, likewise.
    pub(super) edit_control_plane_cpu_ms: f64,
    pub(super) proxy_memory: Memory,
    pub(super) control_plane_memory: Memory,
}

pub(super) async fn measure(cores: &Cores, upstream: SocketAddr, edits: usize) -> anyhow::Result<Scale> {
    let site = Site::new()?;
    // The first start makes the tables, the settings and the password.
    let control_plane = start_control_plane(&site, cores.all()).await?;
    Rest::sign_in(site.control_plane).await?.add_provider(upstream, Dialect::Chat).await?;
    drop(control_plane);

    let started = Instant::now();
    let directory = site.root().join("control-plane");
    let seeded = seed(&directory, KEYS, CONNECTIONS, &format!("http://{upstream}/v1")).await?;
    let seeding_s = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let control_plane = start_control_plane(&site, cores.all()).await?;
    let control_plane_ready_s = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let proxy = start_proxy(&site, "large", cores.all()).await?;
    let proxy_ready_s = started.elapsed().as_secs_f64();
    let full_load_cpu_ms = CpuTime::of(proxy.pid())?.total().as_secs_f64() * 1e3;
    accepts(&site, 0).await?;
    tokio::time::sleep(SETTLED).await;

    let bench = Edits { site: &site, rest: Rest::sign_in(site.control_plane).await? };
    let mut took = Vec::with_capacity(edits);
    for number in 0..edits {
        took.push(bench.reach(number).await?.as_secs_f64() * 1e3);
    }
    let [edit_cpu_ms, edit_control_plane_cpu_ms] = bench.cost(edits, &proxy, &control_plane).await?;
    let proxy_memory = Memory::of(proxy.pid())?;
    let control_plane_memory = Memory::of(control_plane.pid())?;

    drop(proxy);
    let started = Instant::now();
    let proxy = start_proxy(&site, "large", cores.all()).await?;
    let proxy_ready_from_disk_s = started.elapsed().as_secs_f64();
    accepts(&site, KEYS - 1).await?;
    drop(proxy);

    Ok(Scale {
        keys: seeded.keys,
        connections: seeded.connections,
        seeding_s,
        control_plane_ready_s,
        proxy_ready_s,
        proxy_ready_from_disk_s,
        full_load_cpu_ms,
        edit_ms: median(took.iter().copied()),
        longest_edit_ms: took.iter().copied().fold(0.0, f64::max),
        edit_cpu_ms,
        edit_control_plane_cpu_ms,
        proxy_memory,
        control_plane_memory,
    })
}

/// Edits of seeded keys.
struct Edits<'a> {
    site: &'a Site,
    rest: Rest,
}

// === impl Edits ===

impl Edits<'_> {
    /// How long it takes from the edit of a key to its refusal: switched off, or deleted, in turn.
    async fn reach(&self, number: usize) -> anyhow::Result<Duration> {
        let question = question(self.site, number)?;
        accepts(self.site, number).await?;
        let path = format!("/api/keys/{}", seed::key_id(number));
        let started = Instant::now();
        if number.is_multiple_of(2) {
            self.rest.call(Method::PATCH, &path, Some(&json!({"isActive": false}))).await?;
        } else {
            self.rest.call(Method::DELETE, &path, None).await?;
        }
        loop {
            let answer = rest::ask(self.site.proxy, &question).await?;
            if answer.status == StatusCode::UNAUTHORIZED {
                return Ok(started.elapsed());
            }
            ensure!(answer.status.is_success(), "between the edit and its effect: {}", answer.text());
            ensure!(started.elapsed() < REACHES, "an edit does not reach the proxy within {REACHES:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// CPU time in milliseconds of proxy and control plane for one edit, with nothing else going on.
    async fn cost(&self, edits: usize, proxy: &Program, control_plane: &Program) -> anyhow::Result<[f64; 2]> {
        let (mut idle, mut edited) = ([vec![], vec![]], [vec![], vec![]]);
        for number in 0..edits {
            for (spent, is_edit) in [(&mut idle, false), (&mut edited, true)] {
                let before = [CpuTime::of(proxy.pid())?, CpuTime::of(control_plane.pid())?];
                let started = Instant::now();
                if is_edit {
                    // Behind those that were switched off or deleted.
                    let path = format!("/api/keys/{}", seed::key_id(KEYS / 2 + number));
                    self.rest.call(Method::PATCH, &path, Some(&json!({"name": format!("edited {number}")}))).await?;
                }
                tokio::time::sleep(WINDOW.saturating_sub(started.elapsed())).await;
                for (spent, before) in spent.iter_mut().zip(before) {
                    spent.push(before.since()?.as_secs_f64() * 1e3);
                }
            }
        }
        let median_of = |spent: &[Vec<f64>; 2], which: usize| median(spent[which].iter().copied());
        Ok([0, 1].map(|which| (median_of(&edited, which) - median_of(&idle, which)).max(0.0)))
    }
}

fn question(site: &Site, number: usize) -> anyhow::Result<Question> {
    Question::new(&Ask::chat(Kind::Chat, 900), site.proxy, &seed::secret(number))
}

async fn accepts(site: &Site, number: usize) -> anyhow::Result<()> {
    question(site, number)?.until_answered(site.proxy, REACHES).await.context("a seeded key")
}
