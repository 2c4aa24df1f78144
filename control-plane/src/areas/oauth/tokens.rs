//! The table `oauth_tokens`: what goes with the access token of a connection that was signed in.

use std::time::Duration;

use omniroute_core::{settings::Secret, time::UnixMillis};
use sqlx::any::AnyRow;

use super::endpoint::TokenAnswer;
use crate::store::{Columns as _, SealedColumn, Store, StoreError, Write, limits, number, sealing, sql};

pub(super) const REFRESH_TOKEN: SealedColumn = SealedColumn { table: "oauth_tokens", column: "refresh_token" };

/// A token is renewed this share of its life ahead of its end, within these bounds, but never before half of it is over.
const AHEAD_SHARE: u32 = 5;
const LEAST_AHEAD: Duration = Duration::from_secs(30);
const MOST_AHEAD: Duration = Duration::from_mins(10);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, provider, origin, refresh_token, scope, generation, state, expires_at, due_at, refreshed_at, \
             failures, error FROM oauth_tokens ",
            $rest
        )
    };
}

/// A row.
#[derive(Clone, Debug)]
pub(super) struct TokenRow {
    pub(super) id: String,
    pub(super) provider: String,
    pub(super) origin: String,
    /// `None`: there is none. `Err`: it does not open with the master keys at hand.
    pub(super) refresh_token: Result<Option<Secret>, ()>,
    pub(super) scope: String,
    pub(super) generation: u64,
    pub(super) is_expired: bool,
    pub(super) expires_at: Option<UnixMillis>,
    pub(super) due_at: Option<UnixMillis>,
    pub(super) refreshed_at: UnixMillis,
    pub(super) failures: u32,
    pub(super) error: Option<String>,
}

/// Reads and writes tokens.
pub(super) struct Tokens<'a>(&'a Store);

/// When a token that came now is over, and when something is to be done about it. Without a refresh token that is when it
/// is over.
pub(super) fn deadlines(
    answer: &TokenAnswer,
    refreshes: bool,
    now: UnixMillis,
) -> (Option<UnixMillis>, Option<UnixMillis>) {
    let Some(lifetime) = answer.lifetime else { return (None, None) };
    let ahead = (lifetime / AHEAD_SHARE).clamp(LEAST_AHEAD, MOST_AHEAD).min(lifetime / 2);
    let wait = if refreshes { lifetime.saturating_sub(ahead) } else { lifetime };
    (Some(now.saturating_add(lifetime)), Some(now.saturating_add(wait)))
}

// === impl Tokens ===

impl<'a> Tokens<'a> {
    pub(super) const fn of(store: &'a Store) -> Self {
        Self(store)
    }

    /// Read from the writer: a replica that lags must not make us send a refresh token that was used.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn get(&self, id: &str) -> Result<Option<TokenRow>, StoreError> {
        let row = sql(select!("WHERE id = $1")).bind(id.to_owned()).fetch_optional(self.0.writer()).await?;
        row.map(|row| record(&row, self.0)).transpose()
    }

    /// Of one provider, by id.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn of_provider(&self, provider: &str) -> Result<Vec<TokenRow>, StoreError> {
        let statement = sql(select!("WHERE provider = $1 ORDER BY id")).bind(provider.to_owned());
        let rows = statement.fetch_all(self.0.reader()).await?;
        rows.iter().map(|row| record(row, self.0)).collect()
    }

    /// Providers that somebody has signed in at.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn providers(&self) -> Result<Vec<String>, StoreError> {
        let rows =
            sql("SELECT DISTINCT provider FROM oauth_tokens ORDER BY provider").fetch_all(self.0.reader()).await?;
        rows.iter().map(|row| row.text("provider")).collect()
    }

    /// Connections whose tokens something is to be done about, the most urgent first.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn due(&self, now: UnixMillis, most: u64) -> Result<Vec<String>, StoreError> {
        let rows = sql("SELECT id FROM oauth_tokens WHERE due_at <= $1 ORDER BY due_at, id LIMIT $2")
            .bind(number(now.0))
            .bind(number(most))
            .fetch_all(self.0.reader())
            .await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    /// Notes that renewing failed, and when it is tried again.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn failed(&self, row: &TokenRow, error: &str, due_at: UnixMillis) -> Result<(), StoreError> {
        sql("UPDATE oauth_tokens SET failures = $3, error = $4, due_at = $5 WHERE id = $1 AND generation = $2")
            .bind(row.id.clone())
            .bind(number(row.generation))
            .bind(i64::from(row.failures.saturating_add(1)))
            .bind(limits::clean(error))
            .bind(number(due_at.0))
            .execute(self.0.writer())
            .await?;
        Ok(())
    }

    /// Everything of a provider that failed is tried again now: its registration was corrected.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn retry(&self, provider: &str, now: UnixMillis) -> Result<(), StoreError> {
        sql("UPDATE oauth_tokens SET due_at = $2 WHERE provider = $1 AND failures > 0 AND state = 'active'")
            .bind(provider.to_owned())
            .bind(number(now.0))
            .execute(self.0.writer())
            .await?;
        Ok(())
    }
}

