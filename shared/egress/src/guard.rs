//! Where a tunnel may not lead.
//!
//! The proxy resolves the names of providers, so the addresses behind them are not judged here as those of direct
//! connections are: what this machine would resolve a name to says little, and is often the very thing that a proxy is there
//! to get around. What holds all the same: literal addresses obey the policy, and nothing leads to a cloud's metadata
//! service, neither by its name nor by a name that resolves to it here.

use std::{net::IpAddr, time::Duration};

use moka::future::Cache;
use omniroute_core::address::{AddressPolicy, is_metadata};

use super::{error::EgressError, through::Target};

/// Names under which metadata services answer.
const METADATA_NAMES: [&str; 5] =
    ["metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];

/// A name that this machine cannot resolve in this time is left to the proxy.
const LOOK_UP: Duration = Duration::from_secs(2);
const KEPT: Duration = Duration::from_secs(30);
const NAMES: u64 = 1024;

/// Judges targets. Clones share what was looked up.
#[derive(Clone)]
pub struct TargetGuard {
    /// Whether a name leads to a metadata service.
    metadata: Cache<String, bool>,
}

// === impl TargetGuard ===

impl TargetGuard {
    pub fn new() -> Self {
        Self { metadata: Cache::builder().max_capacity(NAMES).time_to_live(KEPT).build() }
    }

    /// # Errors
    /// [`EgressError::TargetForbidden`].
    pub async fn check(&self, policy: AddressPolicy, target: &Target<'_>) -> Result<(), EgressError> {
        let host = target.bare_host();
        if let Ok(address) = host.parse::<IpAddr>() {
            return policy.check(address).map_err(|_| EgressError::TargetForbidden);
        }
        // Other ways to write an address, and the names of this machine.
        if policy.check_url(&format!("http://{host}:{}/", target.port)).is_err() || self.is_metadata(host).await {
            return Err(EgressError::TargetForbidden);
        }
        Ok(())
    }

    async fn is_metadata(&self, host: &str) -> bool {
        let name = host.trim_end_matches('.');
        if METADATA_NAMES.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return true;
        }
        let look_up = async {
            let found = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, 0))).await;
            found.is_ok_and(|found| found.is_ok_and(|mut found| found.any(|found| is_metadata(found.ip()))))
        };
        self.metadata.get_with_by_ref(host, look_up).await
    }
}

impl Default for TargetGuard {
    fn default() -> Self {
        Self::new()
    }
}
