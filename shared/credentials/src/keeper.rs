//! Who has which token.
//!
//! A token that is good for a while yet is handed out as it is. Shortly before its end it is still handed out and renewed beside
//! the requests, so that none waits; one that has ended is waited for. Of a credential's requests one mints at a time. What was
//! refused is not asked for again at once: a storm of requests with a wrong credential is not passed on.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use omniroute_core::time::{Clock, UnixMillis};
use omniroute_providers::{Grant, GrantError, Minted, Source, Token};
use parking_lot::Mutex;

use crate::{Machine, Web, web::exchange};

/// A token is renewed this long before its end, or in the last quarter of its life if that is shorter.
const AHEAD: Duration = Duration::from_secs(300);
/// What is left of a token must do for the request to arrive.
const SAFETY: Duration = Duration::from_secs(20);
/// After a failure, or a token that was not taken, this long passes before the next try.
const PAUSE: Duration = Duration::from_secs(10);
/// Credentials whose tokens are kept.
const MOST: usize = 10_000;

/// Keeps tokens. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    web: Arc<dyn Web>,
    clock: Arc<dyn Clock>,
    /// Unless the operator allows it, connections cannot use the machine's identity.
    machine: Option<Machine>,
    slots: Mutex<HashMap<[u8; 32], Arc<Slot>>>,
}

/// One credential.
#[derive(Default)]
struct Slot {
    held: Mutex<Held>,
    minting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    token: Option<Live>,
    failure: Option<(UnixMillis, GrantError)>,
    /// It is being renewed beside the requests.
    is_renewed: bool,
}

#[derive(Clone)]
struct Live {
    minted: Minted,
    minted_at: UnixMillis,
    renew_at: UnixMillis,
}

// === impl Keeper ===

impl Keeper {
    /// `machine`: its own identity, where connections may use it.
    pub fn new(web: Arc<dyn Web>, clock: Arc<dyn Clock>, machine: Option<Machine>) -> Self {
        Self(Arc::new(Inner { web, clock, machine, slots: Mutex::default() }))
    }

    /// A token that is good now.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn token(&self, grant: &Grant) -> Result<Token, GrantError> {
        self.token_by(grant, &self.0.web).await
    }

    /// As [`Self::token`], minted by another way than usual where it has to be minted.
    ///
    /// # Errors
    /// As [`Self::token`].
    pub async fn token_by(&self, grant: &Grant, web: &Arc<dyn Web>) -> Result<Token, GrantError> {
        let slot = self.slot(grant);
        if let Some(token) = self.at_hand(&slot, grant, web) {
            return Ok(token);
        }
        let _turn = slot.minting.lock().await;
        // Whoever had the turn before may have brought it.
        if let Some(token) = self.at_hand(&slot, grant, web) {
            return Ok(token);
        }
        if let Some(error) = slot.recent_failure(self.0.clock.now()) {
            return Err(error);
        }
        self.mint(&slot, grant, &**web).await
    }

    /// The provider did not take this token: the next request gets another, unless this one has only just been minted, when
    /// another would do no better. Whether it gets another.
    pub fn refused(&self, grant: &Grant, token: &Token) -> bool {
        let now = self.0.clock.now();
        let slot = self.slot(grant);
        let mut held = slot.held.lock();
        let is_it = |live: &Live| is_same(&live.minted.token, token) && now.saturating_since(live.minted_at) >= PAUSE;
        if held.token.as_ref().is_some_and(is_it) {
            held.token = None;
            return true;
        }
        // Somebody else found out before.
        held.token.as_ref().is_none_or(|live| !is_same(&live.minted.token, token))
    }

    fn slot(&self, grant: &Grant) -> Arc<Slot> {
        let mut slots = self.0.slots.lock();
        if let Some(slot) = slots.get(grant.fingerprint()) {
            return Arc::clone(slot);
        }
        if slots.len() >= MOST {
            let now = self.0.clock.now();
            slots.retain(|_, slot| slot.held.lock().token.as_ref().is_some_and(|live| live.minted.expires_at > now));
        }
        if slots.len() >= MOST {
            slots.clear();
        }
        Arc::clone(slots.entry(*grant.fingerprint()).or_default())
    }

    /// The token that is kept, if it is good; one that ends soon is renewed meanwhile.
    fn at_hand(&self, slot: &Arc<Slot>, grant: &Grant, web: &Arc<dyn Web>) -> Option<Token> {
        let now = self.0.clock.now();
        let mut held = slot.held.lock();
        let live = held.token.clone()?;
        if live.minted.expires_at <= now.saturating_add(SAFETY) {
            return None;
        }
        let has_paused = held.failure.as_ref().is_none_or(|(at, _)| now.saturating_since(*at) >= PAUSE);
        if live.renew_at <= now && !held.is_renewed && has_paused {
            held.is_renewed = true;
            let (keeper, slot, grant, web) = (self.clone(), Arc::clone(slot), grant.clone(), Arc::clone(web));
            tokio::spawn(async move {
                let renewal = Renewal(slot);
                let _turn = renewal.0.minting.lock().await;
                if let Err(error) = keeper.mint(&renewal.0, &grant, &*web).await {
                    tracing::warn!(%error, "a token could not be renewed ahead of its end; the old one is used meanwhile");
                }
            });
        }
        Some(live.minted.token)
    }

    async fn mint(&self, slot: &Slot, grant: &Grant, web: &dyn Web) -> Result<Token, GrantError> {
        let now = self.0.clock.now();
        let minted = match (grant.source(), &self.0.machine) {
            (Source::Stored(stored), _) => exchange(web, stored, now).await,
            (Source::Machine(ambient), Some(machine)) => machine.mint(ambient, web, now).await,
            (Source::Machine(_), None) => Err(GrantError::Machine(
                "connections may not use the identity of this machine: set AMBIENT_CREDENTIALS=true to allow it".into(),
            )),
        };
        let mut held = slot.held.lock();
        match minted {
            Ok(minted) => {
                let left = minted.expires_at.saturating_since(now);
                let ahead = AHEAD.min(left / 4);
                let renew_at = now.saturating_add(left.saturating_sub(ahead));
                let token = minted.token.clone();
                held.token = Some(Live { minted, minted_at: now, renew_at });
                held.failure = None;
                Ok(token)
            }
            Err(error) => {
                held.failure = Some((now, error.clone()));
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("credentials", &self.0.slots.lock().len()).finish_non_exhaustive()
    }
}

// === impl Slot ===

impl Slot {
    fn recent_failure(&self, now: UnixMillis) -> Option<GrantError> {
        let held = self.held.lock();
        let (at, error) = held.failure.as_ref()?;
        (now.saturating_since(*at) < PAUSE).then(|| error.clone())
    }
}

/// A renewal that is under way; however it ends, the next one may begin.
struct Renewal(Arc<Slot>);

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.held.lock().is_renewed = false;
    }
}

fn is_same(one: &Token, other: &Token) -> bool {
    match (one, other) {
        (Token::Bearer(one), Token::Bearer(other)) => one == other,
        (Token::Keys(one), Token::Keys(other)) => one.access_key_id() == other.access_key_id(),
        _ => false,
    }
}
