//! Who this proxy is in its fleet.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
};

use omniroute_core::{id::ProxyId, settings::DataPlaneSettings};

const FILE: &str = "proxy.id";

/// The configured name, else the one kept in the data directory, else a new one that is kept from now on.
pub(super) fn proxy_id(settings: &DataPlaneSettings) -> io::Result<ProxyId> {
    if !settings.proxy_id.is_empty() {
        return Ok(settings.proxy_id.as_str().into());
    }
    let path = settings.data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().into()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = ProxyId::generate();
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    writeln!(file, "{id}")?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use omniroute_core::settings::{SettingsTable as _, Sources};

    use super::*;

    #[test]
    fn a_generated_name_is_kept_and_a_configured_one_wins() {
        let dir = tempfile::tempdir().expect("a directory");
        let data_dir = dir.path().to_str().expect("a path");
        let with = |name| {
            let sources = Sources::of_values([("DATA_DIR", data_dir), ("OMNIROUTE_PROXY_ID", name)]);
            proxy_id(&DataPlaneSettings::from_sources(&sources).expect("settings")).expect("an id")
        };
        let generated = with("");
        assert_eq!(with(""), generated);
        assert_eq!(with("edge-1").as_str(), "edge-1");
        fs::write(dir.path().join(FILE), "\n").expect("written");
        assert_ne!(with(""), generated, "an empty file is no name");
    }
}
