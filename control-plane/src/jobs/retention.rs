//! What the store has done for it.

use std::time::Duration;

use omniroute_core::time::UnixMillis;

use super::Job;
use crate::store::Store;

const EVERY: Duration = Duration::from_hours(1);

/// A proxy that was not heard of for this long is struck off the list.
const PROXY_DAYS: u32 = 30;

/// Forgets the configuration log of more than `config_log_days` ago, void commands, and proxies that are long gone.
pub fn retention_jobs(store: &Store, config_log_days: u32) -> Vec<Job> {
    let (log, proxies) = (store.clone(), store.clone());
    vec![
        Job::new("config-log", EVERY, move |lease| {
            let store = log.clone();
            async move { store.config_log().compact(days_ago(&store, config_log_days), &lease).await }
        }),
        Job::new("lost-proxies", EVERY, move |_| {
            let store = proxies.clone();
            async move { store.proxies().purge(days_ago(&store, PROXY_DAYS)).await }
        }),
    ]
}

fn days_ago(store: &Store, days: u32) -> UnixMillis {
    let span = u64::from(days.max(1)) * 24 * 60 * 60 * 1000;
    UnixMillis(store.clock().now().0.saturating_sub(span))
}
