//! The encrypted copy of the configuration on disk, from which a proxy starts while the control plane is away.
//!
//! The file is a log: a header, then records, each `length ‖ nonce ‖ AES-256-GCM(saved-at ‖ update)`. The first record is a full
//! update, the others are deltas, so keeping the copy costs in proportion to a change. Once the deltas outweigh the base, the
//! file is folded into a new one, which takes the old one's place by a rename. The key comes from the fleet's join token:
//! another fleet's copy does not open. A torn tail (the process died while writing) is cut off.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Nonce, Payload},
};
use omniroute_core::{
    handshake::JoinSecret,
    time::{Clock, UnixMillis},
};
use omniroute_proto::v1;
use prost::Message;

use super::Update;

const MAGIC: &[u8; 8] = b"OMNISNP1";
const NONCE_LEN: usize = 12;
/// A record is at most this long.
const MAX_RECORD: usize = 1 << 30;
/// Deltas may grow to this before the file is folded, however small the base is.
const MIN_FOLD: u64 = 1024 * 1024;

/// A copy without changes is confirmed this often.
const CONFIRM_EVERY: Duration = Duration::from_hours(1);

/// Why there is no copy to start from.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("there is no copy yet")]
    None,
    #[error("the copy cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("the file is no snapshot copy of this version")]
    Foreign,
    #[error("the copy does not open: it belongs to another fleet, or it is damaged")]
    Sealed,
    #[error("the copy is {} days old, older than allowed", .0.as_secs() / 86_400)]
    TooOld(Duration),
}

/// Reads and writes the copy.
pub struct DiskCopy {
    path: PathBuf,
    cipher: Aes256Gcm,
    /// Bytes of the first record and of those behind it.
    base: u64,
    deltas: u64,
    file: Option<File>,
    /// Updates that could not be written. The next one goes behind them, or the copy would lack them.
    missed: Vec<Record>,
    /// When the last record was written.
    saved_at: UnixMillis,
}

/// Resources in updates that wait for a disk that takes them.
const MAX_MISSED: usize = 100_000;

/// One record: an update and when it was saved.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(uint64, tag = "1")]
    saved_at_ms: u64,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(bool, tag = "3")]
    full: bool,
    #[prost(message, repeated, tag = "4")]
    resources: Vec<v1::Resource>,
}

// === impl DiskCopy ===

impl DiskCopy {
    pub fn new(path: PathBuf, secret: &JoinSecret) -> Self {
        let key = secret.snapshot_key();
        Self {
            path,
            cipher: Aes256Gcm::new((&key).into()),
            base: 0,
            deltas: 0,
            file: None,
            missed: Vec::new(),
            saved_at: UnixMillis(0),
        }
    }

