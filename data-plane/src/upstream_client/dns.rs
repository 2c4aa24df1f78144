//! Names to addresses: the system's resolver behind a small cache, and the guard against addresses that the operator
//! does not allow (a public name may well point at a private address).

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::client::legacy::connect::dns::Name;
use moka::future::Cache;
use omniroute_egress::Family;
use tower::Service;

use super::{PolicySource, error::ConnectFailure};

/// The system's resolver does not tell the records' own TTL.
const TTL: Duration = Duration::from_secs(30);
const NAMES: u64 = 1024;

#[derive(Clone)]
pub(super) struct Resolver {
    cache: Cache<Name, Arc<[SocketAddr]>>,
    policy: PolicySource,
    family: Family,
}

// === impl Resolver ===

impl Resolver {
    pub(super) fn new(policy: PolicySource) -> Self {
        Self { cache: Cache::builder().max_capacity(NAMES).time_to_live(TTL).build(), policy, family: Family::Auto }
    }

    /// The same, for addresses of one family.
    pub(super) fn of(&self, family: Family) -> Self {
        Self { family, ..self.clone() }
    }

    async fn resolve(self, name: Name) -> Result<std::vec::IntoIter<SocketAddr>, ConnectFailure> {
        // Requests that need the same name at the same time share one look-up; failures are not kept.
        let found = self
            .cache
            .try_get_with_by_ref(&name, look_up(name.clone()))
            .await
            .map_err(|_: Arc<io::Error>| ConnectFailure::Dns)?;
        // The policy may have changed since the look-up, so it is applied to what the cache gives.
        let policy = (self.policy)();
        let mut refused = None;
        let allowed: Vec<SocketAddr> = found
            .iter()
            .filter(|address| self.family.fits(address.ip()))
            .filter(|address| match policy.check(address.ip()) {
                Ok(()) => true,
                Err(reason) => {
                    refused = Some(reason);
                    false
                }
            })
            .copied()
            .collect();
        match refused {
            Some(reason) if allowed.is_empty() => Err(ConnectFailure::Refused(reason)),
            None if allowed.is_empty() => Err(ConnectFailure::Dns),
            _ => Ok(allowed.into_iter()),
        }
    }
}

async fn look_up(name: Name) -> io::Result<Arc<[SocketAddr]>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found.into()) }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ConnectFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectFailure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name))
    }
}
