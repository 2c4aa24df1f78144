//! Tests of the repositories and of the write path, on both engines.

mod failing;
mod sealed;
mod state;
mod writes;
