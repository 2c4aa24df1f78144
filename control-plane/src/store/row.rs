//! Typed access to the columns of a row: integers are `BIGINT` in the database, flags are 0 or 1.

use std::fmt::Write as _;

use omniroute_core::time::UnixMillis;
use serde::de::DeserializeOwned;
use sqlx::{Row as _, any::AnyRow};

use super::StoreError;

/// For binding: numbers beyond `i64` do not occur; should one, it is held at the limit instead of wrapping.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// `($1, $2), ($3, $4)…` for an insert of several rows.
pub(crate) fn placeholders(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}${}", row * columns + column + 1);
        }
        text.push(')');
    }
    text
}

/// `(?, ?), (?, ?)…` for an insert of several rows on SQLite: of a parameter with a name the driver asks SQLite for the
/// name, which walks a list of all of them.
pub(crate) fn nameless_placeholders(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}

/// Rows of the largest statement.
pub(crate) const MAX_BATCH: usize = 64;

/// Splits a list into the sizes 64, 32 … 1, so that only a handful of statements is ever prepared.
pub(crate) fn batches<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut size = MAX_BATCH;
    std::iter::from_fn(move || {
        while size > rows.len() && size > 0 {
            size /= 2;
        }
        let (batch, rest) = rows.split_at_checked(size).filter(|(batch, _)| !batch.is_empty())?;
        rows = rest;
        Some(batch)
    })
}

/// Reads columns by name.
pub(crate) trait Columns {
    fn i64(&self, column: &str) -> Result<i64, StoreError>;
    fn opt_i64(&self, column: &str) -> Result<Option<i64>, StoreError>;
    fn text(&self, column: &str) -> Result<String, StoreError>;
    fn opt_text(&self, column: &str) -> Result<Option<String>, StoreError>;
    fn blob(&self, column: &str) -> Result<Vec<u8>, StoreError>;
    fn opt_blob(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError>;
    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError>;

    fn u64(&self, column: &str) -> Result<u64, StoreError> {
        u64::try_from(self.i64(column)?).map_err(|_| StoreError::Corrupt(format!("{column} is negative")))
    }

    fn opt_u64(&self, column: &str) -> Result<Option<u64>, StoreError> {
        let value = self.opt_i64(column)?;
        value
            .map(|value| u64::try_from(value).map_err(|_| StoreError::Corrupt(format!("{column} is negative"))))
            .transpose()
    }

    fn u32(&self, column: &str) -> Result<u32, StoreError> {
        u32::try_from(self.i64(column)?).map_err(|_| StoreError::Corrupt(format!("{column} is out of range")))
    }

    fn i32(&self, column: &str) -> Result<i32, StoreError> {
        i32::try_from(self.i64(column)?).map_err(|_| StoreError::Corrupt(format!("{column} is out of range")))
    }

    fn flag(&self, column: &str) -> Result<bool, StoreError> {
        Ok(self.i64(column)? != 0)
    }

    fn millis(&self, column: &str) -> Result<UnixMillis, StoreError> {
        self.u64(column).map(UnixMillis)
    }

    fn opt_millis(&self, column: &str) -> Result<Option<UnixMillis>, StoreError> {
        Ok(self.opt_u64(column)?.map(UnixMillis))
    }
}

impl Columns for AnyRow {
    fn i64(&self, column: &str) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn opt_i64(&self, column: &str) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: &str) -> Result<String, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn opt_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn blob(&self, column: &str) -> Result<Vec<u8>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn opt_blob(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        let text: &str = self.try_get(column)?;
        serde_json::from_str(text).map_err(|_| StoreError::Corrupt(format!("{column} is not the JSON it should be")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_on_over_the_rows() {
        assert_eq!(placeholders(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }

    #[test]
    fn nameless_placeholders_are_one_for_each_value() {
        assert_eq!(nameless_placeholders(2, 3), "(?, ?, ?), (?, ?, ?)");
    }

    #[test]
    fn batches_are_powers_of_two_and_lose_nothing() {
        let rows: Vec<u32> = (0..203).collect();
        let sizes: Vec<usize> = batches(&rows).map(<[u32]>::len).collect();
        assert_eq!(sizes, [64, 64, 64, 8, 2, 1]);
        assert_eq!(batches(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        assert_eq!(batches::<u32>(&[]).count(), 0);
    }
}
