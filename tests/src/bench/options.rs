//! What to measure, and for how long.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use super::scenario::{PASSED, Scenario, TRANSLATED};

/// Measures the gateway against a bare reverse proxy: CPU, latency, throughput, memory.
#[derive(Parser, Debug)]
pub struct Options {
    /// Shorter rounds: about two minutes in all.
    #[arg(long)]
    pub quick: bool,
    /// Where the JSON goes; by default `bench-results/<time>.json`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Only these parts: `chat-1`, `chat-16`, `chat-64`, `prompt-100k`, `stream`, `chat-tls`, `stream-tls`,
    /// `messages-over-chat`,
    /// `chat-over-messages`, `messages`, `responses-over-chat`, `request-1m` (`translation` is these five),
    /// `ledger`, `slow-streams`, `large-requests`, `first-request`, `scale`.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = part)]
    pub only: Vec<String>,
    /// Rounds of each scenario.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: Option<u32>,
    /// Length of a round.
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(50..=60_000))]
    pub round_ms: Option<u64>,
}

/// All translations together.
const TRANSLATION: &str = "translation";
/// Parts that are no scenario.
const OTHER_PARTS: [&str; 6] = [TRANSLATION, "ledger", "slow-streams", "large-requests", "first-request", "scale"];

/// The options, worked out.
pub(super) struct Plan {
    pub(super) rounds: u32,
    pub(super) round: Duration,
    pub(super) scenarios: Vec<&'static Scenario>,
    pub(super) translations: Vec<&'static Scenario>,
    pub(super) ledger: bool,
    pub(super) slow_streams: bool,
    pub(super) slow_stream_count: usize,
    pub(super) large_requests: bool,
    pub(super) first_request: bool,
    pub(super) scale: bool,
    /// Key edits that are timed.
    pub(super) edits: usize,
}

// === impl Plan ===

impl Plan {
    pub(super) fn of(options: &Options) -> Self {
        let wanted = |part: &str| options.only.is_empty() || options.only.iter().any(|only| only == part);
        let (rounds, round_ms, edits) = if options.quick { (3, 500, 5) } else { (5, 1_200, 10) };
        Self {
            rounds: options.rounds.unwrap_or(rounds),
            round: Duration::from_millis(options.round_ms.unwrap_or(round_ms)),
            scenarios: PASSED.iter().filter(|scenario| wanted(scenario.name)).collect(),
            translations: TRANSLATED.iter().filter(|one| wanted(one.name) || wanted(TRANSLATION)).collect(),
            ledger: wanted("ledger"),
            slow_streams: wanted("slow-streams"),
            slow_stream_count: 200,
            large_requests: wanted("large-requests"),
            first_request: wanted("first-request"),
            scale: wanted("scale"),
            edits,
        }
    }

    pub(super) fn wants_gateway(&self) -> bool {
        self.slow_streams || !self.scenarios.is_empty() || !self.translations.is_empty()
    }
}

fn part(name: &str) -> Result<String, String> {
    let scenarios = PASSED.iter().chain(&TRANSLATED).map(|scenario| scenario.name);
    let mut known: Vec<&str> = scenarios.chain(OTHER_PARTS).collect();
    if known.contains(&name) {
        return Ok(name.to_owned());
    }
    known.sort_unstable();
    Err(format!("there are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_can_be_chosen() {
        let all = Plan::of(&Options::parse_from(["bench", "--quick"]));
        assert_eq!(all.scenarios.len(), PASSED.len());
        assert_eq!(all.translations.len(), TRANSLATED.len());
        assert!(all.ledger && all.scale && all.first_request && all.slow_streams && all.large_requests);
        let some = Plan::of(&Options::parse_from(["bench", "--only", "chat-16,scale"]));
        assert_eq!(some.scenarios.iter().map(|one| one.name).collect::<Vec<_>>(), ["chat-16"]);
        assert!(some.scale && !some.first_request && some.wants_gateway());
        assert!(some.translations.is_empty() && !some.large_requests && !some.ledger);
        let some = Plan::of(&Options::parse_from(["bench", "--only", "ledger"]));
        assert!(some.ledger && !some.wants_gateway(), "it starts gateways of its own");
        let some = Plan::of(&Options::parse_from(["bench", "--only", "translation"]));
        assert_eq!(some.translations.len(), TRANSLATED.len());
        assert!(some.scenarios.is_empty() && some.wants_gateway());
        let mistaken = Options::try_parse_from(["bench", "--only", "chat-17"]).expect_err("no such part");
        assert!(mistaken.to_string().contains("chat-16"), "{mistaken}");
    }
}
