//! A proxy of the fleet: it serves `/v1` out of the snapshot that the control plane keeps it supplied with.
//!
//! The rooms, from top to bottom. A room imports from those below it, never from one above or beside it.
//!
//! ```text
//! process             what is started, in which order, and how it ends
//! server              sockets, HTTP, routes, and the pipeline that takes a request through the stages
//! admit, resolve, idempotency, response_store, dispatch, respond, count, models, control_plane_proxy  the stages, which do not know each other
//! answer              an upstream's answer, from its first bytes to its last
//! translate           from one format to another
//! media, signatures, accounting, credentials  what a target cannot fetch, what clients drop, what a request cost, tokens of clouds
//! tokens, health, renewal, shared_store, reply  lengths of prompts, health of connections, their new tokens, values that are kept, bodies of answers
//! request, seal       a client's request as the stages see it, what only the fleet can read
//! snapshot, usage_journal, lifecycle  the configuration in force, the journal of usage, whether work is taken
//! control, upstream_client, metrics  ways to the control plane and to providers, and the numbers
//! ```
//!
//! `server/pipeline.rs` shows a request's way through the stages on one page.

mod accounting;
mod admit;
mod answer;
pub mod control;
pub mod control_plane_proxy;
mod count;
mod credentials;
mod dispatch;
mod health;
mod idempotency;
mod lifecycle;
mod media;
mod metrics;
mod models;
pub mod process;
mod renewal;
mod reply;
mod request;
mod resolve;
mod respond;
mod response_store;
mod seal;
pub mod server;
mod shared_store;
mod signatures;
pub mod snapshot;
mod tokens;
mod translate;
pub mod upstream_client;
pub mod usage_journal;
