//! From what happened to the queues of those who want to know.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::counts::WebhookCounts;
use super::delivery::EventMessage;
use super::error::WebhookError;
use super::link_event::{EventPlace, LinkEvent, LinkOrigin};
use super::webhook::{Webhook, WebhookTask};
use crate::config::{EventType, EventsConfig, WebhookConfig};
use crate::expiring_map::ExpiringMap;

/// For how long a link that passed through refshim is not told again because it is reported, too. Registries report within seconds, or again
/// and again until they are heard.
const KNOWN_FOR: Duration = Duration::from_secs(600);
const MOST_KNOWN: u64 = 10_000;

/// Gives events to all receivers. The default one has none.
pub struct EventPublisher {
    source: String,
    webhooks: Vec<Webhook>,
    /// Links that receivers were told of lately.
    known: ExpiringMap<String, ()>,
    closing: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
}

impl Default for EventPublisher {
    fn default() -> Self {
        Self {
            source: String::new(),
            webhooks: Vec::new(),
            known: ExpiringMap::builder(MOST_KNOWN).time_to_live(KNOWN_FOR).build(),
            closing: CancellationToken::new(),
            tasks: Mutex::default(),
        }
    }
}

impl EventPublisher {
    /// Reads keys and certificates, and starts a task for each receiver. Connects to nothing.
    ///
    /// # Errors
    /// The name of the receiver that cannot be used, and why.
    pub async fn start(config: &EventsConfig) -> Result<Arc<Self>, (String, WebhookError)> {
        let mut publisher = Self {
            source: config.source.clone(),
            ..Self::default()
        };
        let mut tasks = JoinSet::new();
        for webhook in &config.webhooks {
            let (webhook, task) = ready(webhook, &publisher.closing)
                .await
                .map_err(|error| (webhook.name.clone(), error))?;
            publisher.webhooks.push(webhook);
            tasks.spawn(task.run());
        }
        publisher.tasks = Mutex::new(tasks);
        Ok(Arc::new(publisher))
    }

    /// Whether any receiver wants events of this type about `repository`.
    pub(super) fn is_wanted(&self, event_type: EventType, repository: &str) -> bool {
        self.webhooks
            .iter()
            .any(|webhook| webhook.wants(event_type, repository))
    }

    /// What became of events, by receiver.
    pub fn counts(&self) -> impl Iterator<Item = (&str, &WebhookCounts)> {
        self.webhooks.iter().map(|webhook| (webhook.name(), &webhook.counts))
    }

    /// Delivers what waits, until `deadline` at most. To be called when nothing is published any more.
    pub async fn finish(&self, deadline: Instant) {
        self.closing.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout_at(deadline, all).await.is_ok() {
            return;
        }
        tasks.shutdown().await;
        for webhook in &self.webhooks {
            let lost = webhook.drop_queued();
            if lost > 0 {
                let webhook = webhook.name();
                tracing::warn!(
                    webhook,
                    lost,
                    "events were not delivered within server.shutdown_grace and are lost"
                );
            }
        }
    }

    pub(super) fn publish(&self, upstream: &str, repository: &str, event: &LinkEvent) {
        if self.was_known(upstream, repository, event) && event.origin == LinkOrigin::Reported {
            return;
        }
        let mut wanted = self
            .webhooks
            .iter()
            .filter(|webhook| webhook.wants(event.event_type, repository))
            .peekable();
        if wanted.peek().is_none() {
            return;
        }
        let id = EventMessage::random_id();
        let place = EventPlace {
            source: &self.source,
            upstream,
            repository,
        };
        let Some(body) = event.to_json(&id, place) else { return };
        let message = EventMessage { id, body };
        wanted.for_each(|webhook| webhook.push(message.clone()));
    }
}

impl EventPublisher {
    /// Whether receivers were told lately of the link that came; takes note of it.
    fn was_known(&self, upstream: &str, repository: &str, event: &LinkEvent) -> bool {
        let Some(referrer) = event.referrer_digest() else {
            return false;
        };
        let key = format!("{upstream} {repository} {} {referrer}", event.subject);
        match event.event_type {
            EventType::Linked => !self.known.insert_new(&key, ()),
            EventType::Removed => self.known.remove(&key).is_some(),
        }
    }
}

async fn ready(config: &WebhookConfig, closing: &CancellationToken) -> Result<(Webhook, WebhookTask), WebhookError> {
    let (webhook, task) = Webhook::new(config, closing.clone())?;
    task.check().await?;
    Ok((webhook, task))
}
