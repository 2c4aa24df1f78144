//! Upstreams: what is known about providers ([`catalog`]) and their models ([`models`]), how each kind is spoken to ([`adapter`]), and what a
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
//! connection_urls, adapters                       where its requests go, and who writes them
//! place                                           where a cloud is
//! credential                                      what its secret is
//! vertex                                          an adapter that tells errors apart as another does
//! anthropic, bedrock, cohere, gemini, ollama, azure, watsonx, serving  adapters
//! own_api                                         of providers that no format fits
//! openai_compatible                               the one that others borrow from
//! adapter, connection, chat_api                   what an adapter is; a connection as it is stored
//! profile                                         what a model takes
//! known_models                                    what a provider has before it is asked
//! catalog, models, oauth, failure, operation      facts and words
//! grant                                           credentials that are exchanged for tokens
//! aws, sanitise, envelope
//! secret_fields                                   secrets of several parts
//! ```

mod adapter;
mod adapters;
mod anthropic;
mod aws;
mod azure;
mod bedrock;
pub mod catalog;
mod chat_api;
mod cohere;
mod connection;
mod connection_urls;
mod credential;
mod envelope;
mod failure;
mod gemini;
mod grant;
mod known_models;
pub mod models;
mod oauth;
mod ollama;
mod openai_compatible;
mod operation;
mod own_api;
mod ping;
mod place;
mod profile;
mod sanitise;
mod secret_fields;
mod serving;
mod upstream;
mod vertex;
mod watsonx;

pub use adapter::{Account, Adapter, ModelPage, NextPage, OfferedModel, ParseModelsError};
pub use adapters::adapter_of;
pub use anthropic::Anthropic;
pub use aws::{IncompleteKeys, SignError, Signer};
pub use azure::{AzureDeployments, AzureFoundry};
pub use bedrock::Bedrock;
pub use catalog::{Auth, Catalog, Category, ChatApis, Group, ModelFacts, Provider, Quirks, Service};
pub use chat_api::ChatApiSelector;
pub use cohere::Cohere;
pub use connection::{CloudSpec, CompileError, ConnectionSpec, NodeSpec, Timeouts};
pub use credential::google_exchange;
pub use envelope::Envelope;
pub use failure::{Failure, FailureClass};
pub use gemini::Gemini;
pub use grant::{
    Ambient, AssumedRole, ClientCredentials, ClientProof, Exchange, Grant, GrantError, IamKey, Minted, RefreshToken,
    Role, ServiceAccount, Source, Token, WebIdentity,
};
pub use models::{KnownModel, ModelTable};
pub use oauth::OAuthFacts;
pub use ollama::Ollama;
pub use openai_compatible::OpenAiCompatible;
pub use operation::{Operation, OperationFormat};
pub use own_api::OwnApi;
pub use ping::{PingError, ping};
pub use profile::{profile, thinks};
pub use sanitise::sanitise;
pub use serving::{Cloudflare, Databricks};
pub use upstream::Upstream;
pub use vertex::Vertex;
pub use watsonx::Watsonx;
