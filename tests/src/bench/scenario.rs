//! The loads that are put on direct, floor and gateway alike.

use super::{
    answers::CHUNKS,
    dialect::Dialect,
    question::{Ask, Kind, Prompt},
};

/// One load.
#[derive(Debug)]
pub(super) struct Scenario {
    /// As `--only` and the JSON call it.
    pub(super) name: &'static str,
    /// As the table calls it.
    pub(super) title: &'static str,
    /// What the gateway is asked; the others are asked what the upstream is.
    pub(super) ask: Ask,
    pub(super) concurrency: usize,
    pub(super) target: Option<Target>,
}

/// What the gateway's CPU time may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// So many times the floor's.
    Ratio(f64),
    /// So many microseconds per unit.
    Microseconds(f64),
}

const STREAM: Ask = Ask::chat(Kind::Stream, 900);

/// A client's request in its own words, and the answer as it comes.
pub(super) const PASSED: [Scenario; 7] = [
    Scenario {
        name: "chat-1",
        title: "1 KB chat, 1 client",
        ask: Ask::chat(Kind::Chat, 900),
        concurrency: 1,
        target: Some(Target::Ratio(1.4)),
    },
    Scenario {
        name: "chat-16",
        title: "1 KB chat, 16 clients",
        ask: Ask::chat(Kind::Chat, 900),
        concurrency: 16,
        target: Some(Target::Ratio(1.25)),
    },
    Scenario {
        name: "chat-64",
        title: "1 KB chat, 64 clients",
        ask: Ask::chat(Kind::Chat, 900),
        concurrency: 64,
        target: Some(Target::Ratio(1.25)),
    },
    Scenario {
        name: "prompt-100k",
        title: "100 KB prompt, 16 clients",
        ask: Ask::chat(Kind::Chat, 100 * 1024),
        concurrency: 16,
        target: Some(Target::Ratio(1.25)),
    },
    Scenario {
        name: "stream",
        title: "200-chunk stream, 16 clients",
        ask: STREAM,
        concurrency: 16,
        target: Some(Target::Ratio(1.05)),
    },
    Scenario {
        name: "chat-tls",
        title: "1 KB chat, 16 clients, HTTP/2 over TLS upstream",
        ask: Ask::chat(Kind::Chat, 900).securely(),
        concurrency: 16,
        target: Some(Target::Ratio(1.25)),
    },
    Scenario {
        name: "stream-tls",
        title: "200-chunk stream, 16 clients, HTTP/2 over TLS upstream",
        ask: STREAM.securely(),
        concurrency: 16,
        target: Some(Target::Ratio(1.05)),
    },
];

/// From one dialect to another, and Anthropic's own beside it. Streams have 200 chunks and 16 clients.
pub(super) const TRANSLATED: [Scenario; 5] = [
    Scenario {
        name: "messages-over-chat",
        title: "stream, Messages over Chat",
        ask: Ask { client: Dialect::Messages, ..STREAM },
        concurrency: 16,
        target: Some(Target::Ratio(2.0)),
    },
    Scenario {
        name: "chat-over-messages",
        title: "stream, Chat over Messages",
        ask: Ask { upstream: Dialect::Messages, ..STREAM },
        concurrency: 16,
        target: Some(Target::Ratio(2.0)),
    },
    Scenario {
        name: "messages",
        title: "stream, Messages as it is",
        ask: Ask { client: Dialect::Messages, upstream: Dialect::Messages, ..STREAM },
        concurrency: 16,
        target: Some(Target::Ratio(1.15)),
    },
    Scenario {
        name: "responses-over-chat",
        title: "stream, Responses over Chat",
        ask: Ask { client: Dialect::Responses, ..STREAM },
        concurrency: 16,
        target: None,
    },
    Scenario {
        name: "request-1m",
        title: "1 MB, Messages over Chat",
        ask: Ask {
            kind: Kind::Chat,
            prompt: Prompt::Conversation(1024 * 1024),
            client: Dialect::Messages,
            upstream: Dialect::Chat,
            secure: false,
        },
        concurrency: 1,
        target: Some(Target::Microseconds(6_000.0)),
    },
];

// === impl Scenario ===

impl Scenario {
    /// What CPU time is divided by, per request: a stream is paid by the chunk.
    pub(super) fn units(&self) -> u64 {
        if self.ask.kind.is_stream() { u64::from(CHUNKS) } else { 1 }
    }

    pub(super) fn unit(&self) -> &'static str {
        if self.ask.kind.is_stream() { "chunk" } else { "request" }
    }
}

// === impl Target ===

impl Target {
    pub(super) fn ratio(self) -> Option<f64> {
        if let Self::Ratio(ratio) = self { Some(ratio) } else { None }
    }

    pub(super) fn microseconds(self) -> Option<f64> {
        if let Self::Microseconds(microseconds) = self { Some(microseconds) } else { None }
    }
}
