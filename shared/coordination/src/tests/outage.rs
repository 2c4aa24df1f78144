//! Redis dies, hangs, comes back with and without its data.

use super::{server::RedisServer, *};
use crate::Backend;

const MINUTE: Duration = Duration::from_secs(60);

async fn sent(here: &RedisCoordination) {
    eventually("everything sent", || here.health().connected && here.health().pending == 0).await;
}

async fn lost(here: &RedisCoordination) {
    eventually("the loss noticed", || !here.health().connected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_redis_is_noticed_and_costs_callers_nothing() {
    let mut server = RedisServer::start();
    let here = instance(&server.url()).await;
    here.cool("before", from_now(60_000), "429").await;
    sent(&here).await;
    server.kill();
    lost(&here).await;
    let health = here.health();
    assert_eq!((health.backend, health.last_error.is_some()), (Backend::Redis, true));
    assert!(health.last_error.is_some_and(|error| !error.contains("127.0.0.1")));

    let start = Instant::now();
    for n in 0..1_000 {
        assert!(is_cooling(&here, "before"));
        here.cool(&n.to_string(), from_now(60_000), "503").await;
        here.hit("during", 10, MINUTE).await;
    }
    // A thousand calls that each waited for Redis would take more than a minute.
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!(here.cooldowns().len(), 1_001);
    assert!(!here.hit("during", 10, MINUTE).await.allowed, "the limit holds here too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_meanwhile_is_told_when_redis_is_back_with_its_data() {
    let mut server = RedisServer::start();
    let (here, there) = (instance(&server.url()).await, instance(&server.url()).await);
    here.cool("kept", from_now(60_000), "429").await;
    here.cool("warmed", from_now(60_000), "429").await;
    sent(&here).await;
    eventually("both there", || is_cooling(&there, "kept") && is_cooling(&there, "warmed")).await;

    server.kill();
    lost(&here).await;
    lost(&there).await;
    here.warm("warmed").await;
    here.cool("new", from_now(60_000), "503").await;
    assert!(here.health().pending >= 2);
    server.restart();

    eventually("told", || is_cooling(&there, "new") && !is_cooling(&there, "warmed")).await;
    assert!(is_cooling(&there, "kept") && is_cooling(&here, "kept") && is_cooling(&here, "new"));
    sent(&here).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_its_data_is_told_what_the_fleet_knows() {
    let mut server = RedisServer::start();
    let here = instance(&server.url()).await;
    here.cool("kept", from_now(60_000), "quota").await;
    for _ in 0..4 {
        assert!(here.hit("login", 5, MINUTE).await.allowed);
    }
    sent(&here).await;
    server.restart_empty();
    sent(&here).await;
    let joined = instance(&server.url()).await;
    eventually("told again", || is_cooling(&joined, "kept")).await;
    assert!(is_cooling(&here, "kept"));
    assert_eq!(&*joined.cooling("kept").expect("cooling").reason, "quota");
    eventually("connected again", || here.health().connected).await;
    assert_eq!(joined.hit("login", 5, MINUTE).await.remaining, 0, "four hits were remembered");
    assert!(!joined.hit("login", 5, MINUTE).await.allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_are_lost_under_an_open_connection_are_told_again_too() {
    let server = RedisServer::start();
    let here = instance(&server.url()).await;
    here.cool("kept", from_now(60_000), "quota").await;
    sent(&here).await;
    server.run::<()>(&["FLUSHALL"]);
    // Found by the next full read.
    eventually("told again", || server.run::<bool>(&["EXISTS", "omniroute:{fleet}:v1:cooldowns"])).await;
    assert!(is_cooling(&here, "kept"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_during_an_outage_are_shared_out_and_count_afterwards() {
    let mut server = RedisServer::start();
    let (here, there) = (instance(&server.url()).await, instance(&server.url()).await);
    // The first of the two learns of the second with its next full read.
    eventually("both know both", || here.health().instances == 2 && there.health().instances == 2).await;
    server.kill();
    lost(&here).await;
    lost(&there).await;
    let mut allowed = 0;
    for _ in 0..10 {
        allowed += u32::from(here.hit("login", 6, MINUTE).await.allowed);
        allowed += u32::from(there.hit("login", 6, MINUTE).await.allowed);
    }
    assert_eq!(allowed, 6, "three each");
    server.restart();
    sent(&here).await;
    sent(&there).await;
    assert!(!here.hit("login", 6, MINUTE).await.allowed);
    assert!(here.hit("login", 7, MINUTE).await.allowed, "counted once, not twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_left_alone_until_it_answers() {
    let server = RedisServer::start();
    let here = instance(&server.url()).await;
    let port = server.url();
    let sleep = std::thread::spawn(move || {
        let mut connection = redis::Client::open(port).and_then(|c| c.get_connection()).expect("connected");
        redis::cmd("DEBUG").arg("SLEEP").arg("2").query::<()>(&mut connection).expect("slept");
    });
    lost(&here).await;
    assert!(here.hit("during", 5, MINUTE).await.allowed);
    here.cool("during", from_now(60_000), "429").await;
    sleep.join().expect("slept");
    sent(&here).await;
    let joined = instance(&server.url()).await;
    eventually("told", || is_cooling(&joined, "during")).await;
    assert_eq!(joined.hit("during", 5, MINUTE).await.remaining, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_later_is_found() {
    let mut server = RedisServer::stopped();
    let here = RedisCoordination::connect(&server.url(), Arc::new(SystemClock)).expect("a URL");
    here.cool("early", from_now(60_000), "429").await;
    assert!(is_cooling(&here, "early") && here.hit("s", 1, MINUTE).await.allowed);
    eventually("a reason", || here.health().last_error.is_some()).await;
    server.restart();
    sent(&here).await;
    let joined = instance(&server.url()).await;
    eventually("told", || is_cooling(&joined, "early")).await;
    assert!(!joined.hit("s", 1, MINUTE).await.allowed);
}
