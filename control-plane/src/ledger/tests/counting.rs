//! Every event counts exactly once, whatever happens on the way.

use std::time::Duration;

use omniroute_proto::v1;

use super::{event, events, ledger, totals};
use crate::{
    areas::access::keys::{rows as keys, rows::Keys},
    ledger::{EventFilter, Ledger, Sums},
    store::testing::{NOON, TestDatabase, on_both_engines},
};

/// Stores a batch with a runtime of its own, which ends after so many milliseconds as a process does: whatever it was about
/// to do. Says whether that was too early.
fn dies_after(milliseconds: u64, database: &TestDatabase, batch: &[v1::UsageEvent]) -> bool {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let stored = runtime.block_on(async {
        let (store, _) = database.store_at_noon().await;
        let work = ledger(&store).await;
        tokio::time::timeout(Duration::from_millis(milliseconds), work.ingest("p1", batch)).await
    });
    runtime.shutdown_background();
    stored.is_err()
}

/// Number of events and the sums at one moment: a commit that was under way when its process died may still land.
async fn settled(ledger: &Ledger) -> (u64, Sums) {
    let count = async || {
        let page = ledger.recent(&EventFilter::default(), None, 10_000).await.expect("events");
        u64::try_from(page.events.len()).expect("few")
    };
    loop {
        let (before, sums) = (count().await, totals(ledger).await);
        if count().await == before {
            return (before, sums);
        }
    }
}

/// A long text that does not compress: an index must hold it.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let letters = (0..100_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap_or(0))
    });
    letters.collect()
}

