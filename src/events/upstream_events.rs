//! What happens at one upstream, by the names that clients use.

use std::borrow::Cow;
use std::sync::Arc;

use super::link_event::LinkEvent;
use super::publisher::EventPublisher;
use crate::config::{EventType, UpstreamConfig};
use crate::oci::RepositoryName;

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
        self.publisher.counts().next().is_some()
    }

    /// Whether anybody is told of links of `repository`, as the registry calls it, that come.
    pub fn are_links_wanted(&self, repository: &RepositoryName) -> bool {
        self.publisher.is_wanted(EventType::Linked, &self.name(repository))
    }

    /// Queues `event` for all who want it. Returns at once.
    pub fn publish(&self, repository: &RepositoryName, event: &LinkEvent) {
        self.publisher.publish(&self.upstream, &self.name(repository), event);
    }

    fn name<'a>(&self, repository: &'a RepositoryName) -> Cow<'a, str> {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{repository}").into(),
            None => repository.as_str().into(),
        }
    }
}
