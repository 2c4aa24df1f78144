//! The loads that are put on direct, floor and gateway alike.

use super::{question::Kind, upstream::CHUNKS};

/// One load.
#[derive(Debug)]
pub(super) struct Scenario {
    /// As `--only` and the JSON call it.
    pub(super) name: &'static str,
    /// As the table calls it.
    pub(super) title: &'static str,
    pub(super) kind: Kind,
    /// Bytes of the prompt, about.
    pub(super) prompt: usize,
    pub(super) concurrency: usize,
    /// How many times the floor's CPU time the gateway may take.
    pub(super) target: Option<f64>,
}

pub(super) const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "chat-1",
        title: "1 KB chat, 1 client",
        kind: Kind::Chat,
        prompt: 900,
        concurrency: 1,
        target: None,
    },
    Scenario {
        name: "chat-16",
        title: "1 KB chat, 16 clients",
        kind: Kind::Chat,
        prompt: 900,
        concurrency: 16,
        target: Some(1.5),
    },
    Scenario {
        name: "chat-64",
        title: "1 KB chat, 64 clients",
        kind: Kind::Chat,
        prompt: 900,
        concurrency: 64,
        target: None,
    },
    Scenario {
        name: "prompt-100k",
        title: "100 KB prompt, 16 clients",
        kind: Kind::Chat,
        prompt: 100 * 1024,
        concurrency: 16,
        target: Some(1.5),
    },
    Scenario {
        name: "stream",
        title: "200-chunk stream, 16 clients",
        kind: Kind::Stream,
        prompt: 900,
        concurrency: 16,
        target: Some(1.15),
    },
];

// === impl Scenario ===

impl Scenario {
    /// What CPU time is divided by, per request: a stream is paid by the chunk.
    pub(super) fn units(&self) -> u64 {
        match self.kind {
            Kind::Chat => 1,
            Kind::Stream | Kind::Slow => u64::from(CHUNKS),
        }
    }

    pub(super) fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Chat => "request",
            Kind::Stream | Kind::Slow => "chunk",
        }
    }
}
