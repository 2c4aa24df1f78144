//! What the CLI does besides `up`: one file per command. Each asks the gateway through [`crate::client`], as any other
//! client of the management API would, and shows the answer. [`lookup`] finds what a person names.

pub(crate) mod catalog;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod keys;
mod lookup;
pub(crate) mod models;
pub(crate) mod nodes;
pub(crate) mod password;
pub(crate) mod prices;
pub(crate) mod providers;
pub(crate) mod status;
