//! Tests of the repositories and of the write path, on both engines.

mod sealed;
mod state;
mod writes;
