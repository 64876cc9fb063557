//! Links that reports of pushes may be about: what was pushed is read, and told to those who want to know of links.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::notifications::ReportedPush;
use crate::config::EventType;
use crate::events::{ChangedLinks, LinkOrigin, UpstreamEvents};
use crate::oci::Reference;
use crate::referrers::Resolver;
use crate::registry::{Answer, BackgroundWork, Caller, UpstreamError};

/// A registry reports pushes through refshim, too, some before they are done. Those are told by then.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// Reports that may wait; further ones are not looked at.
const MOST_WAITING: usize = 1000;

/// Reads what reports are about, one after the other.
pub(super) struct ReportedLinks {
    /// `None` where nobody wants to know.
    queue: Option<mpsc::Sender<WaitingReport>>,
}

struct WaitingReport {
    push: ReportedPush,
    due: Instant,
}

impl ReportedLinks {
    /// Reports do not say which of the upstreams they are from.
    pub fn start(upstreams: Vec<(Resolver, UpstreamEvents)>) -> Self {
        if !upstreams.iter().any(|(_, events)| events.has_receivers()) {
            return Self { queue: None };
        }
        let (sender, mut reports) = mpsc::channel::<WaitingReport>(MOST_WAITING);
        tokio::spawn(async move {
            while let Some(report) = reports.recv().await {
                sleep_until(report.due).await;
                for (resolver, events) in &upstreams {
                    if let Err(error) = publish_links_of(resolver, events, &report.push).await {
                        let repository = &report.push.repository;
                        tracing::debug!(%repository, %error, "what was reported could not be read");
                    }
                }
            }
        });
        Self { queue: Some(sender) }
    }

    /// Looks at what was pushed, later. Nobody waits.
    pub fn add(&self, pushes: Vec<ReportedPush>) {
        let Some(queue) = &self.queue else { return };
        let due = Instant::now() + LOOK_AFTER;
        for push in pushes {
            if queue.try_send(WaitingReport { push, due }).is_err() {
                tracing::warn!("too many pushes were reported at once: of some nobody is told");
                return;
            }
        }
    }
}

/// Without a caller's credentials: with refshim's own, or as anybody may.
async fn publish_links_of(
    resolver: &Resolver,
    events: &UpstreamEvents,
    push: &ReportedPush,
) -> Result<(), UpstreamError> {
    let by_digest = push.digest.clone().map(Reference::Digest);
    let Some(reference) = by_digest.or_else(|| push.tag.clone().map(Reference::Tag)) else {
        return Ok(());
    };
    if !events.are_links_wanted(&push.repository) {
        return Ok(());
    }
    let caller = Caller::anonymous().in_background(BackgroundWork::default());
    let Answer::Found(raw) = resolver.manifest(&push.repository, &reference, &caller).await? else {
        return Ok(());
    };
    let Ok(manifest) = raw.parse() else { return Ok(()) };
    let mut links = ChangedLinks::stated(&manifest, &raw.digest, raw.bytes.len());
    if let Some(tag) = &push.tag {
        links.add_tag(tag, &manifest, &raw.digest, raw.bytes.len());
    }
    for event in links.into_events(EventType::Linked, LinkOrigin::Reported) {
        events.publish(&push.repository, &event);
    }
    Ok(())
}
