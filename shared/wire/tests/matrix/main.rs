//! Every client format against every upstream format.
//!
//! The fixtures are whole exchanges that use what a dialect has; the goldens are what becomes of them. A golden is changed by
//! running with `UPDATE_GOLDENS=1`, and then read: it is the only place where a lost field shows.

#![cfg(test)]

// Public for the crate of the fuzz targets, of which it is the library.
#[expect(unreachable_pub, reason = "its own crate exports it")]
#[path = "../../fuzz/src/lib.rs"]
mod checks;
mod edges;
mod fates;
mod fixtures;
mod free_text;
mod golden;
mod hostile;
mod mended;
mod pretty;
mod requests;
mod streams;
