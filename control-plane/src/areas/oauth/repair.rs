//! Mends what is wrong with the registrations that come from the environment: variables under a wrong name, quotes around a
//! value, a stored copy that is stale or does not open. A process cannot change its environment: what it should say is
//! stored, sealed, and counts for every replica that is not told better. What was there before is kept in a backup, as
//! sealed as it was.

use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use omniroute_providers::OAuthFacts;
use serde_json::{Value, json};

use super::{
    OAuth,
    clients::ClientRow,
    tokens::Tokens,
    variables::{Found, Part, usual_name},
};
use crate::{http::ApiError, store::records::Actor};

const PARTS: [Part; 2] = [Part::ClientId, Part::ClientSecret];

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Repaired {
    /// Usual names of what was mended.
    pub(super) repaired: Vec<String>,
    /// Usual names of what is lacking and cannot be mended.
    pub(super) missing: Vec<String>,
    pub(super) backup: Option<PathBuf>,
}

/// What is found out about one provider.
struct Examined {
    provider: String,
    row: Option<ClientRow>,
    id: Option<Found>,
    secret: Option<Found>,
}

// === impl Examined ===

impl Examined {
    /// Whether the operator's own settings count, so that the environment does not.
    fn is_set_by_rest(&self) -> bool {
        self.row.as_ref().is_some_and(|row| !row.is_copy && row.secret.is_ok())
    }

    fn is_usable(&self) -> bool {
        self.id.is_some() || self.row.as_ref().is_some_and(|row| row.secret.is_ok())
    }

    /// Usual names of what has to be mended.
    fn faults(&self) -> Vec<String> {
        if self.is_set_by_rest() {
            return Vec::new();
        }
        let Some(id) = &self.id else { return Vec::new() };
        // What is stored counts for a part that the environment says under a wrong name.
        let is_stored = |part: Part| match (part, &self.row) {
            (_, None) => false,
            (Part::ClientId, Some(row)) => row.client_id == id.value.expose(),
            (_, Some(row)) => {
                let secret = self.secret.as_ref().map(|found| found.value.clone()).unwrap_or_default();
                row.secret.as_ref().is_ok_and(|stored| *stored == secret)
            }
        };
        let found = |part: Part| if part == Part::ClientId { self.id.as_ref() } else { self.secret.as_ref() };
        let has_fault = |part: Part| found(part).is_some_and(|found| found.fault.is_some());
        let is_wrong = |part: &Part| (has_fault(*part) || self.row.is_some()) && !is_stored(*part);
        PARTS.into_iter().filter(is_wrong).map(|part| usual_name(&self.provider, part)).collect()
    }
}

// === impl OAuth ===

impl OAuth {
    /// What a repair would do, and what is lacking: of one provider, or of all that somebody has signed in at or begun to
    /// configure.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn examine(&self) -> Result<(Vec<String>, Vec<String>), ApiError> {
        let (mut faults, mut missing) = (Vec::new(), Vec::new());
        for provider in self.concerned().await? {
            let examined = self.look_at(provider).await?;
            faults.extend(examined.faults());
            missing.extend(lacking(&examined));
        }
        Ok((faults, missing))
    }

    /// Mends one provider's registration, or those of all.
    ///
    /// # Errors
    /// When the database fails, or the backup cannot be written; nothing has changed then.
    pub(super) async fn mend(&self, actor: &Actor, provider: Option<String>) -> Result<Repaired, ApiError> {
        let providers = match provider {
            Some(one) => vec![one],
            None => self.concerned().await?,
        };
        let mut done = Repaired::default();
        let mut wrong = Vec::new();
        for provider in providers {
            let examined = self.look_at(provider).await?;
            done.missing.extend(lacking(&examined));
            let faults = examined.faults();
            if !faults.is_empty() {
                done.repaired.extend(faults);
                wrong.push(examined);
            }
        }
        if wrong.is_empty() {
            return Ok(done);
        }
        done.backup = Some(self.back_up(&wrong).await?);
        for examined in wrong {
            let Some(id) = examined.id else { continue };
            let secret = examined.secret.map(|found| found.value).unwrap_or_default();
            let options = self.clients.environment_options(&examined.provider).await;
            self.clients.put(&examined.provider, true, id.value.expose(), &secret, &options).await?;
            Tokens::of(&self.store).retry(&examined.provider, self.clock.now()).await?;
            let (variable, provider) = (id.name, examined.provider);
            tracing::info!(provider, variable, actor = actor.name, "an OAuth client was repaired from the environment");
        }
        Ok(done)
    }

    /// Providers whose registration somebody needs, or has begun to make.
    async fn concerned(&self) -> Result<Vec<String>, ApiError> {
        let mut all = Tokens::of(&self.store).providers().await?;
        all.extend(self.clients.stored().await?);
        for facts in OAuthFacts::all() {
            for part in PARTS {
                if self.clients.variables().search(&facts.id, part).await.is_some() {
                    all.push(facts.id.clone());
                }
            }
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    async fn look_at(&self, provider: String) -> Result<Examined, ApiError> {
        let variables = self.clients.variables();
        Ok(Examined {
            row: self.clients.row(&provider).await?,
            id: variables.search(&provider, Part::ClientId).await,
            secret: variables.search(&provider, Part::ClientSecret).await,
            provider,
        })
    }

    /// Writes what is stored now into a file that only this user reads.
    async fn back_up(&self, changed: &[Examined]) -> Result<PathBuf, ApiError> {
        let rows: Vec<Value> =
            changed.iter().map(|examined| backed_up(&examined.provider, examined.row.as_ref())).collect();
        let text =
            serde_json::to_vec_pretty(&json!({ "oauthClients": rows })).map_err(|error| ApiError::internal(&error))?;
        let folder = self.data_dir.join("backups");
        let at = self.clock.now().to_rfc3339().replace([':', '.'], "-");
        let unique: u32 = rand::random();
        let file = folder.join(format!("env-repair-{at}-{unique:08x}.bak"));
        let path = file.clone();
        let written = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&folder)?;
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
            file.write_all(&text)?;
            file.sync_all()
        });
        match written.await {
            Ok(Ok(())) => Ok(path),
            Ok(Err(error)) => Err(ApiError::internal(&format_args!("{}: {error}", path.display()))),
            Err(error) => Err(ApiError::internal(&error)),
        }
    }
}

/// Usual names of what a provider lacks. Public clients have no secret, so its absence is no fault.
fn lacking(examined: &Examined) -> Vec<String> {
    if examined.is_usable() { Vec::new() } else { vec![usual_name(&examined.provider, Part::ClientId)] }
}

fn backed_up(provider: &str, row: Option<&ClientRow>) -> Value {
    let Some(row) = row else { return json!({ "provider": provider, "stored": null }) };
    json!({
        "provider": provider,
        "stored": {
            "source": if row.is_copy { "environment" } else { "settings" },
            "clientId": row.client_id,
            "sealedClientSecret": row.sealed.as_ref().map(|sealed| STANDARD.encode(sealed)),
            "options": row.options,
            "updatedAt": row.updated_at.to_rfc3339(),
        },
    })
}
