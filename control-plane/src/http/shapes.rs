//! Shapes that several areas take or give.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Fields, FromFields};
use crate::store::records::TimeoutsRecord;

const MAX_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1000;

/// That it was done.
#[derive(Serialize, ToSchema)]
pub struct Success {
    success: bool,
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub struct Message {
    message: &'static str,
}

/// In milliseconds; 0 means the proxy's own setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub struct UpstreamTimeouts {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = 0)]
    pub connect_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = 0)]
    pub first_byte_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = 0)]
    pub idle_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = 0)]
    pub total_ms: Option<u64>,
}

// === impl Success ===

impl Success {
    pub const fn yes() -> Json<Self> {
        Json(Self { success: true })
    }
}

// === impl Message ===

impl Message {
    pub const fn new(message: &'static str) -> Self {
        Self { message }
    }
}

// === impl UpstreamTimeouts ===

impl UpstreamTimeouts {
    /// All of them.
    pub fn of(record: &TimeoutsRecord) -> Self {
        let TimeoutsRecord { connect_ms, first_byte_ms, idle_ms, total_ms } = *record;
        Self {
            connect_ms: Some(connect_ms),
            first_byte_ms: Some(first_byte_ms),
            idle_ms: Some(idle_ms),
            total_ms: Some(total_ms),
        }
    }

    /// What is named, over what `held` says.
    pub fn over(self, held: TimeoutsRecord) -> TimeoutsRecord {
        TimeoutsRecord {
            connect_ms: self.connect_ms.unwrap_or(held.connect_ms),
            first_byte_ms: self.first_byte_ms.unwrap_or(held.first_byte_ms),
            idle_ms: self.idle_ms.unwrap_or(held.idle_ms),
            total_ms: self.total_ms.unwrap_or(held.total_ms),
        }
    }

    /// With the default of everything that it does not say.
    pub fn or_zero(self) -> Self {
        Self::of(&self.over(TimeoutsRecord::default()))
    }
}

impl FromFields for UpstreamTimeouts {
    fn read(fields: &mut Fields) -> Self {
        Self {
            connect_ms: fields.whole("connectMs", 0..=MAX_TIMEOUT_MS),
            first_byte_ms: fields.whole("firstByteMs", 0..=MAX_TIMEOUT_MS),
            idle_ms: fields.whole("idleMs", 0..=MAX_TIMEOUT_MS),
            total_ms: fields.whole("totalMs", 0..=MAX_TIMEOUT_MS),
        }
    }
}
