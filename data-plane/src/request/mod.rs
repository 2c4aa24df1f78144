//! A client's request, as every stage sees it.
//!
//! [`Arrival`] is what is known of it from its first moment, [`Caller`] who sent it, [`SessionId`] what it belongs to, and a
//! [`Plan`] where it may go. [`BodyMemory`] is the budget that its body is paid out of, [`Segmented`] the body that goes to an
//! upstream, [`TimeLimits`] the limits that hold on the way.

mod arrival;
mod caller;
mod id;
pub(crate) mod memory;
mod plan;
mod segmented;
mod session;
mod strict;
mod time_limits;

pub(crate) use self::{
    arrival::Arrival,
    caller::Caller,
    id::{RequestId, X_REQUEST_ID},
    memory::BodyMemory,
    plan::{Plan, Providers, Reason, Target},
    segmented::{Segmented, Upload},
    session::{SessionId, X_OMNIROUTE_SESSION_ID},
    strict::{is_strict, is_true, would_be_lost},
    time_limits::{TimeLimits, requested_timeout},
};
