//! A stored answer.

use bytes::Bytes;
use omniroute_coordination::{Found, Key};
use omniroute_core::error::GatewayError;
use omniroute_wire::{ir::Json, responses};
use prost::Message as _;

use super::Store;
use crate::state::unavailable;

/// What one exchange leaves.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Record {
    /// Ids of the answers that it went on from, the first one first.
    #[prost(string, repeated, tag = "1")]
    pub(crate) chain: Vec<String>,
    /// The items that its own request added, as JSON, each with an id.
    #[prost(string, repeated, tag = "2")]
    pub(crate) input: Vec<String>,
    /// The whole response, as JSON.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) response: Bytes,
}

// === impl Record ===

impl Record {
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

// === impl Store ===

impl Store {
    /// Loads an answer. `None`: there is none, or it was not this API key's.
    ///
    /// # Errors
    /// When Redis is away and the answer may be there.
    pub(crate) async fn load(&self, id: &str) -> Result<Option<Record>, GatewayError> {
        match self.kept.shelf.load(&self.key(id)).await {
            Found::Value(sealed) => {
                let plain = self.vault.open(&self.name(id), &sealed);
                Ok(plain.and_then(|plain| Record::decode(plain).ok()))
            }
            Found::Nothing => Ok(None),
            Found::Unknown => Err(unavailable()),
        }
    }

    pub(crate) async fn save(&self, id: &str, record: &Record) {
        let sealed = self.vault.seal(&self.name(id), &record.encode_to_vec());
        let kept = match sealed {
            Some(sealed) => self.kept.shelf.keep(&self.key(id), sealed, self.kept.ttl).await,
            None => false,
        };
        if !kept {
            tracing::debug!(bytes = record.size(), "an answer is too large to be stored");
        }
    }

    /// Says whether there was one.
    pub(crate) async fn remove(&self, id: &str) -> bool {
        self.kept.shelf.remove(&self.key(id)).await
    }

    fn key(&self, id: &str) -> Key {
        Key::new(&self.scope, &[id.as_bytes()])
    }

    fn name(&self, id: &str) -> Vec<u8> {
        [self.scope.as_bytes(), b"\0response\0", id.as_bytes()].concat()
    }
}
