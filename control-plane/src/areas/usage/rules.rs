//! What was used and what it cost, out of the ledger.

use omniroute_core::time::UnixMillis;

use super::{ConnectionName, Usage};
use crate::{
    http::ApiError,
    ledger::{ConnectionTotals, EventCursor, EventFilter, EventPage, History, UsageRow},
};

/// Which requests, and how many of them.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub filter: EventFilter,
    /// Where the last page ended.
    pub cursor: Option<EventCursor>,
    pub offset: u32,
    pub limit: u32,
}

// === impl Usage ===

impl Usage {
    /// Sums over a time, and how many requests proxies are working on now, as they last said.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history(
        &self,
        since: Option<UnixMillis>,
        until: Option<UnixMillis>,
    ) -> Result<(History, u64), ApiError> {
        let history = self.ledger.history(since, until).await?;
        let proxies = self.store.proxies().list().await?;
        let in_flight = proxies.iter().filter(|proxy| !proxy.lost).map(|proxy| proxy.requests_in_flight).sum();
        Ok((history, in_flight))
    }

    /// Requests, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn requests(&self, selection: &Selection) -> Result<EventPage, ApiError> {
        let wanted = selection.limit.saturating_add(selection.offset);
        let mut page = self.ledger.recent(&selection.filter, selection.cursor, wanted).await?;
        page.events.drain(..page.events.len().min(usize::try_from(selection.offset).unwrap_or(usize::MAX)));
        Ok(page)
    }

    /// Every attempt of a request, by the id of the request or of one attempt.
    ///
    /// # Errors
    /// 404.
    pub async fn request(&self, id: &str) -> Result<Vec<UsageRow>, ApiError> {
        let attempts = self.ledger.find(id).await?;
        if attempts.is_empty() { Err(ApiError::not_found("Request")) } else { Ok(attempts) }
    }

    /// What one connection was used for. A deleted connection is still in the ledger.
    ///
    /// # Errors
    /// 404 when there is neither such a connection nor a request through it.
    pub async fn of_connection(
        &self,
        id: &str,
        since: Option<UnixMillis>,
        until: Option<UnixMillis>,
    ) -> Result<(Option<ConnectionName>, ConnectionTotals), ApiError> {
        let name = self.connections.name(id).await?;
        let totals = self.ledger.connection_totals(id, since, until).await?;
        if name.is_none() && totals.total.requests == 0 {
            return Err(ApiError::not_found("Connection"));
        }
        Ok((name, totals))
    }
}
