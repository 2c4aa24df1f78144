//! What the children print, line by line, each with the name of its process before it.
//!
//! One task prints; every line passes through one bounded queue. When the terminal stands still (Ctrl-S, a pager) the
//! queue fills and further lines are dropped and counted: a child must never wait for a terminal, since requests would
//! wait with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

const QUEUE: usize = 4096;
/// A longer line is broken.
const LONGEST_LINE: usize = 64 * 1024;
/// How long the last lines may take to be printed.
const LAST_LINES: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

struct Line {
    stream: Stream,
    text: Vec<u8>,
}

/// Where lines go. Cheap to clone.
#[derive(Clone)]
pub(super) struct Output {
    lines: mpsc::Sender<Line>,
    dropped: Arc<AtomicU64>,
}

/// The task that prints.
pub(super) struct Printer(JoinHandle<()>);

// === impl Output ===

impl Output {
    pub(super) fn start() -> (Self, Printer) {
        let (lines, queue) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let printer = tokio::spawn(print(queue, Arc::clone(&dropped)));
        (Self { lines, dropped }, Printer(printer))
    }

    /// A line of the launcher's own.
    pub(super) fn say(&self, text: &str) {
        self.line(Stream::Err, "omniroute", text.as_bytes());
    }

    /// Text without a prefix, for the person at the terminal.
    pub(super) fn plain(&self, text: &str) {
        self.send(Line { stream: Stream::Out, text: format!("{text}\n").into_bytes() });
    }

    /// Passes on what a child prints until it ends.
    pub(super) fn follow(&self, name: &'static str, stream: Stream, from: impl AsyncRead + Unpin + Send + 'static) {
        let output = self.clone();
        tokio::spawn(async move {
            let mut reader = BufReader::new(from);
            let mut line = Vec::new();
            while let Ok(true) = read_line(&mut reader, &mut line).await {
                output.line(stream, name, &line);
            }
        });
    }

    fn line(&self, stream: Stream, name: &str, text: &[u8]) {
        let mut line = format!("{name:<13} | ").into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        self.send(Line { stream, text: line });
    }

    fn send(&self, line: Line) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads the next line without its end, or the next piece of one that is too long. `false` at the end.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(!line.is_empty());
        }
        let room = &buffer[..buffer.len().min(LONGEST_LINE - line.len())];
        if let Some(end) = room.iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(&room[..end]);
            reader.consume(end + 1);
            return Ok(true);
        }
        let taken = room.len();
        line.extend_from_slice(room);
        reader.consume(taken);
        if line.len() >= LONGEST_LINE {
            return Ok(true);
        }
    }
}

/// A terminal that went away is no reason to stop reading: the children would stand still.
async fn print(mut queue: mpsc::Receiver<Line>, dropped: Arc<AtomicU64>) {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(line) = queue.recv().await {
        let _ = match line.stream {
            Stream::Out => write(&mut stdout, &line.text).await,
            Stream::Err => write(&mut stderr, &line.text).await,
        };
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let note = format!("omniroute     | {lost} lines were dropped because the terminal stood still\n");
            let _ = write(&mut stderr, note.as_bytes()).await;
        }
    }
}

async fn write(to: &mut (impl tokio::io::AsyncWrite + Unpin), text: &[u8]) -> std::io::Result<()> {
    to.write_all(text).await?;
    to.flush().await
}

// === impl Printer ===

impl Printer {
    /// Prints what is queued. Call after the last [`Output`] is gone.
    pub(super) async fn finish(self) {
        let _ = timeout(LAST_LINES, self.0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8]) -> Vec<usize> {
        let mut reader = BufReader::new(text);
        let (mut line, mut lengths) = (Vec::new(), Vec::new());
        while read_line(&mut reader, &mut line).await.expect("read") {
            lengths.push(line.len());
        }
        lengths
    }

    #[tokio::test]
    async fn lines_end_at_newlines_and_at_the_end_and_long_ones_are_broken() {
        assert_eq!(lines(b"one\n\nthree").await, [3, 0, 5]);
        assert_eq!(lines(b"").await, [0; 0]);
        let long = vec![b'x'; LONGEST_LINE + 10];
        assert_eq!(lines(&long).await, [LONGEST_LINE, 10]);
    }

    #[tokio::test]
    async fn a_full_queue_drops_lines_instead_of_waiting() {
        let (lines, _queue) = mpsc::channel(1);
        let output = Output { lines, dropped: Arc::default() };
        for _ in 0..5 {
            output.say("x");
        }
        assert_eq!(output.dropped.load(Ordering::Relaxed), 4);
    }
}
