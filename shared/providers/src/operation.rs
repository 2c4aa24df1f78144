//! What is asked of an upstream, and in which wire format.

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    Chat,
    Embeddings,
    /// The list of models.
    Models,
}

/// The wire format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    Chat(omniroute_wire::ir::Format),
    OpenAiEmbeddings,
}

// === impl Operation ===

impl Operation {
    pub const ALL: [Self; 3] = [Self::Chat, Self::Embeddings, Self::Models];

    /// Name in logs, metrics and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Models => "models",
        }
    }
}
