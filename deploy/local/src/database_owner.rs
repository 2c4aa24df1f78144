//! Whose a database file is: the original OmniRoute, written in TypeScript, keeps a `storage.sqlite` in the same
//! directory.
//!
//! SQLite stores the text of each `CREATE TABLE` as it was written, so that names of tables are found without opening
//! the database.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use omniroute_core::settings::ControlPlaneSettings;

use crate::{
    data_dir::{self, DataDir},
    failure::Failure,
};

/// How every SQLite file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Tables are described near the beginning.
const LOOKED_AT: u64 = 16 * 1024 * 1024;

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Ours, or an empty file that SQLite has yet to fill.
    Gateway,
    /// The original's.
    Original,
    /// Another program's.
    Other,
    /// Nobody's: it is no SQLite database.
    NoDatabase,
}

/// Looks into a database and its write-ahead log, which holds what is not folded in yet.
pub(crate) fn owner(path: &Path) -> io::Result<Owner> {
    let mut bytes = head(path)?;
    if !bytes.is_empty() && !bytes.starts_with(MAGIC) {
        return Ok(Owner::NoDatabase);
    }
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match head(Path::new(&log)) {
        Ok(more) => bytes.extend(more),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    Ok(if has(b"config_revision") {
        Owner::Gateway
    } else if has(b"provider_connections") {
        Owner::Original
    } else if has(b"CREATE TABLE") {
        Owner::Other
    } else {
        Owner::Gateway
    })
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LOOKED_AT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Does not start on a database that another program keeps.
pub(crate) fn refuse(dir: &DataDir, settings: &ControlPlaneSettings) -> Result<(), Failure> {
    let path = dir.file(data_dir::DATABASE);
    if settings.database_url.is_set() || !path.exists() {
        return Ok(());
    }
    let owner = owner(&path).map_err(|error| Failure::file("read", &path, &error))?;
    match owner.complaint() {
        Some((what, remedy)) => Err(Failure::failed(format!("{} {what}: {remedy}", path.display()))),
        None => Ok(()),
    }
}

// === impl Owner ===

impl Owner {
    /// What to say about a file that is not ours, and what to do.
    pub(crate) fn complaint(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Gateway => None,
            Self::Original => Some((
                "is the database of the original OmniRoute (TypeScript), which this version cannot import",
                "leave it where it is, start with a directory of its own (--data-dir), and enter providers and keys \
                 there",
            )),
            Self::Other => Some(("is another program's database", "start with a directory of its own: --data-dir")),
            Self::NoDatabase => Some(("is no SQLite database", "restore it from a backup, or move it away")),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As much of a database of ours as is looked at.
    pub(crate) const OURS: &[u8] = b"SQLite format 3\0 CREATE TABLE config_revision (n BIGINT)";

    fn owner_of(bytes: &[u8], log: Option<&[u8]>) -> Owner {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("storage.sqlite");
        std::fs::write(&path, bytes).expect("written");
        if let Some(log) = log {
            std::fs::write(dir.path().join("storage.sqlite-wal"), log).expect("written");
        }
        owner(&path).expect("read")
    }

    #[test]
    fn a_database_tells_whose_it_is() {
        let original = b"SQLite format 3\0 CREATE TABLE provider_connections (id TEXT)";
        assert_eq!(owner_of(OURS, None), Owner::Gateway);
        assert_eq!(owner_of(original, None), Owner::Original);
        assert_eq!(owner_of(b"SQLite format 3\0 CREATE TABLE cats (id TEXT)", None), Owner::Other);
        assert_eq!(owner_of(b"not a database", None), Owner::NoDatabase);
    }

    #[test]
    fn a_database_that_is_still_in_its_log_is_ours() {
        assert_eq!(owner_of(b"", None), Owner::Gateway);
        assert_eq!(owner_of(b"SQLite format 3\0", Some(b"CREATE TABLE config_revision (n BIGINT)")), Owner::Gateway);
    }
}
