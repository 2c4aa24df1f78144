//! Events of a stream as they stand on the wire.

use crate::write::Writer;

/// Writes one event; its name stands in the data too.
pub(super) fn event(out: &mut Vec<u8>, name: &str, fields: impl FnOnce(&mut Writer<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    Writer::new(out).object(|w| {
        w.field_str("type", name);
        fields(w);
    });
    out.extend_from_slice(b"\n\n");
}
