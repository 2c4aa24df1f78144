use std::{fs, path::Path, time::Duration};

use omniroute_core::time::UnixMillis;
use omniroute_proto::v1::UsageEvent;
use prost::Message;

use super::{
    encode::{CLOSED, OPENED, read_record},
    journal::{JournalError, JournalOptions},
    *,
};

fn options(directory: &Path) -> JournalOptions {
    JournalOptions { directory: directory.to_owned(), max_bytes: 1 << 20, segment_bytes: 1 << 16, fsync: false }
}

fn recorder(options: JournalOptions) -> UsageRecorder {
    UsageRecorder::new(Journal::open(options).expect("a journal"))
}

fn open(recorder: &UsageRecorder) -> OpenEvent {
    open_deferred(recorder).0
}

fn open_deferred(recorder: &UsageRecorder) -> (OpenEvent, Option<PendingWrite>) {
    recorder.open_deferred(&Opening {
        at: UnixMillis(5),
        request_id: "r",
        key: None,
        connection: &"c".into(),
        provider: &"p".into(),
        requested_model: "p/m",
        model: "m",
        operation: "chat",
        stream: false,
        path: "/v1/chat/completions",
        source_format: "openai",
        target_format: "openai",
        estimate: Usage { input: Some(7), ..Usage::default() },
    })
}

fn close(open: OpenEvent) -> EventId {
    let id = open.id();
    open.close(&Closing {
        outcome: Outcome::Ok,
        status: 200,
        error_code: "",
        usage: Usage { input: Some(3), output: Some(2), ..Usage::default() },
        estimated: false,
        duration: Duration::from_millis(4),
        first_byte: Some(Duration::from_millis(1)),
        attempts: 1,
        finish_reason: "stop",
        answered_by: None,
    });
    id
}

/// Every record in a directory's segments, oldest first.
fn records(directory: &Path) -> Vec<(u8, UsageEvent)> {
    let mut all = Vec::new();
    for number in segment::numbers(directory).expect("listed") {
        let bytes = segment::contents(directory, number).expect("read");
        let mut at = 0;
        while let Some((kind, payload, length)) = read_record(&bytes[at..]) {
            all.push((kind, UsageEvent::decode(payload).expect("an event")));
            at += length;
        }
    }
    all
}

fn outcomes(directory: &Path, id: EventId) -> Vec<(u8, Outcome)> {
    let own = |(kind, event): &(u8, UsageEvent)| {
        (event.id.as_ref() == id.as_bytes()).then(|| (*kind, Outcome::try_from(event.outcome).expect("known")))
    };
    records(directory).iter().filter_map(own).collect()
}

#[tokio::test]
async fn records_that_can_wait_are_written_together_and_each_before_its_request_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = recorder(options(directory.path()));
    let in_file = || records(directory.path()).len();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let recorder = recorder.clone();
            let path = directory.path().to_owned();
            tokio::spawn(async move {
                let (open, pending_write) = open_deferred(&recorder);
                let before = records(&path).len();
                pending_write.expect("a record").written(false).await;
                let own = outcomes(&path, open.id());
                drop(open);
                (before, own)
            })
        })
        .collect();
    for task in waiting {
        let (before, own) = task.await.expect("ended");
        assert_eq!(before, 0, "all three were taken before one was written");
        assert_eq!(own, [(OPENED, Outcome::Unspecified)]);
    }
    let before = in_file();
    let (open, pending_write) = open_deferred(&recorder);
    assert_eq!(in_file(), before);
    // A request that is cancelled while it waits.
    drop(pending_write);
    assert_eq!(in_file(), before + 1);
    drop(open);
}

#[test]
fn both_records_are_in_the_file_when_the_calls_return() {
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = recorder(options(directory.path()));
    let request = open(&recorder);
    let id = request.id();
    assert_eq!(outcomes(directory.path(), id), [(OPENED, Outcome::Unspecified)]);
    close(request);
    assert_eq!(outcomes(directory.path(), id), [(OPENED, Outcome::Unspecified), (CLOSED, Outcome::Ok)]);
    assert_eq!(recorder.journal().unacknowledged(), 1);
}

#[test]
fn a_request_that_is_dropped_is_closed_as_left_by_the_client() {
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = recorder(options(directory.path()));
    let request = open(&recorder);
    let id = request.id();
    drop(request);
    assert_eq!(outcomes(directory.path(), id)[1], (CLOSED, Outcome::ClientClosed));
}

