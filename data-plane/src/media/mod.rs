//! Media that a target cannot fetch itself: the proxy fetches them and puts the bytes in the place of their URL.
//!
//! [`missing`] finds out which URLs of a request are needed, [`MediaStore`] fetches each once ([`fetch`]: guarded like every call to the outside,
//! bounded in size and time), judges what came ([`kind`]) and keeps it for a few minutes, so that the turns of a conversation do
//! not fetch the same picture again and again.

mod fetch;
mod kind;

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use moka::future::Cache;
use omniroute_core::{address::AddressPolicy, error::GatewayError};
use omniroute_wire::ir::{Format, MediaKind, Profile, Request, replace_url, url_sources};
use tokio::sync::Semaphore;

use crate::{
    admit::memory::{BodyMemory, Reserved},
    dispatch::Segmented,
    upstream_client::UpstreamClient,
};

/// What is kept, in bytes of base64, and for how long.
const KEPT: u64 = 32 * 1024 * 1024;
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Fetches of this process at the same time.
const AT_ONCE: usize = 32;
/// URLs of one request.
const MOST_URLS: usize = 20;

/// What was behind a URL.
#[derive(Debug)]
pub(crate) struct Fetched {
    media_type: &'static str,
    base64: String,
    /// The memory that it takes, out of what bodies may take.
    _share: Reserved,
}

/// A URL and what is expected behind it.
pub(crate) type Wanted = (String, MediaKind);

/// What has been fetched for a request, by URL.
pub(crate) type FetchedMedia = Vec<(String, Arc<Fetched>)>;

/// Fetches media, and keeps them for a while. One for the whole process.
pub(crate) struct MediaStore {
    cache: Cache<Wanted, Arc<Fetched>>,
    places: Semaphore,
}

/// What a fetch needs of the gateway.
#[derive(Clone, Copy)]
pub(crate) struct Means<'g> {
    pub(crate) client: &'g UpstreamClient<Segmented>,
    pub(crate) memory: &'g BodyMemory,
    pub(crate) policy: AddressPolicy,
}

// === impl MediaStore ===

impl MediaStore {
    pub(crate) fn new() -> Self {
        let weight = |_: &Wanted, media: &Arc<Fetched>| u32::try_from(media.base64.len()).unwrap_or(u32::MAX);
        let cache = Cache::builder().weigher(weight).max_capacity(KEPT).time_to_live(KEPT_FOR).build();
        Self { cache, places: Semaphore::new(AT_ONCE) }
    }

    /// Fetches all of these.
    ///
    /// # Errors
    /// When something cannot be had, with the reason as the client is told.
    pub(crate) async fn fetch(&self, means: Means<'_>, wanted: Vec<Wanted>) -> Result<FetchedMedia, GatewayError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        try_join_all(wanted.into_iter().map(|wanted| self.one(means, wanted))).await
    }

    async fn one(&self, means: Means<'_>, wanted: Wanted) -> Result<(String, Arc<Fetched>), GatewayError> {
        // Requests that want the same at the same time share one fetch; failures are not kept.
        let fetching = async {
            let _place = self.places.acquire().await.map_err(|_| fetch::unreachable("fetching has stopped"))?;
            fetch::fetch(means, &wanted.0, wanted.1).await.map(Arc::new)
        };
        let fetched = self.cache.try_get_with_by_ref(&wanted, fetching).await;
        let fetched = fetched.map_err(|error: Arc<GatewayError>| GatewayError::clone(&error))?;
        Ok((wanted.0, fetched))
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
) -> Result<Vec<Wanted>, GatewayError> {
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
