//! The subjects of the API, a folder each: routes, shapes, rules, rows, kinds of configuration, tests.
//!
//! A request comes to an area's `routes` (parse, answer), which call its `rules` (decide), which read and write its `rows`;
//! `shapes` are what REST takes and gives, `kind` is what proxies are sent. An area is a struct of the handles that it
//! needs and a router; it knows no other area. What it wants of one it states as a trait, which [`crate::run`] implements
//! with the other.

pub mod access;
pub mod egress;
pub mod oauth;
pub mod operations;
pub mod providers;
pub mod settings;
pub mod usage;
