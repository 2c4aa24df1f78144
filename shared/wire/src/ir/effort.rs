//! Levels of thinking.

/// How hard a model thinks, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    /// Between "high" and "max": some models have the one, some the other, the newest both.
    XHigh,
    Max,
}

// === impl Effort ===

impl Effort {
    pub const ALL: [Self; 7] = [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max];

    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "none" | "off" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::XHigh,
            "max" => Self::Max,
            _ => return None,
        })
    }

    /// Thinking tokens for a model whose output is capped at `cap`, as docs/translation.md says.
    pub fn budget(self, cap: Option<u64>, limit: u64) -> u64 {
        let share = |numerator: u64| cap.map(|cap| cap.saturating_mul(numerator) / 100);
        let (share, fixed) = match self {
            Self::None => return 0,
            Self::Minimal => (share(10), 1_024),
            Self::Low => (share(20), 4_096),
            Self::Medium => (share(50), 10_000),
            Self::High => (share(80), 32_000),
            Self::XHigh => (share(90), 48_000),
            Self::Max => (share(95), 64_000),
        };
        share.unwrap_or(fixed).max(1_024).min(limit.min(128_000))
    }

    /// The level whose budget is nearest.
    pub fn nearest(budget: u64, cap: Option<u64>, limit: u64) -> Self {
        if budget == 0 {
            return Self::None;
        }
        let distance = |effort: &Self| effort.budget(cap, limit).abs_diff(budget);
        Self::ALL.into_iter().skip(1).min_by_key(distance).unwrap_or(Self::Medium)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_and_budget_map_to_each_other() {
        assert_eq!(Effort::Medium.budget(Some(20_000), 200_000), 10_000);
        assert_eq!(Effort::Minimal.budget(Some(2_000), 200_000), 1_024, "never under 1,024");
        assert_eq!(Effort::High.budget(None, 16_000), 16_000, "never over the model's limit");
        for effort in Effort::ALL {
            assert_eq!(Effort::nearest(effort.budget(None, 200_000), None, 200_000), effort);
        }
    }
}
