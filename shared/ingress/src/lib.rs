//! How a client's connection begins, the same in front of every port.
//!
//! [`open`] reads the first bytes under one limit of time: the PROXY protocol's header where one is expected
//! ([`mod@proxy_protocol`]), then as much as tells HTTP/1 from HTTP/2. The bytes are given back by [`Rewound`], so nothing has to
//! be looked at twice. [`Spoken`] limits the silence of a connection whose client is never silent for long.

mod opening;
mod proxy_protocol;
mod rewound;
mod spoken;

pub use self::{
    opening::{Opened, Opening, Protocol, open},
    rewound::Rewound,
    spoken::Spoken,
};
