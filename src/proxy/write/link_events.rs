//! What pushes and deletions mean for those who are told of links.

use crate::config::EventType;
use crate::events::{ChangedLinks, LinkEvent, LinkOrigin, UpstreamEvents};
use crate::oci::{LinkSource, LinkTagKind, RepositoryName, Tag, tag_scheme};

/// Links that a push has made durable. They are published when this is dropped: after everything that the push does besides, so that who asks
/// at once gets the new list; but also when the client hangs up before.
pub(super) struct LinkedByPush<'a> {
    events: Option<&'a UpstreamEvents>,
    repository: &'a RepositoryName,
    links: ChangedLinks,
}

impl<'a> LinkedByPush<'a> {
    pub fn new(events: Option<&'a UpstreamEvents>, repository: &'a RepositoryName) -> Self {
        Self {
            events,
            repository,
            links: ChangedLinks::default(),
        }
    }

    /// Takes note of the links of a push, where anybody wants to know of them.
    pub fn note(&mut self, links: impl FnOnce() -> ChangedLinks) {
        if self.events.is_some() {
            self.links = links();
        }
    }
}

impl Drop for LinkedByPush<'_> {
    fn drop(&mut self) {
        let links = std::mem::take(&mut self.links);
        if let Some(events) = self.events {
            for event in links.into_events(EventType::Linked, LinkOrigin::Proxied) {
                events.publish(self.repository, &event);
            }
        }
    }
}

/// Publishes that the links of a deleted manifest are gone.
pub(super) fn publish_removed(events: &UpstreamEvents, repository: &RepositoryName, links: ChangedLinks) {
    for event in links.into_events(EventType::Removed, LinkOrigin::Proxied) {
        events.publish(repository, &event);
    }
}

/// Publishes that the link is gone which only the deleted `tag` held: one of cosign's.
pub(super) fn publish_removed_tag(events: &UpstreamEvents, repository: &RepositoryName, tag: &Tag) {
    let link = tag_scheme::parse(tag.as_str()).filter(|link| matches!(link.kind, LinkTagKind::Cosign(_)));
    if let Some(subject) = link.and_then(|link| link.subject.digest()) {
        let event = LinkEvent {
            event_type: EventType::Removed,
            origin: LinkOrigin::Proxied,
            subject,
            referrer: None,
            dialects: [LinkSource::CosignTag].into(),
        };
        events.publish(repository, &event);
    }
}
