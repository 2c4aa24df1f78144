//! What an earlier run left behind.

use std::{collections::HashMap, io, path::Path, sync::Arc};

use omniroute_proto::v1::{Outcome, UsageEvent};
use prost::Message;

use super::{
    encode::{self, CLOSED, OPENED, PROGRESS, read_record},
    segment::{self, Segment},
};

/// The segments of an earlier run, and closed records for the requests that it did not live to close.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    /// Framed records, ready to be appended.
    pub(super) interrupted: Vec<Vec<u8>>,
    /// Closed records in `segments`: to be sent (again).
    pub(super) unsent: u64,
    pub(super) next_number: u64,
}

/// Reads all segments of a directory. A torn tail is cut off: what was not wholly written was not promised to anybody.
pub(super) fn recover(directory: &Path) -> io::Result<Recovered> {
    let mut left = Recovered::default();
    let mut open: HashMap<Vec<u8>, UsageEvent> = HashMap::new();
    for number in segment::numbers(directory)? {
        left.next_number = number + 1;
        let bytes = segment::contents(directory, number)?;
        let mut at = 0;
        let mut closed = 0;
        while let Some((kind, payload, length)) = read_record(&bytes[at..]) {
            at += length;
            let Ok(event) = UsageEvent::decode(payload) else { continue };
            match kind {
                OPENED => {
                    open.insert(event.id.to_vec(), event);
                }
                PROGRESS => {
                    if let Some(known) = open.get_mut(event.id.as_ref()) {
                        advance(known, event);
                    }
                }
                CLOSED => {
                    closed += 1;
                    open.remove(event.id.as_ref());
                }
                _ => {}
            }
        }
        if at < bytes.len() {
            tracing::warn!(segment = number, bytes = bytes.len() - at, "the journal has a torn tail, which is cut off");
        }
        let segment = Segment::existing(directory, number, at as u64)?;
        segment.events_appended(closed);
        left.unsent += closed;
        left.segments.push(Arc::new(segment));
    }
    left.interrupted = open.into_values().filter_map(interrupted).collect();
    Ok(left)
}

/// What was noted last counts.
fn advance(known: &mut UsageEvent, noted: UsageEvent) {
    known.usage = noted.usage.or(known.usage);
    known.status = noted.status;
    known.duration_us = noted.duration_us;
    known.first_byte_us = noted.first_byte_us;
    known.attempts = noted.attempts;
    // Noted only where it is not who was asked first.
    if !noted.connection_id.is_empty() {
        known.connection_id = noted.connection_id;
        known.provider = noted.provider;
        known.target_format = noted.target_format;
    }
}

fn interrupted(mut event: UsageEvent) -> Option<Vec<u8>> {
    event.outcome = Outcome::Interrupted as i32;
    event.estimated = true;
    event.error_code = "interrupted".to_owned();
    let mut record = Vec::new();
    let start = encode::begin_record(&mut record, CLOSED);
    event.encode(&mut record).ok()?;
    encode::end_record(&mut record, start);
    Some(record)
}
