//! Usage events, written field by field: the same bytes as prost's, without a struct of owned strings in between.

use std::time::Duration;

use omniroute_core::id::EventId;
use omniroute_wire::usage::{Service, Usage};
use prost::encoding::encode_varint;

use super::{AnsweredBy, Closing, Opening, Progress};

/// Kinds of record.
pub(super) const OPENED: u8 = 1;
pub(super) const CLOSED: u8 = 2;
/// What an answer that still runs has come to: counts only if the process dies.
pub(super) const PROGRESS: u8 = 3;

/// Length and CRC-32 in front of every record.
pub(super) const FRAME: usize = 8;
/// No record is longer; model names and ids are bounded where they come from.
pub(super) const MAX_RECORD: usize = 64 * 1024;

/// The fields that are known from the start.
pub(super) fn fixed(id: EventId, opening: &Opening<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    bytes(&mut out, 1, id.as_bytes());
    number(&mut out, 2, opening.at.0);
    text(&mut out, 3, opening.request_id);
    text(&mut out, 4, opening.key.map_or("", |key| key.as_str()));
    text(&mut out, 5, opening.connection.as_str());
    text(&mut out, 6, opening.provider.as_str());
    text(&mut out, 7, opening.requested_model);
    text(&mut out, 8, opening.model);
    text(&mut out, 9, opening.operation);
    number(&mut out, 10, u64::from(opening.stream));
    text(&mut out, 20, opening.path);
    text(&mut out, 21, opening.source_format);
    text(&mut out, 22, opening.target_format);
    out
}

/// The fields of an opened record behind the fixed ones: what holds if the process dies.
pub(super) fn estimate(out: &mut Vec<u8>, estimate: &Usage) {
    usage(out, estimate);
    number(out, 15, 1);
}

/// A record of progress: the event's id, and what would be billed now.
pub(super) fn progress(out: &mut Vec<u8>, id: EventId, so_far: &Progress<'_>) {
    bytes(out, 1, id.as_bytes());
    answered_by(out, so_far.answered_by);
    number(out, 12, u64::from(so_far.status));
    usage(out, &so_far.usage);
    number(out, 15, 1);
    number(out, 16, micros(so_far.duration));
    number(out, 17, so_far.first_byte.map_or(0, micros));
    number(out, 18, u64::from(so_far.attempts));
    text(out, 23, so_far.usage.service.map_or("", Service::as_str));
}

/// The fields of a closed record behind the fixed ones.
pub(super) fn closing(out: &mut Vec<u8>, closing: &Closing<'_>) {
    // A field that comes twice: the last one counts.
    answered_by(out, closing.answered_by);
    number(out, 11, u64::try_from(closing.outcome as i32).unwrap_or(0));
    number(out, 12, u64::from(closing.status));
    text(out, 13, closing.error_code);
    usage(out, &closing.usage);
    number(out, 15, u64::from(closing.estimated));
    number(out, 16, micros(closing.duration));
    number(out, 17, closing.first_byte.map_or(0, micros));
    number(out, 18, u64::from(closing.attempts));
    text(out, 19, closing.finish_reason);
    text(out, 23, closing.usage.service.map_or("", Service::as_str));
}

fn answered_by(out: &mut Vec<u8>, by: Option<AnsweredBy<'_>>) {
    if let Some(AnsweredBy { connection, provider, format }) = by {
        text(out, 5, connection.as_str());
        text(out, 6, provider.as_str());
        text(out, 22, format);
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Begins a record: room for the frame, then its kind. [`end_record`] fills the frame in.
pub(super) fn begin_record(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME]);
    out.push(kind);
    start
}

pub(super) fn end_record(out: &mut [u8], start: usize) {
    let payload = &out[start + FRAME..];
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let crc = crc32fast::hash(payload);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + FRAME].copy_from_slice(&crc.to_le_bytes());
}

/// The kind and payload of the record at the start of `bytes`, and its whole length. `None` when it is torn or damaged.
pub(super) fn read_record(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    if length == 0 || length > MAX_RECORD {
        return None;
    }
    let crc = u32::from_le_bytes(bytes.get(4..FRAME)?.try_into().ok()?);
    let payload = bytes.get(FRAME..FRAME + length)?;
    (crc32fast::hash(payload) == crc).then(|| (payload[0], &payload[1..], FRAME + length))
}

fn key(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    encode_varint(u64::from(field << 3 | wire_type), out);
}

fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        key(out, field, 0);
        encode_varint(value, out);
    }
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    if !value.is_empty() {
        key(out, field, 2);
        encode_varint(value.len() as u64, out);
        out.extend_from_slice(value);
    }
}

/// Texts are cut so that a record stays short whatever a client calls its model.
fn text(out: &mut Vec<u8>, field: u32, value: &str) {
    const LONGEST: usize = 512;
    let mut end = value.len().min(LONGEST);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    bytes(out, field, &value.as_bytes()[..end]);
}

