//! A point up to which the service keeps what it has read.

use crate::{ir::CacheMark, write::Writer};

/// Writes a cache point, if there is one.
pub(super) fn write_point(w: &mut Writer<'_>, mark: Option<CacheMark>) {
    let Some(mark) = mark else { return };
    w.object(|w| {
        w.key("cachePoint").object(|w| {
            w.field_str("type", "default");
            if mark == CacheMark::OneHour {
                w.field_str("ttl", "1h");
            }
        });
    });
}
