//! Noticing that the configuration changed: at once when this process wrote, by NOTIFY when another replica did, and
//! by a look every second, so that a lost notification costs a second and not an edit.

use std::time::Duration;

use omniroute_core::settings::Secret;
use sqlx::postgres::PgListener;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use super::Publisher;
use crate::store::{Engine, NOTIFY_CHANNEL};

const POLL: Duration = Duration::from_secs(1);

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
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Ok(()) = committed.changed() => {}
            Some(()) = notified.recv() => {}
            _ = poll.tick() => {}
        }
        publisher.0.updates.expire();
        match publisher.refresh().await {
            Ok(()) => failing = false,
            Err(error) if failing => tracing::debug!(%error, "the configuration still cannot be read"),
            Err(error) => {
                failing = true;
                tracing::error!(%error, "the configuration cannot be read; proxies keep what they have");
            }
        }
    }
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