fn usage(out: &mut Vec<u8>, usage: &Usage) {
    let classes = [
        usage.input,
        usage.cache_read,
        usage.cache_write_5m,
        usage.cache_write_1h,
        usage.output,
        usage.reasoning,
        usage.audio_in,
        usage.audio_out,
    ];
    key(out, 14, 2);
    // The length comes first; at most 8 × 11 bytes fit its one byte.
    let at = out.len();
    out.push(0);
    for (field, class) in (1..).zip(classes) {
        if let Some(tokens) = class {
            key(out, field, 0);
            encode_varint(tokens, out);
        }
    }
    out[at] = u8::try_from(out.len() - at - 1).unwrap_or(0);
}

#[cfg(test)]
mod tests {
    use omniroute_core::time::UnixMillis;
    use omniroute_proto::v1::{self, Outcome};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn event(fixed: &[u8], rest: impl FnOnce(&mut Vec<u8>)) -> v1::UsageEvent {
        let mut all = fixed.to_vec();
        rest(&mut all);
        v1::UsageEvent::decode(all.as_slice()).expect("prost reads it")
    }

    proptest! {
        #[test]
        fn prost_reads_what_is_written(
            at in any::<u64>(), request_id in ".{0,40}", model in ".{0,700}", path in "/.{0,600}", stream in any::<bool>(),
            classes in proptest::array::uniform8(proptest::option::of(any::<u64>())), status in any::<u16>(),
            attempts in any::<u32>(), micros in 0_u64..1 << 50,
            service in proptest::sample::select(vec![None, Some(Service::Batch), Some(Service::Flex)]),
        ) {
            let id = EventId::generate();
            let usage = Usage {
                input: classes[0], cache_read: classes[1], cache_write_5m: classes[2], cache_write_1h: classes[3],
                output: classes[4], reasoning: classes[5], audio_in: classes[6], audio_out: classes[7],
                service,
            };
            let opening = Opening {
                at: UnixMillis(at), request_id: &request_id, key: Some(&"k1".into()), connection: &"c1".into(),
                provider: &"p".into(), requested_model: &model, model: "m", operation: "chat", stream, path: &path, source_format: "anthropic",
                target_format: "openai", estimate: usage,
            };
            let fixed = fixed(id, &opening);
            let closing_fields = Closing {
                outcome: Outcome::Ok, status, error_code: "", usage, estimated: false,
                duration: Duration::from_micros(micros), first_byte: None, attempts, finish_reason: "stop",
                answered_by: Some(AnsweredBy { connection: &"c2".into(), provider: &"p2".into(), format: "gemini" }),
            };
            let read = event(&fixed, |out| closing(out, &closing_fields));
            prop_assert_eq!(read.id.as_ref(), id.as_bytes().as_slice());
            prop_assert_eq!((read.at_ms, read.stream, read.request_id), (at, stream, request_id));
            prop_assert!(model.starts_with(&read.requested_model) && read.requested_model.len() <= 512);
            prop_assert_eq!((read.status, read.attempts, read.duration_us), (u32::from(status), attempts, micros));
            prop_assert_eq!(read.outcome, Outcome::Ok as i32);
            prop_assert_eq!(read.service_tier.as_str(), service.map_or("", Service::as_str));
            prop_assert_eq!((read.connection_id.as_str(), read.provider.as_str()), ("c2", "p2"));
            prop_assert!(path.starts_with(&read.path) && read.path.len() <= 512);
            prop_assert_eq!((read.source_format.as_str(), read.target_format.as_str()), ("anthropic", "gemini"));
            prop_assert_eq!(event(&fixed, |out| estimate(out, &usage)).target_format, "openai");
            let own = read.usage.expect("usage");
            let read_classes = [
                own.input, own.cache_read, own.cache_write_5m, own.cache_write_1h,
                own.output, own.reasoning, own.audio_in, own.audio_out,
            ];
            prop_assert_eq!(read_classes, classes);
            prop_assert!(event(&fixed, |out| estimate(out, &usage)).estimated);
        }

        #[test]
        fn a_record_is_read_back_and_any_damage_is_noticed(payload in proptest::collection::vec(any::<u8>(), 0..200), flip in any::<proptest::sample::Index>()) {
            let mut out = vec![9; 3];
            let start = begin_record(&mut out, CLOSED);
            out.extend_from_slice(&payload);
            end_record(&mut out, start);
            let record = out[start..].to_vec();
            prop_assert_eq!(read_record(&record), Some((CLOSED, payload.as_slice(), record.len())));
            for cut in 0..record.len() {
                prop_assert_eq!(read_record(&record[..cut]), None);
            }
            let mut damaged = record.clone();
            damaged[flip.index(record.len())] ^= 0x10;
            prop_assert!(read_record(&damaged) != Some((CLOSED, payload.as_slice(), record.len())));
        }
    }
}
