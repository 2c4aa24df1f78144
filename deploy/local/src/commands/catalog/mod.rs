//! `omniroute catalog update`: writes the table of models anew from the public price table, for the source tree of this
//! program. It is deterministic: the same table makes the same file, and one in which nothing changed leaves it untouched.

mod convert;
mod sources;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use omniroute_core::time::{Clock as _, SystemClock};
use omniroute_providers::models::{Header, KnownModel};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    cli::{CatalogAction, UpdateCatalog},
    client,
    context::Context,
    failure::{Exit, Failure},
};

/// The table has some megabytes.
const MAX_TABLE: usize = 64 * 1024 * 1024;

/// What a new table changes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    /// With other prices.
    repriced: Vec<String>,
    /// With other facts only.
    changed: Vec<String>,
}

pub(crate) async fn run(context: &Context, action: CatalogAction) -> Result<(), Failure> {
    let CatalogAction::Update(update) = action;
    let table = read(&update.from).await?;
    let table: Map<String, Value> = serde_json::from_slice(&table)
        .map_err(|error| Failure::failed(format!("{} is no price table: {error}", update.from)))?;
    let models = convert::models(&table);
    if models.is_empty() {
        return Err(Failure::failed(format!("{} has no model of a provider that is known", update.from)));
    }
    let file = Path::new(&update.file);
    let before = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    let (header, old) =
        parse(&before).ok_or_else(|| Failure::failed(format!("{} is no table of models", file.display())))?;
    let changes = Changes::between(&old, &models);
    let (version, lines) = write(&models)?;
    let is_same = version == header.version;
    if !is_same && !update.dry_run {
        let day = SystemClock.now().to_rfc3339();
        let header = Header {
            edition: edition(&header, &day),
            version: version.clone(),
            source: update.source.clone().unwrap_or_else(|| header.source.clone()),
            providers: providers(&models),
        };
        let header = serde_json::to_string(&header).map_err(|error| Failure::failed(error.to_string()))?;
        std::fs::write(file, format!("{header}\n{lines}")).map_err(|error| Failure::file("write", file, &error))?;
    }
    show(context, &update, &models, &changes, is_same);
    Ok(())
}

/// From a URL, or else from a file.
async fn read(from: &str) -> Result<Vec<u8>, Failure> {
    if !from.starts_with("https://") && !from.starts_with("http://") {
        let path = Path::new(from);
        return std::fs::read(path).map_err(|error| Failure::file("read", path, &error));
    }
    let failed = |error: reqwest::Error| {
        Failure::new(
            Exit::Unreachable,
            format!("{from} cannot be downloaded: {error}; download it yourself and name the file"),
        )
    };
    let mut response = client::http(false)?.get(from).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(Failure::failed(format!("{from} answers {}", response.status())));
    }
    let mut table = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        table.extend_from_slice(&chunk);
        if table.len() > MAX_TABLE {
            return Err(Failure::failed(format!("{from} is longer than {MAX_TABLE} bytes: that is no price table")));
        }
    }
    Ok(table)
}

fn parse(file: &str) -> Option<(Header, Vec<KnownModel>)> {
    let (header, lines) = file.split_once('\n')?;
    let models = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>().ok()?;
    Some((serde_json::from_str(header).ok()?, models))
}

/// The version of a table, and its lines.
fn write(models: &[KnownModel]) -> Result<(String, String), Failure> {
    let mut lines = String::new();
    for known in models {
        let line = serde_json::to_string(known).map_err(|error| Failure::failed(error.to_string()))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    let hash = hex::encode(Sha256::digest(lines.as_bytes()));
    Ok((hash[..16].to_owned(), lines))
}

/// The day, as a number; later than the last one in any case, for an older program must not put its prices in place of newer
/// ones.
fn edition(last: &Header, day: &str) -> u64 {
    let digits: String = day.chars().take(10).filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0).max(last.edition + 1)
}

fn providers(models: &[KnownModel]) -> Vec<String> {
    let ids: BTreeSet<&String> = models.iter().map(|known| &known.provider).collect();
    ids.into_iter().cloned().collect()
}

fn show(context: &Context, update: &UpdateCatalog, models: &[KnownModel], changes: &Changes, is_same: bool) {
    let priced = models.iter().filter(|known| known.price.is_some()).count();
    let Changes { added, removed, repriced, changed } = changes;
    context.screen.json(&json!({
        "models": models.len(), "priced": priced, "providers": providers(models).len(), "written": !is_same && !update.dry_run,
        "added": added, "removed": removed, "repriced": repriced, "changed": changed,
    }));
    for (what, names) in [("added", added), ("removed", removed), ("another price", repriced), ("other facts", changed)]
    {
        for name in names {
            context.screen.line(&format!("{what}: {name}"));
        }
    }
    let done = match (is_same, update.dry_run) {
        (true, _) => "nothing changed".to_owned(),
        (false, true) => format!("{} would change", update.file),
        (false, false) => format!("{} is written", update.file),
    };
    let counts = format!("{} models, {priced} with a price", models.len());
    context.screen.line(&format!(
        "{counts}; {} added, {} removed, {} repriced, {} otherwise changed; {done}",
        added.len(),
        removed.len(),
        repriced.len(),
        changed.len()
    ));
}

// === impl Changes ===

impl Changes {
    fn between(old: &[KnownModel], new: &[KnownModel]) -> Self {
        let name = |known: &KnownModel| format!("{}/{}", known.provider, known.model);
        let before: BTreeMap<_, _> = old.iter().map(|known| (known.key(), known)).collect();
        let after: BTreeSet<_> = new.iter().map(KnownModel::key).collect();
        let mut changes = Self::default();
        for known in new {
            match before.get(&known.key()) {
                None => changes.added.push(name(known)),
                Some(old) if old.price != known.price => changes.repriced.push(name(known)),
                Some(old) if *old != known => changes.changed.push(name(known)),
                Some(_) => {}
            }
        }
        changes.removed = old.iter().filter(|known| !after.contains(&known.key())).map(name).collect();
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(model: &str, window: u64) -> KnownModel {
        KnownModel {
            provider: "p".into(),
            model: model.into(),
            kind: "chat".into(),
            context_window: Some(window),
            ..KnownModel::default()
        }
    }

    #[test]
    fn what_is_written_is_read_and_has_the_same_version() {
        let models = [known("a", 1), known("b", 2)];
        let (version, lines) = write(&models).expect("written");
        let header = Header { version: version.clone(), ..Header::default() };
        let header = serde_json::to_string(&header).expect("a header");
        let (read, parsed) = parse(&format!("{header}\n{lines}")).expect("read");
        assert_eq!(parsed, models);
        assert_eq!(write(&parsed).expect("written"), (read.version, lines));
    }

    #[test]
    fn the_difference_is_told() {
        let changes = Changes::between(
            &[known("a", 1), known("b", 1), known("c", 1)],
            &[known("a", 1), known("b", 2), known("d", 1)],
        );
        assert_eq!(changes.added, ["p/d"]);
        assert_eq!(changes.removed, ["p/c"]);
        assert_eq!(changes.changed, ["p/b"]);
        assert!(changes.repriced.is_empty());
    }

    #[test]
    fn an_edition_is_never_the_same_again() {
        let last = Header { edition: 20_261_201, ..Header::default() };
        assert_eq!(edition(&last, "2026-12-02T00:00:00Z"), 20_261_202);
        assert_eq!(edition(&last, "2026-12-01T00:00:00Z"), 20_261_202, "a second time on one day");
    }
}
