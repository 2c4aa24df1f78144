//! Who may manage the gateway, and what of it.
//!
//! A request passes the [`Guard`] before any handler sees it: the [`RouteTable`] says what its route requires,
//! [`Authenticator`] finds out who asks (session cookie, API key with a management scope, or the CLI's short-lived token;
//! with login turned off, also whoever sits at this machine), [`scope`] says whether that covers the route, [`origin`]
//! keeps other websites from using a browser's session, and the [`Principal`] and the [`ClientOrigin`] go on with the request.
//! [`password`] and [`token`] are the two kinds of proof; who keeps sessions and keys implements [`Identities`].

mod authenticate;
mod client_origin;
mod error;
mod guard;
pub mod origin;
pub mod password;
mod principal;
mod route_table;
pub mod scope;
pub mod token;

pub use self::{
    authenticate::{Authenticator, Identities, KeyIdentity, session_cookie},
    client_origin::{ClientOrigin, ClientOriginRules},
    error::AuthError,
    guard::Guard,
    principal::Principal,
    route_table::{OpenRoute, Requirement, RouteTable},
    scope::Scopes,
};
