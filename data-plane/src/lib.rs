//! A proxy of the fleet: it serves `/v1` out of the snapshot that the control plane keeps it supplied with.
//!
//! A request passes through [`server`] (accept, HTTP) → `admit` (API key, body) → `resolve` (model → connections) →
//! `dispatch` (pick, send, fall back) → [`respond`] (head, body, usage) and leaves one event in [`record`]. What it
//! reads on the way is one version of the configuration, which [`snapshot`] swaps in whole; [`upstream_client`] is the
//! way to providers. `server/life.rs` shows all of it on one page.
//!
//! Whatever is no model call goes through the router of [`server`]: lists of models, health, metrics, and [`forward`],
//! which hands the control plane's paths on. [`control`] tells the control plane how this proxy is and takes its
//! commands. [`process`] puts everything together.

mod admit;
pub mod control;
mod count;
mod dispatch;
pub mod forward;
mod media;
mod metrics;
mod models;
pub mod process;
pub mod record;
mod resolve;
pub mod respond;
pub mod server;
pub mod snapshot;
mod state;
mod translate;
pub mod upstream_client;
