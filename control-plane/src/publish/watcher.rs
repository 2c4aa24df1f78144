//! Noticing that the configuration changed: at once when this process wrote, by NOTIFY when another replica did, and
//! by a look every second, so that a lost notification costs a second and not an edit.

use std::time::Duration;

use omniroute_core::settings::Secret;
use omniroute_telemetry::names;
use sqlx::postgres::PgListener;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use super::Publisher;
use crate::store::{Engine, NOTIFY_CHANNEL, StoreError};

const POLL: Duration = Duration::from_secs(1);

/// While nothing can be published, everything is looked at anew with every so many looks.
const RESCAN_EVERY: u32 = 5;

/// Pause before LISTEN is tried again.
const LISTEN_RETRY: Duration = Duration::from_secs(2);

/// Follows the database until shutdown.
pub(super) async fn run(publisher: Publisher) {
    let shutdown = publisher.0.shutdown.clone();
    let mut committed = publisher.0.store.committed();
    let (notify, mut notified) = mpsc::channel(1);
    if publisher.0.store.engine() == Engine::Postgres {
        let url = publisher.0.store.url().clone();
        let stop = shutdown.clone();
        tokio::spawn(async move { stop.run_until_cancelled(listen(url, notify)).await });
    }
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let mut looks = 0_u32;
    loop {
        let mut anew = false;
        tokio::select! {
            () = shutdown.cancelled() => return,
            Ok(()) = committed.changed() => {}
            Some(()) = notified.recv() => {}
            _ = poll.tick() => {
                looks = looks.wrapping_add(1);
                anew = heartbeat(&publisher).await || (publisher.withheld().is_some() && looks.is_multiple_of(RESCAN_EVERY));
            }
        }
        publisher.0.updates.expire();
        // After an outage the database may be another one, restored and edited to the same revision.
        let done = if anew || failing { publisher.rescan().await } else { publisher.refresh().await };
        match done {
            Ok(()) => failing = false,
            Err(StoreError::RingIncomplete(_)) => failing = false,
            Err(error) if failing => tracing::debug!(%error, "the configuration still cannot be read"),
            Err(error) => {
                failing = true;
                tracing::error!(%error, "the configuration cannot be read; proxies keep what they have");
            }
        }
    }
}

/// Keeps this process's place among the control planes. True when everything must be looked at anew.
async fn heartbeat(publisher: &Publisher) -> bool {
    let store = &publisher.0.store;
    let changed = store.heartbeat().await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the other control planes cannot be seen");
        false
    });
    metrics::gauge!(names::SETTINGS_DIFFER).set(store.differing_settings().len() as f64);
    changed
}

/// Passes on that something was notified; several notifications in a row count as one.
async fn listen(url: Secret, notify: mpsc::Sender<()>) {
    loop {
        if let Err(error) = listen_once(&url, &notify).await {
            tracing::warn!(%error, "LISTEN failed; the look every second goes on");
        }
        sleep(LISTEN_RETRY).await;
    }
}

async fn listen_once(url: &Secret, notify: &mpsc::Sender<()>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect(url.expose()).await?;
    listener.listen(NOTIFY_CHANNEL).await?;
    // `None` says that the connection was lost and made anew: something may have been missed.
    loop {
        let _ = listener.try_recv().await?;
        let _ = notify.try_send(());
    }
}
