//! What happens at one upstream, by the names that clients use.

use std::borrow::Cow;
use std::sync::Arc;

use super::link_event::LinkEvent;
use super::publisher::EventPublisher;
use crate::config::{Config, EventType, UpstreamConfig};
use crate::oci::{RepositoryName, SiblingTemplate};

/// Publishes what happens at one upstream.
#[derive(Clone)]
pub struct UpstreamEvents {
    publisher: Arc<EventPublisher>,
    upstream: String,
    prefix: Option<RepositoryName>,
    /// Other upstreams whose links are kept here: to clients, those are there.
    kept_for_others: Vec<(SiblingTemplate, Self)>,
}

impl UpstreamEvents {
    pub fn new(publisher: &Arc<EventPublisher>, upstream: &UpstreamConfig, config: &Config) -> Self {
        let of_others = upstream.kept_for_others.iter().filter_map(|(name, template)| {
            let other = config.upstreams.iter().find(|other| other.name == *name)?;
            Some((template.clone(), Self::new(publisher, other, config)))
        });
        Self {
            publisher: publisher.clone(),
            upstream: upstream.name.clone(),
            prefix: upstream.prefix.clone(),
            kept_for_others: of_others.collect(),
        }
    }

    /// Of which upstream, and which of its repositories, clients find links that `repository` keeps.
    fn known_as<'a>(&'a self, repository: &'a RepositoryName) -> (&'a Self, Cow<'a, RepositoryName>) {
        let of_another = self.kept_for_others.iter();
        let mut of_another = of_another.filter_map(|(template, other)| Some((other, template.base_of(repository)?)));
        match of_another.next() {
            Some((other, base)) => (other, Cow::Owned(base)),
            None => (self, Cow::Borrowed(repository)),
        }
    }

    /// Whether anybody is told, so that it is worth finding out what happened.
    pub fn has_receivers(&self) -> bool {
        self.publisher.counts().next().is_some()
    }

    /// Whether anybody is told of links of `repository`, as the registry calls it, that come.
    pub fn are_links_wanted(&self, repository: &RepositoryName) -> bool {
        let (upstream, repository) = self.known_as(repository);
        self.publisher.is_wanted(EventType::Linked, &upstream.name(&repository))
    }

    /// Queues `event` for all who want it. Returns at once.
    pub fn publish(&self, repository: &RepositoryName, event: &LinkEvent) {
        let (upstream, repository) = self.known_as(repository);
        self.publisher
            .publish(&upstream.upstream, &upstream.name(&repository), event);
    }

    fn name<'a>(&self, repository: &'a RepositoryName) -> Cow<'a, str> {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{repository}").into(),
            None => repository.as_str().into(),
        }
    }
}
