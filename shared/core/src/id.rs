//! Identities. Each is a string that REST shows as it is; the types keep them from being mixed up.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        // === impl $name ===

        impl $name {
            /// A new one that nobody has.
            pub fn generate() -> Self {
                Self(Uuid::new_v4().to_string().into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

string_id!(
    /// A client's API key.
    ApiKeyId
);
string_id!(
    /// A credential at a provider.
    ConnectionId
);
string_id!(
    /// A provider of the catalog, or a node that the operator added.
    ProviderId
);
string_id!(
    /// A proxy: stable over restarts as long as its data directory is.
    ProxyId
);

/// Identity of a usage event: a UUIDv7, whose first 48 bits are the Unix time in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EventId(Uuid);

// === impl EventId ===

impl EventId {
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// `None` unless these are the bytes of a UUIDv7.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let uuid = Uuid::from_slice(bytes).ok()?;
        (uuid.get_version_num() == 7).then_some(Self(uuid))
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Unix milliseconds at which it was generated.
    pub fn unix_ms(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0.as_bytes()[..6]);
        u64::from_be_bytes(bytes)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_carries_its_time_and_survives_its_bytes() {
        let id = EventId::generate();
        assert_eq!(EventId::from_bytes(id.as_bytes()), Some(id));
        assert!(id.unix_ms() > 1_700_000_000_000);
        assert_eq!(EventId::from_bytes(Uuid::new_v4().as_bytes()), None, "only version 7 carries a time");
        assert_eq!(EventId::from_bytes(b"short"), None);
    }
}
