//! Money is a whole number of micro-dollars. Prices are micro-dollars per million tokens, so that no price in use
//! loses a digit.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign},
};

use serde::{Deserialize, Serialize};

/// An amount in millionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub i64);

/// Micro-dollars per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenPrice(pub i64);

/// Sum of tokens × price, not rounded yet. Rounding once per event keeps the error under half a micro-dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CostSum(i128);

// === impl MicroUsd ===

impl MicroUsd {
    pub const ZERO: Self = Self(0);

    /// Dollars for display and JSON, where a float is expected.
    #[expect(clippy::cast_precision_loss, reason = "amounts over 2^53 micro-dollars are not a display concern")]
    pub fn as_dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Add for MicroUsd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for MicroUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for MicroUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        write!(f, "{sign}${}.{:06}", magnitude / 1_000_000, magnitude % 1_000_000)
    }
}

// === impl TokenPrice ===

impl TokenPrice {
    /// From dollars per million tokens, as vendors publish them. `None` when not a finite number ≥ 0.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    pub fn from_dollars_per_million(dollars: f64) -> Option<Self> {
        let micro = (dollars * 1e6).round();
        (micro.is_finite() && (0.0..9e15).contains(&micro)).then_some(Self(micro as i64))
    }
}

// === impl CostSum ===

impl CostSum {
    pub fn add(&mut self, tokens: u64, price: TokenPrice) {
        self.0 += i128::from(tokens) * i128::from(price.0);
    }

    /// The sum in micro-dollars, half a micro-dollar rounded up.
    pub fn total(self) -> MicroUsd {
        let rounded = (self.0 + 500_000).div_euclid(1_000_000);
        MicroUsd(i64::try_from(rounded).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_rounded_once_over_all_classes() {
        let price = TokenPrice::from_dollars_per_million(0.15).expect("a price");
        let mut sum = CostSum::default();
        sum.add(2, price);
        sum.add(2, price);
        assert_eq!(sum.total(), MicroUsd(1), "4 × 0.15 = 0.6 micro-dollars; rounding each pair would give 0");
    }

    #[test]
    fn prices_that_are_no_prices_are_refused() {
        assert_eq!(TokenPrice::from_dollars_per_million(f64::NAN), None);
        assert_eq!(TokenPrice::from_dollars_per_million(-1.0), None);
        assert_eq!(TokenPrice::from_dollars_per_million(2.5), Some(TokenPrice(2_500_000)));
    }

    #[test]
    fn display_keeps_every_digit() {
        assert_eq!(MicroUsd(1_234_567).to_string(), "$1.234567");
        assert_eq!(MicroUsd(-5).to_string(), "-$0.000005");
    }
}
