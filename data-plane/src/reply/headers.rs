//! Headers of our own that an answer may have.

use http::HeaderName;

pub(crate) const X_OMNIROUTE_PROVIDER: HeaderName = HeaderName::from_static("x-omniroute-provider");
pub(crate) const X_OMNIROUTE_MODEL: HeaderName = HeaderName::from_static("x-omniroute-model");
/// Asks for events of progress, and says that they are on.
pub(crate) const X_OMNIROUTE_PROGRESS: HeaderName = HeaderName::from_static("x-omniroute-progress");
/// Names of what of a request its upstream was not told.
pub(crate) const X_OMNIROUTE_DROPPED: HeaderName = HeaderName::from_static("x-omniroute-dropped");
