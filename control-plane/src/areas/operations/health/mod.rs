//! How the gateway is: this process, the database, the shared state, every proxy.

pub(super) mod routes;
mod rules;
mod shapes;

pub use self::rules::{CustomProviderHealth, ProviderReport};
