//! How a client's connection begins, the same in front of every port.
//!
//! [`open`] reads the first bytes under one limit of time: the PROXY protocol's header where one is expected
//! ([`mod@proxy_protocol`]), then as much as tells HTTP/1 from HTTP/2. The bytes are given back by [`Prefixed`], so nothing has to
//! be looked at twice. [`IdleLimited`] limits the silence of a connection whose client is never silent for long. Both are a
//! [`Hooked`] stream, as is whatever else looks at what is read.

mod idle_limited;
mod opening;
mod prefixed;
mod proxy_protocol;
mod read_hook;

pub use self::{
    idle_limited::IdleLimited,
    opening::{Opened, Opening, Protocol, open},
    prefixed::Prefixed,
    read_hook::{Hooked, ReadHook},
};
