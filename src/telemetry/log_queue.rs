//! Log lines on their way to standard error, which a thread of its own writes, many with one call: who logs never waits for who reads.
//!
//! What waits is bounded in bytes. Lines for which there is no room are lost, which is counted, and said once writing goes on.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that may wait.
const ROOM: usize = 4 << 20;
/// Bytes beyond these that only warnings and errors may take.
const ROOM_FOR_WARNINGS: usize = 256 << 10;
/// How long lines gather after those before them were written. A warning or an error does not wait.
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes that are written without waiting for more.
const BATCH: usize = 64 << 10;
/// Losses are told again after so long without any.
const QUIET: Duration = Duration::from_secs(60);

/// Where log lines are put. Clones share it.
#[derive(Clone)]
pub(super) struct LogQueue(Arc<LineQueue>);

struct LineQueue {
    lines: Mutex<QueuedLines>,
    /// There is something to write.
    filled: Condvar,
    /// What was taken from the queue is written.
    written: Condvar,
    lost: Counter,
}

#[derive(Default)]
struct QueuedLines {
    waiting: Vec<u8>,
    is_urgent: bool,
    is_writing: bool,
}

impl LogQueue {
    /// Starts the thread that writes to `output`. Lines that are lost are counted in `lost`.
    pub(super) fn start(output: impl Write + Send + 'static, lost: Counter) -> io::Result<Self> {
        let queue = Self(Arc::new(LineQueue {
            lines: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            lost,
        }));
        let shared = queue.0.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.write_all(output))?;
        Ok(queue)
    }

    /// Waits until all lines are written, but no longer than `limit`: whoever reads them may have stopped.
    pub(super) fn flush(&self, limit: Duration) {
        let shared = &self.0;
        let mut lines = shared.lock();
        lines.is_urgent = true;
        shared.filled.notify_one();
        let is_unwritten = |lines: &mut QueuedLines| lines.is_writing || !lines.waiting.is_empty();
        drop(shared.written.wait_timeout_while(lines, limit, is_unwritten));
    }
}

impl LineQueue {
    fn lock(&self) -> MutexGuard<'_, QueuedLines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8], is_urgent: bool) {
        let room = if is_urgent { ROOM + ROOM_FOR_WARNINGS } else { ROOM };
        let mut lines = self.lock();
        let before = lines.waiting.len();
        let after = before + line.len();
        if after > room {
            drop(lines);
            self.lost.inc();
            return;
        }
        lines.waiting.extend_from_slice(line);
        lines.is_urgent |= is_urgent;
        drop(lines);
        let is_batch = before < BATCH && after >= BATCH;
        if before == 0 || is_batch || is_urgent {
            self.filled.notify_one();
        }
    }

    /// The thread's work, for as long as the process lives.
    fn write_all(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        let mut losses = Losses::default();
        loop {
            self.take(&mut batch);
            if write(&mut output, &batch).is_err() {
                let lines = batch.iter().filter(|byte| **byte == b'\n').count();
                self.lost.inc_by(lines as u64);
            }
            batch.clear();
            batch.shrink_to(BATCH);
            self.lock().is_writing = false;
            self.written.notify_all();
            losses.tell(self.lost.get());
            self.pause();
        }
    }

    /// Waits for lines, and exchanges them for `batch`, which is empty.
    fn take(&self, batch: &mut Vec<u8>) {
        let is_empty = |lines: &mut QueuedLines| lines.waiting.is_empty();
        let lines = self.filled.wait_while(self.lock(), is_empty);
        let mut lines = lines.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut lines.waiting, batch);
        lines.is_urgent = false;
        lines.is_writing = true;
    }

    /// Lets lines gather, which are then written together.
    fn pause(&self) {
        let may_grow = |lines: &mut QueuedLines| lines.waiting.len() < BATCH && !lines.is_urgent;
        drop(self.filled.wait_timeout_while(self.lock(), PAUSE, may_grow));
    }
}

/// Writes all of `bytes`, also where standard error was made non-blocking by a program that shares it.
fn write(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What was told of lost lines.
#[derive(Default)]
struct Losses {
    lines: u64,
    last: Option<Instant>,
}

impl Losses {
    /// Warns when lines begin to be lost. `lines` are those so far.
    fn tell(&mut self, lines: u64) {
        if lines == self.lines {
            return;
        }
        if self.last.is_none_or(|last| last.elapsed() >= QUIET) {
            tracing::warn!(
                lines = lines - self.lines,
                "log lines are lost: standard error is not read fast enough"
            );
        }
        self.lines = lines;
        self.last = Some(Instant::now());
    }
}

/// Puts one line into the queue.
pub(super) struct LineWriter<'a> {
    shared: &'a LineQueue,
    is_urgent: bool,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.push(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter {
            shared: &self.0,
            is_urgent: false,
        }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter {
            shared: &self.0,
            is_urgent: *of.level() <= Level::WARN,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a batch when it is told to, and shows it.
    struct Reader {
        go: mpsc::Receiver<()>,
        read: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go.recv().map_err(io::Error::other)?;
            self.read.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_beyond_the_room_are_counted_and_warnings_have_room_of_their_own() {
        let ((go, stopped), (read, batches)) = (mpsc::channel(), mpsc::channel());
        let lost = Counter::default();
        let queue = LogQueue::start(Reader { go: stopped, read }, lost.clone()).unwrap();
        let push = |line: &[u8], is_urgent| queue.0.push(line, is_urgent);
        push(b"first\n", true);
        // Taken, and not yet written.
        while !queue.0.lock().is_writing {
            std::thread::yield_now();
        }
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        for _ in 0..ROOM / line.len() + 3 {
            push(&line, false);
        }
        push(b"warning\n", true);
        assert_eq!(lost.get(), 3);
        drop(queue.0.lock());
        for _ in 0..2 {
            go.send(()).unwrap();
        }
        assert_eq!(batches.recv().unwrap(), b"first\n");
        let second = batches.recv().unwrap();
        assert_eq!(second.len(), ROOM + b"warning\n".len());
        queue.flush(Duration::from_secs(60));
        assert!(!queue.0.lock().is_writing);
    }

    #[test]
    fn what_is_flushed_is_written_or_given_up_in_time() {
        let ((go, stopped), (read, batches)) = (mpsc::channel(), mpsc::channel());
        let queue = LogQueue::start(Reader { go: stopped, read }, Counter::default()).unwrap();
        queue.0.push(b"last words\n", false);
        queue.flush(Duration::from_millis(1));
        assert!(batches.try_recv().is_err(), "nobody reads");
        go.send(()).unwrap();
        queue.flush(Duration::from_secs(60));
        assert_eq!(batches.try_recv().unwrap(), b"last words\n");
    }
}
