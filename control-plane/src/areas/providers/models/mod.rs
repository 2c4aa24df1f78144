//! Models that providers offer.

mod kind;
pub mod rows;
mod rules;

pub(super) use self::rules::FROM_API;
pub use self::{
    kind::ModelKind,
    rows::{ModelDraft, ModelRecord},
    rules::{Listing, ListingSource},
};
