//! How records that hold secrets show themselves in a log: without them. Headers and provider data often carry
//! credentials, the log's states always may.

use std::fmt;

use super::records::{AdminRecord, ConfigLogRow, ConnectionDraft, ConnectionPatch, ConnectionRecord};

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
            .field("unreadable", &self.unreadable)
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

impl fmt::Debug for ConfigLogRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigLogRow")
            .field("revision", &self.revision)
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("op", &self.op)
            .field("actor", &self.actor)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AdminRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminRecord")
            .field("session_epoch", &self.session_epoch)
            .field("updated_at", &self.updated_at)
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
