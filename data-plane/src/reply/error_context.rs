//! What an error in the middle of an answer is told with.

/// What it takes to tell a client of an error in the middle of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorContext<'a> {
    pub(crate) request_id: &'a str,
    /// Secrets of the connection, which the provider's words may have in them.
    pub(crate) hidden: &'a str,
}
