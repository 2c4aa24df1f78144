use std::time::Duration;

use omniroute_core::time::UnixMillis;
use omniroute_proto::v1::{OutboundProxyUse, ProxyStatus};
use serde_json::{Value, json};

use super::{PROXIES, draft, nowhere, proxy};
use crate::{
    areas::egress::{jobs, rows},
    store::{
        EgressOutcome, EgressSums,
        testing::{NOON, admin, on_both_engines},
    },
    tests::gateway::Gateway,
};

const HOUR: Duration = Duration::from_hours(1);

fn said(proxy: &str, succeeded: u64, failed: u64) -> OutboundProxyUse {
    OutboundProxyUse {
        proxy: proxy.to_owned(),
        succeeded,
        failed,
        timed_out: failed / 2,
        opened: succeeded,
        opening_us: succeeded * 20_000,
    }
}

#[tokio::test]
async fn health_sums_up_what_the_fleet_reports_over_a_time() {
    let gateway = Gateway::new().await;
    let id = proxy(&gateway, "http", nowhere(), None).await;
    let idle = gateway.get(&format!("{PROXIES}/health")).await.ok(200);
    let one = &idle["items"][0];
    assert_eq!((&idle["total"], &idle["windowHours"], &one["totalRequests"]), (&json!(1), &json!(24), &json!(0)));
    assert_eq!(
        (&one["successRate"], &one["avgLatencyMs"], &one["lastSeenAt"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );

    let health = gateway.on.store.egress_health();
    health.report("boot-1", &[said(&id, 3, 0)]).await.expect("stored");
    gateway.clock.advance(3 * HOUR);
    let now = gateway.clock_now();
    health.report("boot-1", &[said(&id, 5, 2)]).await.expect("stored");
    health.report("boot-2", &[said(&id, 1, 0)]).await.expect("stored");
    for (hours, (total, success, error, timeout), rate) in [(1, (6, 3, 2, 1), 50.0), (24, (9, 6, 2, 1), 66.67)] {
        let shown = gateway.get(&format!("{PROXIES}/health?hours={hours}")).await.ok(200);
        let one = &shown["items"][0];
        assert_eq!(
            (&one["totalRequests"], &one["successCount"], &one["errorCount"], &one["timeoutCount"]),
            (&json!(total), &json!(success), &json!(error), &json!(timeout)),
            "{hours}"
        );
        assert_eq!((&one["successRate"], &one["avgLatencyMs"]), (&json!(rate), &json!(20)), "{hours}");
        assert_eq!(one["lastSeenAt"], now.to_rfc3339());
    }
    assert_eq!(gateway.get(&format!("{PROXIES}/health?hours=721")).await.fields(), ["hours"]);
    assert_eq!(gateway.get(&format!("{PROXIES}/health?hours=0")).await.fields(), ["hours"]);
}

on_both_engines! {
    async fn what_a_process_says_twice_counts_once_and_what_is_old_is_forgotten(database: &TestDatabase) {
        let (store, clock) = database.store_at_noon().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        let id = rows::create(&mut write, draft("p")).await.expect("made").id;
        write.commit().await.expect("committed");
        let health = store.egress_health();
        let sums = async || health.since(UnixMillis(0)).await.expect("sums").remove(&id).unwrap_or_default();
        health.report("boot", &[said(&id, 0, 0), said("gone", 9, 9)]).await.expect("stored");
        assert_eq!(sums().await, EgressSums::default());
        for _ in 0..3 {
            health.report("boot", &[said(&id, 4, 1)]).await.expect("stored");
        }
        // What comes late says nothing new.
        health.report("boot", &[said(&id, 2, 0)]).await.expect("stored");
        health.tested(&id, EgressOutcome::Succeeded, Duration::from_millis(20)).await.expect("stored");
        health.tested(&id, EgressOutcome::TimedOut, Duration::from_secs(10)).await.expect("stored");
        health.tested("gone", EgressOutcome::Failed, Duration::ZERO).await.expect("passed over");
        let all = sums().await;
        assert_eq!((all.succeeded, all.failed, all.timed_out), (5, 1, 1));
        assert_eq!((all.tests, all.tests_passed, all.opened, all.opening_us), (2, 1, 5, 100_000));
        assert_eq!(health.since(NOON.saturating_add(HOUR)).await.expect("sums").len(), 0);

        health.report("left", &[said(&id, 2, 0)]).await.expect("stored");
        let status = ProxyStatus { proxy_id: "p1".into(), boot_id: "boot".into(), ..ProxyStatus::default() };
        assert!(store.proxies().upsert(&status).await.expect("a proxy of the fleet"));

        clock.advance(31 * 24 * HOUR);
        for job in jobs(&store) {
            let lease = store.leases().acquire(job.name(), "a", HOUR).await.expect("asked").expect("a lease of its own");
            assert_eq!(job.run(lease).await.expect("done"), 1);
        }
        assert_eq!(sums().await, EgressSums::default());
        health.report("boot", &[said(&id, 5, 1)]).await.expect("stored");
        assert_eq!((sums().await.succeeded, sums().await.failed), (1, 0), "it counts on");
        health.report("left", &[said(&id, 2, 0)]).await.expect("stored");
        assert_eq!(sums().await.succeeded, 3, "what a process that is gone said is forgotten");
    }
}
