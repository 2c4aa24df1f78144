//! One file of the journal.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// An append-only file and what it still owes.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    path: PathBuf,
    file: File,
    /// Bytes that are in the file, as far as a reader may go.
    written: AtomicU64,
    /// Opened records, and last notes of progress, whose request still runs.
    running: AtomicU64,
    /// Closed records that nobody has acknowledged.
    unacknowledged: AtomicU64,
    /// Nothing is appended any more.
    sealed: AtomicBool,
}

// === impl Segment ===

impl Segment {
    /// `sync`: the file's name survives a power cut too, without which its contents would not be found.
    pub(super) fn create(directory: &Path, number: u64, sync: bool) -> io::Result<Self> {
        let path = path_of(directory, number);
        let file = OpenOptions::new().create_new(true).append(true).read(true).mode(0o600).open(&path)?;
        if sync {
            sync_names(directory)?;
        }
        Ok(Self::new(number, path, file, 0))
    }

    /// A segment of an earlier run. `length` is where its last whole record ends.
    pub(super) fn existing(directory: &Path, number: u64, length: u64) -> io::Result<Self> {
        let path = path_of(directory, number);
        let file = OpenOptions::new().append(true).read(true).open(&path)?;
        file.set_len(length)?;
        let segment = Self::new(number, path, file, length);
        segment.seal();
        Ok(segment)
    }

    /// One on a disk that is full.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn on_a_full_disk() -> io::Result<Self> {
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Self::new(0, path, file, 0))
    }

    fn new(number: u64, path: PathBuf, file: File, written: u64) -> Self {
        Self {
            number,
            path,
            file,
            written: AtomicU64::new(written),
            running: AtomicU64::new(0),
            unacknowledged: AtomicU64::new(0),
            sealed: AtomicBool::new(false),
        }
    }

    /// Appends whole records. One write, as far as the kernel takes it in one.
    pub(super) fn append(&self, bytes: &[u8], sync: bool) -> io::Result<()> {
        let before = self.written.load(Ordering::Acquire);
        let result = (&self.file).write_all(bytes).and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        match result {
            Ok(()) => {
                self.written.store(before + bytes.len() as u64, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                // Half a record must not stand in front of later ones.
                let _ = self.file.set_len(before);
                Err(error)
            }
        }
    }

    /// Reads from `at`, at most as much as `buffer` takes.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.written().saturating_sub(at);
        let most = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        self.file.read_exact_at(&mut buffer[..most], at)?;
        Ok(most)
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(super) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// A request that runs has something in it that counts should the process die.
    pub(super) fn request_began(&self) {
        self.running.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn request_ended(&self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn events_appended(&self, events: u64) {
        self.unacknowledged.fetch_add(events, Ordering::AcqRel);
    }

    pub(super) fn events_acknowledged(&self, events: u64) {
        self.unacknowledged.fetch_sub(events, Ordering::AcqRel);
    }

    /// Whether the file can go: nothing is appended, every request that it opened has ended, every event is in the ledger.
    ///
    /// A later segment may go before an earlier one whose request still runs. Should the process die then, that request's
    /// event is sent once more as interrupted; the ledger knows its id and ignores it.
    pub(super) fn is_done(&self) -> bool {
        self.is_sealed()
            && self.running.load(Ordering::Acquire) == 0
            && self.unacknowledged.load(Ordering::Acquire) == 0
    }

    pub(super) fn delete(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// The names of the files survive a power cut from now on.
pub(super) fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016}.journal"))
}

/// The segments in a directory, oldest first.
pub(super) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".journal"));
        numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// All of a segment's bytes.
pub(super) fn contents(directory: &Path, number: u64) -> io::Result<Vec<u8>> {
    fs::read(path_of(directory, number))
}
