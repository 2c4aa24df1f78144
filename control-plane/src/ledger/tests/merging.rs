//! Batches that share a transaction stay apart in what they are answered.

use futures_util::poll;
use omniroute_proto::v1;
use tokio::sync::oneshot;

use super::{event, events, ledger, totals};
use crate::{
    ledger::{
        Ingested, Ledger,
        ingest::{QUEUE, Waiting},
        transaction::Transaction,
    },
    store::{
        Engine, Store, StoreError,
        testing::{NOON, execute, on_both_engines},
    },
};

/// Stores batches in one transaction.
async fn together<const N: usize>(
    ledger: &Ledger,
    batches: [(&str, Vec<v1::UsageEvent>); N],
) -> [Result<Ingested, std::sync::Arc<StoreError>>; N] {
    let (mut waiting, mut answers) = (Vec::new(), Vec::new());
    for (proxy, events) in batches {
        let (batch, answer) = Waiting::new(proxy, events);
        waiting.push(batch);
        answers.push(answer);
    }
    ledger.store_waiting(waiting).await;
    let answered = |mut answer: oneshot::Receiver<_>| answer.try_recv().expect("each is answered");
    answers.into_iter().map(answered).collect::<Vec<_>>().try_into().expect("as many")
}

fn inserted<const N: usize>(answers: [Result<Ingested, std::sync::Arc<StoreError>>; N]) -> [u32; N] {
    answers.map(|answer| answer.expect("stored").inserted)
}

/// Takes every transaction that the ledger may have.
async fn take_all_transactions(store: &Store) -> Vec<Transaction> {
    let mut taken = Vec::new();
    for _ in 0..store.ledger_transactions() {
        taken.push(Transaction::begin(store).await.expect("a transaction"));
    }
    taken
}

async fn until_taken_from_the_queue(ledger: &Ledger) {
    while ledger.0.queue.capacity() < QUEUE {
        tokio::task::yield_now().await;
    }
}

on_both_engines! {
    async fn batches_that_overlap_count_each_event_once(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let mut opposite = events(NOON, 10..30);
        opposite.reverse();
        let batches = [("p1", events(NOON, 0..20)), ("p2", opposite), ("p3", events(NOON, 15..25))];
        assert_eq!(inserted(together(&ledger, batches).await), [20, 10, 0]);
        let once = totals(&ledger).await;
        assert_eq!((once.requests, once.prompt_tokens), (30, 30 * 100));
        let proxy = |row: &crate::ledger::UsageRow| row.proxy_id.clone();
        for (request, expected) in [("req-19", "p1"), ("req-20", "p2")] {
            assert_eq!(ledger.find(request).await.expect("a look-up").iter().map(proxy).collect::<Vec<_>>(), [expected]);
        }

        // Both acknowledgements were lost; one proxy has new events beside the old ones.
        let batches = [("p1", events(NOON, 0..20)), ("p2", events(NOON, 10..130)), ("p3", events(NOON, 120..140))];
        assert_eq!(inserted(together(&ledger, batches).await), [0, 100, 10]);
        let all = totals(&ledger).await;
        assert_eq!((all.requests, all.prompt_tokens), (140, 140 * 100));
    }

    async fn what_is_refused_is_told_to_whoever_sent_it(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let malformed = v1::UsageEvent { id: vec![1, 2, 3].into(), ..event(NOON, 0) };
        let batches = [("p1", vec![malformed, event(NOON, 1)]), ("p2", events(NOON, 2..4)), ("p3", Vec::new())];
        let answers = together(&ledger, batches).await.map(|answer| answer.expect("stored"));
        let counts = answers.map(|answer| (answer.inserted, answer.refused.len()));
        assert_eq!(counts, [(1, 1), (2, 0), (0, 0)]);
    }

    async fn a_batch_that_the_database_refuses_does_not_fail_the_others(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let refuse = match store.engine() {
            Engine::Sqlite => "CREATE TRIGGER refuse BEFORE INSERT ON usage_events WHEN NEW.model = 'poison' \
                 BEGIN SELECT RAISE(ABORT, 'refused'); END",
            Engine::Postgres => "ALTER TABLE usage_events ADD CONSTRAINT refuse CHECK (model <> 'poison')",
        };
        execute(&store, refuse).await;
        let poison = v1::UsageEvent { model: "poison".into(), ..event(NOON, 15) };
        let poisoned = vec![event(NOON, 12), poison];
        let batches = [("p1", events(NOON, 0..10)), ("p2", poisoned), ("p3", events(NOON, 12..15))];
        let [first, second, third] = together(&ledger, batches).await;
        assert_eq!(first.expect("stored").inserted, 10);
        assert_eq!(second.expect_err("refused").code(), "database");
        assert_eq!(third.expect("stored").inserted, 3, "also what the refused batch has too");
        assert_eq!(totals(&ledger).await.requests, 13);
    }

    async fn a_transaction_that_fails_is_told_to_all_and_stores_nothing(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let batches = || [("p1", events(NOON, 0..10)), ("p2", events(NOON, 10..20))];
        // The sums come last: the events are inserted by then.
        execute(&store, "ALTER TABLE usage_hourly RENAME TO hidden").await;
        for answer in together(&ledger, batches()).await {
            assert_eq!(answer.expect_err("there is no table for the sums").code(), "database");
        }
        execute(&store, "ALTER TABLE hidden RENAME TO usage_hourly").await;
        assert!(ledger.find("req-1").await.expect("a look-up").is_empty(), "an event without its sums is in the ledger");
        assert_eq!(inserted(together(&ledger, batches()).await), [10, 10], "sent again");
        assert_eq!(totals(&ledger).await.requests, 20);

        store.close().await;
        for answer in together(&ledger, batches()).await {
            assert_eq!(answer.expect_err("it is closed").code(), "database_unavailable");
        }
    }

    async fn what_has_begun_goes_on_without_whoever_sent_it(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let taken = take_all_transactions(&store).await;
        let (batch, answer) = Waiting::new("p1", events(NOON, 0..10));
        let mut begun = Box::pin(ledger.store_waiting(vec![batch]));
        assert!(poll!(begun.as_mut()).is_pending(), "there is no transaction to be had");
        drop(answer);
        drop(taken);
        begun.await;
        assert_eq!(totals(&ledger).await.requests, 10);
    }

    async fn who_leaves_the_queue_neither_holds_up_nor_loses_the_others(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let taken = take_all_transactions(&store).await;
        let mut begun = Vec::new();
        for number in 0..u64::from(store.ledger_transactions()) {
            let mut work = Box::pin(ledger.ingest("p1", events(NOON, number * 10..number * 10 + 10)));
            assert!(poll!(work.as_mut()).is_pending());
            until_taken_from_the_queue(&ledger).await;
            begun.push(work);
        }
        let mut leaves = Box::pin(ledger.ingest("p2", [event(NOON, 1_000)]));
        let mut stays = Box::pin(ledger.ingest("p3", events(NOON, 2_000..2_010)));
        assert!(poll!(leaves.as_mut()).is_pending() && poll!(stays.as_mut()).is_pending());
        assert_eq!(ledger.0.queue.capacity(), QUEUE - 2, "they wait for a transaction");

        drop(leaves);
        drop(taken);
        for work in begun {
            assert_eq!(work.await.expect("stored").inserted, 10);
        }
        assert_eq!(stays.await.expect("stored").inserted, 10);
        assert!(ledger.find("req-1000").await.expect("a look-up").is_empty(), "nobody waited for it any more");
    }
}
