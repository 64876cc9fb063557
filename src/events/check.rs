//! Whether a receiver can be used, found out without a link that changes.

use super::delivery::{AttemptOutcome, Delivery, EventMessage, FailedDelivery};
use super::error::WebhookError;
use super::link_event::ping;
use crate::config::{EventsConfig, WebhookConfig};

/// Reads the key and the certificates of a receiver, and, where `pings`, sends it an event that tells of nothing, once.
pub async fn check_webhook(config: &EventsConfig, webhook: &WebhookConfig, pings: bool) -> Result<(), WebhookError> {
    let delivery = Delivery::new(webhook)?;
    delivery.check_keys().await?;
    if !pings {
        return Ok(());
    }
    let id = EventMessage::random_id();
    let Some(body) = ping(&id, &config.source) else {
        return Ok(());
    };
    match delivery.attempt(&EventMessage { id, body }).await {
        AttemptOutcome::Delivered => Ok(()),
        AttemptOutcome::Refused(error) | AttemptOutcome::Failed(FailedDelivery { error, .. }) => Err(error),
    }
}
