//! From `omniroute up` in an empty directory to the first answer of a provider that was added by then.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::bail;
use serde::Serialize;

use super::{
    cores::Cores,
    dialect::Dialect,
    program::Program,
    question::{Ask, Kind, Question},
    rest::{self, Rest},
    site::Site,
};

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// In seconds since the start.
#[derive(Debug, Serialize)]
pub(super) struct FirstRequest {
    pub(super) control_plane_ready: f64,
    pub(super) provider_added: f64,
    pub(super) key_known: f64,
    pub(super) first_answer: f64,
}

pub(super) async fn measure(cores: &Cores, upstream: SocketAddr) -> anyhow::Result<FirstRequest> {
    let site = Site::new()?;
    let log = site.root().join("up.log");
    let started = Instant::now();
    let mut launcher = Program::start_with("omniroute", &["up"], site.of_launcher(), cores.all(), &log)?;
    while !rest::get(site.control_plane, "/readyz").await.is_some_and(|answer| answer.status.is_success()) {
        wait(&mut launcher, started).await?;
    }
    let control_plane_ready = started.elapsed().as_secs_f64();
    let rest = Rest::sign_in(site.control_plane).await?;
    rest.add_provider(upstream, Dialect::Chat).await?;
    let provider_added = started.elapsed().as_secs_f64();
    // The launcher makes the first key once both planes are ready.
    let file = site.root().join("data").join("api.key");
    let key = loop {
        match std::fs::read_to_string(&file) {
            Ok(key) if !key.trim().is_empty() => break key.trim().to_owned(),
            _ => wait(&mut launcher, started).await?,
        }
    };
    let key_known = started.elapsed().as_secs_f64();
    let question = Question::new(&Ask::chat(Kind::Chat, 900), site.proxy, &key)?;
    question.until_answered(site.proxy, PATIENCE).await?;
    Ok(FirstRequest { control_plane_ready, provider_added, key_known, first_answer: started.elapsed().as_secs_f64() })
}

async fn wait(launcher: &mut Program, started: Instant) -> anyhow::Result<()> {
    launcher.check()?;
    if started.elapsed() > PATIENCE {
        bail!("`omniroute up` takes longer than {PATIENCE:?}; it said:\n{}", launcher.last_words());
    }
    tokio::time::sleep(POLL).await;
    Ok(())
}
