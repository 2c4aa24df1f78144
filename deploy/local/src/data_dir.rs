//! The directory that holds what this machine keeps: a directory of mode 0700, one file of mode 0600 per secret.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use omniroute_core::settings::Secret;
use rustix::fs::{FlockOperation, flock};

use crate::{failure::Failure, screen::Screen};

pub(crate) const MASTER_KEY: &str = "master.key";
pub(crate) const JWT_SECRET: &str = "jwt.secret";
pub(crate) const API_KEY_SECRET: &str = "api-key.secret";
pub(crate) const JOIN_TOKEN: &str = "join.token";
pub(crate) const ADMIN_PASSWORD: &str = "admin.password";
pub(crate) const API_KEY: &str = "api.key";
pub(crate) const DATABASE: &str = "storage.sqlite";

/// Files that nobody but their owner may read.
pub(crate) const SECRET_FILES: [&str; 6] =
    [MASTER_KEY, JWT_SECRET, API_KEY_SECRET, JOIN_TOKEN, ADMIN_PASSWORD, API_KEY];

/// There once somebody has been greeted: what is shown once has been.
pub(crate) const GREETED: &str = "greeted";

/// Held by a running launcher; it holds the launcher's process id and, line by line, where its planes listen.
const LOCK: &str = "launcher.lock";

#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

/// Held by the one launcher that serves a directory; the kernel lets go of it when that process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

/// A launcher that serves a directory, and where its planes listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) proxy: SocketAddr,
    pub(crate) control_plane: SocketAddr,
    pub(crate) grpc: SocketAddr,
}

// === impl DataDir ===

impl DataDir {
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes the directory if it is missing. One that exists is left as it is, since it may be anything (`/tmp`, a
    /// home); when others can look into it, that is said.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|error| Failure::file("create the data directory", &self.0, &error))?;
        if let Some(mode) = self.loose_mode(&self.0) {
            let path = self.0.display();
            Screen::warning(&format!("{path} has mode {mode:03o}, so others can look into it: chmod 700 {path}"));
        }
        Ok(())
    }

    /// The mode of a file or directory that its group or others may touch.
    pub(crate) fn loose_mode(&self, path: &Path) -> Option<u32> {
        let mode = fs::metadata(path).ok()?.mode() & 0o777;
        (mode & 0o077 != 0).then_some(mode)
    }

    /// The value in a file; `None` when there is no such file.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Secret>, Failure> {
        let path = self.file(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::file("read", &path, &error)),
        };
        let value = text.trim_end_matches(['\n', '\r']);
        if value.is_empty() {
            return Err(Failure::failed(format!("{} is empty; put its value back, or delete it", path.display())));
        }
        Ok(Some(Secret::new(value)))
    }

    /// Writes a file whole or not at all, readable by its owner only, and on disk before this returns: the master key
    /// must not be lost to a power cut after the first secret was sealed with it.
    pub(crate) fn write(&self, name: &str, value: &Secret) -> Result<(), Failure> {
        let path = self.file(name);
        let temporary = self.file(&format!(".{name}.{}", std::process::id()));
        let attempt = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(value.expose().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.0)?.sync_all()
        };
        attempt().map_err(|error| {
            let _ = fs::remove_file(&temporary);
            Failure::file("write", &path, &error)
        })
    }

    /// Makes an empty file, if it is not there yet.
    pub(crate) fn note(&self, name: &str) -> Result<(), Failure> {
        let path = self.file(name);
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        made.map(drop).map_err(|error| Failure::file("write", &path, &error))
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("remove", &path, &error)),
            _ => Ok(()),
        }
    }

    /// Takes the directory for this process, and notes for other commands where it will listen.
    pub(crate) fn lock(&self, running: &Running) -> Result<Lock, Failure> {
        let path = self.file(LOCK);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.map_err(|error| Failure::file("open", &path, &error))?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(Failure::file("lock", &path, &error));
            }
            let note = fs::read_to_string(&path).unwrap_or_default();
            let holder = match note.lines().next().unwrap_or_default().trim() {
                "" => String::new(),
                pid => format!(" (pid {pid})"),
            };
            let dir = self.0.display();
            return Err(Failure::failed(format!(
                "another `omniroute up`{holder} already serves {dir}; stop it, or choose another directory with \
                 --data-dir"
            )));
        }
        let note = file.set_len(0).and_then(|()| file.write_all(running.to_note().as_bytes()));
        note.map_err(|error| Failure::file("write", &path, &error))?;
        Ok(Lock(file))
    }

    /// Whether a launcher serves this directory now.
    pub(crate) fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.file(LOCK)) else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// The launcher that serves this directory now. `None` also when one of an older version does, which notes no
    /// addresses.
    pub(crate) fn running(&self) -> Option<Running> {
        if !self.is_locked() {
            return None;
        }
        Running::from_note(&fs::read_to_string(self.file(LOCK)).ok()?)
    }
}

// === impl Running ===

impl Running {
    fn to_note(self) -> String {
        let Self { pid, proxy, control_plane, grpc } = self;
        format!("{pid}\nproxy {proxy}\ncontrol-plane {control_plane}\ngrpc {grpc}\n")
    }

    fn from_note(note: &str) -> Option<Self> {
        let address = |name: &str| note.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Some(Self {
            pid: note.lines().next()?.trim().parse().ok()?,
            proxy: address("proxy ")?,
            control_plane: address("control-plane ")?,
            grpc: address("grpc ")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> (tempfile::TempDir, DataDir) {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = DataDir::at(&parent.path().join("a/b"));
        dir.create().expect("created");
        (parent, dir)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").mode() & 0o777
    }

    #[test]
    fn the_directory_and_its_files_are_for_the_owner_only() {
        let (_parent, dir) = temporary();
        dir.write(MASTER_KEY, &Secret::new("value")).expect("written");
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.file(MASTER_KEY)), 0o600);
        assert_eq!(dir.read(MASTER_KEY).expect("read"), Some(Secret::new("value")));
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_missing_file_is_none_and_an_empty_one_an_error() {
        let (_parent, dir) = temporary();
        assert_eq!(dir.read(MASTER_KEY).expect("read"), None);
        fs::write(dir.file(MASTER_KEY), "\n").expect("written");
        assert!(dir.read(MASTER_KEY).is_err());
    }

    #[test]
    fn an_existing_directory_keeps_its_mode() {
        let (_parent, dir) = temporary();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("set");
        dir.create().expect("accepted");
        assert_eq!(mode(dir.path()), 0o755);
        assert_eq!(dir.loose_mode(dir.path()), Some(0o755));
    }

    #[test]
    fn a_second_launcher_is_told_who_holds_the_directory() {
        let (_parent, dir) = temporary();
        assert!(!dir.is_locked());
        let lock = dir.lock(&running()).expect("free");
        assert!(dir.is_locked());
        let refused = dir.lock(&running()).expect_err("taken").to_string();
        assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
        drop(lock);
        assert!(dir.lock(&running()).is_ok());
    }

    fn running() -> Running {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Running { pid: std::process::id(), proxy: at(1), control_plane: "[::1]:2".parse().expect("one"), grpc: at(3) }
    }

    #[test]
    fn a_directory_tells_where_its_gateway_listens_while_it_runs() {
        let (_parent, dir) = temporary();
        assert_eq!(dir.running(), None);
        let lock = dir.lock(&running()).expect("free");
        assert_eq!(dir.running(), Some(running()));
        drop(lock);
        assert_eq!(dir.running(), None, "what a launcher noted that is gone does not count");
    }
}
