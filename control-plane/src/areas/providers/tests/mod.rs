//! Nodes, connections and models through the whole router, with providers of our own to ask.

mod clouds;
pub(crate) mod connections;
mod every_provider;
mod models;
pub(crate) mod nodes;
mod pricing;
mod vendors;