#[test]
fn what_was_never_closed_comes_back_as_interrupted_with_its_estimate_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = recorder(options(directory.path()));
    let done = close(open(&first));
    let running = open(&first);
    let id = running.id();
    // The process dies: nothing runs any destructor.
    let lock_only = std::mem::ManuallyDrop::new(running);
    let copy = tempfile::tempdir().expect("a directory");
    for number in segment::numbers(directory.path()).expect("listed") {
        let name = format!("{number:016}.journal");
        fs::copy(directory.path().join(&name), copy.path().join(&name)).expect("copied");
    }
    for _ in 0..2 {
        let second = recorder(options(copy.path()));
        assert_eq!(second.journal().unacknowledged(), 2, "one was done and not sent, one was cut off");
        assert_eq!(outcomes(copy.path(), id), [(OPENED, Outcome::Unspecified), (CLOSED, Outcome::Interrupted)]);
        assert_eq!(outcomes(copy.path(), done)[1], (CLOSED, Outcome::Ok));
    }
    let all = records(copy.path());
    let event = all.iter().map(|(_, event)| event).rfind(|event| event.id.as_ref() == id.as_bytes()).expect("there");
    assert!(event.estimated && event.usage.as_ref().is_some_and(|usage| usage.input == Some(7)));
    drop(std::mem::ManuallyDrop::into_inner(lock_only));
}

#[test]
fn a_tail_torn_at_any_byte_costs_only_the_record_that_was_not_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = recorder(options(directory.path()));
    close(open(&first));
    let before = fs::read(directory.path().join("0000000000000000.journal")).expect("read").len();
    let last = close(open(&first));
    let bytes = fs::read(directory.path().join("0000000000000000.journal")).expect("read");
    for cut in before..bytes.len() {
        let copy = tempfile::tempdir().expect("a directory");
        fs::write(copy.path().join("0000000000000000.journal"), &bytes[..cut]).expect("written");
        let second = recorder(options(copy.path()));
        let seen = outcomes(copy.path(), last);
        // Either the request was never begun, or it is there as interrupted.
        assert!(seen.is_empty() || seen.last() == Some(&(CLOSED, Outcome::Interrupted)), "cut at {cut}: {seen:?}");
        let expected = 1 + u64::from(!seen.is_empty());
        assert_eq!(second.journal().unacknowledged(), expected, "cut at {cut}");
    }
}

#[test]
fn a_directory_belongs_to_one_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = recorder(options(directory.path()));
    assert!(matches!(Journal::open(options(directory.path())), Err(JournalError::InUse(_))));
    drop(first);
    assert!(Journal::open(options(directory.path())).is_ok());
}

#[test]
fn a_full_journal_loses_new_events_counts_them_and_stops_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = recorder(JournalOptions { max_bytes: 2_000, ..options(directory.path()) });
    let running = open(&recorder);
    let id = running.id();
    for _ in 0..50 {
        close(open(&recorder));
    }
    assert!(recorder.journal().lost() > 0);
    let size: u64 = fs::read_dir(directory.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").metadata().expect("metadata").len())
        .sum();
    assert!(size < 3_000, "{size}");
    close(running);
    assert_eq!(outcomes(directory.path(), id).last(), Some(&(CLOSED, Outcome::Ok)), "what was opened is still closed");
}

#[test]
fn a_journal_smaller_than_a_segment_recovers_when_its_events_are_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = recorder(JournalOptions { max_bytes: 2_000, segment_bytes: 1 << 24, ..options(directory.path()) });
    let journal = Arc::clone(recorder.journal());
    for _ in 0..50 {
        close(open(&recorder));
    }
    let lost = journal.lost();
    assert!(lost > 0);
    acknowledge_all(&journal, directory.path());
    close(open(&recorder));
    assert_eq!((journal.lost(), journal.unacknowledged()), (lost, 1));
}

/// What the ledger does in time.
fn acknowledge_all(journal: &Journal, directory: &Path) {
    let mut after = None;
    let mut counts = Vec::new();
    while let Some(segment) = journal.segment_after(after) {
        after = Some(segment.number);
        let bytes = segment::contents(directory, segment.number).expect("read");
        let mut at = 0;
        let mut closed = 0;
        while let Some((kind, _, length)) = read_record(&bytes[at..]) {
            closed += u64::from(kind == CLOSED);
            at += length;
        }
        counts.push((segment, closed));
    }
    journal.acknowledge(&counts);
}

