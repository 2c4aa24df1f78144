//! The limits of this process.

use std::time::Duration;

use omniroute_core::settings::DataPlaneSettings;

use crate::request::TimeLimits;

/// A client that takes nothing is given this many times the limit for one that sends nothing: it may be busy with what
/// it got.
const UNREAD_FACTOR: u32 = 4;

/// What connections and requests obey, as far as no fleet, connection or client says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) times: TimeLimits,
    /// Pictures take longer than texts to begin.
    pub(crate) image_first_byte: Duration,
    pub(crate) keepalive: Duration,
    /// How long the client of a stream waits before it gets a sign of life; zero means never.
    pub(crate) first_sign: Duration,
    pub(crate) client_timeout: Duration,
    /// Client connections at once.
    pub(crate) max_connections: usize,
}

// === impl Limits ===

impl Limits {
    /// How long a client may leave what it was sent where it is.
    pub(crate) const fn unread(&self) -> Duration {
        self.client_timeout.saturating_mul(UNREAD_FACTOR)
    }

    pub(super) fn new(settings: &DataPlaneSettings) -> Self {
        Self {
            times: TimeLimits {
                connect: settings.connect_timeout.0,
                first_byte: settings.first_byte_timeout.0,
                thinking: settings.thinking_first_byte_timeout.0,
                idle: settings.idle_timeout.0,
                total: settings.total_timeout.0,
            },
            image_first_byte: settings.image_first_byte_timeout.0,
            keepalive: settings.keepalive_interval.0,
            first_sign: settings.first_sign.0,
            client_timeout: settings.client_timeout.0,
            max_connections: settings.max_connections as usize,
        }
    }
}
