//! What every request obeys.

use std::sync::Arc;

use omniroute_core::{address::AddressPolicy, hash::Pepper};
use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};

use super::{ConfigKind, SnapshotBuilder, mismatched, timeouts};
use crate::snapshot::entries;

/// The one resource of this kind.
#[derive(Debug)]
pub(super) struct GatewaySettings;

// === impl GatewaySettings ===

impl ConfigKind for GatewaySettings {
    fn kind(&self) -> Kind {
        Kind::Settings
    }

    fn take(&mut self, _: &str, body: Body, builder: &mut SnapshotBuilder) -> Result<(), String> {
        let Body::Settings(message) = body else { return Err(mismatched()) };
        let settings = entry(message)?;
        if settings.address_policy != builder.snapshot.settings.address_policy {
            // Which addresses are allowed decides which connections are.
            builder.stale_connections.extend(builder.of_provider.values().flatten().cloned());
        }
        builder.snapshot.settings = Arc::new(settings);
        Ok(())
    }

    /// The settings cannot be deleted; what was in force stays.
    fn remove(&mut self, _: &str, _: &mut SnapshotBuilder) {}
}

fn entry(message: v1::GatewaySettings) -> Result<entries::Settings, String> {
    if message.key_pepper.is_empty() {
        return Err("the pepper of the API-key hash is empty".to_owned());
    }
    let default = entries::Settings::default();
    Ok(entries::Settings {
        pepper: Pepper::new(message.key_pepper),
        max_body_bytes: if message.max_body_bytes == 0 { default.max_body_bytes } else { message.max_body_bytes },
        address_policy: AddressPolicy::from_allow_private(message.allow_private_upstreams),
        timeouts: timeouts(message.timeouts.as_ref()),
        max_attempts: if message.max_attempts == 0 { default.max_attempts } else { message.max_attempts },
    })
}
