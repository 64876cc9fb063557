//! What became of events, where there is anybody who is told of links.

use prometheus_client::registry::Registry;

use super::Labelled;
use crate::events::{EventPublisher, WebhookCounts};

pub(super) fn register(registry: &mut Registry, publisher: &EventPublisher) {
    let counts: Vec<(&str, &WebhookCounts)> = publisher.counts().collect();
    if counts.is_empty() {
        return;
    }
    let help = "Events that a webhook accepted";
    registry.register(
        "webhook_delivered",
        help,
        per_webhook(&counts, |counts| &counts.delivered),
    );
    let help = "Events that did not reach their webhook";
    registry.register("webhook_dropped", help, per_webhook(&counts, |counts| &counts.dropped));
    let help = "Attempts to give an event to its webhook that failed";
    registry.register(
        "webhook_failures",
        help,
        per_webhook(&counts, |counts| &counts.failures),
    );
    let help = "Events that wait for their webhook";
    registry.register("webhook_queued", help, per_webhook(&counts, |counts| &counts.queued));
}

fn per_webhook<M: Clone>(counts: &[(&str, &WebhookCounts)], metric: impl Fn(&WebhookCounts) -> &M) -> Labelled<M> {
    let metrics = counts
        .iter()
        .map(|(name, counts)| ((*name).to_owned(), metric(counts).clone()));
    Labelled::new("webhook", metrics.collect())
}
