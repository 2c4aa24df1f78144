//! What the provider saw and what it charges for. The other side of the ledger.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;
use tokio::sync::watch;

/// Requests that are kept in full; counts go on beyond it.
const MOST_KEPT: usize = 50_000;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Still being answered.
    Running,
    /// Answered to the end.
    Answered,
    /// Answered with an error.
    Refused,
    /// Broken off by the provider.
    HungUp,
    /// The client went away before the end.
    Cancelled,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub number: u64,
    pub method: String,
    pub path: String,
    /// In the order of the wire, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// As it came.
    pub body: Bytes,
    /// The bearer token.
    pub key: String,
    /// Without a script.
    pub model: String,
    /// Text of the last message.
    pub text: String,
    pub stream: bool,
    pub status: u16,
    pub fate: Fate,
    /// What it costs so far.
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub completion_tokens: u64,
}

/// Sums over the requests that were answered to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub requests: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// Everything that was seen.
#[derive(Debug)]
pub struct Journal {
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    kept: VecDeque<Seen>,
    /// By key and model.
    totals: BTreeMap<(String, String), Totals>,
}

/// A request that is being answered. Dropped without an end, it was cancelled.
#[derive(Debug)]
pub struct Running {
    journal: Arc<Journal>,
    pub number: u64,
    over: bool,
}

// === impl Seen ===

impl Seen {
    /// The last value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)?;
        std::str::from_utf8(value).ok()
    }
}

// === impl Journal ===

impl Journal {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: watch::Sender::new(State::default()) })
    }

    pub fn begin(self: &Arc<Self>, method: String, path: String, headers: &HeaderMap) -> Running {
        let headers =
            headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
        let mut number = 0;
        self.state.send_modify(|state| {
            state.next += 1;
            number = state.next;
            if state.kept.len() == MOST_KEPT {
                state.kept.pop_front();
            }
            state.kept.push_back(Seen {
                number,
                method,
                path,
                headers,
                body: Bytes::new(),
                key: String::new(),
                model: String::new(),
                text: String::new(),
                stream: false,
                status: 0,
                fate: Fate::Running,
                prompt_tokens: 0,
                cached_tokens: 0,
                completion_tokens: 0,
            });
        });
        Running { journal: Arc::clone(self), number, over: false }
    }

    /// All requests that are kept, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.borrow().kept.iter().cloned().collect()
    }

    /// How many requests came in, whatever became of them.
    pub fn count(&self) -> u64 {
        self.state.borrow().next
    }

    /// Sums of what was answered, by key and model.
    pub fn totals(&self) -> BTreeMap<(String, String), Totals> {
        self.state.borrow().totals.clone()
    }

    /// Waits until `condition` holds for what was seen.
    pub async fn wait_until(&self, mut condition: impl FnMut(&VecDeque<Seen>) -> bool) {
        // The sender lives as long as `self`.
        let _ = self.state.subscribe().wait_for(|state| condition(&state.kept)).await;
    }
}

// === impl Running ===

impl Running {
    /// Writes down more about the request.
    pub fn note(&self, change: impl FnOnce(&mut Seen)) {
        self.journal.state.send_modify(|state| {
            // Numbers have no gaps, so the place follows from the number.
            let first = state.next + 1 - state.kept.len() as u64;
            let at = self.number.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            if let Some(seen) = at.and_then(|at| state.kept.get_mut(at)) {
                change(seen);
            }
        });
    }

    /// The last word on the request.
    pub fn end(mut self, fate: Fate) {
        self.over = true;
        self.settle(fate);
    }

    fn settle(&self, fate: Fate) {
        let mut charged = None;
        self.note(|seen| {
            seen.fate = fate;
            charged = Some(seen.clone());
        });
        if let Some(seen) = charged.filter(|seen| fate == Fate::Answered && !seen.model.is_empty()) {
            self.journal.state.send_modify(|state| {
                let totals = state.totals.entry((seen.key, seen.model)).or_default();
                totals.requests += 1;
                totals.prompt_tokens += seen.prompt_tokens;
                totals.completion_tokens += seen.completion_tokens;
            });
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.settle(Fate::Cancelled);
        }
    }
}
