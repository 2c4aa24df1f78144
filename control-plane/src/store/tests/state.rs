//! What is stored past the configuration: the administrator, sessions, tests, leases, prices, proxies.

use std::{sync::Arc, time::Duration};

use omniroute_core::{
    money::TokenPrice,
    settings::Secret,
    time::{Clock as _, ManualClock, UnixMillis},
};
use omniroute_providers::models::{Class, Price};

use crate::{
    areas::{
        access::login::{Admin, SessionRecord, Sessions, set_password},
        providers::connections::{ConnectionDraft, TestRecord, rows as connections, rows::Connections},
    },
    store::{
        Command,
        records::PriceRow,
        testing::{KEY, NOON, admin, on_both_engines},
    },
};

fn price(input: i64) -> PriceRow {
    PriceRow {
        provider: "openai".into(),
        model: "gpt".into(),
        valid_from: UnixMillis(0),
        valid_until: None,
        price: Price { rates: [(Class::Input, TokenPrice(input))].into_iter().collect(), variants: Vec::new() },
        source: String::new(),
        revision: 0,
    }
}

fn input(row: &PriceRow) -> Option<i64> {
    row.price.rates.get(Class::Input).map(|rate| rate.0)
}

fn session(id: &str, expires_at: UnixMillis) -> SessionRecord {
    SessionRecord {
        id: id.into(),
        subject: "admin".into(),
        epoch: 1,
        address: Some("127.0.0.1".into()),
        created_at: NOON,
        expires_at,
    }
}

