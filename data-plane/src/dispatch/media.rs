//! Media for a target that takes no URLs. A fetch takes seconds, so it is done while the request holds no place at any
//! connection: others use the place meanwhile.

use std::sync::{Arc, LazyLock};

use memchr::memmem::Finder;
use omniroute_core::error::GatewayError;
use omniroute_providers::{Operation, Upstream};
use omniroute_wire::codec::DecodeContext;

use super::{
    outgoing::Asked,
    pick::{Order, Pick, pick},
    slot::Slot,
    wait_for_one,
};
use crate::{
    media::{FetchedMedia, Wanted, missing},
    server::Gateway,
    snapshot::ConnectionEntry,
    translate::FleetSealer,
};

/// How every URL in a body begins; made once.
static URL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"http"));

/// A connection and a place at it.
pub(super) type Seat<'p> = (usize, &'p Arc<ConnectionEntry>, Slot);

// === impl Asked ===

impl Asked<'_> {
    /// Whether this upstream may need media that it cannot fetch. Cheap, and almost always false.
    pub(super) fn may_need_media(&self, upstream: &Upstream, model: &str) -> bool {
        self.operation == Operation::Chat
            && self.format_at(upstream, model).is_some_and(|format| !self.passes(format))
            && URL.find(&self.body).is_some()
    }

    /// What this upstream needs beside what is there.
    fn missing_media(
        &self,
        upstream: &Upstream,
        model: &str,
        fetched: &FetchedMedia,
    ) -> Result<Vec<Wanted>, GatewayError> {
        let Some(format) = self.format_at(upstream, model).filter(|_| self.may_need_media(upstream, model)) else {
            return Ok(Vec::new());
        };
        let profile = upstream.profile(format, model);
        let context = DecodeContext { sealer: &FleetSealer::new(self.pepper), answer: "" };
        let request = self.dialect.decode_request(&self.body, &context)?;
        missing(&request, format, &profile, fetched)
    }
}

/// Fetches what the upstream of this seat needs, and gives a seat of which nothing is missing: the same where it is still
/// free. `tried`: connections that are not asked for one.
///
/// # Errors
/// When something cannot be fetched, or no connection has a place free afterwards.
pub(super) async fn seated<'p>(
    gateway: &Gateway,
    asked: &Asked<'_>,
    model: &str,
    order: &Order<'p>,
    tried: &[usize],
    seat: Seat<'p>,
    fetched: &mut FetchedMedia,
) -> Result<Seat<'p>, GatewayError> {
    let mut seat = seat;
    loop {
        let (index, entry, slot) = seat;
        let missing = asked.missing_media(&entry.upstream, model, fetched)?;
        if missing.is_empty() {
            return Ok((index, entry, slot));
        }
        drop(slot);
        fetched.extend(gateway.media.fetch(&gateway.memory, missing).await?);
        seat = match pick(order, tried, &*gateway.coordination, &gateway.freed) {
            Pick::Chosen(index, entry, slot) => (index, entry, slot),
            _ => wait_for_one(gateway, order, tried).await?,
        };
    }
}
