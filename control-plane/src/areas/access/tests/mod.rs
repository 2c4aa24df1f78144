//! Logins and API keys through the whole router.

mod keys;
mod login;
mod references;
mod scopes;
