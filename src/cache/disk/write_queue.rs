//! Writes on their way to the disk: bounded, so that a slow disk costs neither memory nor anybody's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::cache::entry_id::Kind;

/// Number of writes that wait; further ones are dropped.
const WAITING: usize = 1024;
/// Bytes of memory that the values of waiting writes hold; further ones are dropped, unless it is the only one.
const HELD: usize = 32 << 20;
/// How long writes are collected before the file is changed. The registry gives what a crash loses in this time once more.
const COLLECTED_FOR: Duration = Duration::from_millis(200);
/// Number and bytes of writes in one change of the file.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 8 << 20;

/// What is to be written.
pub(super) enum QueuedChange {
    Put {
        kind: Kind,
        /// Time since 1970 at which it was read from the registry.
        at: Duration,
        /// Called by the thread that writes.
        encode: Box<dyn FnOnce() -> Option<Vec<u8>> + Send>,
    },
    Remove,
    /// Nothing: whoever asks for it waits for all that was queued before.
    Flush,
}

pub(super) struct QueuedWrite {
    pub name: String,
    pub change: QueuedChange,
    /// Bytes of memory that it holds.
    pub weight: usize,
    pub done: Option<oneshot::Sender<()>>,
}

impl QueuedWrite {
    pub fn flush(done: Option<oneshot::Sender<()>>) -> Self {
        Self {
            name: String::new(),
            change: QueuedChange::Flush,
            weight: 0,
            done,
        }
    }
}

/// The end at which writes are added.
pub(super) struct WriteQueue {
    sender: SyncSender<QueuedWrite>,
    held: Arc<AtomicUsize>,
}

/// The end from which they are taken.
pub(super) struct QueuedWrites {
    receiver: Receiver<QueuedWrite>,
    held: Arc<AtomicUsize>,
}

pub(super) fn write_queue() -> (WriteQueue, QueuedWrites) {
    let (sender, receiver) = sync_channel(WAITING);
    let held = Arc::<AtomicUsize>::default();
    let queue = WriteQueue {
        sender,
        held: held.clone(),
    };
    (queue, QueuedWrites { receiver, held })
}

impl WriteQueue {
    /// Never waits. False if there is no room for it.
    pub fn add(&self, write: QueuedWrite) -> bool {
        let weight = write.weight;
        let held = self.held.fetch_add(weight, Ordering::Relaxed);
        let is_taken = (held == 0 || held + weight <= HELD) && self.sender.try_send(write).is_ok();
        if !is_taken {
            self.held.fetch_sub(weight, Ordering::Relaxed);
        }
        is_taken
    }
}

impl QueuedWrites {
    /// Waits for writes. `None` when no more can come.
    pub fn next_batch(&self) -> Option<Vec<QueuedWrite>> {
        let mut batch = vec![self.receiver.recv().ok()?];
        let until = Instant::now() + COLLECTED_FOR;
        let (mut weight, mut is_waited_for) = (batch[0].weight, batch[0].done.is_some());
        while batch.len() < BATCH && weight < BATCH_BYTES && !is_waited_for {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(write) = self.receiver.recv_timeout(left) else {
                break;
            };
            weight += write.weight;
            is_waited_for = write.done.is_some();
            batch.push(write);
        }
        self.held.fetch_sub(weight, Ordering::Relaxed);
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(weight: usize) -> QueuedWrite {
        QueuedWrite {
            name: "name".into(),
            change: QueuedChange::Remove,
            weight,
            done: None,
        }
    }

    #[test]
    fn a_full_queue_takes_nothing_and_a_single_value_may_be_of_any_size() {
        let (queue, writes) = write_queue();
        assert!(queue.add(write(2 * HELD)));
        assert!(!queue.add(write(1)), "too many bytes");
        assert_eq!(writes.next_batch().unwrap().len(), 1);
        let taken = (0..2 * WAITING).filter(|_| queue.add(write(1))).count();
        assert_eq!(taken, WAITING);
        assert_eq!(writes.next_batch().unwrap().len(), BATCH);
        drop(queue);
        let left = std::iter::from_fn(|| writes.next_batch()).map(|batch| batch.len());
        assert_eq!(left.sum::<usize>(), WAITING - BATCH);
    }
}
