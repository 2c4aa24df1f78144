//! Nodes, connections and models through the whole router, with providers of our own to ask.

mod clouds;
pub(crate) mod connections;
pub(crate) mod nodes;
mod vendors;
