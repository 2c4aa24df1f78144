//! Media that a target cannot fetch itself: the proxy fetches them and puts the bytes in the place of their URL.
//!
//! [`missing`] finds out which URLs of a request are needed, [`MediaStore`] fetches each once ([`fetch`]: from public addresses
//! only, bounded in size and time), judges what came ([`kind`]) and keeps it for a few minutes, so that the turns of a
//! conversation do not fetch the same picture again and again.
//!
//! Whoever has an API key writes these URLs. What the operator may point connections at says nothing about them, so they have
//! a permission and a client of their own: a connection of a pool that providers share would pass the guard by.

mod fetch;
mod kind;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::try_join_all;
use moka::future::Cache;
use omniroute_core::{address::AddressPolicy, error::GatewayError};
use omniroute_wire::ir::{Format, MediaKind, Profile, Request, replace_url, url_sources};
use tokio::{sync::Semaphore, task::AbortHandle, time::Instant};

use crate::{
    request::{BodyMemory, Segmented, memory::Reservation},
    upstream_client::{ClientOptions, ExtraRoots, TlsError, UpstreamClient},
};

/// What is kept, in bytes of base64 and of URLs, and for how long.
const KEPT: u64 = 32 * 1024 * 1024;
const KEPT_FOR: Duration = Duration::from_secs(300);
/// How often what is too old is looked for: the cache by itself lets nothing go while nobody asks it for anything.
const SWEEP: Duration = Duration::from_secs(15);
/// What an entry costs beside its bytes.
const ENTRY: usize = 512;
/// Connections to one host of media that stay open.
const IDLE_PER_HOST: usize = 2;
/// Fetches of this process at the same time.
const AT_ONCE: usize = 32;
/// URLs of one request.
const MOST_URLS: usize = 20;

/// What was behind a URL.
#[derive(Debug)]
pub(crate) struct Fetched {
    media_type: &'static str,
    base64: String,
    at: Instant,
    /// The memory that it takes, out of what bodies may take.
    _share: Reservation,
}

/// A URL and what is expected behind it.
pub(crate) type WantedMedia = (String, MediaKind);

/// What has been fetched for a request, by URL.
pub(crate) type FetchedMedia = Vec<(String, Arc<Fetched>)>;

/// Fetches media, and keeps them for a while. One for the whole process.
pub(crate) struct MediaStore {
    client: UpstreamClient<Segmented>,
    policy: AddressPolicy,
    cache: Cache<WantedMedia, Arc<Fetched>>,
    places: Semaphore,
    /// Lets go what is too old; begun with the first fetch.
    sweeper: OnceLock<AbortHandle>,
}

// === impl MediaStore ===

impl MediaStore {
    /// `policy`: what a client's URL may lead to.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(policy: AddressPolicy, extra_roots: ExtraRoots) -> Result<Self, TlsError> {
        let client = UpstreamClient::new(ClientOptions {
            idle_per_host: IDLE_PER_HOST,
            policy: Arc::new(move || policy),
            extra_roots,
        })?;
        let weight = |wanted: &WantedMedia, media: &Arc<Fetched>| {
            u32::try_from(media.base64.len() + wanted.0.len() + ENTRY).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().weigher(weight).max_capacity(KEPT).time_to_live(KEPT_FOR).build();
        Ok(Self { client, policy, cache, places: Semaphore::new(AT_ONCE), sweeper: OnceLock::new() })
    }

    /// Fetches all of these.
    ///
    /// # Errors
    /// When something cannot be had, with the reason as the client is told.
    pub(crate) async fn fetch(
        &self,
        memory: &BodyMemory,
        wanted: Vec<WantedMedia>,
    ) -> Result<FetchedMedia, GatewayError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.keep_clean();
        try_join_all(wanted.into_iter().map(|wanted| self.one(memory, wanted))).await
    }

    async fn one(&self, memory: &BodyMemory, wanted: WantedMedia) -> Result<(String, Arc<Fetched>), GatewayError> {
        // Requests that want the same at the same time share one fetch; failures are not kept.
        let fetching = async {
            let _place = self.places.acquire().await.map_err(|_| fetch::unreachable("fetching has stopped"))?;
            let means = fetch::Means { client: &self.client, memory, policy: self.policy };
            fetch::fetch(means, &wanted.0, wanted.1).await.map(Arc::new)
        };
        let fetched = self.cache.try_get_with_by_ref(&wanted, fetching).await;
        let fetched = fetched.map_err(|error: Arc<GatewayError>| GatewayError::clone(&error))?;
        Ok((wanted.0, fetched))
    }

    fn keep_clean(&self) {
        self.sweeper.get_or_init(|| tokio::spawn(sweep(self.cache.clone())).abort_handle());
    }
}

impl Drop for MediaStore {
    fn drop(&mut self) {
        if let Some(sweeper) = self.sweeper.get() {
            sweeper.abort();
        }
    }
}

/// Lets go what has been kept long enough, so that the memory of bodies gets it back though nobody fetches anything.
async fn sweep(cache: Cache<WantedMedia, Arc<Fetched>>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        for (wanted, media) in &cache {
            if media.at.elapsed() >= KEPT_FOR {
                cache.invalidate(&*wanted).await;
            }
        }
        cache.run_pending_tasks().await;
    }
}

/// Whatever `request` names by URL, the target cannot fetch, and has not been fetched. Usually that is nothing.
///
/// # Errors
/// When it is too much.
pub(crate) fn missing(
    request: &Request<'_>,
    target: Format,
    profile: &Profile,
    fetched: &FetchedMedia,
) -> Result<Vec<WantedMedia>, GatewayError> {
    let needed = url_sources(request, target, profile);
    if needed.len() > MOST_URLS {
        let message = format!("the provider takes no URLs, and this gateway fetches {MOST_URLS} of a request at most");
        return Err(
            GatewayError::bad_request("too_many_media_urls", message).with_hint("send the media themselves, as base64")
        );
    }
    let is_there = |url: &str| fetched.iter().any(|(own, _)| own == url);
    let missing = needed.iter().filter(|source| !is_there(source.url));
    Ok(missing.map(|source| (source.url.to_owned(), source.kind)).collect())
}

/// Puts what was fetched in its place.
pub(crate) fn put_in<'a>(request: &mut Request<'a>, fetched: &'a [(String, Arc<Fetched>)]) {
    for (url, media) in fetched {
        replace_url(request, url, media.media_type, media.base64.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_gives_its_memory_back_by_itself_when_its_time_is_over() {
        let memory = BodyMemory::new(1024 * 1024);
        let store = MediaStore::new(AddressPolicy::PublicOnly, ExtraRoots::default()).expect("a store");
        store.keep_clean();
        let share = memory.reserve(4096).await.expect("reserved");
        let media = Fetched { media_type: "image/png", base64: "AAAA".to_owned(), at: Instant::now(), _share: share };
        store.cache.insert(("https://example.com/".to_owned(), MediaKind::Image), Arc::new(media)).await;
        tokio::time::sleep(KEPT_FOR - SWEEP).await;
        assert_eq!(memory.held(), 4096, "for a while it is kept");
        tokio::time::sleep(2 * SWEEP + Duration::from_secs(1)).await;
        assert_eq!(memory.held(), 0);
    }
}
