//! The intermediate representation: one request, one response and one event type that every format is read into and
//! written from. Nothing here is named after a vendor.
//!
//! A request passes `decode (client format) → Request → encode (upstream format)`, its answer the way back through
//! [`Response`] or, streamed, through [`Event`]s. Text borrows from the body it was read from wherever that is
//! possible. What one format has and the IR lacks stays in [`Extensions`] and is written back only to the same
//! family; every other loss is reported through [`Losses`].

mod collect;
mod content;
mod effort;
mod event;
mod format;
mod json;
mod loss_names;
mod losses;
mod media_urls;
mod profile;
mod replay;
mod request;
mod response;
mod validate;

pub use collect::Collector;
pub use content::{
    Annotation, CacheMark, CallKind, Extensions, Part, Role, Signature, Source, SystemPart, SystemRole, Turn,
};
pub use effort::Effort;
pub use event::{Event, PartKind, StreamError};
pub use format::{Family, Format};
pub use json::Json;
pub use losses::{Losses, MAX_LISTED};
pub use media_urls::{MediaKind, UrlSource, fetches_media, replace_url, url_sources};
pub use profile::{EffortScale, Profile, ThinkingStyle, ThoughtDemand, ToolIds};
pub use replay::replay;
pub use request::{Modality, OutputFormat, Reasoning, Request, Sampling, Tool, ToolChoice, ToolKind, VendorTool};
pub use response::{Choice, FinishReason, Response};
pub use validate::{OrderError, Validator};
