//! Token counts in disjoint classes, so that no format's way of nesting them can count a token twice, and the service for which
//! they are charged.

use serde::{Deserialize, Serialize};

/// Absent means unknown, which is not 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens that no cache served, text and images.
    pub input: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write_5m: Option<u64>,
    pub cache_write_1h: Option<u64>,
    /// Visible output, without reasoning.
    pub output: Option<u64>,
    pub reasoning: Option<u64>,
    pub audio_in: Option<u64>,
    pub audio_out: Option<u64>,
    /// Where it is not the usual one, and the provider says so.
    pub service: Option<Service>,
}

/// How soon a request is answered, where that has a price of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    Batch,
    Flex,
    Priority,
}

// === impl Usage ===

impl Usage {
    /// Whether nothing at all is known.
    pub fn is_unknown(&self) -> bool {
        Self { service: None, ..*self } == Self::default()
    }

    /// Everything that went in.
    pub fn total_input(&self) -> u64 {
        sum(&[self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.audio_in])
    }

    /// Everything that came out.
    pub fn total_output(&self) -> u64 {
        sum(&[self.output, self.reasoning, self.audio_out])
    }
}

// === impl Service ===

impl Service {
    pub const ALL: [Self; 3] = [Self::Batch, Self::Flex, Self::Priority];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }

    /// By a provider's word for it. The usual service has several names and no rates of its own.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.as_str() == word)
    }
}

fn sum(classes: &[Option<u64>]) -> u64 {
    classes.iter().flatten().fold(0, |total, class| total.saturating_add(*class))
}
