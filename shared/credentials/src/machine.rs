//! The machine's own identity: what a cloud gives to what runs in it, so that nobody has to enter a secret.

use std::fmt;

use omniroute_core::time::UnixMillis;
use omniroute_providers::{Ambient, GrantError, Minted};

use crate::{Place, Web, aws, azure, google};

/// Where a machine's identity is found.
#[derive(Clone)]
pub struct Machine(Place);

// === impl Machine ===

impl Machine {
    pub const fn new(place: Place) -> Self {
        Self(place)
    }

    pub(crate) async fn mint(&self, ambient: &Ambient, web: &dyn Web, now: UnixMillis) -> Result<Minted, GrantError> {
        match ambient {
            Ambient::Aws { region, profile, role } => {
                aws::mint(&self.0, web, region, profile, role.as_ref(), now).await
            }
            Ambient::Google => google::mint(&self.0, web, now).await,
            Ambient::Azure { scope } => azure::mint(&self.0, web, scope, now).await,
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Machine")
    }
}
