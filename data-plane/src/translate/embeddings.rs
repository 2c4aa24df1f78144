//! Embeddings between two formats.

use omniroute_wire::embeddings::EmbeddingsContext;

use crate::request::Segmented;

/// What the way back of embeddings has to know.
pub(crate) struct EmbeddingsTranslation {
    pub(crate) context: EmbeddingsContext,
    /// Bodies of further requests, each for a text of its own.
    pub(crate) more: Vec<Segmented>,
    /// Names of what did not cross.
    pub(crate) dropped: Option<String>,
}
