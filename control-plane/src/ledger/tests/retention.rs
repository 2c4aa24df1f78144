//! Days come and go.

use std::time::Duration;

use omniroute_core::time::UnixMillis;

use super::{event, events, ledger, totals};
use crate::{
    ledger::{DAY_MS, EventFilter, day_of},
    store::{
        Columns as _, Engine, Store, sql,
        testing::{NOON, execute, on_both_engines},
    },
};

async fn partitions(store: &Store) -> Vec<String> {
    let rows = sql("SELECT CAST(child.relname AS TEXT) AS name FROM pg_inherits JOIN pg_class child \
         ON child.oid = pg_inherits.inhrelid WHERE pg_inherits.inhparent = to_regclass('usage_events') ORDER BY 1");
    let rows = rows.fetch_all(store.reader()).await.expect("partitions");
    rows.iter().map(|row| row.text("name").expect("a name")).collect()
}

on_both_engines! {
    async fn old_events_go_and_their_sums_stay(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let days_ago = |days: u64| UnixMillis(NOON.0 - days * DAY_MS);
        for days in [0, 29, 30] {
            let first = days * 100;
            ledger.ingest("p1", events(days_ago(days), first..first + 10)).await.expect("stored");
        }
        let lease = store.leases().acquire("t", "a", Duration::from_secs(60)).await.expect("asked").expect("free");
        assert_eq!(ledger.forget_old(&lease).await.expect("forgotten"), 0, "thirty days are kept");
        clock.advance(Duration::from_millis(DAY_MS));
        let gone = ledger.forget_old(&lease).await.expect("forgotten");
        assert_eq!(gone, if store.engine() == Engine::Postgres { 1 } else { 10 });
        let left = ledger.recent(&EventFilter::default(), None, 100).await.expect("events").events;
        assert_eq!(left.len(), 20);
        assert_eq!(totals(&ledger).await.requests, 30);
        // A proxy that was away all the time sends one of them again: it must not count twice.
        let again = ledger.ingest("p1", [event(days_ago(30), 3000)]).await.expect("answered");
        assert_eq!((again.inserted, again.refused.len()), (0, 1));
        assert_eq!(totals(&ledger).await.requests, 30);
    }

    async fn who_lost_the_lease_forgets_nothing(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        ledger.ingest("p1", [event(NOON, 1)]).await.expect("stored");
        let ttl = Duration::from_secs(60);
        let stalled = store.leases().acquire("t", "a", ttl).await.expect("asked").expect("free");
        clock.advance(Duration::from_millis(40 * DAY_MS));
        store.leases().acquire("t", "b", ttl).await.expect("asked").expect("it had expired");
        assert_eq!(ledger.forget_old(&stalled).await.expect_err("fenced off").code(), "lease_lost");
        assert_eq!(ledger.find("req-1").await.expect("a look-up").len(), 1);
    }

    async fn partitions_are_made_ahead_on_demand_and_again_when_one_is_missing(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        if store.engine() == Engine::Sqlite {
            return;
        }
        let today = day_of(NOON);
        let ahead: Vec<String> = (today - 1..=today + 7).map(|day| format!("usage_events_{day}")).collect();
        assert_eq!(partitions(&store).await, ahead);
        let week_ago = UnixMillis(NOON.0 - 7 * DAY_MS);
        ledger.ingest("p1", [event(week_ago, 1)]).await.expect("made on demand");
        assert_eq!(partitions(&store).await.len(), ahead.len() + 1);

        execute(&store, &format!("DROP TABLE usage_events_{today}")).await;
        ledger.ingest("p1", [event(NOON, 2)]).await.expect_err("the ledger believed it was there");
        assert_eq!(ledger.ingest("p1", [event(NOON, 2)]).await.expect("sent again").inserted, 1);
    }
}
