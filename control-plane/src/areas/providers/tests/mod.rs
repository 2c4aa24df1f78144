//! Nodes, connections and models through the whole router, with providers of our own to ask.

pub(crate) mod connections;
mod models;
pub(crate) mod nodes;
mod pricing;
mod vendors;
