//! Encoded messages, shared between the subscriptions that send them.

use bytes::Bytes;
use omniroute_proto::{
    MAX_CHUNK_BYTES,
    v1::{self, config_response::Body},
};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use zeroize::{Zeroize as _, Zeroizing};

use super::ConfigKind;

/// Numbers of the fields by which a chunk is put together without building its message first.
const RESPONSE_RESOURCES: u32 = 2;
const RESOURCES_RESOURCES: u32 = 1;

/// First size of a chunk's buffer; it doubles.
const FIRST_BYTES: usize = 4 * 1024;

/// An encoded `ConfigResponse`. Its memory is wiped when the last subscription is done with it.
#[derive(Clone)]
pub(super) struct Frame(Bytes);

/// Encodes resources into as few frames as the chunk size allows.
pub(super) struct Chunker {
    buffer: Zeroizing<Vec<u8>>,
    frames: Vec<Frame>,
    count: u64,
}

// === impl Frame ===

impl Frame {
    pub(super) fn of(body: Body) -> Self {
        let message = v1::ConfigResponse { body: Some(body) };
        Self(Bytes::from_owner(Zeroizing::new(message.encode_to_vec())))
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.0
    }
}

// === impl Chunker ===

impl Chunker {
    pub(super) fn new() -> Self {
        Self { buffer: Zeroizing::new(Vec::with_capacity(FIRST_BYTES)), frames: Vec::new(), count: 0 }
    }

    /// Appends a resource and wipes the secrets in it.
    pub(super) fn push(&mut self, mut resource: v1::Resource, kind: &dyn ConfigKind) {
        self.append(&resource);
        if let Some(body) = &mut resource.body {
            kind.wipe(body);
        }
    }

    /// Appends the word that a resource is gone.
    pub(super) fn push_deletion(&mut self, deletion: v1::Resource) {
        self.append(&deletion);
    }

    fn append(&mut self, resource: &v1::Resource) {
        let length = resource.encoded_len();
        let entry = key_len(RESOURCES_RESOURCES) + encoded_len_varint(length as u64) + length;
        // The frame's own key and length take up to six bytes more.
        if !self.buffer.is_empty() && self.buffer.len() + entry + 6 > MAX_CHUNK_BYTES {
            self.flush();
        }
        self.reserve(entry);
        encode_key(RESOURCES_RESOURCES, WireType::LengthDelimited, &mut *self.buffer);
        encode_varint(length as u64, &mut *self.buffer);
        resource.encode_raw(&mut *self.buffer);
        self.count += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn finish(mut self) -> Vec<Frame> {
        self.flush();
        self.frames
    }

    /// Grows by hand: what `Vec` leaves behind when it moves is not wiped.
    fn reserve(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        if needed <= self.buffer.capacity() {
            return;
        }
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(self.buffer.capacity() * 2)));
        larger.extend_from_slice(&self.buffer);
        self.buffer = larger;
    }

    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let mut frame = Zeroizing::new(Vec::with_capacity(self.buffer.len() + 6));
        encode_key(RESPONSE_RESOURCES, WireType::LengthDelimited, &mut *frame);
        encode_varint(self.buffer.len() as u64, &mut *frame);
        frame.extend_from_slice(&self.buffer);
        self.frames.push(Frame(Bytes::from_owner(frame)));
        self.buffer.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use omniroute_proto::v1::resource;

    use super::*;
    use crate::areas::access::keys::ApiKeyKind;

    fn key(number: usize, name: &str) -> v1::Resource {
        v1::Resource {
            id: format!("key-{number}"),
            revision: 7,
            min_version: 1,
            kind: "api_key".into(),
            body: Some(resource::Body::ApiKey(v1::ApiKey { name: name.into(), ..Default::default() })),
            ..Default::default()
        }
    }

    fn decoded(frames: &[Frame]) -> Vec<v1::Resource> {
        let responses = frames.iter().map(|frame| v1::ConfigResponse::decode(frame.bytes().clone()).expect("decodes"));
        responses
            .flat_map(|response| match response.body {
                Some(Body::Resources(chunk)) => chunk.resources,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn chunks_decode_to_what_went_in_and_keep_to_the_limit() {
        let resources: Vec<_> = (0..3000).map(|number| key(number, &"n".repeat(1000))).collect();
        let mut chunker = Chunker::new();
        for resource in resources.clone() {
            chunker.push(resource, &ApiKeyKind);
        }
        assert_eq!(chunker.count(), 3000);
        let frames = chunker.finish();
        assert_eq!(frames.len(), 3);
        assert!(frames.iter().all(|frame| frame.bytes().len() <= MAX_CHUNK_BYTES));
        assert_eq!(decoded(&frames), resources);
    }

    #[test]
    fn a_resource_at_the_limit_has_a_chunk_of_its_own() {
        let mut chunker = Chunker::new();
        chunker.push(key(0, "small"), &ApiKeyKind);
        chunker.push(key(1, &"n".repeat(MAX_CHUNK_BYTES)), &ApiKeyKind);
        chunker.push(key(2, "small"), &ApiKeyKind);
        assert_eq!(decoded(&chunker.finish()).len(), 3);
    }

    #[test]
    fn nothing_makes_no_chunk() {
        assert!(Chunker::new().finish().is_empty());
    }
}
