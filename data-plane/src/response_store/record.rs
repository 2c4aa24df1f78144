//! A stored answer.
//!
//! An answer is a part of every conversation that went on from it, and stored once. So deleting one that was gone on from
//! puts it out of sight: nobody can name it any more, while its conversations keep it until it ends by itself. An
//! answer that none went on from is removed at once.
//!
//! A conversation ends when nobody went on with it for as long as answers are kept: whoever goes on keeps its earlier
//! answers anew, once they are halfway to their end.

use bytes::Bytes;
use std::time::Duration;

use futures_util::future::join;
use omniroute_coordination::{Found, Key};
use omniroute_core::{error::GatewayError, time::UnixMillis};
use omniroute_wire::{ir::Json, responses};
use prost::Message as _;

use super::StoredResponses;
use crate::shared_store::unavailable;

/// Notes of an answer end so much later than it.
const NOTES_LONGER: Duration = Duration::from_hours(1);

/// What is noted of an answer, beside it.
#[derive(Clone, Copy)]
enum Note {
    /// A stored answer goes on from it.
    Continued,
    Deleted,
}

/// What one exchange leaves.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredResponse {
    /// Ids of the answers that it went on from, the first one first.
    #[prost(string, repeated, tag = "1")]
    pub(crate) chain: Vec<String>,
    /// The items that its own request added, as JSON, each with an id.
    #[prost(string, repeated, tag = "2")]
    pub(crate) input: Vec<String>,
    /// The whole response, as JSON.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) response: Bytes,
    /// Unix milliseconds; 0 where it was stored before that was noted.
    #[prost(uint64, tag = "4")]
    pub(super) kept_at: u64,
}

// === impl StoredResponse ===

impl StoredResponse {
    /// All items of the exchange, the request's first.
    pub(crate) fn items(&self) -> Vec<Json<'static>> {
        // It was read when it was stored.
        let output = responses::output_items(&self.response).unwrap_or_default();
        self.own_input().chain(output.into_iter().map(Json::into_owned)).collect()
    }

    /// What its own request added.
    pub(crate) fn own_input(&self) -> impl Iterator<Item = Json<'static>> {
        self.input.iter().filter_map(|item| Json::from_string(item.clone()))
    }

    /// Bytes that it holds.
    pub(crate) fn size(&self) -> usize {
        self.response.len() + self.input.iter().map(String::len).sum::<usize>()
    }
}

// === impl StoredResponses ===

impl StoredResponses {
    /// Loads an answer that a client names. `None`: there is none, it was deleted, or it was not this API key's.
    ///
    /// # Errors
    /// When Redis is away and the answer may be there.
    pub(crate) async fn load(&self, id: &str) -> Result<Option<StoredResponse>, GatewayError> {
        let (record, deleted) = join(self.load_part(id), self.noted(Note::Deleted, id)).await;
        // While Redis is away, nobody knows of what others have deleted.
        Ok(record?.filter(|_| deleted != Some(true)))
    }

    /// Loads an answer that a later one went on from.
    ///
    /// # Errors
    /// When Redis is away and the answer may be there.
    pub(crate) async fn load_part(&self, id: &str) -> Result<Option<StoredResponse>, GatewayError> {
        match self.store.shared.load(&self.key(id)).await {
            Found::Value(sealed) => {
                let plain = self.cipher.open(&self.name(id), &sealed);
                Ok(plain.and_then(|plain| StoredResponse::decode(plain).ok()))
            }
            Found::Nothing => Ok(None),
            Found::Unknown => Err(unavailable()),
        }
    }

    pub(crate) async fn save(&self, id: &str, record: &mut StoredResponse) {
        record.kept_at = self.clock.now().0;
        let sealed = self.cipher.seal(&self.name(id), &record.encode_to_vec());
        let kept = match sealed {
            Some(sealed) => self.store.shared.keep(&self.key(id), sealed, self.store.ttl).await,
            None => false,
        };
        if !kept {
            tracing::debug!(bytes = record.size(), "an answer is too large to be stored");
        }
    }

    /// Whether an answer that is still used has lived more than half of its time.
    pub(super) fn is_aging(&self, record: &StoredResponse) -> bool {
        self.clock.now().saturating_since(UnixMillis(record.kept_at)) > self.store.ttl / 2
    }

    /// Keeps an answer, and what is noted of it, as if it were new.
    pub(super) async fn renew(&self, id: &str) {
        let Ok(Some(mut record)) = self.load_part(id).await else { return };
        for note in [Note::Continued, Note::Deleted] {
            if self.noted(note, id).await == Some(true) {
                self.note(note, id).await;
            }
        }
        self.save(id, &mut record).await;
    }

