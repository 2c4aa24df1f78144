//! What a store promises, in this process and in Redis, and what Redis adds.

use bytes::Bytes;

use super::{server::RedisServer, *};
use crate::{Claim, Found, Key, LocalCoordination, SharedStore, StoreLimits, Waited};

const MINUTE: Duration = Duration::from_secs(60);
const LIMITS: StoreLimits = StoreLimits {
    name: "tests",
    value_bytes: 4 * 1024,
    scope_bytes: 64 * 1024,
    scope_entries: 20,
    process_bytes: 1024 * 1024,
};

/// Declares every test twice, once for each implementation.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod in_process {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    use crate::Coordination as _;
                    let local = super::LocalCoordination::new(std::sync::Arc::new(super::SystemClock));
                    super::$name(&*local.store(super::LIMITS)).await;
                }
            )*
        }
        mod in_redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    use crate::Coordination as _;
                    let (_server, url): (Option<super::RedisServer>, _) = super::super::server::any_redis();
                    super::$name(&*super::instance(&url).await.store(super::LIMITS)).await;
                }
            )*
        }
    };
}

on_both!(
    what_is_kept_is_found_until_it_ends_or_is_removed,
    a_scope_is_bounded_and_sees_only_its_own,
    what_is_too_large_is_not_kept,
    one_claims_and_the_others_get_what_comes_of_it,
    a_claim_that_comes_to_nothing_can_be_made_again,
    any_text_is_a_name,
);

