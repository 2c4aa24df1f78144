//! Sound of a streamed answer: pieces of base64, each complete in itself, which other formats take as one.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::event_stream::{MAX_EVENT_BYTES, TooLong};

/// What OpenAI streams, whatever is asked for otherwise: samples of 16 bits.
const MEDIA_TYPE: &str = "audio/pcm";

/// What has come of it.
#[derive(Debug, Default)]
pub(super) struct Sound(Vec<u8>);

// === impl Sound ===

impl Sound {
    /// Takes the next piece. One that is no base64 says nothing.
    ///
    /// # Errors
    /// When it becomes longer than an event may be.
    pub(super) fn push(&mut self, piece: &str) -> Result<(), TooLong> {
        if self.0.len() + piece.len() > MAX_EVENT_BYTES {
            return Err(TooLong);
        }
        let before = self.0.len();
        if STANDARD.decode_vec(piece, &mut self.0).is_err() {
            self.0.truncate(before);
        }
        Ok(())
    }

    /// Its media type and all of it, if there is any.
    pub(super) fn take(&mut self) -> Option<(&'static str, String)> {
        let bytes = std::mem::take(&mut self.0);
        (!bytes.is_empty()).then(|| (MEDIA_TYPE, STANDARD.encode(bytes)))
    }
}
