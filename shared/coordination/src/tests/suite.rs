//! What both implementations promise.

use super::{server::RedisServer, *};
use crate::LocalCoordination;

/// Declares every test twice, once for each implementation.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod in_process {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(&super::LocalCoordination::new(std::sync::Arc::new(super::SystemClock))).await;
                }
            )*
        }
        mod in_redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let (_server, url): (Option<super::RedisServer>, _) = super::super::server::any_redis();
                    super::$name(&super::instance(&url).await).await;
                }
            )*
        }
    };
}

on_both!(
    a_cooldown_is_in_force_at_once_and_ends_by_itself,
    a_longer_cooldown_is_not_cut_short,
    warming_ends_a_cooldown,
    what_is_over_already_is_no_cooldown,
    all_cooldowns_are_listed,
    hits_are_counted_down_and_then_refused,
    scopes_do_not_touch_each_other,
    a_limit_of_nothing_allows_nothing,
    hits_at_once_never_exceed_the_limit,
    no_window_holds_more_than_the_limit,
    any_text_is_an_id_or_a_scope,
);

const MINUTE: Duration = Duration::from_secs(60);

/// Redis tells how long is left, not until when: the way there and back is in between.
fn near(one: UnixMillis, other: UnixMillis) -> bool {
    one.0.abs_diff(other.0) < 5_000
}

async fn a_cooldown_is_in_force_at_once_and_ends_by_itself(shared: &dyn Coordination) {
    let id = unique("ends");
    let until = from_now(400);
    shared.cool(&id, until, "429").await;
    if let Some(cooldown) = shared.cooling(&id) {
        assert!(near(cooldown.until, until), "{cooldown:?}");
        assert_eq!(&*cooldown.reason, "429");
    } else {
        assert!(SystemClock.now() >= until, "not in force");
    }
    eventually("the end of the cooldown", || !is_cooling(shared, &id)).await;
    assert!(SystemClock.now() >= until, "ended early");
}

async fn a_longer_cooldown_is_not_cut_short(shared: &dyn Coordination) {
    let id = unique("longer");
    let long = from_now(60_000);
    shared.cool(&id, long, "quota").await;
    shared.cool(&id, from_now(1_000), "connect").await;
    let cooldown = shared.cooling(&id).expect("cooling");
    assert!(near(cooldown.until, long) && &*cooldown.reason == "quota", "{cooldown:?}");
    let longer = from_now(90_000);
    shared.cool(&id, longer, "429").await;
    let cooldown = shared.cooling(&id).expect("cooling");
    assert!(near(cooldown.until, longer) && &*cooldown.reason == "429", "{cooldown:?}");
}

async fn warming_ends_a_cooldown(shared: &dyn Coordination) {
    let id = unique("warm");
    shared.cool(&id, from_now(60_000), "429").await;
    shared.warm(&id).await;
    assert!(!is_cooling(shared, &id));
    shared.warm(&unique("never cooled")).await;
    shared.cool(&id, from_now(5_000), "again").await;
    assert!(is_cooling(shared, &id), "it can cool again, for a shorter time too");
}

async fn what_is_over_already_is_no_cooldown(shared: &dyn Coordination) {
    let id = unique("over");
    shared.cool(&id, UnixMillis(SystemClock.now().0 - 1), "late").await;
    assert!(!is_cooling(shared, &id));
}

async fn all_cooldowns_are_listed(shared: &dyn Coordination) {
    let prefix = unique("listed");
    for n in 0..50 {
        shared.cool(&format!("{prefix}-{n}"), from_now(60_000), "429").await;
    }
    shared.warm(&format!("{prefix}-7")).await;
    let listed = || shared.cooldowns().iter().filter(|(id, _)| id.starts_with(&prefix)).count();
    assert_eq!(listed(), 49);
}

async fn hits_are_counted_down_and_then_refused(shared: &dyn Coordination) {
    let scope = unique("login");
    for left in (0..5).rev() {
        let decision = shared.hit(&scope, 5, MINUTE).await;
        assert_eq!((decision.allowed, decision.remaining, decision.retry_after), (true, left, None));
    }
    for _ in 0..3 {
        let decision = shared.hit(&scope, 5, MINUTE).await;
        assert_eq!((decision.allowed, decision.remaining), (false, 0));
        let wait = decision.retry_after.expect("how long to wait");
        assert!(wait > MINUTE / 2 && wait <= MINUTE + MINUTE / 16, "{wait:?}");
    }
}

async fn scopes_do_not_touch_each_other(shared: &dyn Coordination) {
    let (one, other) = (unique("one"), unique("other"));
    assert!(shared.hit(&one, 1, MINUTE).await.allowed);
    assert!(!shared.hit(&one, 1, MINUTE).await.allowed);
    assert!(shared.hit(&other, 1, MINUTE).await.allowed);
}

async fn a_limit_of_nothing_allows_nothing(shared: &dyn Coordination) {
    assert!(!shared.hit(&unique("none"), 0, MINUTE).await.allowed);
}

async fn hits_at_once_never_exceed_the_limit(shared: &dyn Coordination) {
    let scope = unique("burst");
    let hits = (0..100).map(|_| shared.hit(&scope, 20, MINUTE));
    let decisions = futures_util::future::join_all(hits).await;
    assert_eq!(decisions.iter().filter(|decision| decision.allowed).count(), 20);
}

async fn no_window_holds_more_than_the_limit(shared: &dyn Coordination) {
    const WINDOW: Duration = Duration::from_millis(160);
    let scope = unique("window");
    let mut allowed = Vec::new();
    let start = Instant::now();
    while start.elapsed() < WINDOW * 8 {
        let before = Instant::now();
        if shared.hit(&scope, 3, WINDOW).await.allowed {
            allowed.push((before, Instant::now()));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(allowed.len() > 3, "a window that has passed makes room");
    for (first, fourth) in allowed.iter().zip(&allowed[3..]) {
        // A hit was counted some time between the two instants; both clocks count whole milliseconds.
        let apart = fourth.1 - first.0 + Duration::from_millis(2);
        assert!(apart >= WINDOW, "four hits within {apart:?}");
    }
}

async fn any_text_is_an_id_or_a_scope(shared: &dyn Coordination) {
    for text in ["", "a|b", "{tag}", "line\nline", "\u{0}", "é 漢", &"long".repeat(500)] {
        let text = format!("{text}{}", unique("odd"));
        shared.cool(&text, from_now(60_000), text.as_str()).await;
        assert!(is_cooling(shared, &text), "{text:?}");
        assert!(shared.hit(&text, 1, MINUTE).await.allowed, "{text:?}");
        assert!(!shared.hit(&text, 1, MINUTE).await.allowed, "{text:?}");
    }
}

#[tokio::test]
async fn an_empty_url_means_this_process_and_a_bad_one_is_reported() {
    let local = crate::connect("").await;
    let health = local.health();
    assert_eq!((health.backend, health.connected), (crate::Backend::Process, true));

    let url = "http://user:hunter2@example.org";
    let error = crate::check_redis_url(url).expect_err("no Redis URL").to_string();
    assert!(error.contains("redis_url") && !error.contains("hunter2"), "{error}");
    let health = crate::connect(url).await.health();
    assert_eq!((health.backend, health.connected), (crate::Backend::Redis, false));
    assert!(health.last_error.is_some_and(|error| !error.contains("hunter2")));
    assert!(crate::check_redis_url("rediss://:secret@redis.example.org:6380/1").is_ok());
}
