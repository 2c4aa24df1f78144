//! Upstreams: what is known about providers ([`catalog`], [`prices`]), how each kind is spoken to ([`adapter`]), and what a
//! connection looks like once it is ready to be used ([`upstream`]).
//!
//! Nothing here does I/O. A connection record becomes an [`Upstream`] once, when the configuration changes; a request only
//! reads it. A failed answer goes through [`Adapter::classify`] into a [`Failure`], which says what to do next.

mod adapter;
pub mod catalog;
mod failure;
mod openai_compatible;
mod operation;
pub mod prices;
mod sanitise;
mod upstream;

pub use adapter::{Adapter, OfferedModel, ParseModelsError, adapter_of};
pub use catalog::{Auth, Catalog, ModelFacts, Provider};
pub use failure::{Failure, FailureClass};
pub use openai_compatible::OpenAiCompatible;
pub use operation::{Format, Operation};
pub use prices::{PriceBook, PriceFacts};
pub use sanitise::sanitise;
pub use upstream::{CompileError, ConnectionSpec, NodeSpec, Timeouts, Upstream};
