//! The control plane: owns configuration, secrets and the ledger, and tells proxies what is in force.
//!
//! A change made through REST passes [`http`] (is it well-formed) and [`auth`] (who is it, may they), then one of the
//! [`areas`] decides and writes it through [`store`] (one transaction, one revision), and [`publish`] tells every proxy.
//! Usage comes back the other way: proxies report to [`ledger`], and an area shows what it holds. [`jobs`] do what nobody
//! asks for. [`run`] starts and stops all of it.
//!
//! The rooms, from top to bottom; imports go down, and a test reads them:
//!
//! ```text
//! run      opens the foundations, builds the areas, joins their routers; starts and stops
//! areas/*  one subject of the API each: routes, shapes, rules, rows, kinds of configuration
//! publish  the streams to proxies: configuration down, their state and their usage up
//! ledger   what every request used and cost
//! jobs     work that one replica does for all
//! auth     who may, and what
//! http     what every route of REST is made with
//! store    the database
//! ```

pub mod areas;
pub mod auth;
pub mod http;
pub mod jobs;
pub mod ledger;
pub mod publish;
pub mod run;
pub mod store;

#[cfg(test)]
mod tests;