/// Keeps the tokens of a sign-in, whatever there was before.
///
/// # Errors
/// When the database fails.
pub(super) async fn put(
    write: &mut Write,
    id: &str,
    provider: &str,
    origin: &str,
    answer: &TokenAnswer,
    scope: &str,
) -> Result<(), StoreError> {
    let now = write.at();
    let (expires_at, due_at) = deadlines(answer, answer.refresh_token.is_some(), now);
    let sealed = sealed(write, id, answer.refresh_token.as_ref())?;
    sql(
        "INSERT INTO oauth_tokens (id, provider, origin, refresh_token, scope, generation, state, expires_at, due_at, \
         refreshed_at, failures, error, created_at) VALUES ($1, $2, $3, $4, $5, 1, 'active', $6, $7, $8, 0, NULL, $8) \
         ON CONFLICT (id) DO UPDATE SET provider = excluded.provider, origin = excluded.origin, \
         refresh_token = excluded.refresh_token, scope = excluded.scope, generation = oauth_tokens.generation + 1, \
         state = 'active', expires_at = excluded.expires_at, due_at = excluded.due_at, \
         refreshed_at = excluded.refreshed_at, failures = 0, error = NULL",
    )
    .bind(id.to_owned())
    .bind(provider.to_owned())
    .bind(origin.to_owned())
    .bind(sealed)
    .bind(answer.scope.clone().unwrap_or_else(|| scope.to_owned()))
    .bind(expires_at.map(|at| number(at.0)))
    .bind(due_at.map(|at| number(at.0)))
    .bind(number(now.0))
    .execute(write.connection())
    .await?;
    Ok(())
}

/// Puts what a refresh brought in place of what it was made with. `false`: that is no longer there, so somebody has signed
/// in meanwhile, or the connection is gone.
///
/// # Errors
/// When the database fails.
pub(super) async fn replace(
    write: &mut Write,
    held: &TokenRow,
    answer: &TokenAnswer,
    refresh_token: &Secret,
) -> Result<bool, StoreError> {
    let now = write.at();
    let (expires_at, due_at) = deadlines(answer, true, now);
    let sealed = sealed(write, &held.id, Some(refresh_token))?;
    let done =
        sql("UPDATE oauth_tokens SET refresh_token = $3, scope = $4, generation = generation + 1, state = 'active', \
         expires_at = $5, due_at = $6, refreshed_at = $7, failures = 0, error = NULL WHERE id = $1 AND generation = $2")
        .bind(held.id.clone())
        .bind(number(held.generation))
        .bind(sealed)
        .bind(answer.scope.clone().unwrap_or_else(|| held.scope.clone()))
        .bind(expires_at.map(|at| number(at.0)))
        .bind(due_at.map(|at| number(at.0)))
        .bind(number(now.0))
        .execute(write.connection())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that only signing in again helps. `false`: it was replaced meanwhile.
///
/// # Errors
/// When the database fails.
pub(super) async fn expire(write: &mut Write, held: &TokenRow, error: &str) -> Result<bool, StoreError> {
    let done =
        sql("UPDATE oauth_tokens SET state = 'expired', error = $3, due_at = NULL, generation = generation + 1 \
         WHERE id = $1 AND generation = $2 AND state <> 'expired'")
        .bind(held.id.clone())
        .bind(number(held.generation))
        .bind(limits::clean(error))
        .execute(write.connection())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// # Errors
/// When the database fails.
pub(super) async fn delete(write: &mut Write, id: &str) -> Result<(), StoreError> {
    sql("DELETE FROM oauth_tokens WHERE id = $1").bind(id.to_owned()).execute(write.connection()).await?;
    Ok(())
}

fn sealed(write: &Write, id: &str, token: Option<&Secret>) -> Result<Option<Vec<u8>>, StoreError> {
    if let Some(token) = token {
        limits::secret("refresh_token", token)?;
    }
    token.map(|token| sealing::seal(write.ring(), REFRESH_TOKEN.of(id), token.expose().as_bytes())).transpose()
}

fn record(row: &AnyRow, store: &Store) -> Result<TokenRow, StoreError> {
    let id = row.text("id")?;
    let refresh_token = match row.opt_blob("refresh_token")? {
        None => Ok(None),
        Some(sealed) => sealing::open(store.ring(), REFRESH_TOKEN.of(&id), &sealed)
            .ok()
            .and_then(|plain| std::str::from_utf8(&plain).ok().map(Secret::new))
            .map(Some)
            .ok_or(()),
    };
    Ok(TokenRow {
        provider: row.text("provider")?,
        origin: row.text("origin")?,
        refresh_token,
        scope: row.text("scope")?,
        generation: row.u64("generation")?,
        is_expired: row.text("state")? == "expired",
        expires_at: row.opt_millis("expires_at")?,
        due_at: row.opt_millis("due_at")?,
        refreshed_at: row.millis("refreshed_at")?,
        failures: row.u32("failures")?,
        error: row.opt_text("error")?,
        id,
    })
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_well_before_its_end_and_a_short_one_not_at_once() {
        let now = UnixMillis(1_000_000);
        let after = |seconds: u64, refreshes: bool| {
            let answer = TokenAnswer {
                access_token: Secret::new("a"),
                refresh_token: None,
                lifetime: Some(Duration::from_secs(seconds)),
                scope: None,
                id_token: None,
            };
            let (expires, due) = deadlines(&answer, refreshes, now);
            (
                expires.expect("an end").saturating_since(now).as_secs(),
                due.expect("a time").saturating_since(now).as_secs(),
            )
        };
        for (life, due) in [(8 * 3600, 8 * 3600 - 600), (3600, 3000), (600, 480), (60, 30), (20, 10)] {
            assert_eq!(after(life, true), (life, due), "{life}");
            assert_eq!(after(life, false), (life, life), "without a refresh token there is nothing to do before");
        }
    }
}
