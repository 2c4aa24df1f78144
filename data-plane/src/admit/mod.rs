//! Who a request is from, and whether it may come in.
//!
//! [`admit`] looks the API key up; [`body`] then reads what the client sends, within the key's limits and the
//! [`memory`] that all bodies share, and [`coding`] unpacks what comes compressed. [`request_id`] is the name under which all of it is found again, [`session`] what it
//! belongs to.

pub(crate) mod body;
pub(crate) mod coding;
mod key;
pub(crate) mod memory;
pub(crate) mod request_id;
pub(crate) mod session;

pub(crate) use self::key::{Access, Caller, admit};
