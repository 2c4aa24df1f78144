//! The secrets of a gateway on one machine: those that are configured, and made and kept those that are not.

use omniroute_core::settings::{ControlPlaneSettings, Secret};
use rand::RngExt as _;

use crate::{
    data_dir::{self, DataDir},
    database_owner,
    failure::Failure,
    screen::quoted,
};

/// No 0, 1, i, l, o: what is read from a screen is typed without doubt.
const READABLE: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";
const PASSWORD_GROUPS: usize = 4;
const PASSWORD_GROUP: usize = 5;

#[derive(Debug)]
pub(crate) struct Secrets {
    pub(crate) master_key: Secret,
    pub(crate) jwt_secret: Secret,
    pub(crate) api_key_secret: Secret,
    pub(crate) join_token: Secret,
    /// `None` when nobody knows it: the database has one, and no file holds it.
    pub(crate) admin_password: Option<Secret>,
}

// === impl Secrets ===

impl Secrets {
    /// What is configured counts, then what the directory holds, else it is made. Call with the directory locked.
    pub(crate) fn ensure(dir: &DataDir, settings: &ControlPlaneSettings) -> Result<Self, Failure> {
        database_owner::refuse(dir, settings)?;
        refuse_lost_master_key(dir, settings)?;
        refuse_lost_pepper(dir, settings)?;
        // A gateway that has run has a password; another one in the file would not be it.
        let has_run = !settings.database_url.is_set() && dir.file(data_dir::DATABASE).exists();
        let is_password_needed =
            settings.initial_password.is_set() || !has_run || dir.file(data_dir::ADMIN_PASSWORD).exists();
        let password = || kept(dir, data_dir::ADMIN_PASSWORD, &settings.initial_password, readable);
        Ok(Self {
            master_key: kept(dir, data_dir::MASTER_KEY, &settings.storage_encryption_key, random)?,
            jwt_secret: kept(dir, data_dir::JWT_SECRET, &settings.jwt_secret, random)?,
            api_key_secret: kept(dir, data_dir::API_KEY_SECRET, &settings.api_key_secret, random)?,
            join_token: kept(dir, data_dir::JOIN_TOKEN, &settings.join_token, random)?,
            admin_password: is_password_needed.then(password).transpose()?,
        })
    }
}

/// A new master key beside an old database would make everything in it unreadable, and be found out late.
fn refuse_lost_master_key(dir: &DataDir, settings: &ControlPlaneSettings) -> Result<(), Failure> {
    let database = dir.file(data_dir::DATABASE);
    let is_known = settings.storage_encryption_key.is_set() || dir.file(data_dir::MASTER_KEY).exists();
    if is_known || settings.database_url.is_set() || !database.exists() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} holds secrets sealed with a master key that is not here: put {} back or set STORAGE_ENCRYPTION_KEY; to \
         start anew, move the database away",
        database.display(),
        dir.file(data_dir::MASTER_KEY).display()
    )))
}

/// Another pepper beside an old database would void every API key in it, without a word to whoever uses one.
fn refuse_lost_pepper(dir: &DataDir, settings: &ControlPlaneSettings) -> Result<(), Failure> {
    if !is_pepper_lost(dir, settings) {
        return Ok(());
    }
    let (database, file) = (dir.file(data_dir::DATABASE), dir.file(data_dir::API_KEY_SECRET));
    Err(Failure::failed(format!(
        "the API keys in {} were made with a secret that is not here: put {file} back or set API_KEY_SECRET; to go on \
         without those keys, make a new one (`(umask 077; openssl rand -hex 32 > {word})`), and then new API keys",
        database.display(),
        file = file.display(),
        word = quoted(&file.display().to_string()),
    )))
}

/// Whether the directory has a database of ours and not the pepper that the API keys in it were hashed with.
pub(crate) fn is_pepper_lost(dir: &DataDir, settings: &ControlPlaneSettings) -> bool {
    let is_known = settings.api_key_secret.is_set() || dir.file(data_dir::API_KEY_SECRET).exists();
    let database = dir.file(data_dir::DATABASE);
    let is_ours = || {
        database.exists() && database_owner::owner(&database).is_ok_and(|owner| owner == database_owner::Owner::Gateway)
    };
    !is_known && !settings.database_url.is_set() && is_ours()
}

fn kept(dir: &DataDir, name: &str, configured: &Secret, make: fn() -> Secret) -> Result<Secret, Failure> {
    if configured.is_set() {
        return Ok(configured.clone());
    }
    if let Some(secret) = dir.read(name)? {
        return Ok(secret);
    }
    let secret = make();
    dir.write(name, &secret)?;
    Ok(secret)
}

/// 256 bits.
fn random() -> Secret {
    Secret::new(hex::encode(rand::random::<[u8; 32]>()))
}

