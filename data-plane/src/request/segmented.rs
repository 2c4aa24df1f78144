//! A body made of slices.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use omniroute_wire::splice::{self, Segments};
use tokio::time::Instant;

/// A larger body goes out in pieces of this size, so that one can see how far it has come.
const PIECE: usize = 256 * 1024;

/// How much of a large body has gone out.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    taken: AtomicU64,
    ended: OnceLock<Instant>,
}

/// A body made of slices of the client's body and what was spliced in. Cheap to clone; its length is known.
#[derive(Clone, Debug)]
pub(crate) struct Segmented {
    segments: Arc<Segments>,
    remaining: u64,
    upload: Option<Arc<Upload>>,
}

// === impl Upload ===

impl Upload {
    pub(crate) fn took(&self, bytes: u64) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self) {
        // Only the first time counts.
        let _ = self.ended.set(Instant::now());
    }

    /// When the last of it went out; now if something has gone out since `taken` was noted.
    pub(crate) fn moved(&self, taken: &mut u64) -> Option<Instant> {
        if let Some(ended) = self.ended.get() {
            return Some(*ended);
        }
        let now = self.taken.load(Ordering::Relaxed);
        (std::mem::replace(taken, now) < now).then(Instant::now)
    }
}

// === impl Segmented ===

impl Segmented {
    pub(crate) fn new(segments: Segments) -> Self {
        let remaining = splice::len(&segments) as u64;
        Self { segments: Arc::new(segments), remaining, upload: None }
    }

    /// A copy for one attempt, watched on its way if it is large.
    pub(crate) fn tracked(&self) -> Self {
        let upload = (self.remaining > PIECE as u64).then(Arc::default);
        Self { upload, ..self.clone() }
    }

    /// Its slices, as long as nothing has gone out.
    pub(crate) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// What goes out next. Segments are few.
    fn next(&self) -> Bytes {
        let mut behind = self.remaining;
        for segment in self.segments.iter().rev() {
            let length = segment.len() as u64;
            if behind <= length {
                // It fits: the segment is as long.
                let at = segment.len() - usize::try_from(behind).unwrap_or(0);
                return segment.slice(at..segment.len().min(at + PIECE));
            }
            behind -= length;
        }
        Bytes::new()
    }

    /// How far it has come; `None` for one that is so small that it goes out at once.
    pub(crate) fn upload(&self) -> Option<&Arc<Upload>> {
        self.upload.as_ref()
    }
}

impl Body for Segmented {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let piece = self.next();
        self.remaining -= piece.len() as u64;
        if let Some(upload) = &self.upload {
            upload.took(piece.len() as u64);
            if self.remaining == 0 {
                upload.ended();
            }
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_of_slices_says_its_length_and_can_be_sent_again() {
        let body = Segmented::new(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        let again = body.clone();
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.collect().await.expect("a body").to_bytes(), "abc");
        assert_eq!(again.collect().await.expect("a body").to_bytes(), "abc");
        assert!(Segmented::new(vec![]).is_end_stream());
    }
}
