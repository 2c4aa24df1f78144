//! The whole router in this process, on a fresh SQLite database, with a provider of our own to ask.
//!
//! [`gateway`] is the harness; the other files test one resource each. [`document`] holds the API document against the
//! router, [`replay`] holds the answers against recordings of OmniRoute (TypeScript).

mod auth;
mod document;
mod envelope;
mod gateway;
mod keys;
mod kinds;
mod monitoring;
mod nodes;
mod pages;
mod provider;
mod providers;
mod replay;
mod settings;
mod usage;
