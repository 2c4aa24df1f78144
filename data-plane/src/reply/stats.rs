//! What is known of an answer while it goes out.

use omniroute_wire::usage::Usage;

/// What has been seen of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnswerStats {
    /// The provider's own count.
    pub(crate) usage: Option<Usage>,
    pub(crate) finish_reason: Option<String>,
    /// A guess at the tokens that came out, for when the provider does not tell.
    pub(crate) output_guess: u64,
}
