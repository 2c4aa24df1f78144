//! Who may manage the gateway.
//!
//! A request passes [`mod@guard`] before any handler sees it: [`mod@access`] says what its route demands, [`mod@authenticate`]
//! finds out who asks (session cookie, API key with a management scope, or the CLI's short-lived token; with login
//! turned off, also whoever sits at this machine), [`origin`] keeps other websites from using a browser's session,
//! and the [`Principal`] goes on with the request. [`password`] and [`token`] are the two kinds of proof.

mod access;
mod authenticate;
mod caller;
mod guard;
pub mod origin;
pub mod password;
mod principal;
pub mod token;

pub use self::{
    access::{Access, access},
    authenticate::authenticate,
    caller::Caller,
    guard::guard,
    principal::Principal,
};

pub(crate) use self::authenticate::session_cookie;

/// Name of the session cookie.
pub const SESSION_COOKIE: &str = "auth_token";

/// An API key needs one of these scopes to manage the gateway.
pub const MANAGEMENT_SCOPES: [&str; 2] = ["manage", "admin"];
