//! What went through outbound proxies over time: reported by the proxies of the fleet, which count since their start, and
//! by this process, which tests connections through them.

use std::{collections::HashMap, time::Duration};

use omniroute_core::time::UnixMillis;
use omniroute_proto::v1::OutboundProxyUse;

use super::{Columns as _, Store, StoreError, limits::clean, number, sql};

/// Requests are summed up over this long.
const SLOT_MS: u64 = 10 * 60 * 1000;

/// Of one report so many proxies are looked at.
const MOST: usize = 10_000;

/// Reads and writes the health of outbound proxies.
pub struct EgressHealth<'a>(&'a Store);

/// What happened to one call of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressOutcome {
    Succeeded,
    Failed,
    TimedOut,
}

/// What went through one proxy, or through none of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EgressSums {
    /// Requests that were answered, whatever the provider said; tests included, as in the next two.
    pub succeeded: u64,
    pub failed: u64,
    pub timed_out: u64,
    pub tests: u64,
    pub tests_passed: u64,
    /// Connections, and how long it took in all to open them.
    pub opened: u64,
    pub opening_us: u64,
    /// 0: never.
    pub last_at: UnixMillis,
}

// === impl Store ===

impl Store {
    pub fn egress_health(&self) -> EgressHealth<'_> {
        EgressHealth(self)
    }
}

// === impl EgressHealth ===

impl EgressHealth<'_> {
    /// Adds what a process of the fleet says more than the last time. What it says twice counts once, whichever replica
    /// hears it.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn report(&self, boot_id: &str, uses: &[OutboundProxyUse]) -> Result<(), StoreError> {
        for one in uses.iter().take(MOST).filter(|one| [one.succeeded, one.failed, one.timed_out, one.opened] != [0; 4])
        {
            self.report_one(&clean(boot_id), one).await?;
        }
        Ok(())
    }

    async fn report_one(&self, boot_id: &str, one: &OutboundProxyUse) -> Result<(), StoreError> {
        let now = self.0.clock().now();
        let mut tx = self.0.write_data().await?;
        let told = sql("SELECT succeeded, failed, timed_out, opened, opening_us FROM outbound_proxy_reports \
                        WHERE boot_id = $1 AND proxy_id = $2");
        let told = told.bind(boot_id.to_owned()).bind(clean(&one.proxy)).fetch_optional(&mut *tx).await?;
        let before = match &told {
            Some(row) => EgressSums {
                succeeded: row.u64("succeeded")?,
                failed: row.u64("failed")?,
                timed_out: row.u64("timed_out")?,
                opened: row.u64("opened")?,
                opening_us: row.u64("opening_us")?,
                ..EgressSums::default()
            },
            None => EgressSums::default(),
        };
        let more = EgressSums {
            succeeded: one.succeeded.saturating_sub(before.succeeded),
            failed: one.failed.saturating_sub(before.failed),
            timed_out: one.timed_out.saturating_sub(before.timed_out),
            opened: one.opened.saturating_sub(before.opened),
            opening_us: one.opening_us.saturating_sub(before.opening_us),
            // Statuses come every few seconds, and by this clock.
            last_at: now,
            ..EgressSums::default()
        };
        if more.requests() == 0 && more.opened == 0 {
            return Ok(());
        }
        // Whoever has counted on from the same numbers meanwhile has counted this as well.
        let counted = match told {
            Some(_) => {
                sql("UPDATE outbound_proxy_reports SET succeeded = $3, failed = $4, timed_out = $5, opened = $6, \
                            opening_us = $7, seen_at = $8 WHERE boot_id = $1 AND proxy_id = $2 AND succeeded = $9 \
                            AND failed = $10 AND timed_out = $11 AND opened = $12")
            }
            None => {
                sql("INSERT INTO outbound_proxy_reports (boot_id, proxy_id, succeeded, failed, timed_out, opened, \
                         opening_us, seen_at) SELECT $1, id, $3, $4, $5, $6, $7, $8 FROM outbound_proxies \
                         WHERE id = $2 ON CONFLICT (boot_id, proxy_id) DO NOTHING")
            }
        };
        let counted = counted
            .bind(boot_id.to_owned())
            .bind(clean(&one.proxy))
            .bind(number(one.succeeded))
            .bind(number(one.failed))
            .bind(number(one.timed_out))
            .bind(number(one.opened))
            .bind(number(one.opening_us))
            .bind(number(now.0));
        let counted = match told {
            Some(_) => counted
                .bind(number(before.succeeded))
                .bind(number(before.failed))
                .bind(number(before.timed_out))
                .bind(number(before.opened)),
            None => counted,
        };
        if counted.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(());
        }
        add(&mut tx, &one.proxy, now, &more).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Adds a call of this process through a proxy; one that is gone is passed over.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn tested(&self, proxy: &str, outcome: EgressOutcome, took: Duration) -> Result<(), StoreError> {
        let now = self.0.clock().now();
        let is = |wanted| u64::from(outcome == wanted);
        let passed = is(EgressOutcome::Succeeded);
        let more = EgressSums {
            succeeded: passed,
            failed: is(EgressOutcome::Failed),
            timed_out: is(EgressOutcome::TimedOut),
            tests: 1,
            tests_passed: passed,
            opened: passed,
            opening_us: passed * u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            last_at: now,
        };
        let mut tx = self.0.write_data().await?;
        add(&mut tx, proxy, now, &more).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What went through each of them since then, by the id of the proxy. The slot in which `since` lies counts whole.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn since(&self, since: UnixMillis) -> Result<HashMap<String, EgressSums>, StoreError> {
        let rows = sql("SELECT proxy_id, CAST(SUM(succeeded) AS BIGINT) AS succeeded, \
             CAST(SUM(failed) AS BIGINT) AS failed, CAST(SUM(timed_out) AS BIGINT) AS timed_out, \
             CAST(SUM(tests) AS BIGINT) AS tests, CAST(SUM(tests_passed) AS BIGINT) AS tests_passed, \
             CAST(SUM(opened) AS BIGINT) AS opened, CAST(SUM(opening_us) AS BIGINT) AS opening_us, \
             MAX(last_at) AS last_at FROM outbound_proxy_health WHERE slot >= $1 GROUP BY proxy_id")
        .bind(number(slot(since)))
        .fetch_all(self.0.reader())
        .await?;
        let mut sums = HashMap::with_capacity(rows.len());
        for row in &rows {
            let one = EgressSums {
                succeeded: row.u64("succeeded")?,
                failed: row.u64("failed")?,
                timed_out: row.u64("timed_out")?,
                tests: row.u64("tests")?,
                tests_passed: row.u64("tests_passed")?,
                opened: row.u64("opened")?,
                opening_us: row.u64("opening_us")?,
                last_at: row.millis("last_at")?,
            };
            sums.insert(row.text("proxy_id")?, one);
        }
        Ok(sums)
    }

    /// Forgets what is older, but for what processes that still run have said.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn purge(&self, before: UnixMillis) -> Result<u64, StoreError> {
        let mut tx = self.0.write_data().await?;
        let slots = sql("DELETE FROM outbound_proxy_health WHERE slot < $1").bind(number(slot(before)));
        let gone = slots.execute(&mut *tx).await?.rows_affected();
        // A process that runs on counts on.
        sql("DELETE FROM outbound_proxy_reports WHERE seen_at < $1 AND boot_id NOT IN (SELECT boot_id FROM proxies)")
            .bind(number(before.0))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(gone)
    }
}

