//! Nodes, connections and models through the whole router, with providers of our own to ask.

mod clouds;
pub(crate) mod connections;
mod every_provider;
pub(crate) mod nodes;
mod vendors;