/// 99 bits that a person can type.
pub(crate) fn readable() -> Secret {
    let mut random = rand::rng();
    let mut character = |_| char::from(READABLE[random.random_range(0..READABLE.len())]);
    let groups: Vec<String> = (0..PASSWORD_GROUPS).map(|_| (0..PASSWORD_GROUP).map(&mut character).collect()).collect();
    Secret::new(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use omniroute_core::settings::{SettingsTable as _, Sources};

    use super::*;

    fn settings(values: &[(&str, &str)]) -> ControlPlaneSettings {
        let home = [("DATA_DIR", "/nowhere")];
        ControlPlaneSettings::from_sources(&Sources::of_values(home.into_iter().chain(values.iter().copied())))
            .expect("settings")
    }

    fn directory() -> (tempfile::TempDir, DataDir) {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = DataDir::at(parent.path());
        (parent, dir)
    }

    #[test]
    fn what_is_missing_is_made_once_and_then_kept() {
        let (_parent, dir) = directory();
        let first = Secrets::ensure(&dir, &settings(&[])).expect("made");
        let second = Secrets::ensure(&dir, &settings(&[])).expect("read");
        assert_eq!(first.master_key, second.master_key);
        assert_eq!(first.admin_password, second.admin_password);
        let all = [&first.master_key, &first.jwt_secret, &first.api_key_secret, &first.join_token];
        for (index, one) in all.iter().enumerate() {
            assert_eq!(one.expose().len(), 64);
            assert!(all[index + 1..].iter().all(|other| other != one), "every secret is its own");
        }
    }

    #[test]
    fn what_is_configured_wins_and_is_not_written_down() {
        let (_parent, dir) = directory();
        Secrets::ensure(&dir, &settings(&[])).expect("made");
        let configured = settings(&[("JWT_SECRET", "0123456789abcdef"), ("INITIAL_PASSWORD", "123456")]);
        let secrets = Secrets::ensure(&dir, &configured).expect("read");
        assert_eq!(secrets.jwt_secret.expose(), "0123456789abcdef");
        assert_eq!(secrets.admin_password.as_ref().map(Secret::expose), Some("123456"));
        assert_ne!(dir.read(data_dir::JWT_SECRET).expect("read"), Some(secrets.jwt_secret));
    }

    #[test]
    fn a_database_whose_master_key_is_gone_is_not_given_another() {
        let (_parent, dir) = directory();
        std::fs::write(dir.file(data_dir::DATABASE), database_owner::tests::OURS).expect("written");
        let refused = Secrets::ensure(&dir, &settings(&[])).expect_err("refused").to_string();
        assert!(refused.contains("STORAGE_ENCRYPTION_KEY"), "{refused}");
        assert!(!dir.file(data_dir::MASTER_KEY).exists());
        let given = settings(&[("STORAGE_ENCRYPTION_KEY", "0123456789abcdef"), ("API_KEY_SECRET", "0123456789abcdef")]);
        assert!(Secrets::ensure(&dir, &given).is_ok());
    }

    #[test]
    fn the_originals_database_is_called_by_its_name_and_nothing_is_made_beside_it() {
        let (_parent, dir) = directory();
        let original = b"SQLite format 3\0 CREATE TABLE provider_connections (id TEXT)";
        std::fs::write(dir.file(data_dir::DATABASE), original).expect("written");
        let refused = Secrets::ensure(&dir, &settings(&[])).expect_err("refused").to_string();
        assert!(refused.contains("original OmniRoute") && !refused.contains("master key"), "{refused}");
        assert!(!is_pepper_lost(&dir, &settings(&[])), "its keys were made with no secret of this directory's");
        assert!(!dir.file(data_dir::MASTER_KEY).exists());
    }

    #[test]
    fn a_gateway_that_has_run_is_given_no_password_that_is_not_its_own() {
        let (_parent, dir) = directory();
        Secrets::ensure(&dir, &settings(&[])).expect("made");
        std::fs::write(dir.file(data_dir::DATABASE), database_owner::tests::OURS).expect("written");
        assert!(Secrets::ensure(&dir, &settings(&[])).expect("read").admin_password.is_some());
        dir.remove(data_dir::ADMIN_PASSWORD).expect("removed");
        assert_eq!(Secrets::ensure(&dir, &settings(&[])).expect("read").admin_password, None);
        assert!(!dir.file(data_dir::ADMIN_PASSWORD).exists());
    }

    #[test]
    fn a_database_whose_api_key_secret_is_gone_is_not_given_another() {
        let (_parent, dir) = directory();
        Secrets::ensure(&dir, &settings(&[])).expect("made");
        std::fs::write(dir.file(data_dir::DATABASE), database_owner::tests::OURS).expect("written");
        Secrets::ensure(&dir, &settings(&[])).expect("all there");
        std::fs::remove_file(dir.file(data_dir::API_KEY_SECRET)).expect("lost");
        let refused = Secrets::ensure(&dir, &settings(&[])).expect_err("refused").to_string();
        assert!(refused.contains("API_KEY_SECRET") && refused.contains("umask 077"), "{refused}");
        assert!(is_pepper_lost(&dir, &settings(&[])));
        assert!(!dir.file(data_dir::API_KEY_SECRET).exists());
        let given = settings(&[("API_KEY_SECRET", "0123456789abcdef")]);
        assert_eq!(Secrets::ensure(&dir, &given).expect("given").api_key_secret.expose(), "0123456789abcdef");
    }

    #[test]
    fn a_readable_password_has_no_look_alikes() {
        let password = readable();
        assert_eq!(password.expose().len(), 23);
        assert!(password.expose().split('-').all(|group| group.len() == 5));
        assert!(!password.expose().contains(['0', '1', 'i', 'l', 'o']));
        assert_ne!(password, readable());
    }
}
