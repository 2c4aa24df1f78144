//! What REST asks.

use std::time::Duration;

use omniroute_core::{settings::Secret, time::UnixMillis};
use omniroute_proto::v1;

use super::{event, events, history, ledger};
use crate::{
    areas::providers::connections::{ConnectionDraft, rows as connections},
    ledger::{EventCursor, EventFilter},
    store::testing::{NOON, admin, on_both_engines},
};

on_both_engines! {
    async fn the_history_breaks_down_by_provider_model_account_and_key(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        let draft = ConnectionDraft::new("openai", "main", Secret::default());
        let connection = connections::create(&mut write, draft).await.expect("a connection").id;
        write.commit().await.expect("committed");
        clock.advance(Duration::from_secs(150));
        let now = NOON.saturating_add(Duration::from_secs(150));
        let mut batch = events(NOON, 0..3);
        batch.push(v1::UsageEvent { model: "other".into(), connection_id: connection.to_string(), ..event(now, 3) });
        batch.push(v1::UsageEvent {
            provider: "groq".into(),
            api_key_id: "key-2".into(),
            outcome: v1::Outcome::UpstreamError.into(),
            usage: None,
            ..event(now, 4)
        });
        ledger.ingest("p1", &batch[..]).await.expect("stored");
        let history = history(&ledger).await;
        let total = &history.total;
        assert_eq!((total.requests, total.prompt_tokens, total.completion_tokens), (5, 400, 80));
        assert_eq!(history.total.last_used_at, now);
        let providers: Vec<_> = history.by_provider.iter().map(|(name, sums)| (name.as_str(), sums.requests)).collect();
        assert_eq!(providers, [("openai", 4), ("groq", 1)]);
        let models: Vec<_> = history.by_model.iter().map(|row| (row.model.as_str(), row.sums.requests)).collect();
        assert_eq!(models, [("gpt", 3), ("gpt", 1), ("other", 1)], "the provider is part of it");
        let account = history.by_account.iter().find(|row| row.model == "other").expect("the account");
        assert_eq!(account.connection_name.as_deref(), Some("main"));
        let keys: Vec<_> = history.by_key.iter().map(|row| (row.api_key_id.as_str(), row.sums.requests)).collect();
        assert_eq!(keys, [("key-1", 4), ("key-2", 1)]);
        let minutes: Vec<u64> = history.last_ten_minutes.iter().map(|minute| minute.sums.requests).collect();
        assert_eq!(minutes, [0, 0, 0, 0, 0, 0, 0, 3, 0, 2], "oldest first, the current one last");
        assert_eq!(history.last_ten_minutes[9].sums.prompt_tokens, 100);

        let later = ledger.history(Some(now.saturating_add(Duration::from_secs(3600))), None).await.expect("none yet");
        assert_eq!(later.total.requests, 0);
        let totals = ledger.connection_totals("connection-1", None, None).await.expect("totals");
        assert_eq!(totals.total.requests, 4);
        let outcomes: Vec<_> = totals.by_outcome.iter().map(|(outcome, sums)| (*outcome, sums.requests)).collect();
        assert_eq!(outcomes, [(v1::Outcome::Ok, 3), (v1::Outcome::UpstreamError, 1)]);
        let ended = ledger.connection_totals("connection-1", None, Some(NOON)).await.expect("totals");
        assert_eq!((ended.total.requests, ended.by_outcome.len(), ended.by_model.len()), (0, 0, 0), "nothing before it");
        assert_eq!(ledger.connection_totals("nobody", None, None).await.expect("totals").total.requests, 0);
    }

    async fn the_history_goes_back_ninety_days_unless_it_is_told_how_far(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        ledger.ingest("p1", events(NOON, 0..3)).await.expect("stored");
        clock.advance(Duration::from_secs(91 * 24 * 60 * 60));
        assert_eq!(history(&ledger).await.total.requests, 0);
        assert_eq!(ledger.history(Some(NOON), None).await.expect("sums").total.requests, 3);
        let until = NOON.saturating_add(Duration::from_secs(3600));
        assert_eq!(ledger.history(None, Some(until)).await.expect("sums").total.requests, 3, "before its end");
    }

    async fn every_filter_restricts_and_they_add_up(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let at = |second: u64| NOON.saturating_add(Duration::from_millis(second));
        let batch = [
            event(at(0), 0),
            v1::UsageEvent { api_key_id: "key-2".into(), ..event(at(1), 1) },
            v1::UsageEvent { connection_id: "connection-2".into(), ..event(at(2), 2) },
            v1::UsageEvent { provider: "groq".into(), ..event(at(3), 3) },
            v1::UsageEvent { model: "other".into(), ..event(at(4), 4) },
            v1::UsageEvent { outcome: v1::Outcome::Timeout.into(), ..event(at(5), 5) },
        ];
        ledger.ingest("p1", &batch[..]).await.expect("stored");
        let any = EventFilter::default;
        for (filter, count) in [
            (any(), 6),
            (EventFilter { api_key_id: "key-2".into(), ..any() }, 1),
            (EventFilter { connection_id: "connection-2".into(), ..any() }, 1),
            (EventFilter { provider: "groq".into(), ..any() }, 1),
            (EventFilter { model: "other".into(), ..any() }, 1),
            (EventFilter { outcome: Some(v1::Outcome::Timeout), ..any() }, 1),
            (EventFilter { since: Some(at(2)), until: Some(at(5)), ..any() }, 3),
            (EventFilter { api_key_id: "key-1".into(), since: Some(at(4)), ..any() }, 2),
            (EventFilter { api_key_id: "key-2".into(), model: "other".into(), ..any() }, 0),
        ] {
            let page = ledger.recent(&filter, None, 10).await.expect("a page");
            assert_eq!(page.events.len(), count, "{filter:?}");
            if count > 1 {
                let first = ledger.recent(&filter, None, 1).await.expect("a page");
                let rest = ledger.recent(&filter, first.next, 10).await.expect("a page");
                assert_eq!(first.events.len() + rest.events.len(), count, "{filter:?}");
            }
        }
    }

    async fn pages_go_back_in_time_and_lose_nothing(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        clock.advance(Duration::from_secs(10));
        // Several share a millisecond.
        for second in 0..5 {
            let at = NOON.saturating_add(Duration::from_secs(second));
            ledger.ingest("p1", events(at, second * 5..second * 5 + 5)).await.expect("stored");
        }
        let filter = EventFilter::default();
        let (mut cursor, mut seen) = (None, Vec::new());
        loop {
            let page = ledger.recent(&filter, cursor, 7).await.expect("a page");
            assert!(page.events.len() <= 7);
            seen.extend(page.events.iter().map(|event| event.request_id.clone()));
            let Some(next) = page.next else { break };
            let text = next.to_string();
            cursor = Some(text.parse::<EventCursor>().expect("a cursor"));
            // New events do not shift the pages.
            let at = NOON.saturating_add(Duration::from_secs(9));
            ledger.ingest("p1", [event(at, 1000 + seen.len() as u64)]).await.expect("stored");
        }
        let expected: Vec<String> = (0..25).rev().map(|number| format!("req-{number}")).collect();
        assert_eq!(seen, expected);
        assert!("nonsense".parse::<EventCursor>().is_err());
    }

    async fn filters_restrict_and_combine(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        clock.advance(Duration::from_secs(100));
        let later = NOON.saturating_add(Duration::from_secs(50));
        let batch = [
            event(NOON, 0),
            v1::UsageEvent { api_key_id: "key-2".into(), ..event(NOON, 1) },
            v1::UsageEvent { connection_id: "connection-2".into(), ..event(NOON, 2) },
            v1::UsageEvent { provider: "groq".into(), ..event(NOON, 3) },
            v1::UsageEvent { model: "other".into(), ..event(NOON, 4) },
            v1::UsageEvent { outcome: v1::Outcome::Timeout.into(), ..event(NOON, 5) },
            event(later, 6),
        ];
        ledger.ingest("p1", &batch[..]).await.expect("stored");
        let found = async |filter: EventFilter| -> Vec<String> {
            let page = ledger.recent(&filter, None, 100).await.expect("a page");
            page.events.into_iter().map(|event| event.request_id).collect()
        };
        let all = EventFilter::default;
        assert_eq!(found(all()).await.len(), 7);
        assert_eq!(found(EventFilter { api_key_id: "key-2".into(), ..all() }).await, ["req-1"]);
        assert_eq!(found(EventFilter { connection_id: "connection-2".into(), ..all() }).await, ["req-2"]);
        assert_eq!(found(EventFilter { provider: "groq".into(), ..all() }).await, ["req-3"]);
        assert_eq!(found(EventFilter { model: "other".into(), ..all() }).await, ["req-4"]);
        assert_eq!(found(EventFilter { outcome: Some(v1::Outcome::Timeout), ..all() }).await, ["req-5"]);
        assert_eq!(found(EventFilter { since: Some(later), ..all() }).await, ["req-6"]);
        assert_eq!(found(EventFilter { until: Some(later), model: "gpt".into(), ..all() }).await.len(), 5);
        let none = EventFilter { api_key_id: "key-2".into(), provider: "groq".into(), ..all() };
        assert_eq!(found(none).await, Vec::<String>::new());
    }

    async fn an_event_is_found_by_its_id_and_all_of_a_request_by_the_requests(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let ledger = ledger(&store).await;
        let timeout = v1::Outcome::Timeout.into();
        let first = v1::UsageEvent { request_id: "req-x".into(), outcome: timeout, ..event(NOON, 1) };
        let second = v1::UsageEvent { request_id: "req-x".into(), attempts: 2, ..event(NOON, 2) };
        ledger.ingest("p1", [second, first, event(NOON, 3)]).await.expect("stored");
        let both = ledger.find("req-x").await.expect("a look-up");
        assert_eq!(both.iter().map(|row| row.attempts).collect::<Vec<_>>(), [1, 2]);
        let one = ledger.find(&both[1].id.to_string()).await.expect("a look-up");
        assert_eq!(one, both[1..]);
        assert_eq!(one[0].at, UnixMillis(NOON.0));
        assert_eq!(one[0].usage.reasoning, Some(5));
        assert_eq!(ledger.find("nobody").await.expect("a look-up"), []);
        assert_eq!(ledger.find(&uuid::Uuid::now_v7().to_string()).await.expect("a look-up"), []);
    }
}
