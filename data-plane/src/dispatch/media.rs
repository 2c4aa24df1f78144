//! Media for a target that takes no URLs. A fetch takes seconds, so it is done while the request holds no place at any
//! connection: others use the place meanwhile.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use omniroute_core::error::GatewayError;
use omniroute_providers::Operation;
use omniroute_wire::codec::DecodeContext;

use super::{
    Dispatcher,
    acquire::{Acquired, Acquisition},
    target_order::Targets,
    upstream_payload::ClientRequest,
};
use crate::{
    media::{FetchedMedia, WantedMedia, missing},
    request::Target,
    seal::SignatureSealer,
};

/// How every URL in a body begins; made once.
static URL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"http"));

// === impl ClientRequest ===

impl ClientRequest<'_> {
    /// Whether this target may need media that it cannot fetch. Cheap, and almost always false.
    pub(super) fn may_need_media(&self, target: &Target<'_>) -> bool {
        self.operation == Operation::Chat
            && self.format_at(&target.entry.upstream, target.model).is_some_and(|format| !self.passes(format))
            && URL.find(&self.body).is_some()
    }

    /// What this target needs beside what is there.
    fn missing_media(&self, target: &Target<'_>, fetched: &FetchedMedia) -> Result<Vec<WantedMedia>, GatewayError> {
        let Some(format) = self.format_at(&target.entry.upstream, target.model).filter(|_| self.may_need_media(target))
        else {
            return Ok(Vec::new());
        };
        let profile = target.entry.upstream.profile(format, target.model);
        let context = DecodeContext { sealer: &SignatureSealer::new(self.pepper), answer: "" };
        let request = self.dialect.decode_request(&self.body, &context)?;
        missing(&request, format, &profile, fetched)
    }
}

// === impl Dispatcher ===

impl Dispatcher {
    /// Fetches what a target needs, and gives one of which nothing is missing: the same where it is still free. `tried`:
    /// targets that are not asked for one.
    ///
    /// # Errors
    /// When something cannot be fetched, or no target has a place free afterwards.
    pub(super) async fn fetch_media<'p>(
        &self,
        request: &ClientRequest<'_>,
        targets: &Targets<'p>,
        tried: &[usize],
        acquired: Acquired<'p>,
        fetched: &mut FetchedMedia,
    ) -> Result<Acquired<'p>, GatewayError> {
        let mut acquired = acquired;
        loop {
            let missing = request.missing_media(&acquired.target, fetched)?;
            if missing.is_empty() {
                return Ok(acquired);
            }
            drop(acquired);
            fetched.extend(self.translator.media.fetch(&self.translator.memory, missing).await?);
            acquired = match self.try_acquire(targets, tried) {
                Acquisition::Acquired(acquired) => acquired,
                _ => self.acquire(targets, tried).await?,
            };
        }
    }
}
