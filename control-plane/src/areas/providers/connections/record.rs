//! A connection as it is stored. A *record* is a row as it is, a *draft* is what a new row needs, a *patch* changes the
//! fields that are `Some` and leaves the others. None shows its secrets in a log: headers and provider data often carry
//! credentials.

use std::{collections::BTreeMap, fmt};

use omniroute_core::{
    id::{ConnectionId, ProviderId},
    settings::Secret,
    time::UnixMillis,
};

use crate::store::records::{Object, TimeoutsRecord};

/// A credential at a provider, without the secret itself (see `Connections::secret`).
#[derive(Clone, PartialEq)]
pub struct ConnectionRecord {
    pub id: ConnectionId,
    /// Id of a node or of a provider of the catalog.
    pub provider: ProviderId,
    pub name: String,
    /// `apikey`, `oauth` or `none`.
    pub auth_type: String,
    /// Lower goes first.
    pub priority: i32,
    pub is_active: bool,
    pub has_secret: bool,
    /// Overrides the base URL of any provider (`providerSpecificData.baseUrl`).
    pub base_url: Option<String>,
    /// Extra headers sent upstream. Sealed at rest, for they often carry credentials: mask them in answers.
    pub headers: BTreeMap<String, String>,
    /// The rest of `providerSpecificData`, as the client sent it. Sealed at rest.
    pub provider_data: Object,
    /// Fields that REST keeps for its clients and no proxy reads: `email`, `displayName`, `group`, `defaultModel`…
    pub extras: Object,
    pub timeouts: TimeoutsRecord,
    /// Requests in flight at once; `None` means no limit.
    pub max_concurrent: Option<u32>,
    /// Proxies hold the connection as inactive until these are entered anew.
    pub unopened: Unopened,
    /// Result of the last test; not part of the configuration.
    pub test: TestRecord,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
    pub revision: u64,
}

/// Which sealed values of a connection do not open: altered, moved, or their master key is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unopened {
    pub secret: bool,
    pub headers: bool,
    pub provider_data: bool,
}

/// What the last test of a connection said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestRecord {
    /// `active`, `error`, `unknown`…; empty when it was never tested.
    pub status: String,
    pub tested_at: Option<UnixMillis>,
    pub latency_ms: Option<u64>,
    pub error: Option<String>,
    pub error_code: Option<String>,
}

#[derive(Clone)]
pub struct ConnectionDraft {
    /// `None`: a new UUID.
    pub id: Option<ConnectionId>,
    pub provider: ProviderId,
    pub name: String,
    pub auth_type: String,
    /// `None`: after the last of this provider.
    pub priority: Option<i32>,
    pub is_active: bool,
    /// Empty when there is none.
    pub secret: Secret,
    pub base_url: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub provider_data: Object,
    pub extras: Object,
    pub timeouts: TimeoutsRecord,
    pub max_concurrent: Option<u32>,
}

#[derive(Clone, Default)]
pub struct ConnectionPatch {
    /// Refuse with `Conflict` when the row is at another revision.
    pub expected_revision: Option<u64>,
    pub name: Option<String>,
    pub auth_type: Option<String>,
    pub priority: Option<i32>,
    pub is_active: Option<bool>,
    /// An empty secret removes it.
    pub secret: Option<Secret>,
    pub base_url: Option<Option<String>>,
    pub headers: Option<BTreeMap<String, String>>,
    pub provider_data: Option<Object>,
    pub extras: Option<Object>,
    pub timeouts: Option<TimeoutsRecord>,
    pub max_concurrent: Option<Option<u32>>,
}

impl ConnectionDraft {
    pub fn new(provider: impl Into<ProviderId>, name: impl Into<String>, secret: Secret) -> Self {
        Self {
            id: None,
            provider: provider.into(),
            name: name.into(),
            auth_type: if secret.is_set() { "apikey" } else { "none" }.to_owned(),
            priority: None,
            is_active: true,
            secret,
            base_url: None,
            headers: BTreeMap::new(),
            provider_data: Object::new(),
            extras: Object::new(),
            timeouts: TimeoutsRecord::default(),
            max_concurrent: None,
        }
    }
}

impl Unopened {
    pub fn is_any(self) -> bool {
        self != Self::default()
    }

    /// As REST calls them.
    pub fn fields(self) -> Vec<&'static str> {
        let Self { secret, headers, provider_data } = self;
        let named = [
            (secret, "apiKey"),
            (headers, "providerSpecificData.customHeaders"),
            (provider_data, "providerSpecificData"),
        ];
        named.into_iter().filter(|(is_unopened, _)| *is_unopened).map(|(_, field)| field).collect()
    }

    /// What is wrong and what to do; `None` when nothing is.
    pub fn complaint(self) -> Option<String> {
        let fields = self.fields().join(", ");
        self.is_any().then(|| {
            format!(
                "what is stored of {fields} does not open with the master keys at hand, so no proxy uses this connection: \
                 enter each of these anew, or add the missing key to STORAGE_ENCRYPTION_KEY"
            )
        })
    }
}

impl fmt::Debug for ConnectionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionRecord")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .field("name", &self.name)
            .field("auth_type", &self.auth_type)
            .field("priority", &self.priority)
            .field("is_active", &self.is_active)
            .field("has_secret", &self.has_secret)
            .field("unopened", &self.unopened)
            .field("test", &self.test)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectionDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionDraft")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .field("name", &self.name)
            .field("auth_type", &self.auth_type)
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectionPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPatch")
            .field("expected_revision", &self.expected_revision)
            .field("name", &self.name)
            .field("priority", &self.priority)
            .field("is_active", &self.is_active)
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use omniroute_core::settings::Secret;

    use super::*;

    #[test]
    fn no_secret_shows_in_a_log() {
        let mut draft = ConnectionDraft::new("openai", "main", Secret::new("planted-secret"));
        draft.headers.insert("authorization".into(), "planted-header".into());
        draft.provider_data.insert("token".into(), "planted-data".into());
        let patch = ConnectionPatch {
            secret: Some(Secret::new("planted-secret")),
            headers: Some(draft.headers.clone()),
            provider_data: Some(draft.provider_data.clone()),
            ..ConnectionPatch::default()
        };
        for shown in [format!("{draft:?}"), format!("{patch:?}")] {
            assert!(!shown.contains("planted"), "{shown}");
        }
    }
}
