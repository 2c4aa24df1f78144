//! Answers that were given before.
//!
//! [`idempotency`] gives the answer of a request to the same request when it comes again.

pub(crate) mod idempotency;
