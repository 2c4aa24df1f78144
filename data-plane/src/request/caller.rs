//! Who a request is from.

use std::sync::Arc;

use omniroute_core::id::ApiKeyId;

use crate::snapshot::ApiKey;

/// Who a request is from.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Key(Arc<ApiKey>),
    /// Somebody on this machine, where no key is required.
    Local,
}

// === impl Caller ===

impl Caller {
    /// Whose the values are that are kept from one request to the next: the API key's, or those of whoever may come without
    /// one.
    pub(crate) fn scope(&self) -> &str {
        self.key_id().map_or("", |id| id.as_str())
    }

    pub(crate) fn key_id(&self) -> Option<&ApiKeyId> {
        match self {
            Self::Key(key) => Some(&key.id),
            Self::Local => None,
        }
    }

    pub(crate) fn allows_model(&self, model: &str) -> bool {
        match self {
            Self::Key(key) => key.allows_model(model),
            Self::Local => true,
        }
    }

    pub(crate) fn allows_connection(&self, connection: &str) -> bool {
        match self {
            Self::Key(key) => key.allows_connection(connection),
            Self::Local => true,
        }
    }

    /// The largest body that this caller may send, where the gateway's limit is `limit`.
    pub(crate) fn max_body_bytes(&self, limit: u64) -> u64 {
        match self {
            Self::Key(key) => key.max_body_bytes.unwrap_or(limit),
            Self::Local => limit,
        }
    }
}
