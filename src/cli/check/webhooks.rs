//! Whether receivers of events can be used.

use serde::Serialize;

use crate::cli::output::printable;
use crate::config::{EventsConfig, WebhookConfig};
use crate::events::check_webhook;

/// The report on one receiver; also what `--output json` prints for it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookReport {
    pub(super) name: String,
    /// Without path and query.
    pub(super) url: String,
    /// Whether it accepted an event. `null`: none was sent.
    pub(super) accepts: Option<bool>,
    /// Why it cannot be used, or did not accept the event.
    pub(super) problem: Option<String>,
}

/// Reads the keys and certificates of all receivers, and sends each an event where `pings`.
pub(super) async fn check_all(config: &EventsConfig, pings: bool) -> Vec<WebhookReport> {
    let checking = config.webhooks.iter().map(|webhook| check(config, webhook, pings));
    futures_util::future::join_all(checking).await
}

async fn check(config: &EventsConfig, webhook: &WebhookConfig, pings: bool) -> WebhookReport {
    let checked = check_webhook(config, webhook, pings).await;
    WebhookReport {
        name: webhook.name.clone(),
        url: webhook.url.to_string(),
        accepts: pings.then_some(checked.is_ok()),
        problem: checked.err().map(|error| error.to_string()),
    }
}

impl WebhookReport {
    /// For people.
    pub(super) fn text(&self) -> String {
        let said = match (&self.problem, self.accepts) {
            (Some(problem), _) => problem,
            (None, Some(_)) => "it accepted a ping",
            (None, None) => "its key and certificates can be used; --ping-webhooks sends it an event",
        };
        format!(
            "webhook {}: {}\n  {}\n",
            printable(&self.name),
            printable(&self.url),
            printable(said)
        )
    }
}