on_both_engines! {
    async fn the_same_batch_twice_counts_once(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let batch = events(NOON, 0..203);
        assert_eq!(ledger.ingest("p1", &batch[..]).await.expect("stored").inserted, 203);
        let once = totals(&ledger).await;
        assert_eq!((once.requests, once.prompt_tokens, once.completion_tokens), (203, 203 * 100, 203 * 20));
        let again = ledger.ingest("p1", &batch[..]).await.expect("stored");
        assert_eq!((again.inserted, again.refused.len()), (0, 0));
        assert_eq!(totals(&ledger).await, once);
        // Half old, half new, and one of the new ones twice.
        let mut mixed = events(NOON, 200..210);
        mixed.push(event(NOON, 205));
        assert_eq!(ledger.ingest("p2", &mixed[..]).await.expect("stored").inserted, 7);
        assert_eq!(totals(&ledger).await.requests, 210);
    }

    async fn replicas_that_get_the_same_events_at_once_count_them_once(database: &TestDatabase) {
        let (one, two) = (database.store_at_noon().await.0, database.store_at_noon().await.0);
        let ledgers = [ledger(&one).await, ledger(&two).await];
        let mut proxies = tokio::task::JoinSet::new();
        for proxy in 0..6_u64 {
            let ledger = ledgers[usize::try_from(proxy % 2).expect("small")].clone();
            proxies.spawn(async move {
                let mut inserted = 0;
                for batch in 0..5 {
                    // Neighbours overlap by half; some send in the opposite order.
                    let mut events = events(NOON, (batch * 20 + proxy * 10)..(batch * 20 + proxy * 10 + 20));
                    if proxy % 3 == 0 {
                        events.reverse();
                    }
                    inserted += ledger.ingest("p", &events[..]).await.expect("stored").inserted;
                }
                inserted
            });
        }
        let inserted: u32 = proxies.join_all().await.into_iter().sum();
        let distinct = 4 * 20 + 5 * 10 + 20;
        assert_eq!(u64::from(inserted), distinct);
        assert_eq!(totals(&ledgers[0]).await.requests, distinct);
    }

    async fn a_process_that_dies_leaves_of_a_batch_nothing_or_everything(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let mut cut = 0;
        for round in 0..25 {
            let batch = events(NOON, round * 100..round * 100 + 100);
            let died = tokio::task::block_in_place(|| {
                std::thread::scope(|scope| scope.spawn(|| dies_after(round, database, &batch)).join())
            });
            cut += u64::from(died.expect("no panic"));
            let (stored, sums) = settled(&ledger).await;
            assert_eq!(stored % 100, 0, "half a batch is in the ledger");
            assert_eq!((sums.requests, sums.prompt_tokens), (stored, stored * 100), "the sums differ from the events");
            // The proxy heard no acknowledgement and sends it again.
            ledger.ingest("p1", &batch[..]).await.expect("stored");
            assert_eq!(totals(&ledger).await.requests, (round + 1) * 100);
        }
        assert!(cut > 0, "no round was cut off");
    }

    async fn an_event_of_a_wrong_clock_is_kept_and_dated_by_its_arrival(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let day = 86_400_000;
        let at = |ms| omniroute_core::time::UnixMillis(ms);
        // A proxy's clock is days ahead; another one's began in 1970; a third one's is a few minutes off.
        let batch = [event(at(NOON.0 + 3 * day), 1), event(at(60_000), 2), event(at(NOON.0 + 120_000), 3)];
        let ingested = ledger.ingest("p1", &batch[..]).await.expect("stored");
        assert_eq!((ingested.inserted, ingested.refused.len()), (3, 0));
        for (request, expected) in [("req-1", (NOON, true)), ("req-2", (NOON, true)), ("req-3", (at(NOON.0 + 120_000), false))] {
            let row = ledger.find(request).await.expect("a look-up").remove(0);
            assert_eq!((row.at, row.redated), expected, "{request}");
            let by_id = ledger.find(&uuid::Uuid::from_bytes(*row.id.as_bytes()).to_string()).await.expect("a look-up");
            assert_eq!(by_id.len(), 1, "{request}");
        }
        // The acknowledgement was lost, and by the time they come again it is another day.
        clock.advance(std::time::Duration::from_millis(2 * day));
        let again = ledger.ingest("p1", &batch[..]).await.expect("stored");
        assert_eq!((again.inserted, again.refused.len()), (0, 0));
        assert_eq!(totals(&ledger).await.requests, 3);
    }

    async fn what_cannot_be_stored_is_refused_and_the_rest_is_stored(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let malformed = v1::UsageEvent { id: vec![1, 2, 3].into(), ..event(NOON, 0) };
        let old = omniroute_core::time::UnixMillis(NOON.0 - 31 * 86_400_000);
        let hostile = v1::UsageEvent {
            model: "gpt\0".into(),
            provider: noise(1),
            connection_id: noise(2),
            api_key_id: noise(3),
            error_code: "\0".repeat(10_000),
            outcome: 99,
            usage: Some(v1::Usage { input: Some(u64::MAX), output: Some(3), ..Default::default() }),
            duration_us: u64::MAX,
            attempts: u32::MAX,
            ..event(NOON, 2)
        };
        let twin = v1::UsageEvent { id: event(NOON, 4).id, request_id: "twin".into(), ..hostile.clone() };
        let batch = [malformed, event(old, 1), hostile.clone(), event(NOON, 3), twin];
        let ingested = ledger.ingest("p1", &batch[..]).await.expect("stored");
        assert_eq!(ingested.inserted, 3);
        let reasons: Vec<&str> = ingested.refused.iter().map(|refused| refused.reason.as_str()).collect();
        assert_eq!(reasons, ["the id is no UUIDv7", "older than the ledger keeps events"]);
        assert_eq!(ingested.refused[1].id, batch[1].id);
        let found = ledger.find("req-2").await.expect("a look-up").remove(0);
        assert_eq!((found.model.as_str(), found.usage.input, found.estimated), ("gpt\u{fffd}", None, true));
        assert_eq!(found.outcome, v1::Outcome::Unspecified, "an outcome of a newer proxy is kept, not lost");
        assert_eq!(totals(&ledger).await.completion_tokens, 3 + 20 + 3);
    }

    async fn a_key_shows_when_it_was_last_used(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let mut write = store.write(&crate::store::testing::admin()).await.expect("a transaction");
        let plain = "sk-b149085260680511-0712c5-a1af5982";
        let draft = crate::areas::access::keys::KeyDraft::new("k", plain, &store.pepper());
        let id = keys::create(&mut write, draft).await.expect("a key").id;
        let revision = write.commit().await.expect("committed");
        let earlier = omniroute_core::time::UnixMillis(NOON.0 - 5000);
        for (at, number) in [(NOON, 1), (earlier, 2)] {
            let used = v1::UsageEvent { api_key_id: id.to_string(), ..event(at, number) };
            ledger.ingest("p1", [used]).await.expect("stored");
        }
        assert_eq!(Keys::of(&store).get(id.as_str()).await.expect("the key").last_used_at, Some(NOON));
        assert_eq!(store.revision().await.expect("a revision"), revision, "use is no edit");
    }
}