#[test]
fn segments_go_when_all_of_them_is_acknowledged_and_nothing_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = recorder(JournalOptions { segment_bytes: 500, ..options(directory.path()) });
    let journal = Arc::clone(recorder.journal());
    let long = open(&recorder);
    for _ in 0..20 {
        close(open(&recorder));
    }
    let count = || segment::numbers(directory.path()).expect("listed").len();
    assert!(count() > 5);
    acknowledge_all(&journal, directory.path());
    assert_eq!(journal.unacknowledged(), 0);
    assert_eq!(count(), 2, "the one whose request still runs, and the current one");
    close(long);
    assert_eq!(journal.unacknowledged(), 1);
}

#[test]
fn many_threads_write_whole_records() {
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = recorder(JournalOptions { segment_bytes: 8_000, max_bytes: 1 << 30, ..options(directory.path()) });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..500).for_each(|_| {
                    close(open(&recorder));
                })
            });
        }
    });
    let all = records(directory.path());
    assert_eq!(all.len(), 4_000);
    assert_eq!(all.iter().filter(|(kind, _)| *kind == CLOSED).count(), 2_000);
    assert_eq!((recorder.journal().unacknowledged(), recorder.journal().lost()), (2_000, 0));
}

#[test]
fn what_had_come_of_an_answer_is_billed_when_the_process_dies_in_the_middle() {
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = recorder(options(directory.path()));
    let running = open(&recorder);
    running.progress(&so_far(20));
    let (connection, provider) = ("c2".into(), "p2".into());
    let second = AnsweredBy { connection: &connection, provider: &provider, format: "gemini" };
    running.progress(&Progress { answered_by: Some(second), ..so_far(48) });
    let (id, done) = (running.id(), close(open(&recorder)));
    let copy = copied(directory.path());
    let _next = self::recorder(options(copy.path()));
    let all = records(copy.path());
    let of =
        |id: EventId| all.iter().filter(move |(kind, event)| *kind == CLOSED && event.id.as_ref() == id.as_bytes());
    let (_, event) = of(id).next().expect("an event");
    let usage = event.usage.expect("usage");
    assert_eq!((event.outcome(), event.estimated), (Outcome::Interrupted, true));
    assert_eq!((usage.input, usage.output, event.status, event.duration_us), (Some(9), Some(48), 200, 1_700_000));
    assert_eq!(event.model, "m");
    let asked = (event.connection_id.as_str(), event.provider.as_str(), event.target_format.as_str());
    assert_eq!(asked, ("c2", "p2", "gemini"), "who was asked last");
    assert_eq!(of(done).count(), 1);
}

#[test]
fn what_was_noted_last_outlives_the_segments_of_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = recorder(JournalOptions { segment_bytes: 1024, ..options(directory.path()) });
    let running = open(&recorder);
    let fill = || (0..40).for_each(|_| _ = close(open(&recorder)));
    fill();
    running.progress(&so_far(20));
    fill();
    running.progress(&so_far(48));
    fill();
    acknowledge_all(recorder.journal(), directory.path());
    let left = segment::numbers(directory.path()).expect("listed");
    assert!(left.len() <= 3, "those of the opened record, of the last note, and the current one: {left:?}");
    let copy = copied(directory.path());
    let _next = self::recorder(options(copy.path()));
    let all = records(copy.path());
    let own = all.iter().find(|(kind, event)| *kind == CLOSED && event.id.as_ref() == running.id().as_bytes());
    assert_eq!(own.and_then(|(_, event)| event.usage?.output), Some(48));
}

fn so_far(output: u64) -> Progress<'static> {
    Progress {
        status: 200,
        usage: Usage { input: Some(9), output: Some(output), ..Usage::default() },
        duration: Duration::from_millis(1_700),
        first_byte: Some(Duration::from_millis(30)),
        attempts: 1,
        answered_by: None,
    }
}

/// What a directory holds when its process is killed now.
fn copied(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for number in segment::numbers(directory).expect("listed") {
        let name = format!("{number:016}.journal");
        fs::copy(directory.join(&name), copy.path().join(&name)).expect("copied");
    }
    copy
}
