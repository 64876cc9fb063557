//! From what happened to the queues of those who want to know.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::counts::WebhookCounts;
use super::delivery::EventMessage;
use super::error::WebhookError;
use super::link_event::{EventPlace, LinkEvent};
use super::webhook::{Webhook, WebhookTask};
use crate::config::{EventsConfig, UpstreamConfig, WebhookConfig};
use crate::oci::RepositoryName;

/// Gives events to all receivers. The default one has none.
#[derive(Default)]
pub struct EventPublisher {
    source: String,
    webhooks: Vec<Webhook>,
    closing: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
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

    fn publish(&self, upstream: &str, repository: &str, event: &LinkEvent) {
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

async fn ready(config: &WebhookConfig, closing: &CancellationToken) -> Result<(Webhook, WebhookTask), WebhookError> {
    let (webhook, task) = Webhook::new(config, closing.clone())?;
    task.check().await?;
    Ok((webhook, task))
}

/// Publishes what happens at one upstream.
#[derive(Clone)]
pub struct UpstreamEvents {
    publisher: Arc<EventPublisher>,
    upstream: String,
    prefix: Option<RepositoryName>,
}

impl UpstreamEvents {
    pub fn new(publisher: &Arc<EventPublisher>, upstream: &UpstreamConfig) -> Self {
        Self {
            publisher: publisher.clone(),
            upstream: upstream.name.clone(),
            prefix: upstream.prefix.clone(),
        }
    }

    /// Whether anybody is told, so that it is worth finding out what happened.
    pub fn has_receivers(&self) -> bool {
        !self.publisher.webhooks.is_empty()
    }

    /// Queues `event` for all who want it. Returns at once.
    pub fn publish(&self, repository: &RepositoryName, event: &LinkEvent) {
        match &self.prefix {
            Some(prefix) => self
                .publisher
                .publish(&self.upstream, &format!("{prefix}/{repository}"), event),
            None => self.publisher.publish(&self.upstream, repository.as_str(), event),
        }
    }
}
