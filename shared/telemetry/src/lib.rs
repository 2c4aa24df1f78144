//! What a process says about itself: structured logs, traces and metrics.
//!
//! A `main` calls [`init`] once and keeps the [`Guard`]: logs go to stdout as text or JSON, and, where an OTLP
//! endpoint is set, sampled [request spans](span) go there with the attribute names of the GenAI conventions
//! ([`genai`]). It calls [`prometheus`] once for the [`MetricsReport`] that `/metrics` renders; every metric of the
//! product is named and described in [`names`]. Nothing here is allowed to cost a request that is not sampled more
//! than a load and a comparison.

pub mod genai;
pub mod names;
pub mod redact;
pub mod span;

mod export;
mod histogram;
mod logs;
mod process;
mod report;

pub use self::{
    export::{Guard, Options, TelemetryError, init},
    process::resident_memory,
    report::{MetricsReport, prometheus},
    span::{RequestSpan, request_span},
};
