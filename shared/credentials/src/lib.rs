//! Tokens for connections whose credential is exchanged (see `omniroute_providers::Grant`): minted when they are first needed,
//! renewed before they end, kept in memory and nowhere else.
//!
//! Each process mints for itself. What is exchanged is long-lived and can be exchanged any number of times, so nothing has to be
//! agreed upon; a proxy whose control plane is away goes on for as long as the credential is good; and no token is ever stored,
//! sent to another process or part of the configuration's history. (A refresh token that changes with every use is another
//! matter: it has one owner, the control plane.)
//!
//! HTTP is handed in, so that these calls go by the same addresses, roots and outbound proxies as all others. The one exception
//! is a cloud's own metadata service, whose address no user can name: [`Metadata`] knows it.
//!
//! The rooms, from the top; imports go down:
//!
//! ```text
//! keeper                    who has which token
//! machine                   the machine's own identity
//! aws, azure, google        where each cloud's programs look for it
//! place                     environment, files and network of the machine
//! profile_file              AWS's files
//! web                       what HTTP is handed in as
//! ```

mod aws;
mod azure;
mod google;
mod keeper;
mod machine;
mod place;
mod profile_file;
mod web;

#[cfg(test)]
mod tests;

pub use keeper::Keeper;
pub use machine::Machine;
pub use place::{Metadata, Place};
pub use web::{Web, WebError};
