//! One receiver: which events it wants, its queue, and the task that empties it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::counts::{DropReason, WebhookCounts};
use super::delivery::{AttemptOutcome, Delivery, EventMessage, FailedDelivery};
use super::error::WebhookError;
use super::retry_schedule::RetrySchedule;
use crate::config::{EventType, WebhookConfig};

/// How often an event is sent that the receiver seems to dislike. Others wait behind it.
const ATTEMPTS_WITH_DISLIKED: usize = 5;
/// While the process ends, a receiver that failed is tried again this soon.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The receiver as publishers see it.
pub(super) struct Webhook {
    config: WebhookConfig,
    queue: mpsc::Sender<QueuedEvent>,
    pub counts: WebhookCounts,
    /// Whether it was logged that the queue is full, since it was last empty.
    overflow_logged: Arc<AtomicBool>,
}

struct QueuedEvent {
    message: EventMessage,
    since: Instant,
}

impl Webhook {
    /// The receiver, and what delivers to it until `closing` is cancelled and the queue is empty.
    pub fn new(config: &WebhookConfig, closing: CancellationToken) -> Result<(Self, WebhookTask), WebhookError> {
        let (sender, receiver) = mpsc::channel(config.queue);
        let webhook = Self {
            config: config.clone(),
            queue: sender,
            counts: WebhookCounts::default(),
            overflow_logged: Arc::default(),
        };
        let task = WebhookTask {
            delivery: Delivery::new(config)?,
            queue: receiver,
            closing,
            counts: webhook.counts.clone(),
            overflow_logged: webhook.overflow_logged.clone(),
            schedule: RetrySchedule::new(config.retry_pause, config.max_age),
            config: config.clone(),
        };
        Ok((webhook, task))
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }

    pub fn wants(&self, event_type: EventType, repository: &str) -> bool {
        self.config.types.contains(&event_type) && self.config.repositories.matches(repository)
    }

    /// Queues the event, or drops it: nobody waits.
    pub fn push(&self, message: EventMessage) {
        // Counted first: the task may be faster than this line.
        self.counts.queued.inc();
        let queued = QueuedEvent {
            message,
            since: Instant::now(),
        };
        let reason = match self.queue.try_send(queued) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => DropReason::QueueFull,
            Err(TrySendError::Closed(_)) => DropReason::Shutdown,
        };
        self.counts.queued.dec();
        self.counts.dropped.get(reason).inc();
        if reason == DropReason::QueueFull && !self.overflow_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                webhook = self.name(),
                queue = self.config.queue,
                "events for a webhook are dropped: its queue is full, because it is too slow or does not answer"
            );
        }
    }

    /// Counts what still waits as dropped: its task has ended. Returns how many events that are.
    pub fn drop_queued(&self) -> u64 {
        let left = u64::try_from(self.counts.queued.set(0)).unwrap_or_default();
        self.counts.dropped.get(DropReason::Shutdown).inc_by(left);
        left
    }
}

/// Delivers the events of one queue in their order, each until it is accepted or dropped.
pub(super) struct WebhookTask {
    config: WebhookConfig,
    delivery: Delivery,
    queue: mpsc::Receiver<QueuedEvent>,
    closing: CancellationToken,
    counts: WebhookCounts,
    overflow_logged: Arc<AtomicBool>,
    schedule: RetrySchedule,
}

impl WebhookTask {
    /// Fails where the receiver's key cannot be used.
    pub async fn check(&self) -> Result<(), WebhookError> {
        self.delivery.check_keys().await
    }

    /// Delivers until the queue is empty and closed.
    pub async fn run(mut self) {
        while let Some(event) = self.next().await {
            match self.deliver(&event).await {
                Ok(()) => _ = self.counts.delivered.inc(),
                Err(reason) => _ = self.counts.dropped.get(reason).inc(),
            }
            if self.counts.queued.dec() == 1 {
                self.overflow_logged.store(false, Ordering::Relaxed);
            }
        }
    }

    async fn next(&mut self) -> Option<QueuedEvent> {
        tokio::select! {
            biased;
            event = self.queue.recv() => event,
            () = self.closing.cancelled() => {
                self.queue.close();
                self.queue.recv().await
            }
        }
    }

    async fn deliver(&mut self, event: &QueuedEvent) -> Result<(), DropReason> {
        let mut attempts = 0;
        loop {
            self.wait_until_due().await;
            if event.since.elapsed() > self.config.max_age {
                return Err(self.dropped(DropReason::TooOld, event));
            }
            attempts += 1;
            match self.delivery.attempt(&event.message).await {
                AttemptOutcome::Delivered => {
                    if self.schedule.is_failing() {
                        tracing::info!(webhook = self.config.name, "a webhook accepts events again");
                    }
                    self.schedule.succeeded();
                    return Ok(());
                }
                AttemptOutcome::Refused(error) => {
                    tracing::debug!(webhook = self.config.name, %error, "refused");
                    self.schedule.succeeded();
                    return Err(self.dropped(DropReason::Refused, event));
                }
                AttemptOutcome::Failed(failed) => {
                    let limit = match failed.may_be_the_event {
                        true => self.config.attempts.min(ATTEMPTS_WITH_DISLIKED),
                        false => self.config.attempts,
                    };
                    self.failed(&failed);
                    if attempts >= limit {
                        return Err(self.dropped(DropReason::Attempts, event));
                    }
                }
            }
        }
    }

    fn failed(&mut self, failed: &FailedDelivery) {
        self.counts.failures.inc();
        let (webhook, url, error) = (&self.config.name, &self.config.url, &failed.error);
        match self.schedule.is_failing() {
            true => tracing::debug!(webhook, %url, %error, "a webhook still fails"),
            false => tracing::warn!(webhook, %url, %error, "a webhook fails: its events wait, and are sent again"),
        }
        self.schedule.failed(failed.wait);
    }

    /// Logs the first event that is lost for a reason.
    fn dropped(&self, reason: DropReason, event: &QueuedEvent) -> DropReason {
        let (webhook, id, reason_text) = (&self.config.name, &event.message.id, reason.as_str());
        match self.counts.dropped.get(reason).get() {
            0 => {
                tracing::warn!(webhook, %id, reason = reason_text, "an event for a webhook is lost; further ones are only counted")
            }
            _ => tracing::debug!(webhook, %id, reason = reason_text, "an event for a webhook is lost"),
        }
        reason
    }

    async fn wait_until_due(&self) {
        let Some(due) = self.schedule.due() else { return };
        let cut_short = async {
            self.closing.cancelled().await;
            match due.is_asked_for {
                true => std::future::pending().await,
                false => sleep(LAST_PAUSE).await,
            }
        };
        tokio::select! {
            () = sleep_until(due.at) => {}
            () = cut_short => {}
        }
    }
}
