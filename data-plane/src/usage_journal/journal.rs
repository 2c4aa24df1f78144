//! The journal: segments in one directory, which belongs to one process.
//!
//! Writers put their record into a pending buffer under a short lock, then take the file's lock and write everything that is
//! pending in one call; who finds that somebody else has written theirs goes on at once. Between the two lies an
//! [`PendingWrite`] record, and whoever can wait lets others that are ready to run add theirs. So requests that run together
//! share one write, and none goes on before its record is in the kernel's hands, which survives the death of the process. A
//! setting adds fsync for the power cut: then it is the thread of [`super::commit`] that writes.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, counter, gauge};
use omniroute_core::id::EventId;
use omniroute_telemetry::names;
use omniroute_wire::usage::Usage;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    Closing, Progress,
    commit::{Commit, Committer},
    encode::{self, CLOSED, OPENED, PROGRESS},
    recovery::recover,
    segment::{self, Segment},
};

/// How the journal is kept.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    pub directory: PathBuf,
    /// Bytes on disk at most. When they are used up, new events are counted as lost; requests go on.
    pub max_bytes: u64,
    /// Size at which a segment is closed.
    pub segment_bytes: u64,
    pub fsync: bool,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(
        "the journal in {0} belongs to another process that is running; give each proxy its own JOURNAL_DIR or DATA_DIR"
    )]
    InUse(PathBuf),
    #[error("the journal in {0} cannot be used: {1}")]
    Io(PathBuf, io::Error),
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    options: JournalOptions,
    pending: Mutex<Pending>,
    writer: Mutex<Writer>,
    /// Oldest first; the current one is the last.
    segments: Mutex<Vec<Arc<Segment>>>,
    bytes: AtomicU64,
    unacknowledged: AtomicU64,
    lost: AtomicU64,
    /// The sender waits for something to read.
    idle: AtomicBool,
    readable: Notify,
    metrics: Metrics,
    /// Writes instead of the requests, where records are to survive a power cut.
    committer: Option<Committer>,
    /// Held as long as the journal lives.
    _lock: File,
}

#[derive(Debug)]
struct Pending {
    current: Arc<Segment>,
    /// Bytes of the current segment, pending ones included.
    size: u64,
    chunk: Vec<u8>,
    /// Records that belong to segments before the current one.
    earlier: Vec<(Arc<Segment>, Vec<u8>)>,
    /// Number of the last record.
    ticket: u64,
    /// A record is among them that must survive a power cut, where the settings ask for that.
    is_owed: bool,
    /// A segment has been created whose name a power cut might take.
    is_unnamed: bool,
    /// Number that the next segment gets.
    next_number: u64,
}

#[derive(Debug, Default)]
struct Writer {
    /// Number of the last record that is in a file, or was lost.
    written: u64,
    spare: Vec<u8>,
}

/// A record that may not be in its file yet. It is once [`Self::written`] returns, or this is dropped; where records have to
/// survive a power cut, it is only on its way when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it writes at once"]
pub(crate) struct PendingWrite {
    /// `None` once it has been handed on.
    journal: Option<Arc<Journal>>,
    ticket: u64,
    ended: Superseded,
}

/// Segments with records that another one supersedes: of an opened record and a note of progress.
pub(super) type Superseded = [Option<Arc<Segment>>; 2];

#[derive(Debug)]
struct Metrics {
    lost: Counter,
    pending: Gauge,
    bytes: Gauge,
}

/// Who reads waits this long for the writer.
const SEAL_WAIT: Duration = Duration::from_micros(500);
/// A journal has room for at least so many segments.
const SEGMENTS: u64 = 4;
/// Memory that an idle write buffer keeps.
const SPARE_BYTES: usize = 256 * 1024;

// === impl Journal ===

