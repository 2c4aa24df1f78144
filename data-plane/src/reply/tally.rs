//! What is known of an answer while it goes out.

use omniroute_wire::usage::Usage;

/// What has been seen of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// The provider's own count.
    pub(crate) usage: Option<Usage>,
    pub(crate) finish_reason: Option<String>,
    /// A guess at the tokens that came out, for when the provider does not tell.
    pub(crate) output_guess: u64,
}

/// What it takes to tell a client of an error in the middle of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorContext<'a> {
    pub(crate) request_id: &'a str,
    /// Secrets of the connection, which the provider's words may have in them.
    pub(crate) hidden: &'a str,
}
