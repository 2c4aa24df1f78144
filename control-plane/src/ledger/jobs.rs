//! What the ledger has done for it.

use std::time::Duration;

use super::Ledger;
use crate::jobs::Job;

const EVERY: Duration = Duration::from_hours(1);

// === impl Ledger ===

impl Ledger {
    /// Makes the partitions of the coming days, and forgets events older than the retention.
    pub fn jobs(&self) -> Vec<Job> {
        let (partitions, retention) = (self.clone(), self.clone());
        vec![
            Job::new("usage-partitions", EVERY, move |_| {
                let ledger = partitions.clone();
                async move { ledger.prepare_days().await.map(|()| 0) }
            }),
            Job::new("usage-retention", EVERY, move |lease| {
                let ledger = retention.clone();
                async move { ledger.forget_old(&lease).await }
            }),
        ]
    }
}