impl Journal {
    /// Takes a directory, recovers what an earlier run left, and begins a new segment.
    ///
    /// # Errors
    /// When another process has the directory, or it cannot be written.
    pub fn open(mut options: JournalOptions) -> Result<Arc<Self>, JournalError> {
        // A full journal is emptied by whole segments, of which the current one is none.
        options.segment_bytes = options.segment_bytes.min(options.max_bytes / SEGMENTS).max(1);
        let fail = |error| JournalError::Io(options.directory.clone(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&options.directory).map_err(fail)?;
        let lock = take_lock(&options.directory)?;
        let left = recover(&options.directory).map_err(fail)?;
        let current = Arc::new(Segment::create(&options.directory, left.next_number, options.fsync).map_err(fail)?);
        let interrupted = left.interrupted.len() as u64;
        let size = if left.interrupted.is_empty() {
            0
        } else {
            let records = left.interrupted.concat();
            current.events_appended(interrupted);
            current.append(&records, options.fsync).map_err(fail)?;
            tracing::warn!(events = interrupted, "requests were cut off by the end of the last process");
            records.len() as u64
        };
        let recovered: u64 = left.segments.iter().map(|segment| segment.written()).sum();
        let mut segments = left.segments;
        segments.push(Arc::clone(&current));
        let metrics = Metrics {
            lost: counter!(names::JOURNAL_LOST),
            pending: gauge!(names::JOURNAL_PENDING),
            bytes: gauge!(names::JOURNAL_BYTES),
        };
        let committer = if options.fsync { Some(Committer::start().map_err(fail)?) } else { None };
        Ok(Arc::new(Self {
            committer,
            pending: Mutex::new(Pending {
                current,
                size,
                chunk: Vec::with_capacity(4096),
                earlier: Vec::new(),
                ticket: 0,
                is_owed: false,
                is_unnamed: false,
                next_number: left.next_number + 1,
            }),
            writer: Mutex::new(Writer::default()),
            segments: Mutex::new(segments),
            bytes: AtomicU64::new(recovered + size),
            unacknowledged: AtomicU64::new(left.unsent + interrupted),
            lost: AtomicU64::new(0),
            idle: AtomicBool::new(false),
            readable: Notify::new(),
            metrics,
            options,
            _lock: lock,
        }))
    }

    /// Takes an opened record, and says in which segment it is; `None` when it is lost.
    pub(super) fn append_opened(
        self: &Arc<Self>,
        fixed: &[u8],
        estimate: &Usage,
    ) -> Option<(Arc<Segment>, PendingWrite)> {
        if self.bytes.load(Ordering::Relaxed) >= self.options.max_bytes {
            self.lose("the journal is full");
            return None;
        }
        let (ticket, segment) =
            self.enqueue(OPENED, fixed, |out| encode::estimate(out, estimate), Segment::request_began);
        Some((segment, PendingWrite::new(self, ticket, Superseded::default())))
    }

    /// Takes a closed record. `earlier` is where its opened record and its last note are.
    pub(super) fn append_closed(
        self: &Arc<Self>,
        fixed: &[u8],
        closing: &Closing<'_>,
        earlier: Superseded,
    ) -> PendingWrite {
        let (ticket, _) = self.enqueue(
            CLOSED,
            fixed,
            |out| encode::closing(out, closing),
            |segment| {
                segment.events_appended(1);
                self.unacknowledged.fetch_add(1, Ordering::Relaxed);
            },
        );
        PendingWrite::new(self, ticket, earlier)
    }

    /// Writes a record of progress, if there is room: nobody counts on it. `noted` is the segment of the last one, which stays
    /// until [`Self::release`] is told of it.
    pub(super) fn append_progress(
        self: &Arc<Self>,
        id: EventId,
        so_far: &Progress<'_>,
        noted: &mut Option<Arc<Segment>>,
    ) {
        if self.bytes.load(Ordering::Relaxed) >= self.options.max_bytes {
            return;
        }
        let (ticket, segment) =
            self.enqueue(PROGRESS, &[], |out| encode::progress(out, id, so_far), Segment::request_began);
        drop(PendingWrite::new(self, ticket, [noted.replace(segment), None]));
    }

    /// A closed record is written, or a later note of progress. Only now may the segments of the opened record, and of the earlier
    /// note, go: until here they are all that is known of the event.
    pub(super) fn release(&self, earlier: Superseded) {
        let mut any = false;
        for segment in earlier.into_iter().flatten() {
            segment.request_ended();
            any = true;
        }
        if any && self.idle.swap(false, Ordering::AcqRel) {
            self.readable.notify_one();
        }
    }

    /// Puts a record behind those that are pending. The number tells [`Self::write_up_to`] which it is.
    fn enqueue(
        &self,
        kind: u8,
        fixed: &[u8],
        rest: impl FnOnce(&mut Vec<u8>),
        count: impl FnOnce(&Segment),
    ) -> (u64, Arc<Segment>) {
        let mut pending = self.pending.lock();
        if pending.size >= self.options.segment_bytes {
            self.rotate(&mut pending);
        }
        let start = encode::begin_record(&mut pending.chunk, kind);
        pending.chunk.extend_from_slice(fixed);
        rest(&mut pending.chunk);
        encode::end_record(&mut pending.chunk, start);
        pending.size += (pending.chunk.len() - start) as u64;
        pending.ticket += 1;
        pending.is_owed |= kind != PROGRESS;
        let segment = Arc::clone(&pending.current);
        // Counted before anybody can read the record, or find the segment done.
        count(&segment);
        (pending.ticket, segment)
    }

    /// Returns when the record of that number is in its file, or lost.
    pub(super) fn write_up_to(&self, ticket: u64) {
        let mut writer = self.writer.lock();
        if writer.written >= ticket {
            return;
        }
        let (earlier, current, ticket, is_owed, is_unnamed) = {
            let mut pending = self.pending.lock();
            let spare = std::mem::take(&mut writer.spare);
            let chunk = std::mem::replace(&mut pending.chunk, spare);
            let earlier = std::mem::take(&mut pending.earlier);
            let is_owed = std::mem::take(&mut pending.is_owed);
            let is_unnamed = is_owed && std::mem::take(&mut pending.is_unnamed);
            (earlier, (Arc::clone(&pending.current), chunk), pending.ticket, is_owed, is_unnamed)
        };
        let sync = self.options.fsync && is_owed;
        if sync
            && is_unnamed
            && let Err(error) = segment::sync_names(&self.options.directory)
        {
            tracing::error!(%error, "the journal's directory cannot be synced");
        }
        writer.written = ticket;
        for (segment, chunk) in earlier {
            self.append(&segment, &chunk, sync);
        }
        let (current, mut chunk) = current;
        self.append(&current, &chunk, sync);
        chunk.clear();
        chunk.shrink_to(SPARE_BYTES);
        writer.spare = chunk;
    }

    fn append(&self, segment: &Segment, chunk: &[u8], sync: bool) {
        if chunk.is_empty() {
            return;
        }
        match segment.append(chunk, sync) {
            Ok(()) => {
                self.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
            Err(error) => {
                // The records are gone, and nobody may wait for them. An event is lost with its closed record alone: where
                // only the opened one is, the closed one that follows has all of it.
                let mut at = 0;
                while let Some((kind, _, length)) = encode::read_record(&chunk[at..]) {
                    at += length;
                    if kind == CLOSED {
                        segment.events_acknowledged(1);
                        self.unacknowledged.fetch_sub(1, Ordering::Relaxed);
                        self.lose(&error.to_string());
                    }
                }
            }
        }
    }

    /// Begins a new segment. When that fails the current one goes on growing.
    fn rotate(&self, pending: &mut Pending) {
        // Its name is synced with the first record in it.
        match Segment::create(&self.options.directory, pending.next_number, false) {
            Ok(next) => {
                pending.is_unnamed = true;
                let next = Arc::new(next);
                pending.next_number += 1;
                let chunk = std::mem::take(&mut pending.chunk);
                let previous = std::mem::replace(&mut pending.current, Arc::clone(&next));
                if !chunk.is_empty() {
                    pending.earlier.push((Arc::clone(&previous), chunk));
                }
                pending.size = 0;
                self.segments.lock().push(next);
            }
            Err(error) => tracing::error!(%error, "a new journal segment cannot be begun"),
        }
    }

    fn lose(&self, reason: &str) {
        let before = self.lost.fetch_add(1, Ordering::Relaxed);
        self.metrics.lost.increment(1);
        // Once per power of two: an alarm, not a flood.
        if (before + 1).is_power_of_two() {
            tracing::error!(lost = before + 1, reason, "usage events are lost");
        }
    }

    /// Closed events that nobody has acknowledged.
    pub fn unacknowledged(&self) -> u64 {
        self.unacknowledged.load(Ordering::Relaxed)
    }

    /// Events that were lost since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The segment behind the one of that number, in order; the oldest for `None`.
    pub(super) fn segment_after(&self, number: Option<u64>) -> Option<Arc<Segment>> {
        let segments = self.segments.lock();
        segments.iter().find(|segment| number.is_none_or(|number| segment.number > number)).map(Arc::clone)
    }

    /// Seals what no writer can reach any more. The reader calls it before it decides that a segment is read to its end.
    pub(super) fn seal_behind_writer(&self) {
        // With the writer's lock held, all pending records of earlier segments are either written or still in `earlier`. A
        // writer that waits for the disk has it long; then there is a next time.
        let Some(_writer) = self.writer.try_lock_for(SEAL_WAIT) else { return };
        let pending = self.pending.lock();
        for segment in self.segments.lock().iter() {
            let waits = pending.earlier.iter().any(|(earlier, _)| earlier.number == segment.number);
            if segment.number != pending.current.number && !waits {
                segment.seal();
            }
        }
    }

    /// Counts acknowledged events and deletes segments that owe nothing any more.
    pub(super) fn acknowledge(&self, counts: &[(Arc<Segment>, u64)]) {
        for (segment, events) in counts {
            segment.events_acknowledged(*events);
            self.unacknowledged.fetch_sub(*events, Ordering::Relaxed);
        }
        self.seal_behind_writer();
        self.segments.lock().retain(|segment| {
            if !segment.is_done() {
                return true;
            }
            if let Err(error) = segment.delete() {
                tracing::warn!(%error, segment = segment.number, "a journal segment cannot be deleted");
            }
            self.bytes.fetch_sub(segment.written(), Ordering::Relaxed);
            false
        });
        self.report();
    }

    pub(super) fn report(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        {
            self.metrics.pending.set(self.unacknowledged() as f64);
            self.metrics.bytes.set(self.bytes.load(Ordering::Relaxed) as f64);
        }
    }

    /// Waits until something may be readable, or for `at_most`.
    pub(super) async fn wait_readable(&self, at_most: Duration) {
        self.idle.store(true, Ordering::Release);
        let _ = tokio::time::timeout(at_most, self.readable.notified()).await;
        self.idle.store(false, Ordering::Release);
    }

    /// Waits until everything is acknowledged; `false` when `limit` came first.
    pub async fn drained(&self, limit: Duration) -> bool {
        const EVERY: Duration = Duration::from_millis(20);
        let deadline = Instant::now() + limit;
        while self.unacknowledged() > 0 {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(EVERY).await;
        }
        true
    }
}

// === impl PendingWrite ===

impl PendingWrite {
    fn new(journal: &Arc<Journal>, ticket: u64, ended: Superseded) -> Self {
        Self { journal: Some(Arc::clone(journal)), ticket, ended }
    }

    /// Has the record written, together with those that others add meanwhile. `alone`: there are none.
    pub(crate) async fn written(mut self, alone: bool) {
        if let Some(committed) = self.commit() {
            // An error: the process ends.
            let _ = committed.await;
            return;
        }
        if !alone {
            // Every task that is ready gets its turn before this one goes on; the first of them writes for all.
            tokio::task::yield_now().await;
        }
        drop(self);
    }

    /// Has the record written, which is so when this returns, or when what it returns is ready.
    pub(crate) fn write(mut self) -> Option<oneshot::Receiver<()>> {
        self.commit()
    }

    /// Hands it to the thread that writes, if there is one, which tells when it has.
    fn commit(&mut self) -> Option<oneshot::Receiver<()>> {
        self.journal.as_ref()?.committer.as_ref()?;
        let (told, committed) = oneshot::channel();
        self.hand_on(Some(told));
        Some(committed)
    }

    fn hand_on(&mut self, told: Option<oneshot::Sender<()>>) {
        let Some(journal) = self.journal.take() else { return };
        let (ticket, ended) = (self.ticket, std::mem::take(&mut self.ended));
        match &journal.committer {
            Some(committer) => committer.commit(Commit { journal: Arc::clone(&journal), ticket, ended, told }),
            None => {
                journal.write_up_to(ticket);
                journal.release(ended);
            }
        }
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        self.hand_on(None);
    }
}

fn take_lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join("lock");
    let fail = |error| JournalError::Io(directory.to_owned(), error);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(fail)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(JournalError::InUse(directory.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(fail(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn on_a_full_disk_an_event_is_lost_once_with_its_closed_record() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = JournalOptions {
            directory: directory.path().to_owned(),
            max_bytes: 1 << 20,
            segment_bytes: 1 << 16,
            fsync: false,
        };
        let journal = Journal::open(options).expect("a journal");
        let sound = Arc::clone(&journal.pending.lock().current);
        let full = Arc::new(Segment::on_a_full_disk().expect("a device"));
        let closing = Closing {
            outcome: omniroute_proto::v1::Outcome::Ok,
            status: 200,
            error_code: "",
            usage: Usage::default(),
            estimated: false,
            duration: Duration::ZERO,
            first_byte: None,
            attempts: 1,
            finish_reason: "stop",
            answered_by: None,
        };
        journal.pending.lock().current = Arc::clone(&full);
        let mut opened = Vec::new();
        for _ in 0..2 {
            let (segment, unwritten) = journal.append_opened(b"", &Usage::default()).expect("taken");
            drop(unwritten);
            opened.push(segment);
        }
        assert_eq!(journal.lost(), 0, "both may still be told of");
        drop(journal.append_closed(b"", &closing, [Some(opened.remove(0)), None]));
        assert_eq!((journal.lost(), journal.unacknowledged()), (1, 0));
        // The disk has room again.
        journal.pending.lock().current = sound;
        drop(journal.append_closed(b"", &closing, [Some(opened.remove(0)), None]));
        assert_eq!((journal.lost(), journal.unacknowledged()), (1, 1), "nothing of that one is missing");
    }

    #[expect(clippy::await_holding_lock, reason = "the disk that takes its time; nobody awaits who needs the lock")]
    #[tokio::test]
    async fn a_record_that_waits_for_the_disk_keeps_nobody_from_their_turn() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = JournalOptions {
            directory: directory.path().to_owned(),
            max_bytes: 1 << 20,
            segment_bytes: 1 << 16,
            fsync: true,
        };
        let journal = Journal::open(options).expect("a journal");
        // As long as the disk takes its time.
        let disk = journal.writer.lock();
        let (_, pending_write) = journal.append_opened(b"", &Usage::default()).expect("taken");
        let mut written = std::pin::pin!(pending_write.written(true));
        let (_, dropped) = journal.append_opened(b"", &Usage::default()).expect("taken");
        drop(dropped);
        journal.seal_behind_writer();
        assert!(futures_util::poll!(written.as_mut()).is_pending(), "it is not written");
        drop(disk);
        written.await;
        let records = fs::read(directory.path().join("0000000000000000.journal")).expect("read");
        let (_, _, length) = encode::read_record(&records).expect("a record");
        assert!(encode::read_record(&records[length..]).is_some(), "one write takes all that is pending");
    }

    #[expect(clippy::await_holding_lock, reason = "the disk that takes its time; nobody awaits who needs the lock")]
    #[tokio::test]
    async fn a_note_stays_until_a_later_one_is_on_the_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = JournalOptions {
            directory: directory.path().to_owned(),
            max_bytes: 1 << 20,
            // Each record has a segment of its own.
            segment_bytes: 1,
            fsync: true,
        };
        let journal = Journal::open(options).expect("a journal");
        let so_far = Progress {
            status: 200,
            usage: Usage::default(),
            duration: Duration::ZERO,
            first_byte: None,
            attempts: 1,
            answered_by: None,
        };
        let id = EventId::generate();
        let mut noted = None;
        journal.append_progress(id, &so_far, &mut noted);
        let first = Arc::clone(noted.as_ref().expect("noted"));
        // As long as the disk takes its time.
        let disk = journal.writer.lock();
        journal.append_progress(id, &so_far, &mut noted);
        first.seal();
        assert!(!first.is_done(), "nothing else is known yet of how far it is");
        drop(disk);
        // The thread takes them in turn.
        let (_, unwritten) = journal.append_opened(b"", &Usage::default()).expect("taken");
        unwritten.written(true).await;
        assert!(first.is_done());
        let second = noted.take().expect("noted");
        second.seal();
        assert!(!second.is_done());
        // So does the last one, until the event is closed.
        let (opened, unwritten) = journal.append_opened(b"", &Usage::default()).expect("taken");
        unwritten.written(true).await;
        let closing = Closing {
            outcome: omniroute_proto::v1::Outcome::Ok,
            status: 200,
            error_code: "",
            usage: Usage::default(),
            estimated: false,
            duration: Duration::ZERO,
            first_byte: None,
            attempts: 1,
            finish_reason: "",
            answered_by: None,
        };
        let disk = journal.writer.lock();
        let unwritten = journal.append_closed(b"", &closing, [Some(opened), Some(Arc::clone(&second))]);
        let mut written = std::pin::pin!(unwritten.written(true));
        assert!(futures_util::poll!(written.as_mut()).is_pending());
        assert!(!second.is_done());
        drop(disk);
        written.await;
        assert!(second.is_done());
    }
}
