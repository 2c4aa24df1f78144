//! Which price counts, and pricing again.

use std::time::Duration;

use omniroute_core::{
    money::{MicroUsd, TokenPrice},
    time::UnixMillis,
};
use omniroute_providers::models::{Class, Service, Variant};

use super::{event, events, history, ledger, price, totals};
use crate::{
    ledger::Repriced,
    store::{
        records::PriceRow,
        testing::{NOON, admin, on_both_engines},
    },
};

/// Of one event at `price(1)`: 60 in, 40 cached at a tenth, 20 out at ten times.
const COST: i64 = 60 + 4 + 200;

on_both_engines! {
    async fn an_event_costs_what_was_in_force_at_its_time(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        ledger.seed_prices(30_000_001, "1", vec![price(1)]).await.expect("seeded");
        clock.advance(Duration::from_secs(60));
        ledger.seed_prices(30_000_002, "2", vec![price(2)]).await.expect("seeded");
        ledger.seed_prices(30_000_002, "2", vec![price(9)]).await.expect("this version is there already");
        let later = NOON.saturating_add(Duration::from_secs(61));
        let unknown = omniroute_proto::v1::UsageEvent { model: "unheard-of".into(), ..event(later, 3) };
        // The second one is late: it happened before the price changed.
        ledger.ingest("p1", [event(later, 1), event(NOON, 2), unknown]).await.expect("stored");
        let cost = async |request: &str| {
            let row = ledger.find(request).await.expect("a look-up").remove(0);
            row.cost.map(|cost| cost.0)
        };
        assert_eq!(cost("req-1").await, Some(2 * COST));
        assert_eq!(cost("req-2").await, Some(COST));
        assert_eq!(cost("req-3").await, None, "no price is not a price of nothing");
        let row = ledger.find("req-2").await.expect("a look-up").remove(0);
        assert_eq!((row.cost_input, row.cost_cache, row.cost_output),
            (Some(MicroUsd(60)), Some(MicroUsd(4)), Some(MicroUsd(200))));
        assert!(row.price_revision.is_some());
        let total = totals(&ledger).await;
        assert_eq!((total.cost, total.unpriced), (MicroUsd(3 * COST), 1));
    }

    async fn an_older_program_does_not_bring_old_prices_back(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let newest = omniroute_providers::ModelTable::builtin().header().edition + 1;
        ledger.seed_prices(newest, "new", vec![price(2)]).await.expect("seeded");
        let revision = store.revision().await.expect("a revision");
        clock.advance(Duration::from_secs(60));
        // In the middle of an upgrade a replica of the version before starts anew.
        ledger.seed_prices(newest - 1, "old", vec![price(1)]).await.expect("left alone");
        super::ledger(&store).await;
        let at = NOON.saturating_add(Duration::from_secs(120));
        ledger.ingest("p1", [event(at, 1)]).await.expect("stored");
        let row = ledger.find("req-1").await.expect("a look-up").remove(0);
        assert_eq!(row.cost.map(|cost| cost.0), Some(2 * COST));
        assert_eq!(store.revision().await.expect("a revision"), revision, "nothing was written");
    }

    async fn the_service_for_which_a_request_was_charged_has_its_price_also_later(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let flex = omniroute_proto::v1::UsageEvent { service_tier: "flex".into(), ..event(NOON, 2) };
        let other = omniroute_proto::v1::UsageEvent { service_tier: "scale".into(), ..event(NOON, 3) };
        ledger.ingest("p1", [event(NOON, 1), flex, other]).await.expect("stored");
        let half = [(Class::Input, 500_000), (Class::Output, 5_000_000), (Class::CacheRead, 50_000)];
        let mut with_flex = PriceRow { valid_from: UnixMillis(1), ..price(1) };
        with_flex.price.variants = vec![Variant {
            service: Some(Service::Flex),
            above: 0,
            rates: half.into_iter().map(|(class, rate)| (class, TokenPrice(rate))).collect(),
        }];
        let mut write = store.write(&admin()).await.expect("a transaction");
        write.put_price(with_flex).await.expect("put");
        write.commit().await.expect("committed");
        ledger.reprice(NOON, NOON.saturating_add(Duration::from_secs(1))).await.expect("priced");
        let mut costs = Vec::new();
        for request in ["req-1", "req-2", "req-3"] {
            let row = ledger.find(request).await.expect("a look-up").remove(0);
            costs.push((row.service_tier.clone(), row.cost.map(|cost| cost.0)));
        }
        let expected = [("", COST), ("flex", COST / 2), ("scale", COST)];
        assert_eq!(costs, expected.map(|(service, cost)| (service.to_owned(), Some(cost))));
    }

    async fn a_price_entered_late_can_be_applied_to_a_range(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let hour = Duration::from_secs(3600);
        let times = [NOON, NOON.saturating_add(hour), NOON.saturating_add(2 * hour)];
        clock.advance(2 * hour);
        for (index, at) in times.into_iter().enumerate() {
            let first = index as u64 * 1000;
            ledger.ingest("p1", events(at, first..first + 600)).await.expect("stored");
        }
        let before = totals(&ledger).await;
        assert_eq!((before.cost, before.unpriced), (MicroUsd(0), 1800));
        let mut write = store.write(&admin()).await.expect("a transaction");
        let from_the_start = crate::store::records::PriceRow { valid_from: UnixMillis(1), ..price(1) };
        write.put_price(from_the_start).await.expect("put");
        write.commit().await.expect("committed");

        let done = ledger.reprice(times[0], times[2]).await.expect("priced");
        assert_eq!(done, Repriced { looked_at: 1200, changed: 1200 }, "the end is exclusive");
        let after = totals(&ledger).await;
        assert_eq!((after.cost, after.unpriced), (MicroUsd(1200 * COST), 600));
        assert_eq!(after.requests, 1800);
        let again = ledger.reprice(times[0], times[2]).await.expect("priced");
        assert_eq!(again, Repriced { looked_at: 1200, changed: 0 });
        assert_eq!(totals(&ledger).await, after);
        assert_eq!(history(&ledger).await.by_key[0].sums.cost, MicroUsd(1200 * COST));
    }

    async fn two_repricings_at_once_correct_the_sums_once(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        ledger.ingest("p1", events(NOON, 0..1200)).await.expect("stored");
        let mut write = store.write(&admin()).await.expect("a transaction");
        write.put_price(crate::store::records::PriceRow { valid_from: UnixMillis(1), ..price(1) }).await.expect("put");
        write.commit().await.expect("committed");
        let end = NOON.saturating_add(Duration::from_secs(1));
        let (one, two) = tokio::join!(ledger.reprice(NOON, end), ledger.reprice(NOON, end));
        assert_eq!(one.expect("priced").changed + two.expect("priced").changed, 1200);
        let total = totals(&ledger).await;
        assert_eq!((total.cost, total.unpriced), (MicroUsd(1200 * COST), 0));
    }
}
