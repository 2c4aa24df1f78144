//! The gateway under test: its real programs, started the way an operator starts them.
//!
//! A [`Stack`] is a control plane (on SQLite or on a Postgres database of its own), any number of proxies, and a
//! [`MockProvider`](crate::mock_provider::MockProvider) that they are connected to. [`Rest`] is its management API,
//! [`Client`] a client of `/v1`, [`load`] many of them at once, [`Ledger`] what the gateway says it was used for.
//! [`Process`] is one program; killing it is part of the point.

mod client;
mod database;
mod ledger;
pub mod load;
mod ports;
mod process;
mod rest;
mod stack;

use std::time::Duration;

pub use self::{
    client::{Answer, Client},
    database::Engine,
    ledger::{Call, Ledger},
    ports::free_port,
    process::{Process, program},
    rest::Rest,
    stack::{Proxy, Setup, Stack},
};

/// How long anything may take before a test gives up. Far longer than it should be: a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again until `holds` says yes.
///
/// # Panics
/// When it does not within [`PATIENCE`].
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