fn key(scope: &str, name: &str) -> Key {
    Key::new(scope, &[name.as_bytes()])
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn what_is_kept_is_found_until_it_ends_or_is_removed(store: &dyn SharedStore) {
    let scope = unique("kept");
    let (one, other, short) = (key(&scope, "one"), key(&scope, "other"), key(&scope, "short"));
    assert_eq!(store.load(&one).await, Found::Nothing);
    assert!(store.keep(&one, bytes("first"), MINUTE).await);
    assert!(store.keep(&one, bytes("second"), MINUTE).await);
    assert!(store.keep(&other, bytes("\u{0}\u{1}"), MINUTE).await);
    assert_eq!(store.load(&one).await, Found::Value(bytes("second")));
    assert_eq!(store.load(&other).await, Found::Value(bytes("\u{0}\u{1}")));
    assert!(store.remove(&one).await);
    assert!(!store.remove(&one).await);
    assert_eq!(store.load(&one).await, Found::Nothing);
    assert!(store.keep(&short, bytes("x"), Duration::from_millis(150)).await);
    assert_eq!(store.load(&short).await, Found::Value(bytes("x")));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(store.load(&short).await, Found::Nothing);
}

async fn a_scope_is_bounded_and_sees_only_its_own(store: &dyn SharedStore) {
    let (full, other) = (unique("full"), unique("other"));
    assert!(store.keep(&key(&other, "0"), bytes("theirs"), MINUTE).await);
    for n in 0..=LIMITS.scope_entries {
        assert!(store.keep(&key(&full, &n.to_string()), bytes("x"), MINUTE).await);
        // Redis orders by whole milliseconds.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(store.load(&key(&full, "0")).await, Found::Nothing, "the oldest made room");
    assert_eq!(store.load(&key(&full, "1")).await, Found::Value(bytes("x")));
    assert_eq!(store.load(&key(&other, "0")).await, Found::Value(bytes("theirs")));

    let heavy = unique("heavy");
    let large = Bytes::from(vec![7; LIMITS.value_bytes]);
    for n in 0..17 {
        assert!(store.keep(&key(&heavy, &n.to_string()), large.clone(), MINUTE).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(store.load(&key(&heavy, "0")).await, Found::Nothing, "17 times 4 KiB are more than 64");
    assert_eq!(store.load(&key(&heavy, "16")).await, Found::Value(large));
}

async fn what_is_too_large_is_not_kept(store: &dyn SharedStore) {
    let key = key(&unique("large"), "x");
    assert!(!store.keep(&key, vec![0; LIMITS.value_bytes + 1].into(), MINUTE).await);
    assert_eq!(store.load(&key).await, Found::Nothing);
}

async fn one_claims_and_the_others_get_what_comes_of_it(store: &dyn SharedStore) {
    let key = key(&unique("claim"), "x");
    let marks: Vec<_> = (0..10).map(|n| bytes(&format!("mark {n}"))).collect();
    let claims = futures_util::future::join_all(marks.iter().map(|mark| store.claim(&key, mark))).await;
    let winners: Vec<_> = (0..10).filter(|n| claims[*n] == Claim::Mine).collect();
    assert_eq!(winners.len(), 1, "{claims:?}");
    let mark = &marks[winners[0]];
    let waiting = futures_util::future::join_all((0..5).map(|_| store.wait(&key, mark, PATIENCE)));
    let settling = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.settle(&key, &bytes("not the owner"), Some(bytes("forged")), MINUTE).await;
        store.settle(&key, mark, Some(bytes("done")), Duration::from_millis(500)).await;
    };
    let (waited, ()) = tokio::join!(waiting, settling);
    assert!(waited.iter().all(|waited| *waited == Waited::Value(bytes("done"))), "{waited:?}");
    assert_eq!(store.claim(&key, &bytes("late")).await, Claim::Held(bytes("done")));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(store.claim(&key, &bytes("later")).await, Claim::Mine, "the value has ended");
    assert_eq!(store.wait(&key, &bytes("later"), Duration::from_millis(30)).await, Waited::Late);
}

async fn a_claim_that_comes_to_nothing_can_be_made_again(store: &dyn SharedStore) {
    let key = key(&unique("nothing"), "x");
    let mark = bytes("mark");
    assert_eq!(store.claim(&key, &mark).await, Claim::Mine);
    let settling = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.settle(&key, &mark, None, MINUTE).await;
    };
    let (waited, ()) = tokio::join!(store.wait(&key, &mark, PATIENCE), settling);
    assert_eq!(waited, Waited::Gone);
    let again = bytes("again");
    assert_eq!(store.claim(&key, &again).await, Claim::Mine);
    store.settle(&key, &again, Some(vec![0; LIMITS.value_bytes + 1].into()), MINUTE).await;
    assert_eq!(store.claim(&key, &mark).await, Claim::Mine, "a value that is too large is none");
}

async fn any_text_is_a_name(store: &dyn SharedStore) {
    for text in ["", "a:b", "{tag}", "line\nline", "\u{0}", "é 漢", &"long".repeat(500)] {
        let key = key(&unique(text), text);
        assert!(store.keep(&key, bytes(text), MINUTE).await);
        assert_eq!(store.load(&key).await, Found::Value(bytes(text)), "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_shares_what_is_kept_removed_and_claimed() {
    let (_server, url) = server::any_redis();
    let (one, other) = (instance(&url).await, instance(&url).await);
    let (here, there) = (one.store(LIMITS), other.store(LIMITS));
    let key = key(&unique("fleet"), "x");
    assert!(here.keep(&key, bytes("value"), MINUTE).await);
    assert_eq!(there.load(&key).await, Found::Value(bytes("value")));
    assert!(there.remove(&key).await);
    assert_eq!(here.load(&key).await, Found::Nothing, "what another one removed is not found in memory");

    let key = self::key(&unique("fleet"), "claimed");
    let (mine, theirs) = (bytes("here"), bytes("there"));
    assert_eq!(here.claim(&key, &mine).await, Claim::Mine);
    assert_eq!(there.claim(&key, &theirs).await, Claim::Held(mine.clone()));
    let settling = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        here.settle(&key, &mine, Some(bytes("done")), MINUTE).await;
    };
    let (waited, ()) = tokio::join!(there.wait(&key, &mine, PATIENCE), settling);
    assert_eq!(waited, Waited::Value(bytes("done")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_stands_while_its_owner_lives_and_not_much_longer() {
    let server = RedisServer::start();
    let (one, other) = (instance(&server.url()).await, instance(&server.url()).await);
    let (here, there) = (one.store(LIMITS), other.store(LIMITS));
    let (key, mark) = (key("s", "x"), bytes("here"));
    assert_eq!(here.claim(&key, &mark).await, Claim::Mine);
    assert_eq!(there.wait(&key, &mark, Duration::from_secs(8)).await, Waited::Late, "it is renewed");
    drop(here);
    drop(one);
    assert_eq!(there.wait(&key, &mark, PATIENCE).await, Waited::Gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_this_process_goes_on_and_tells_it_later() {
    let mut server = RedisServer::start();
    let (one, other) = (instance(&server.url()).await, instance(&server.url()).await);
    let (here, there) = (one.store(LIMITS), other.store(LIMITS));
    let (before, during, claimed) = (key("s", "before"), key("s", "during"), key("s", "claimed"));
    assert!(here.keep(&before, bytes("1"), MINUTE).await);
    server.kill();
    eventually("the loss noticed", || !one.health().connected && !other.health().connected).await;
    assert_eq!(here.load(&before).await, Found::Value(bytes("1")));
    assert_eq!(there.load(&before).await, Found::Unknown);
    assert!(here.keep(&during, bytes("2"), MINUTE).await);
    assert_eq!(here.load(&during).await, Found::Value(bytes("2")));
    let mark = bytes("mark");
    assert_eq!(here.claim(&claimed, &mark).await, Claim::Mine);
    assert_eq!(here.claim(&claimed, &bytes("another")).await, Claim::Held(mark.clone()));
    here.settle(&claimed, &mark, Some(bytes("3")), MINUTE).await;
    assert_eq!(here.claim(&claimed, &bytes("another")).await, Claim::Held(bytes("3")));

    server.restart();
    eventually("both connected", || one.health().connected && other.health().connected).await;
    let start = Instant::now();
    while there.load(&during).await != Found::Value(bytes("2")) {
        assert!(start.elapsed() < PATIENCE, "never told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_kept_stays_in_redis_for_ever() {
    let server = RedisServer::start();
    let one = instance(&server.url()).await;
    let store = one.store(LIMITS);
    assert!(store.keep(&key("s", "a"), bytes("value"), MINUTE).await);
    assert_eq!(store.claim(&key("s", "b"), &bytes("mark")).await, Claim::Mine);
    let keys: Vec<String> = server.run(&["KEYS", "omniroute:{tests:*}:v1:*"]);
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in keys {
        let ttl: i64 = server.run(&["PTTL", &key]);
        assert!(ttl > 0, "{key} has a TTL of {ttl}");
    }
}
