//! Upstreams: what is known about providers ([`catalog`], [`prices`]), how each kind is spoken to ([`adapter`]), and what a
//! connection looks like once it is ready to be used ([`upstream`]).
//!
//! Nothing here does I/O. A connection record becomes an [`Upstream`] once, when the configuration changes; a request only
//! reads it. A failed answer goes through [`Adapter::classify`] into a [`Failure`], which says what to do next.
//!
//! The rooms, from the top; imports go down:
//!
//! ```text
//! ping                                            a question that tests a connection
//! upstream                                        a connection, ready to be used
//! endpoint, adapters                              where its requests go, and who writes them
//! anthropic, bedrock, cohere, gemini, ollama      adapters
//! openai_compatible                               the one that others borrow from
//! adapter, connection, chat_api                   what an adapter is; a connection as it is stored
//! profile                                         what a model takes
//! catalog, prices, failure, operation             facts and words
//! aws, sanitise
//! ```

mod adapter;
mod adapters;
mod anthropic;
mod aws;
mod bedrock;
pub mod catalog;
mod chat_api;
mod cohere;
mod connection;
mod endpoint;
mod failure;
mod gemini;
mod oauth;
mod ollama;
mod openai_compatible;
mod operation;
mod ping;
pub mod prices;
mod profile;
mod sanitise;
mod upstream;

pub use adapter::{Adapter, ModelPage, NextPage, OfferedModel, ParseModelsError};
pub use adapters::adapter_of;
pub use anthropic::Anthropic;
pub use aws::{IncompleteKeys, SignError, Signer};
pub use bedrock::Bedrock;
pub use catalog::{Auth, Catalog, ChatApis, ModelFacts, Provider};
pub use chat_api::ChatWish;
pub use cohere::Cohere;
pub use connection::{CompileError, ConnectionSpec, NodeSpec, Timeouts};
pub use failure::{Failure, FailureClass};
pub use gemini::Gemini;
pub use oauth::OAuthFacts;
pub use ollama::Ollama;
pub use openai_compatible::OpenAiCompatible;
pub use operation::{Operation, OperationFormat};
pub use ping::{PingError, ping};
pub use prices::{PriceBook, PriceFacts};
pub use profile::{profile, thinks};
pub use sanitise::sanitise;
pub use upstream::Upstream;
