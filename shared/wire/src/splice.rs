//! A body with a few spans exchanged, as a chain of slices: nothing of the original is copied.

use std::ops::Range;

use bytes::Bytes;

/// The pieces of a body, in order.
pub type Segments = Vec<Bytes>;

/// Edits of one body. They must be made in the order of their positions.
#[derive(Clone, Debug)]
pub struct Splice {
    body: Bytes,
    segments: Segments,
    /// Up to where the original has been taken.
    taken: usize,
}

// === impl Splice ===

impl Splice {
    pub fn new(body: Bytes) -> Self {
        Self { body, segments: Vec::with_capacity(7), taken: 0 }
    }

    /// Puts `new` where `span` was.
    pub fn replace(&mut self, span: Range<usize>, new: impl Into<Bytes>) {
        self.copy_until(span.start);
        self.segments.push(new.into());
        self.taken = self.taken.max(span.end.min(self.body.len()));
    }

    /// Puts `new` in front of the byte at `at`.
    pub fn insert(&mut self, at: usize, new: impl Into<Bytes>) {
        self.replace(at..at, new);
    }

    /// The edited body.
    pub fn into_segments(mut self) -> Segments {
        self.copy_until(self.body.len());
        self.segments
    }

    fn copy_until(&mut self, end: usize) {
        let end = end.min(self.body.len());
        if end > self.taken {
            self.segments.push(self.body.slice(self.taken..end));
            self.taken = end;
        }
    }
}

/// Bytes in all segments.
pub fn len(segments: &[Bytes]) -> usize {
    segments.iter().map(Bytes::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_byte_stays_and_nothing_is_copied() {
        let body = Bytes::from_static(b"{\"model\":\"a\",\"x\":1}");
        let mut splice = Splice::new(body.clone());
        splice.insert(1, Bytes::from_static(b"\"s\":true,"));
        splice.replace(9..12, Bytes::from_static(b"\"longer\""));
        let segments = splice.into_segments();
        assert_eq!(segments.concat(), b"{\"s\":true,\"model\":\"longer\",\"x\":1}");
        assert_eq!(len(&segments), 33);
        let range = body.as_ptr_range();
        let shared = segments.iter().filter(|segment| range.contains(&segment.as_ptr())).count();
        assert_eq!(shared, 3);
    }

    #[test]
    fn edits_at_both_ends_and_none_at_all() {
        let mut splice = Splice::new(Bytes::from_static(b"abc"));
        splice.replace(0..1, "x");
        splice.replace(2..3, "y");
        assert_eq!(splice.into_segments().concat(), b"xby");
        assert_eq!(Splice::new(Bytes::from_static(b"abc")).into_segments().concat(), b"abc");
    }
}
