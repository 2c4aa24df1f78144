//! Whose connections a request may have: each thread that serves has its own, so that what arrives on one wakes no other.

use std::cell::Cell;

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(SHARED) };
}

/// Of all threads that have none of their own.
const SHARED: usize = usize::MAX;

/// From now on this thread has connections of its own.
pub(crate) fn enter(number: usize) {
    LANE.set(number);
}

/// Whose connections this thread uses.
pub(super) fn current() -> usize {
    LANE.get()
}