on_both_engines! {
    async fn a_new_password_ends_every_session(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        assert_eq!(Admin::of(&store).get().await.expect("a look-up"), None);
        assert!(Admin::of(&store).create_if_absent("$argon2id$one").await.expect("set"));
        assert!(!Admin::of(&store).create_if_absent("$argon2id$two").await.expect("left alone"));
        let later = NOON.saturating_add(Duration::from_secs(60));
        Sessions::of(&store).insert(&session("s", later)).await.expect("a session");
        assert_eq!(Sessions::of(&store).get("s").await.expect("a look-up"), Some(session("s", later)));
        let mut write = store.write(&admin()).await.expect("a transaction");
        set_password(&mut write, "$argon2id$three").await.expect("set");
        write.commit().await.expect("committed");
        let entry = store.config_log().page(None, Some("admin"), None, 10).await.expect("the log");
        assert_eq!((entry.len(), entry[0].op.as_str(), &entry[0].actor), (1, "update", &admin()));
        assert!(!format!("{:?} {:?}", entry[0].before, entry[0].after).contains("argon2"), "nothing of the password");
        let record = Admin::of(&store).get().await.expect("a look-up").expect("a password");
        assert_eq!((record.password_hash.as_str(), record.session_epoch), ("$argon2id$three", 2));
        assert_eq!(Sessions::of(&store).get("s").await.expect("a look-up"), None);
    }

    async fn an_expired_session_is_none_and_is_purged(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let soon = NOON.saturating_add(Duration::from_secs(60));
        Sessions::of(&store).insert(&session("short", soon)).await.expect("a session");
        let late = NOON.saturating_add(Duration::from_secs(600));
        Sessions::of(&store).insert(&session("long", late)).await.expect("a session");
        clock.advance(Duration::from_secs(61));
        assert_eq!(Sessions::of(&store).get("short").await.expect("a look-up"), None);
        assert_eq!(Sessions::of(&store).purge_expired().await.expect("purged"), 1);
        assert!(Sessions::of(&store).get("long").await.expect("a look-up").is_some());
        Sessions::of(&store).delete("long").await.expect("deleted");
        assert_eq!(Sessions::of(&store).get("long").await.expect("a look-up"), None);
    }

    async fn a_test_result_is_no_edit(database: &TestDatabase) {
        let store = database.store().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        let draft = ConnectionDraft::new("openai", "main", Secret::new("sk"));
        let id = connections::create(&mut write, draft).await.expect("a connection").id;
        let revision = write.commit().await.expect("committed");
        for (status, error) in [("error", Some("refused")), ("active", None)] {
            let test = TestRecord {
                status: status.into(),
                tested_at: Some(NOON),
                latency_ms: Some(4),
                error: error.map(str::to_owned),
                error_code: None,
            };
            Connections::of(&store).record_test(id.as_str(), &test).await.expect("kept");
            assert_eq!(Connections::of(&store).get(id.as_str()).await.expect("the connection").test, test);
        }
        assert_eq!(store.revision().await.expect("a revision"), revision);
        let missing = Connections::of(&store).record_test("nobody", &TestRecord::default()).await;
        assert_eq!(missing.expect_err("no such connection").code(), "not_found");
    }

    async fn a_lease_has_one_holder_and_its_number_fences_the_old_one_off(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let ttl = Duration::from_secs(30);
        let first = store.leases().acquire("retention", "a", ttl).await.expect("asked").expect("it was free");
        assert_eq!(store.leases().acquire("retention", "b", ttl).await.expect("asked"), None);
        let again = store.leases().acquire("retention", "a", ttl).await.expect("asked").expect("renewed");
        assert_eq!(again.fence, first.fence, "renewing changes no number");

        clock.advance(ttl + Duration::from_millis(1));
        let second = store.leases().acquire("retention", "b", ttl).await.expect("asked").expect("it had expired");
        assert!(second.fence > first.fence);
        // The first holder stalled and still believes.
        let cutoff = store.clock().now();
        let error = store.config_log().compact(cutoff, &first).await.expect_err("fenced off");
        assert_eq!(error.code(), "lease_lost");
        store.config_log().compact(cutoff, &second).await.expect("the holder may");
        store.leases().release(&second).await.expect("released");
        assert!(store.leases().acquire("retention", "a", ttl).await.expect("asked").is_some());
    }

    async fn only_one_of_many_gets_the_lease(database: &TestDatabase) {
        let store = database.store().await;
        let mut replicas = tokio::task::JoinSet::new();
        for replica in 0..8 {
            let store = store.clone();
            replicas.spawn(async move {
                let holder = format!("replica-{replica}");
                store.leases().acquire("job", &holder, Duration::from_secs(30)).await.expect("asked").is_some()
            });
        }
        assert_eq!(replicas.join_all().await.into_iter().filter(|won| *won).count(), 1);
    }

    async fn compaction_keeps_what_is_young_and_moves_the_floor(database: &TestDatabase) {
        let clock = ManualClock::at(NOON);
        let store = database.open(KEY, Arc::new(clock.clone())).await.expect("a store");
        for name in ["old", "young"] {
            clock.advance(Duration::from_secs(3600));
            let mut write = store.write(&admin()).await.expect("a transaction");
            let draft = ConnectionDraft::new("openai", name, Secret::default());
            connections::create(&mut write, draft).await.expect("a connection");
            write.commit().await.expect("committed");
        }
        let lease = store.leases().acquire("retention", "a", Duration::from_secs(9)).await.expect("asked");
        let cutoff = clock.now();
        let floor = store.config_log().compact(cutoff, &lease.expect("free")).await.expect("compacted");
        let left = store.config_log().page(None, None, None, 10).await.expect("the log");
        assert_eq!(left.len(), 1);
        assert_eq!(floor, left[0].revision - 1);
        assert_eq!(left[0].after.as_ref().expect("after")["name"], "young");
    }

    async fn a_new_price_closes_the_old_one(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        assert_eq!(write.seed_prices(1, "1", vec![price(100)]).await.expect("seeded"), Some(1));
        write.commit().await.expect("committed");
        clock.advance(Duration::from_secs(10));
        let mut write = store.write(&admin()).await.expect("a transaction");
        assert_eq!(write.seed_prices(2, "2", vec![price(100)]).await.expect("seeded"), Some(0), "the same price stays");
        assert_eq!(write.seed_prices(2, "3", vec![price(200)]).await.expect("seeded"), Some(1));
        write.commit().await.expect("committed");
        let book = store.prices().book().await.expect("a look-up").expect("a book");
        assert!(!book.gives_way_to(2, "3") && !book.gives_way_to(1, "1") && book.gives_way_to(2, "4"));
        let changed_at = NOON.saturating_add(Duration::from_secs(10));
        let rows = store.prices().list().await.expect("prices");
        let spans: Vec<_> = rows.iter().map(|row| (input(row), row.valid_from, row.valid_until)).collect();
        assert_eq!(spans, [(Some(100), UnixMillis(0), Some(changed_at)), (Some(200), changed_at, None)]);

        let mut write = store.write(&admin()).await.expect("a transaction");
        write.put_price(price(7)).await.expect("put");
        write.put_price(price(8)).await.expect("put again in the same moment");
        write.commit().await.expect("committed");
        let custom = |rows: Vec<PriceRow>| rows.into_iter().filter(|row| row.source == "custom").collect::<Vec<_>>();
        let rows = custom(store.prices().list().await.expect("prices"));
        assert_eq!((rows.len(), input(&rows[0]), rows[0].valid_until), (1, Some(8), None));
        clock.advance(Duration::from_secs(1));
        let mut write = store.write(&admin()).await.expect("a transaction");
        write.delete_price("openai", "gpt").await.expect("ended");
        assert_eq!(write.delete_price("openai", "gpt").await.expect_err("it is over").code(), "not_found");
        write.commit().await.expect("committed");
        assert!(custom(store.prices().list().await.expect("prices"))[0].valid_until.is_some());
    }

    async fn every_part_of_a_price_is_kept(database: &TestDatabase) {
        let (store, _) = database.store_at_noon().await;
        let text = r#"{"rates":{"input":5,"output":0,"cache_write_1h":7,"output_image":9,"web_search":11},
            "variants":[{"service":"batch","above":200000,"rates":{"input":3}}]}"#;
        let whole = PriceRow { price: serde_json::from_str(text).expect("a price"), ..price(0) };
        let mut write = store.write(&admin()).await.expect("a transaction");
        write.seed_prices(1, "1", vec![whole.clone()]).await.expect("seeded");
        assert_eq!(write.seed_prices(2, "2", vec![whole.clone()]).await.expect("seeded"), Some(0), "it is the same");
        write.commit().await.expect("committed");
        assert_eq!(store.prices().list().await.expect("prices")[0].price, whole.price);
    }

    async fn orders_are_taken_once_and_in_order(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let drain = Command::Drain { deadline: Duration::from_secs(30) };
        store.proxies().enqueue("p1", &drain).await.expect("left");
        store.proxies().enqueue("p1", &Command::Resume).await.expect("left");
        let forgive = Command::ResetCooldown { connection: "c1".to_owned() };
        store.proxies().enqueue("p1", &forgive).await.expect("left");
        store.proxies().enqueue("p2", &Command::Resync).await.expect("left");
        assert_eq!(store.proxies().with_pending_commands().await.expect("asked").len(), 2);
        assert_eq!(store.proxies().take_commands("p1").await.expect("taken"), [drain, Command::Resume, forgive]);
        assert_eq!(store.proxies().take_commands("p1").await.expect("taken"), []);
        clock.advance(Duration::from_mins(6));
        assert_eq!(store.proxies().take_commands("p2").await.expect("void by now"), []);
    }

    async fn a_proxy_is_lost_after_fifteen_seconds_of_silence(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let mut status = omniroute_proto::v1::ProxyStatus {
            proxy_id: "p1".into(),
            version: "0.1.0".into(),
            revision: 7,
            last_error: "bad\0text".into(),
            ..Default::default()
        };
        status.cooling.push(omniroute_proto::v1::CoolingConnection {
            connection_id: "c1".into(),
            until_ms: NOON.0 + 5,
            reason: "429".into(),
        });
        store.proxies().upsert(&status).await.expect("kept");
        clock.advance(Duration::from_secs(15));
        let row = store.proxies().list().await.expect("proxies").remove(0);
        assert!(!row.lost);
        assert_eq!((row.revision, row.cooling[0].reason.as_str()), (7, "429"));
        clock.advance(Duration::from_millis(1));
        assert!(store.proxies().list().await.expect("proxies")[0].lost);
        status.revision = 8;
        store.proxies().upsert(&status).await.expect("back");
        let row = store.proxies().list().await.expect("proxies").remove(0);
        assert_eq!((row.lost, row.revision), (false, 8));
        assert_eq!(store.proxies().purge(store.clock().now()).await.expect("purged"), 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(store.proxies().purge(store.clock().now()).await.expect("purged"), 1);
    }
}
