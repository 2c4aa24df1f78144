//! End-to-end tests of the gateway: its real programs, a faithful provider, real clients.
//!
//! [`mock_provider`] is what the gateway talks to, [`harness`] starts the programs and talks to them. The tests
//! themselves are in `tests/`, one file per kind of promise; `sdk/` has the scripts that drive the gateway with the
//! official clients, [`clouds`] are servers that these and the gateway have to agree on, [`agents`] do what coding agents do. [`mod@bench`] measures instead of testing, [`rooms`] reads how
//! the crates hang together.

#[expect(
    clippy::expect_used,
    clippy::panic,
    reason = "an agent that gets what it cannot use has failed, and says so by panicking"
)]
pub mod agents;
pub mod bench;
pub mod clouds;
#[expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot set itself up has failed, and says so by panicking"
)]
pub mod harness;
pub mod mock_provider;
pub mod rooms;
