//! A token is minted once, renewed beside the requests, and waited for only when it has ended.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use omniroute_core::time::{Clock as _, ManualClock};
use omniroute_providers::GrantError;

use super::*;
use crate::Keeper;

const HOUR: Duration = Duration::from_secs(3600);

/// Mints `t1`, `t2`…, each good for an hour, unless it is told to fail.
struct Mint {
    network: Network,
    fails: Arc<AtomicBool>,
    clock: ManualClock,
    keeper: Keeper,
}

fn mint() -> Mint {
    let fails = Arc::new(AtomicBool::new(false));
    let (count, failing) = (AtomicU32::new(0), Arc::clone(&fails));
    let network = Network::new(move |_| {
        if failing.load(Ordering::SeqCst) {
            return Ok((503, r#"{"errorMessage":"try later"}"#.into()));
        }
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        Ok((200, format!(r#"{{"access_token":"t{number}","expires_in":3600}}"#)))
    });
    let clock = ManualClock::at(NOON);
    let keeper = Keeper::new(Arc::new(network.clone()), Arc::new(clock.clone()), None);
    Mint { network, fails, clock, keeper }
}

impl Mint {
    async fn token(&self) -> String {
        bearer(&self.keeper.token(&ibm()).await.expect("a token"))
    }

    /// Until what runs beside the requests has asked so many times in all, and is done.
    async fn settle(&self, asked: usize) {
        while self.network.count() < asked {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn requests_that_come_together_mint_once() {
    let mint = mint();
    let grants: Vec<_> = (0..20).map(|_| ibm()).collect();
    let mut waiting = tokio::task::JoinSet::new();
    for grant in grants {
        let keeper = mint.keeper.clone();
        waiting.spawn(async move { bearer(&keeper.token(&grant).await.expect("a token")) });
    }
    let tokens = waiting.join_all().await;
    assert!(tokens.iter().all(|token| token == "t1"), "{tokens:?}");
    assert_eq!(mint.network.count(), 1);
    assert_eq!(form(&mint.network.last())["apikey"], "ibm-key");
}

#[tokio::test]
async fn a_token_is_renewed_beside_the_requests_before_it_ends() {
    let mint = mint();
    assert_eq!(mint.token().await, "t1");
    mint.clock.advance(HOUR - Duration::from_secs(301));
    assert_eq!(mint.token().await, "t1");
    mint.settle(1).await;
    assert_eq!(mint.network.count(), 1, "it is good for a while yet");
    mint.clock.advance(Duration::from_secs(2));
    // Both get the old one at once; one renewal runs.
    assert_eq!((mint.token().await, mint.token().await), ("t1".into(), "t1".into()));
    mint.settle(2).await;
    assert_eq!((mint.token().await, mint.network.count()), ("t2".into(), 2));
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_old_token_and_is_tried_again_after_a_pause() {
    let mint = mint();
    assert_eq!(mint.token().await, "t1");
    mint.clock.advance(HOUR - Duration::from_secs(299));
    mint.fails.store(true, Ordering::SeqCst);
    assert_eq!(mint.token().await, "t1");
    mint.settle(2).await;
    assert_eq!(mint.token().await, "t1");
    mint.settle(2).await;
    assert_eq!(mint.network.count(), 2, "not at once");
    mint.fails.store(false, Ordering::SeqCst);
    mint.clock.advance(Duration::from_secs(11));
    assert_eq!(mint.token().await, "t1");
    mint.settle(3).await;
    assert_eq!(mint.token().await, "t2");
}

#[tokio::test]
async fn a_token_that_has_ended_is_waited_for_and_a_failure_is_not_asked_again_at_once() {
    let mint = mint();
    assert_eq!(mint.token().await, "t1");
    mint.clock.advance(HOUR);
    assert_eq!((mint.token().await, mint.network.count()), ("t2".into(), 2));
    mint.clock.advance(HOUR);
    mint.fails.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let error = mint.keeper.token(&ibm()).await.expect_err("none");
        assert_eq!(error, GrantError::Unavailable { who: "IBM Cloud", words: "try later".into() });
    }
    assert_eq!(mint.network.count(), 3);
    mint.fails.store(false, Ordering::SeqCst);
    mint.clock.advance(Duration::from_secs(10));
    assert_eq!(mint.token().await, "t3");
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_but_not_one_that_is_new() {
    let mint = mint();
    let grant = ibm();
    let first = mint.keeper.token(&grant).await.expect("a token");
    assert!(!mint.keeper.refused(&grant, &first), "another would do no better");
    assert_eq!(mint.token().await, "t1");
    mint.clock.advance(Duration::from_secs(60));
    assert!(mint.keeper.refused(&grant, &first));
    assert_eq!(mint.token().await, "t2");
    // A second request that went out with the first one finds it replaced.
    assert!(mint.keeper.refused(&grant, &first));
    assert_eq!((mint.token().await, mint.network.count()), ("t2".into(), 2));
    assert_eq!(mint.clock.now(), NOON.saturating_add(Duration::from_secs(60)));
}

#[tokio::test]
async fn credentials_do_not_share_tokens() {
    let mint = mint();
    let cloud = CloudSpec { project: "p", ..CloudSpec::default() };
    let other = compiled("watsonx", "another-key", cloud);
    assert_eq!(mint.token().await, "t1");
    let token = mint.keeper.token(other.grant().expect("a grant")).await.expect("a token");
    assert_eq!(bearer(&token), "t2");
    let shown = format!("{:?} {:?} {:?}", mint.keeper, other.grant(), token);
    assert!(!shown.contains("another-key") && !shown.contains("t2"), "{shown}");
}
