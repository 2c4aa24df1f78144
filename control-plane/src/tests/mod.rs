//! The whole router in this process, on a fresh SQLite database, with a provider of our own to ask.
//!
//! [`gateway`] is the harness, also of the areas' own tests, [`provider`] is whom they ask, [`resources`] is what they begin with. [`document`] holds the API
//! document against the router, [`replay`] holds the answers against recordings of OmniRoute (TypeScript).

mod document;
mod envelope;
pub(crate) mod gateway;
mod pages;
pub(crate) mod provider;
mod replay;
pub(crate) mod resources;
