//! Keeps tokens alive.
//!
//! Many may ask for a refresh of one connection at the same time: the clock, proxies whose token was refused, the test
//! button. In this process they share one attempt; among replicas a lease lets one go on, and the others find what it has
//! stored. So a refresh token is sent once. The attempt runs in a task of its own: whoever asked may leave, but a token that
//! the provider has given out is stored. What is stored says which version of the tokens it was made from, and replaces
//! nothing else: somebody may sign in anew meanwhile.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use omniroute_core::{
    hash::token_fingerprint,
    settings::Secret,
    time::{Clock, UnixMillis},
};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Credentials, Shown, Transport,
    clients::Clients,
    endpoint::{self, EndpointError, TokenAnswer},
    flows::Flows,
    tokens::{self, TokenRow, Tokens},
};
use crate::store::{Lease, Store, StoreError, records::Actor};

/// How often is looked whether something is due.
const TICK: Duration = Duration::from_secs(5);
/// Taken up at one look, and at the same time.
const MOST_AT_ONCE: u64 = 64;
const SIDE_BY_SIDE: usize = 8;

/// Longer than a request to a provider takes.
const LEASE: Duration = Duration::from_mins(1);
/// So long is waited for the replica that renews it.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A token that is over sooner is renewed before it is used here.
const USED_AHEAD: Duration = Duration::from_secs(30);

/// Between attempts that failed; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_mins(5);

/// A token that came is stored for as long as it takes, up to this: without it, the connection is dead.
const STORE_FOR: Duration = Duration::from_mins(10);
const FIRST_STORE_RETRY: Duration = Duration::from_millis(200);
const LAST_STORE_RETRY: Duration = Duration::from_secs(5);

const SIGN_IN_AGAIN: &str = "sign in again";

/// Why a refresh is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Its time has come.
    Due,
    /// The token is to be used now.
    Use,
    /// A provider did not take the token with this fingerprint.
    Refused([u8; 16]),
    /// Somebody wants a new one.
    Now,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    Renewed,
    /// There was nothing to do: the token is good, or was replaced already, or is not ours to renew.
    Current,
    /// Only signing in again helps.
    Expired(String),
    /// Not now; it is tried again.
    Failed(String),
}

/// What [`Refresher`] needs.
pub struct RefresherHandles {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub transport: Arc<dyn Transport>,
    pub credentials: Arc<dyn Credentials>,
    pub clients: Arc<Clients>,
    pub background: TaskTracker,
    pub stopping: CancellationToken,
}

/// Renews tokens.
pub struct Refresher {
    store: Store,
    clock: Arc<dyn Clock>,
    transport: Arc<dyn Transport>,
    credentials: Arc<dyn Credentials>,
    clients: Arc<Clients>,
    background: TaskTracker,
    stopping: CancellationToken,
    /// Attempts of this process, by connection.
    under_way: Arc<Mutex<HashMap<String, Attempt>>>,
    /// This process, for leases.
    holder: String,
}

/// An attempt that is under way.
struct Attempt {
    need: Need,
    outcome: watch::Receiver<Option<Refreshed>>,
}

