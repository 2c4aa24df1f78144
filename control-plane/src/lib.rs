//! The control plane: owns configuration, secrets and the ledger, and tells proxies what is in force.
//!
//! A change made through REST passes [`auth`] (who is it), [`api`] (is it well-formed), [`service`] (may it be),
//! [`store`] (one transaction, one revision) and [`publish`] (every proxy hears of it). Usage comes back the other way:
//! proxies report to [`ledger`], and [`api`] shows what it holds. [`jobs`] do what nobody asks for. [`run`] starts and
//! stops all of it.

pub mod api;
pub mod auth;
pub mod jobs;
pub mod ledger;
pub mod publish;
pub mod run;
pub mod service;
pub mod store;