async fn add(tx: &mut sqlx::AnyConnection, proxy: &str, now: UnixMillis, more: &EgressSums) -> Result<(), StoreError> {
    sql(
        "INSERT INTO outbound_proxy_health (proxy_id, slot, succeeded, failed, timed_out, tests, tests_passed, opened, \
         opening_us, last_at) SELECT id, $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM outbound_proxies WHERE id = $1 \
         ON CONFLICT (proxy_id, slot) DO UPDATE SET \
         succeeded = outbound_proxy_health.succeeded + excluded.succeeded, \
         failed = outbound_proxy_health.failed + excluded.failed, \
         timed_out = outbound_proxy_health.timed_out + excluded.timed_out, \
         tests = outbound_proxy_health.tests + excluded.tests, \
         tests_passed = outbound_proxy_health.tests_passed + excluded.tests_passed, \
         opened = outbound_proxy_health.opened + excluded.opened, \
         opening_us = outbound_proxy_health.opening_us + excluded.opening_us, \
         last_at = CASE WHEN excluded.last_at > outbound_proxy_health.last_at THEN excluded.last_at \
         ELSE outbound_proxy_health.last_at END",
    )
    .bind(clean(proxy))
    .bind(number(slot(now)))
    .bind(number(more.succeeded))
    .bind(number(more.failed))
    .bind(number(more.timed_out))
    .bind(number(more.tests))
    .bind(number(more.tests_passed))
    .bind(number(more.opened))
    .bind(number(more.opening_us))
    .bind(number(more.last_at.0))
    .execute(tx)
    .await?;
    Ok(())
}

const fn slot(at: UnixMillis) -> u64 {
    at.0 - at.0 % SLOT_MS
}

// === impl EgressSums ===

impl EgressSums {
    pub const fn requests(&self) -> u64 {
        self.succeeded + self.failed + self.timed_out
    }
}