/// Takes an attempt off the list at its end, whatever that is.
struct UnderWay {
    all: Arc<Mutex<HashMap<String, Attempt>>>,
    id: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

fn lease_name(id: &str) -> String {
    format!("oauth:{id}")
}

/// Scheme, host and port of a URL: tokens that are from one are sent to no other.
pub(super) fn origin(url: &http::Uri) -> String {
    Url::parse(&url.to_string()).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

// === impl Refresher ===

impl Refresher {
    pub fn new(handles: RefresherHandles) -> Self {
        let RefresherHandles { store, clock, transport, credentials, clients, background, stopping } = handles;
        Self {
            store,
            clock,
            transport,
            credentials,
            clients,
            background,
            stopping,
            under_way: Arc::default(),
            holder: Uuid::new_v4().to_string(),
        }
    }

    /// Cancelled when the process stops.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Renews what is due until the process stops.
    pub fn start(self: &Arc<Self>) {
        let refresher = Arc::clone(self);
        self.background.spawn(async move {
            while refresher.stopping.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
                refresher.refresh_due().await;
                if let Err(error) = Flows::of(&refresher.store).purge().await {
                    tracing::debug!(%error, "sign-ins that are over stay for now");
                }
            }
        });
    }

    /// Renews everything that is due now.
    pub async fn refresh_due(self: &Arc<Self>) {
        let due = match Tokens::of(&self.store).due(self.clock.now(), MOST_AT_ONCE).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "it is not known which tokens are to be renewed");
                return;
            }
        };
        stream::iter(due)
            .for_each_concurrent(SIDE_BY_SIDE, |id| async move {
                self.refresh(&id, Need::Due).await;
            })
            .await;
    }

    /// Renews the token of a connection where that is needed. Whoever asks while it is done gets the same answer.
    pub async fn refresh(self: &Arc<Self>, id: &str, need: Need) -> Refreshed {
        loop {
            let (mut outcome, answers) = self.begin(id, need);
            let known = outcome.wait_for(Option::is_some).await.ok().and_then(|known| known.clone());
            match known {
                // It was begun for less than what is needed here.
                Some(Refreshed::Current) if !answers => {}
                Some(known) => return known,
                None => return Refreshed::Failed("the refresh was interrupted".into()),
            }
        }
    }

    /// As [`Self::refresh`], for those who hear of it otherwise.
    pub fn request(self: &Arc<Self>, id: &str, need: Need) {
        let (_, answers) = self.begin(id, need);
        if !answers {
            let (refresher, id) = (Arc::clone(self), id.to_owned());
            self.background.spawn(async move { refresher.refresh(&id, need).await });
        }
    }

    /// The attempt that is under way, or a new one; and whether what comes of it answers this need whatever it is.
    fn begin(self: &Arc<Self>, id: &str, need: Need) -> (watch::Receiver<Option<Refreshed>>, bool) {
        let mut under_way = self.under_way.lock();
        if let Some(attempt) = under_way.get(id) {
            return (attempt.outcome.clone(), attempt.need == need);
        }
        let (tell, outcome) = watch::channel(None);
        under_way.insert(id.to_owned(), Attempt { need, outcome: outcome.clone() });
        let ends = UnderWay { all: Arc::clone(&self.under_way), id: id.to_owned() };
        let refresher = Arc::clone(self);
        self.background.spawn(async move {
            let outcome = refresher.attempt(&ends.id, need).await;
            drop(ends);
            tell.send_replace(Some(outcome));
        });
        (outcome, true)
    }

    async fn attempt(&self, id: &str, need: Need) -> Refreshed {
        match self.take_lease(id, need).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(%error, code = error.code(), connection = id, "a token cannot be renewed for now");
                Refreshed::Failed("the database does not answer as it should".into())
            }
        }
    }

    async fn take_lease(&self, id: &str, need: Need) -> Result<Refreshed, StoreError> {
        let begun = Instant::now();
        loop {
            if let Some(known) = self.known(id, need).await?.1 {
                return Ok(known);
            }
            if let Some(lease) = self.store.leases().acquire(&lease_name(id), &self.holder, LEASE).await? {
                let done = self.with_lease(id, need).await;
                if let Err(error) = self.store.leases().release(&lease).await {
                    tracing::debug!(%error, connection = id, "the lease runs out by itself");
                }
                return done;
            }
            if begun.elapsed() >= WAIT_FOR_OTHERS {
                return Ok(Refreshed::Failed("another control plane is about to renew it".into()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The tokens, and the answer where the provider need not be asked.
    async fn known(&self, id: &str, need: Need) -> Result<(Option<TokenRow>, Option<Refreshed>), StoreError> {
        let Some(row) = Tokens::of(&self.store).get(id).await? else { return Ok((None, Some(Refreshed::Current))) };
        let now = self.clock.now();
        let is_over = |margin: Duration| row.expires_at.is_some_and(|end| end <= now.saturating_add(margin));
        let is_needed = match need {
            Need::Due => row.due_at.is_some_and(|due| due <= now),
            Need::Use => is_over(USED_AHEAD),
            Need::Refused(fingerprint) => {
                token_fingerprint(self.credentials.access_token(id).await?.expose()) == fingerprint
            }
            Need::Now => true,
        };
        if !is_needed {
            return Ok((Some(row), Some(Refreshed::Current)));
        }
        let error = row.error.clone().unwrap_or_else(|| SIGN_IN_AGAIN.to_owned());
        if row.is_expired {
            return Ok((Some(row), Some(Refreshed::Expired(error))));
        }
        // Many who wait for one token must not become a storm at the provider.
        let waits = row.failures > 0 && row.due_at.is_some_and(|due| due > now);
        if waits && need != Need::Now {
            return Ok((Some(row), Some(Refreshed::Failed(error))));
        }
        Ok((Some(row), None))
    }

    async fn with_lease(&self, id: &str, need: Need) -> Result<Refreshed, StoreError> {
        // Again: whoever had the lease before may have done it.
        let row = match self.known(id, need).await? {
            (_, Some(known)) => return Ok(known),
            (Some(row), None) => row,
            (None, None) => return Ok(Refreshed::Current),
        };
        let refresh_token = match &row.refresh_token {
            Ok(Some(token)) => token.clone(),
            Ok(None) => return self.without_refresh_token(&row).await,
            Err(()) => {
                let error = "its refresh token is sealed with a master key that is not at hand; bring the key back, or sign \
                             in again";
                return self.failed(&row, error, None).await;
            }
        };
        let client = match self.clients.find(&row.provider).await {
            Ok(Some(client)) => client,
            Ok(None) => {
                let error = format!("there is no OAuth client of {} any more; set it again", row.provider);
                return self.failed(&row, &error, None).await;
            }
            Err(error @ StoreError::Corrupt(_)) => return self.failed(&row, &error.to_string(), None).await,
            Err(error) => return Err(error),
        };
        match client.token_url() {
            Ok(url) if origin(&url) == row.origin => {}
            Ok(_) => {
                let error = "the client's token endpoint is another host than the one that the account signed in at, and \
                             its token is not sent there; set the endpoint back, or sign in again";
                return self.failed(&row, error, None).await;
            }
            Err(error) => return self.failed(&row, &error, None).await,
        }
        let parameters = vec![
            ("grant_type", Zeroizing::new("refresh_token".to_owned())),
            ("refresh_token", Zeroizing::new(refresh_token.expose().to_owned())),
        ];
        match endpoint::tokens(&*self.transport, &client, Some(&row.id), parameters).await {
            Ok(answer) => self.store_for_sure(&row, &answer, &refresh_token).await,
            Err(error) if error.is_final() => {
                let words = format!("the provider does not renew it ({error}); {SIGN_IN_AGAIN}");
                self.expire(&row, &words).await
            }
            Err(EndpointError::Refused { error, description }) => {
                let words = EndpointError::Refused { error, description };
                let error = format!("the provider refused ({words}); check the OAuth client of {}", row.provider);
                self.failed(&row, &error, None).await
            }
            Err(error @ EndpointError::Busy { retry_after, .. }) => {
                self.failed(&row, &error.to_string(), retry_after).await
            }
            Err(error @ EndpointError::Failed(_)) => self.failed(&row, &error.to_string(), None).await,
        }
    }

    /// A token that nothing can replace counts until it is over.
    async fn without_refresh_token(&self, row: &TokenRow) -> Result<Refreshed, StoreError> {
        let is_over = row.expires_at.is_some_and(|end| end <= self.clock.now());
        if is_over {
            return self.expire(row, "it is over, and the provider gave nothing to renew it with; sign in again").await;
        }
        Ok(Refreshed::Failed("the provider gave nothing to renew it with".into()))
    }

    /// Stores what came, also when the database does not answer at once: the provider may have made the token that was sent
    /// void.
    async fn store_for_sure(
        &self,
        row: &TokenRow,
        answer: &TokenAnswer,
        sent: &Secret,
    ) -> Result<Refreshed, StoreError> {
        let begun = Instant::now();
        let mut wait = FIRST_STORE_RETRY;
        loop {
            match self.store(row, answer, sent).await {
                Ok(true) => {
                    tracing::info!(connection = row.id, provider = row.provider, "a token was renewed");
                    self.show(&row.id, Shown::Active, row.failures > 0).await;
                    return Ok(Refreshed::Renewed);
                }
                Ok(false) => {
                    tracing::info!(connection = row.id, "somebody has signed in meanwhile; that counts");
                    return Ok(Refreshed::Current);
                }
                Err(error @ StoreError::NotFound { .. }) => return Err(error),
                Err(error) if begun.elapsed() >= STORE_FOR => {
                    tracing::error!(%error, connection = row.id, "a renewed token could not be stored; sign in again");
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(%error, connection = row.id, "a renewed token is not stored yet");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LAST_STORE_RETRY);
                    // Nobody else is to send the old one meanwhile.
                    if let Err(error) = self.keep_lease(&row.id).await {
                        tracing::debug!(%error, connection = row.id, "the lease cannot be prolonged");
                    }
                }
            }
        }
    }

    async fn keep_lease(&self, id: &str) -> Result<Option<Lease>, StoreError> {
        self.store.leases().acquire(&lease_name(id), &self.holder, LEASE).await
    }

    async fn store(&self, row: &TokenRow, answer: &TokenAnswer, sent: &Secret) -> Result<bool, StoreError> {
        let refresh_token = answer.refresh_token.as_ref().unwrap_or(sent);
        let mut write = self.store.write(&Actor::system("token refresh")).await?;
        if !tokens::replace(&mut write, row, answer, refresh_token).await? {
            return Ok(false);
        }
        self.credentials.put(&mut write, &row.id, &answer.access_token, true).await?;
        write.commit().await?;
        Ok(true)
    }

    async fn expire(&self, row: &TokenRow, error: &str) -> Result<Refreshed, StoreError> {
        let mut write = self.store.write(&Actor::system("token refresh")).await?;
        if !tokens::expire(&mut write, row, error).await? {
            return Ok(Refreshed::Current);
        }
        self.credentials.give_up(&mut write, &row.id).await?;
        write.commit().await?;
        tracing::warn!(connection = row.id, provider = row.provider, error, "a connection has to be signed in again");
        self.show(&row.id, Shown::Expired(error.to_owned()), true).await;
        Ok(Refreshed::Expired(error.to_owned()))
    }

    async fn failed(
        &self,
        row: &TokenRow,
        error: &str,
        retry_after: Option<Duration>,
    ) -> Result<Refreshed, StoreError> {
        let wait = retry_after.unwrap_or_else(|| retry_wait(row.failures));
        let now = self.clock.now();
        Tokens::of(&self.store).failed(row, error, now.saturating_add(wait)).await?;
        tracing::warn!(
            connection = row.id,
            provider = row.provider,
            error,
            "a token could not be renewed; it is tried again"
        );
        // While the token there is still counts, nothing is wrong with the connection.
        let is_over = row.expires_at.is_some_and(|end: UnixMillis| end <= now);
        self.show(&row.id, Shown::Failing(error.to_owned()), is_over).await;
        Ok(Refreshed::Failed(error.to_owned()))
    }

    /// What is shown is no reason to fail.
    async fn show(&self, id: &str, state: Shown, is_news: bool) {
        if !is_news {
            return;
        }
        if let Err(error) = self.credentials.show(id, state).await {
            tracing::debug!(%error, connection = id, "the state of a connection is shown later");
        }
    }
}

fn retry_wait(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(2_u32.saturating_pow(failures.min(10))).min(LAST_RETRY)
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn attempts_that_fail_are_further_and_further_apart() {
        let waits: Vec<u64> = [0, 1, 2, 3, 4, 5, 6, u32::MAX].into_iter().map(|n| retry_wait(n).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let of = |url: &str| origin(&url.parse().expect("a URL"));
        assert_eq!(of("https://a.example/token"), of("https://a.example:443/other?x=1"));
        assert_ne!(of("https://a.example/token"), of("http://a.example/token"));
        assert_ne!(of("https://a.example/token"), of("https://b.example/token"));
    }
}
