//! What the control plane spends on a usage event, on either database: CPU time of its process, while a proxy hands over what
//! clients of chat make.
//!
//! The control plane has its full share of a core here, as it has where it is deployed. In [`super::rounds`] it steps back, and
//! then gets the events of a whole round in batches that are as large as they can be.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{
    cores::Cores,
    gateway::Gateway,
    load::Clients,
    process::CpuTime,
    question::{Ask, Kind, Question},
    rounds::median,
    site::Site,
    summary,
    upstream::Upstream,
};

const CLIENTS: usize = 16;
/// Events of a round at most.
const MOST: u64 = 20_000;
/// Makes connections, statements and partitions, without being measured.
const PRIME: Duration = Duration::from_millis(200);
/// Names the server on which a database for this may be made.
const SERVER: &str = "TEST_DATABASE_URL";

/// On one database.
#[derive(Debug, Serialize)]
pub(super) struct Ledger {
    pub(super) database: &'static str,
    /// CPU time of the control plane per event, in microseconds: the median of the rounds, the smallest and the largest.
    pub(super) cpu_us: f64,
    pub(super) cpu_us_range: [f64; 2],
    /// Of all rounds.
    pub(super) events: u64,
}

/// A database that is gone when this is.
struct PostgresDatabase {
    server: String,
    name: String,
}

/// On SQLite, and on Postgres when there is a server.
pub(super) async fn measure(
    cores: &Cores,
    upstream: &Upstream,
    rounds: u32,
    length: Duration,
) -> anyhow::Result<Vec<Ledger>> {
    let mut measured = vec![on("SQLite", Site::new()?, cores, upstream, rounds, length).await.context("SQLite")?];
    match std::env::var(SERVER) {
        Ok(server) => {
            let database = PostgresDatabase::create(server).await.context("a database on Postgres")?;
            let site = Site::new()?.on_database(database.url()?);
            let ledger = on("Postgres", site, cores, upstream, rounds, length).await.context("Postgres");
            database.drop().await?;
            measured.push(ledger?);
        }
        Err(_) => summary::step(&format!(
            "{SERVER} names no Postgres, so the ledger is measured on SQLite alone: `tests/scripts/with-services.sh make \
             bench` starts one"
        )),
    }
    Ok(measured)
}

async fn on(
    database: &'static str,
    site: Site,
    cores: &Cores,
    upstream: &Upstream,
    rounds: u32,
    length: Duration,
) -> anyhow::Result<Ledger> {
    let gateway = Gateway::start_at_full_share(site.trusting(upstream.ca()), cores, upstream).await?;
    let address = gateway.site.proxy;
    let question = Question::new(&Ask::chat(Kind::Chat, 900), address, &gateway.key)?;
    let mut clients = Clients::connect(question, address, CLIENTS).await?;
    clients.run(PRIME, MOST).await?;
    gateway.delivered().await?;
    let (mut each, mut events) = (Vec::new(), 0);
    for _ in 0..rounds {
        let cpu = CpuTime::of(gateway.control_plane.pid())?;
        let outcome = clients.run(length, MOST).await?;
        gateway.delivered().await?;
        anyhow::ensure!(outcome.failed == 0, "{} requests failed: {:?}", outcome.failed, outcome.first_failure);
        each.push(cpu.since()?.as_secs_f64() * 1e6 / count(outcome.requests.max(1)));
        events += outcome.requests;
    }
    Ok(Ledger {
        database,
        cpu_us: median(each.iter().copied()),
        cpu_us_range: [each.iter().copied().fold(f64::INFINITY, f64::min), each.iter().copied().fold(0.0, f64::max)],
        events,
    })
}

#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
fn count(count: u64) -> f64 {
    count as f64
}

// === impl PostgresDatabase ===

impl PostgresDatabase {
    async fn create(server: String) -> anyhow::Result<Self> {
        let name = format!("bench_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server).await?;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        Ok(Self { server, name })
    }

    fn url(&self) -> anyhow::Result<String> {
        let mut url: url::Url = self.server.parse()?;
        url.set_path(&self.name);
        Ok(url.into())
    }

    async fn drop(self) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect(&self.server).await?;
        admin.execute(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name))).await?;
        Ok(())
    }
}