    /// The configuration as of the last record, as one full update.
    ///
    /// # Errors
    /// With the reason why the proxy has to wait for the control plane.
    pub fn load(&mut self, clock: &dyn Clock, max_age: Duration) -> Result<Update, DiskError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(DiskError::None),
            Err(error) => return Err(error.into()),
        };
        let (records, whole) = self.records(&bytes)?;
        let Some(last) = records.last() else { return Err(DiskError::Sealed) };
        let age = clock.now().saturating_since(UnixMillis(last.saved_at_ms));
        if age > max_age {
            return Err(DiskError::TooOld(age));
        }
        if whole < bytes.len() {
            OpenOptions::new().write(true).open(&self.path)?.set_len(whole as u64)?;
        }
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        self.saved_at = UnixMillis(last.saved_at_ms);
        Ok(fold(records))
    }

    /// Adds an update to the copy, which begins with a full one. Blocking: call it from a thread that may block.
    ///
    /// # Errors
    /// When the file cannot be written. The copy is then as it was, and the update goes with the next one.
    pub fn save(&mut self, update: &Update, now: UnixMillis) -> Result<(), DiskError> {
        if update.full {
            self.missed = vec![record(update, now)];
            return self.write_missed_base(now);
        }
        if self.file.is_none() && self.missed.is_empty() {
            return Ok(());
        }
        self.missed.push(record(update, now));
        let Some(mut file) = self.file.as_ref() else { return self.write_missed_base(now) };
        let written = self.missed.iter().try_fold(Vec::new(), |mut all, record| {
            all.extend(self.seal(record)?);
            Ok::<_, DiskError>(all)
        });
        let written = written.and_then(|sealed| Ok((sealed.len() as u64, file.write_all(&sealed)?)));
        let added = match written {
            Ok((added, ())) => added,
            Err(error) => {
                // What stands behind half a record would never be read.
                let _ = file.set_len(MAGIC.len() as u64 + self.base + self.deltas);
                let held: usize = self.missed.iter().map(|record| record.resources.len()).sum();
                if held > MAX_MISSED {
                    // Without a copy the proxy waits for the control plane, which is better than to serve what is gone.
                    (self.file, self.missed) = (None, Vec::new());
                    let _ = fs::remove_file(&self.path);
                }
                return Err(error);
            }
        };
        self.missed.clear();
        self.deltas += added;
        self.saved_at = now;
        if self.deltas > self.base.max(MIN_FOLD) {
            let bytes = fs::read(&self.path)?;
            let (records, _) = self.records(&bytes)?;
            let folded = fold(records);
            self.write_base(record(&folded, now))?;
        }
        Ok(())
    }

    /// Writes what was missed, which begins with a full update, as a new base. Until that works it stays missed.
    fn write_missed_base(&mut self, now: UnixMillis) -> Result<(), DiskError> {
        let folded = fold(self.missed.clone());
        self.write_base(record(&folded, now))
    }

    /// Notes that the copy is still what the control plane has, so that a configuration that nobody edits does not grow
    /// too old to start from. Blocking, as [`Self::save`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn confirm(&mut self, revision: u64, now: UnixMillis) -> Result<(), DiskError> {
        if self.file.is_none() || now.saturating_since(self.saved_at) < CONFIRM_EVERY {
            return Ok(());
        }
        self.save(&Update { revision, full: false, resources: Vec::new() }, now)
    }

    fn write_base(&mut self, record: Record) -> Result<(), DiskError> {
        let sealed = self.seal(&record)?;
        let saved_at = UnixMillis(record.saved_at_ms);
        let temporary = self.path.with_extension("new");
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(&sealed)?;
        file.sync_data()?;
        fs::rename(&temporary, &self.path)?;
        self.base = sealed.len() as u64;
        self.deltas = 0;
        self.missed.clear();
        self.saved_at = saved_at;
        // The handle goes with the file. Opening it anew could fail, and the old one leads into a file without a name.
        self.file = Some(file);
        Ok(())
    }

    fn seal(&self, record: &Record) -> Result<Vec<u8>, DiskError> {
        let nonce_bytes: [u8; NONCE_LEN] = rand::random();
        let plain = zeroize::Zeroizing::new(record.encode_to_vec());
        let nonce = Nonce::<Aes256Gcm>::from(nonce_bytes);
        let sealed = self
            .cipher
            .encrypt(&nonce, Payload { msg: &plain, aad: MAGIC })
            .map_err(|_| io::Error::other("the update is too large to be sealed"))?;
        let length =
            u32::try_from(NONCE_LEN + sealed.len()).map_err(|_| io::Error::other("the update is too large"))?;
        let mut out = Vec::with_capacity(4 + NONCE_LEN + sealed.len());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&nonce_bytes);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// All whole records, and where the last of them ends.
    fn records(&mut self, bytes: &[u8]) -> Result<(Vec<Record>, usize), DiskError> {
        let Some(mut rest) = bytes.strip_prefix(MAGIC.as_slice()) else { return Err(DiskError::Foreign) };
        let mut records = Vec::new();
        let mut whole = MAGIC.len();
        (self.base, self.deltas) = (0, 0);
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let Some(sealed) = behind.get(..length).filter(|_| length > NONCE_LEN && length <= MAX_RECORD) else {
                break;
            };
            let Some(record) = self.open(sealed) else {
                if records.is_empty() {
                    return Err(DiskError::Sealed);
                }
                break;
            };
            let size = 4 + length;
            if records.is_empty() {
                self.base = size as u64
            } else {
                self.deltas += size as u64
            }
            records.push(record);
            whole += size;
            rest = &behind[length..];
        }
        Ok((records, whole))
    }

    fn open(&self, sealed: &[u8]) -> Option<Record> {
        let (nonce, cipher) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::<Aes256Gcm>::from(*nonce);
        let plain = self.cipher.decrypt(&nonce, Payload { msg: cipher, aad: MAGIC }).ok()?;
        let plain = zeroize::Zeroizing::new(plain);
        Record::decode(plain.as_slice()).ok()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn record(update: &Update, now: UnixMillis) -> Record {
    Record { saved_at_ms: now.0, revision: update.revision, full: update.full, resources: update.resources.clone() }
}

/// The state that a sequence of records leaves.
fn fold(records: Vec<Record>) -> Update {
    let mut held: BTreeMap<(String, String), v1::Resource> = BTreeMap::new();
    let mut revision = 0;
    for record in records {
        if record.full {
            held.clear();
        }
        revision = record.revision;
        for resource in record.resources {
            let place = (resource.kind.clone(), resource.id.clone());
            if resource.deleted {
                held.remove(&place);
            } else {
                held.insert(place, resource);
            }
        }
    }
    Update { revision, full: true, resources: held.into_values().collect() }
}

#[cfg(test)]
mod tests {
    use omniroute_core::time::ManualClock;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const WEEK: Duration = Duration::from_hours(7 * 24);

    fn resource(id: &str, revision: u64, deleted: bool) -> v1::Resource {
        let body = (!deleted).then(|| {
            v1::resource::Body::Model(v1::Model { provider: "p".into(), model: id.into(), ..v1::Model::default() })
        });
        v1::Resource { id: id.into(), revision, deleted, kind: "model".into(), body, ..v1::Resource::default() }
    }

    fn copy(directory: &tempfile::TempDir, token: &str) -> DiskCopy {
        DiskCopy::new(directory.path().join("snapshot.bin"), &JoinSecret::new(token))
    }

    fn filled(directory: &tempfile::TempDir) {
        let mut copy = copy(directory, "token");
        let full =
            Update { revision: 1, full: true, resources: vec![resource("a", 1, false), resource("b", 1, false)] };
        copy.save(&full, NOW).expect("saved");
        let delta =
            Update { revision: 2, full: false, resources: vec![resource("a", 2, true), resource("c", 2, false)] };
        copy.save(&delta, NOW).expect("saved");
    }

    fn ids(update: &Update) -> Vec<&str> {
        update.resources.iter().map(|resource| resource.id.as_str()).collect()
    }

    #[test]
    fn a_copy_gives_back_what_its_records_leave() {
        let directory = tempfile::tempdir().expect("a directory");
        filled(&directory);
        let update = copy(&directory, "token").load(&ManualClock::at(NOW), WEEK).expect("loaded");
        assert_eq!((update.revision, update.full, ids(&update)), (2, true, vec!["b", "c"]));
        let bytes = fs::read(directory.path().join("snapshot.bin")).expect("read");
        assert!(!bytes.windows(5).any(|window| window == b"model"), "nothing stands in the clear");
    }

    #[test]
    fn what_could_not_be_written_goes_with_the_next_update() {
        let directory = tempfile::tempdir().expect("a directory");
        filled(&directory);
        let mut copy = copy(&directory, "token");
        copy.load(&ManualClock::at(NOW), WEEK).expect("loaded");
        // A file that takes nothing, as on a full disk.
        let good = copy.file.replace(File::open(&copy.path).expect("open"));
        let delta = |revision, resource| Update { revision, full: false, resources: vec![resource] };
        copy.save(&delta(3, resource("b", 3, true)), NOW).expect_err("it cannot be written");
        assert_eq!(self::copy(&directory, "token").load(&ManualClock::at(NOW), WEEK).expect("loaded").revision, 2);
        copy.file = good;
        copy.save(&delta(4, resource("d", 4, false)), NOW).expect("saved");
        let update = self::copy(&directory, "token").load(&ManualClock::at(NOW), WEEK).expect("loaded");
        assert_eq!((update.revision, ids(&update)), (4, vec!["c", "d"]));
    }

    #[test]
    fn a_full_update_that_could_not_be_written_is_not_skipped() {
        let directory = tempfile::tempdir().expect("a directory");
        filled(&directory);
        let mut copy = copy(&directory, "token");
        copy.load(&ManualClock::at(NOW), WEEK).expect("loaded");
        // A directory is in the way of the new base.
        let obstacle = copy.path.with_extension("new");
        fs::create_dir(&obstacle).expect("made");
        let full = Update { revision: 9, full: true, resources: vec![resource("x", 9, false)] };
        copy.save(&full, NOW).expect_err("it cannot be written");
        let loaded = || self::copy(&directory, "token").load(&ManualClock::at(NOW), WEEK).expect("loaded");
        assert_eq!(loaded().revision, 2, "the copy is as it was");
        copy.save(&Update { revision: 10, full: false, resources: vec![resource("y", 10, false)] }, NOW)
            .expect("saved");
        assert_eq!((loaded().revision, ids(&loaded())), (10, vec!["x", "y"]));
        fs::remove_dir(&obstacle).expect("removed");
    }

    #[test]
    fn another_fleets_copy_and_an_old_one_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        filled(&directory);
        let clock = ManualClock::at(NOW);
        assert!(matches!(copy(&directory, "other").load(&clock, WEEK), Err(DiskError::Sealed)));
        clock.advance(WEEK + Duration::from_secs(1));
        assert!(matches!(copy(&directory, "token").load(&clock, WEEK), Err(DiskError::TooOld(_))));
        let empty = tempfile::tempdir().expect("a directory");
        assert!(matches!(copy(&empty, "token").load(&clock, WEEK), Err(DiskError::None)));
    }

    #[test]
    fn a_confirmed_copy_does_not_grow_old() {
        let directory = tempfile::tempdir().expect("a directory");
        filled(&directory);
        let clock = ManualClock::at(NOW);
        let mut kept = copy(&directory, "token");
        kept.load(&clock, WEEK).expect("loaded");
        let size = |copy: &DiskCopy| fs::metadata(copy.path()).expect("there").len();
        let before = size(&kept);
        clock.advance(CONFIRM_EVERY / 2);
        kept.confirm(2, clock.now()).expect("confirmed");
        assert_eq!(size(&kept), before, "not at every heartbeat");
        clock.advance(WEEK - CONFIRM_EVERY);
        kept.confirm(2, clock.now()).expect("confirmed");
        clock.advance(CONFIRM_EVERY);
        let update = copy(&directory, "token").load(&clock, WEEK).expect("loaded, though its contents are a week old");
        assert_eq!((update.revision, ids(&update)), (2, vec!["b", "c"]));
    }

    #[test]
    fn a_copy_cut_anywhere_in_its_last_record_loses_only_that() {
        let directory = tempfile::tempdir().expect("a directory");
        filled(&directory);
        let path = directory.path().join("snapshot.bin");
        let bytes = fs::read(&path).expect("read");
        let first = 8 + 4 + u32::from_le_bytes(bytes[8..12].try_into().expect("four")) as usize;
        for cut in first..bytes.len() {
            fs::write(&path, &bytes[..cut]).expect("written");
            let mut copy = copy(&directory, "token");
            let update = copy.load(&ManualClock::at(NOW), WEEK).expect("loaded");
            assert_eq!((update.revision, ids(&update)), (1, vec!["a", "b"]), "cut at {cut}");
            let delta = Update { revision: 3, full: false, resources: vec![resource("d", 3, false)] };
            copy.save(&delta, NOW).expect("saved behind the cut");
            let again = self::copy(&directory, "token").load(&ManualClock::at(NOW), WEEK).expect("loaded");
            assert_eq!(ids(&again), ["a", "b", "d"]);
        }
    }

    /// Runs in a process of its own, whose files are used up but for one.
    #[test]
    #[ignore = "a part of the next test"]
    fn fold_with_one_file_left() {
        let Some(directory) = std::env::var_os("FOLD_DIRECTORY") else { return };
        let mut copy = DiskCopy::new(PathBuf::from(directory).join("snapshot.bin"), &JoinSecret::new("token"));
        copy.save(&Update { revision: 1, full: true, resources: vec![resource("a", 1, false)] }, NOW).expect("saved");
        let mut used: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        let long = "x".repeat(200_000);
        let large = |revision| Update { revision, full: false, resources: vec![resource(&long, revision, false)] };
        let last = 3 + MIN_FOLD / 200_000 * 2;
        for (left, revision) in [1, 2, 3].into_iter().cycle().zip(2..last) {
            used.truncate(used.len() - left);
            let _ = copy.save(&large(revision), NOW);
            used.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
        }
        drop(used);
        let deletion = Update { revision: last, full: false, resources: vec![resource("a", last, true)] };
        copy.save(&deletion, NOW).expect("saved");
    }

    #[test]
    fn a_process_that_is_out_of_files_leaves_no_update_out_of_its_copy() {
        let directory = tempfile::tempdir().expect("a directory");
        let child = std::process::Command::new("sh")
            .args(["-c", r#"ulimit -n 64 && exec "$0" "$@""#])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", "snapshot::disk::tests::fold_with_one_file_left", "--ignored", "--test-threads=1"])
            .env("FOLD_DIRECTORY", directory.path())
            .output()
            .expect("run");
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        let update = copy(&directory, "token").load(&ManualClock::at(NOW), WEEK).expect("loaded");
        assert!(!ids(&update).contains(&"a"), "what was deleted stays deleted");
        assert_eq!(update.resources.len(), 1);
    }

    #[test]
    fn deltas_that_outweigh_the_base_are_folded() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut copy = copy(&directory, "token");
        copy.save(&Update { revision: 1, full: true, resources: vec![resource("a", 1, false)] }, NOW).expect("saved");
        let long = "x".repeat(200_000);
        for revision in 2..12 {
            let resources = vec![resource(&long, revision, false)];
            copy.save(&Update { revision, full: false, resources }, NOW).expect("saved");
        }
        let size = fs::metadata(copy.path()).expect("there").len();
        assert!(size < 2 * MIN_FOLD, "{size}");
        let update = copy.load(&ManualClock::at(NOW), WEEK).expect("loaded");
        assert_eq!((update.revision, update.resources.len()), (11, 2));
    }
}
