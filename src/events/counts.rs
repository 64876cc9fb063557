//! What became of the events of one receiver.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::{CounterFamily, label};

label! {
    /// Why an event did not reach a receiver.
    pub enum DropReason: "reason" {
        /// The queue had no room.
        QueueFull = "queue-full",
        /// It waited longer than `max_age`.
        TooOld = "too-old",
        /// It was sent `attempts` times.
        Attempts = "attempts",
        /// The receiver said that it does not take it.
        Refused = "refused",
        /// The process ended.
        Shutdown = "shutdown",
    }
}

/// Of one receiver. Clones share their metrics.
#[derive(Clone, Debug)]
pub struct WebhookCounts {
    /// Events that the receiver accepted.
    pub delivered: Counter,
    pub dropped: CounterFamily<DropReason>,
    /// Attempts that failed.
    pub failures: Counter,
    /// Events that wait, the one included that is on its way.
    pub queued: Gauge,
}

impl Default for WebhookCounts {
    fn default() -> Self {
        Self {
            delivered: Counter::default(),
            dropped: CounterFamily::from_zero(),
            failures: Counter::default(),
            queued: Gauge::default(),
        }
    }
}