    /// Notes that a stored answer goes on from this one.
    pub(crate) async fn mark_continued(&self, id: &str) {
        if self.noted(Note::Continued, id).await != Some(true) {
            self.note(Note::Continued, id).await;
        }
    }

    /// Deletes an answer. Says whether there was one.
    ///
    /// # Errors
    /// When Redis is away, which may have it.
    pub(crate) async fn delete(&self, id: &str) -> Result<bool, GatewayError> {
        if !self.noted(Note::Continued, id).await.ok_or_else(unavailable)? {
            return Ok(self.store.shared.remove(&self.key(id)).await);
        }
        let is_there = self.load(id).await?.is_some();
        if is_there {
            self.note(Note::Deleted, id).await;
        }
        Ok(is_there)
    }

    /// `None` while Redis is away.
    async fn noted(&self, note: Note, id: &str) -> Option<bool> {
        match self.store.shared.load(&self.note_key(note, id)).await {
            Found::Value(_) => Some(true),
            Found::Nothing => Some(false),
            Found::Unknown => None,
        }
    }

    async fn note(&self, note: Note, id: &str) {
        let ttl = self.store.ttl.saturating_add(NOTES_LONGER);
        self.store.shared.keep(&self.note_key(note, id), Bytes::from_static(b"1"), ttl).await;
    }

    fn note_key(&self, note: Note, id: &str) -> Key {
        let name: &[u8] = match note {
            Note::Continued => b"continued",
            Note::Deleted => b"deleted",
        };
        Key::new(&self.scope, &[name, id.as_bytes()])
    }

    fn key(&self, id: &str) -> Key {
        Key::new(&self.scope, &[id.as_bytes()])
    }

    fn name(&self, id: &str) -> Vec<u8> {
        [self.scope.as_bytes(), b"\0response\0", id.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use omniroute_coordination::{Coordination as _, LocalCoordination, StoreLimits};
    use omniroute_core::{hash::Pepper, time::ManualClock};
    use omniroute_wire::responses::continuation;

    use super::*;
    use crate::{seal::Cipher, shared_store::Store};

    const DAY: Duration = Duration::from_hours(24);

    fn store(clock: &ManualClock) -> StoredResponses {
        let limits = StoreLimits {
            name: "responses",
            value_bytes: 4096,
            scope_bytes: 1 << 20,
            scope_entries: 100,
            process_bytes: 1 << 20,
        };
        let shared = LocalCoordination::new(Arc::new(clock.clone())).store(limits);
        StoredResponses {
            store: Store { shared, ttl: DAY * 30, value_bytes: limits.value_bytes },
            cipher: Cipher::new(&Pepper::new("fleet")),
            scope: "k1".into(),
            clock: Arc::new(clock.clone()),
        }
    }

    async fn answer(store: &StoredResponses, id: &str, chain: &[&str]) {
        let response = format!(r#"{{"id":"{id}","output":[]}}"#).into();
        let chain = chain.iter().map(|id| (*id).to_owned()).collect();
        store.save(id, &mut StoredResponse { chain, response, ..StoredResponse::default() }).await;
    }

    #[tokio::test]
    async fn a_conversation_that_goes_on_outlives_the_time_of_its_first_answer() {
        let clock = ManualClock::at(UnixMillis(1_000_000));
        let store = store(&clock);
        answer(&store, "r1", &[]).await;
        store.mark_continued("r1").await;
        assert!(store.delete("r1").await.expect("known"), "it stays as a part of the conversation");
        let asked = |previous: &str| format!(r#"{{"model":"m","input":"x","previous_response_id":"{previous}"}}"#);
        let mut chain = vec!["r1"];
        for (at, id) in ["r2", "r3", "r4", "r5"].into_iter().enumerate() {
            if at > 0 {
                clock.advance(DAY * 20);
                let body = asked(chain[chain.len() - 1]);
                let history = store.history(&continuation(body.as_bytes()).expect("read"), 1 << 20).await;
                let history = history.expect("whole");
                assert_eq!(history.chain, chain);
                for id in &history.aging {
                    store.renew(id).await;
                }
            }
            answer(&store, id, &chain).await;
            chain.push(id);
        }
        assert!(store.load("r1").await.expect("asked").is_none(), "what was deleted stays out of sight");
        // One that nobody goes on with ends.
        clock.advance(DAY * 40);
        assert!(store.load("r5").await.expect("asked").is_none());
    }
}
