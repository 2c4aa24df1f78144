//! What is asked of an upstream, and in which wire format.

use omniroute_wire::embeddings::EmbedFormat;

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    Chat,
    Embeddings,
    /// Making images from a text.
    Images,
    /// The list of models.
    Models,
}

/// The wire format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyFormat {
    Chat(omniroute_wire::ir::Format),
    Embeddings(EmbedFormat),
    OpenAiImages,
}

// === impl Operation ===

impl Operation {
    pub const ALL: [Self; 4] = [Self::Chat, Self::Embeddings, Self::Images, Self::Models];

    /// Name in logs, metrics and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Images => "images",
            Self::Models => "models",
        }
    }
}
