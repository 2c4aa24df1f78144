//! The disk that holds the data directory: what SQLite calls an I/O error, or no room for its files, is most often a full
//! disk.

use std::path::Path;

use crate::failure::Failure;

/// Less does not hold the files that SQLite keeps beside a database.
pub(crate) const LITTLE: u64 = 1024 * 1024;

/// Free bytes of the disk that holds a directory, or will, as far as the system tells.
pub(crate) fn free(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|dir| dir.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    // What has no blocks at all is no disk, or keeps its size to itself.
    (disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// A failed start, with what to do where the disk has no room left.
pub(crate) fn explained(failure: Failure, dir: &Path, free: Option<u64>) -> Failure {
    if free.is_none_or(|free| free >= LITTLE) {
        return failure;
    }
    let hint = format!("the disk that holds {} is full: free space on it", dir.display());
    Failure::new(failure.exit(), format!("{failure}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_start_that_fails_on_a_full_disk_says_so_and_keeps_its_exit_code() {
        let dir = Path::new("/var/lib/omniroute");
        let failed = |free| explained(Failure::new(Exit::Usage, "it did not start"), dir, free);
        for full in [0, LITTLE - 1] {
            let told = failed(Some(full));
            let expected = "it did not start; the disk that holds /var/lib/omniroute is full: free space on it";
            assert_eq!((told.to_string().as_str(), told.exit()), (expected, Exit::Usage));
        }
        for other in [None, Some(LITTLE)] {
            assert_eq!(failed(other).to_string(), "it did not start", "{other:?}");
        }
    }

    #[test]
    fn room_is_told_of_disks_only() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(free(dir.path()).is_some_and(|free| free > 0), "this very file system takes files");
        assert!(free(&dir.path().join("not/yet/made")).is_some_and(|free| free > 0), "it will lie on this disk");
        #[cfg(target_os = "linux")]
        assert_eq!(free(Path::new("/proc")), None, "it has no blocks, and is not full");
    }
}
