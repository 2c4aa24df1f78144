//! Fields that only Cohere has.

/// Fields of Cohere's own that a client of another format may put into its body; they are passed on as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    Documents,
    CitationOptions,
    SafetyMode,
    StrictTools,
    Priority,
}

// === impl Extension ===

impl Extension {
    pub(super) const ALL: [Self; 5] =
        [Self::Documents, Self::CitationOptions, Self::SafetyMode, Self::StrictTools, Self::Priority];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::CitationOptions => "citation_options",
            Self::SafetyMode => "safety_mode",
            Self::StrictTools => "strict_tools",
            Self::Priority => "priority",
        }
    }
}
