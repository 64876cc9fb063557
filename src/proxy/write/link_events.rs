//! What pushes and deletions mean for those who are told of links.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::EventType;
use crate::events::{LinkEvent, LinkedReferrer, UpstreamEvents};
use crate::oci::adoption::{ArtifactHint, describe};
use crate::oci::{Descriptor, Digest, LinkSource, LinkTagKind, LinkTarget, Manifest, RepositoryName, Tag, tag_scheme};

/// Where the link of a pushed manifest to what it refers to is kept, besides in the manifest itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeptLinks {
    pub link_tags: bool,
    pub referrers_tag: bool,
    /// The registry said so, by `OCI-Subject`.
    pub native: bool,
}

impl KeptLinks {
    /// The ways in which the link of a manifest to itself, stated as `stated`, is kept.
    fn dialects(self, stated: LinkSource) -> impl Iterator<Item = LinkSource> {
        let is_subject = matches!(stated, LinkSource::Subject | LinkSource::ProposalA | LinkSource::Oras);
        [
            (self.link_tags, LinkSource::ProposalDTag),
            (self.referrers_tag && is_subject, LinkSource::ReferrersTag),
            (self.native && is_subject, LinkSource::Native),
        ]
        .into_iter()
        .filter_map(|(is_kept, dialect)| is_kept.then_some(dialect))
    }
}

/// Links by subject and referrer, however many dialects hold each.
#[derive(Default)]
pub(super) struct ChangedLinks(BTreeMap<(Digest, Digest), (Descriptor, BTreeSet<LinkSource>)>);

impl ChangedLinks {
    /// The links that a pushed manifest brings: those of what it lists, and its own where something keeps them.
    pub fn of_push(manifest: &Manifest, own: &Digest, size: usize, kept: KeptLinks) -> Self {
        let mut links = Self::default();
        links.add_stated(manifest, own, size, |stated| {
            Some(kept.dialects(stated)).filter(|_| kept != KeptLinks::default())
        });
        links
    }

    /// The links that a manifest takes with it.
    pub fn of_deletion(manifest: &Manifest, own: &Digest, size: usize) -> Self {
        let mut links = Self::default();
        links.add_stated(manifest, own, size, |_| Some(std::iter::empty()));
        links
    }

    /// `others` are the further dialects of a link of the manifest itself; `None` where nothing keeps that.
    fn add_stated<I: Iterator<Item = LinkSource>>(
        &mut self,
        manifest: &Manifest,
        own: &Digest,
        size: usize,
        others: impl Fn(LinkSource) -> Option<I>,
    ) {
        for link in manifest.links(own) {
            match link.target {
                LinkTarget::This => {
                    if let Some(others) = others(link.source) {
                        let referrer = manifest.descriptor(own.clone(), size as u64);
                        self.add(link.subject, referrer, others.chain([link.source]));
                    }
                }
                LinkTarget::Manifest(listed) | LinkTarget::Blob(listed) => {
                    self.add(link.subject, listed, [link.source])
                }
            }
        }
    }

    /// The link that the name of `tag` states, under which the manifest was put.
    pub fn add_tag(&mut self, tag: &Tag, manifest: &Manifest, own: &Digest, size: usize) {
        let Some(link) = tag_scheme::parse(tag.as_str()) else {
            return;
        };
        // Of a longer digest, a tag has the beginning only.
        let Some(subject) = link.subject.digest().filter(|subject| subject != own) else {
            return;
        };
        let mut referrer = manifest.descriptor(own.clone(), size as u64);
        let dialect = match &link.kind {
            LinkTagKind::Cosign(kind) => {
                let hint = ArtifactHint {
                    cosign: Some(*kind),
                    ..ArtifactHint::default()
                };
                describe(&mut referrer, hint.names(manifest));
                LinkSource::CosignTag
            }
            LinkTagKind::ProposalD { hash, .. } if !link.is_envelope() && own.encoded().starts_with(hash) => {
                LinkSource::ProposalDTag
            }
            LinkTagKind::ProposalD { .. } | LinkTagKind::Referrers => return,
        };
        self.add(subject, referrer, [dialect]);
    }

    fn add(&mut self, subject: Digest, referrer: Descriptor, dialects: impl IntoIterator<Item = LinkSource>) {
        let key = (subject, referrer.digest.clone());
        let (_, known) = self.0.entry(key).or_insert_with(|| (referrer, BTreeSet::new()));
        known.extend(dialects);
    }

    fn into_events(self, event_type: EventType) -> impl Iterator<Item = LinkEvent> {
        self.0
            .into_iter()
            .map(move |((subject, _), (referrer, dialects))| LinkEvent {
                event_type,
                subject,
                referrer: Some(LinkedReferrer::from(&referrer)),
                dialects,
            })
    }
}

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
            for event in links.into_events(EventType::Linked) {
                events.publish(self.repository, &event);
            }
        }
    }
}

/// Publishes that the links of a deleted manifest are gone.
pub(super) fn publish_removed(events: &UpstreamEvents, repository: &RepositoryName, links: ChangedLinks) {
    for event in links.into_events(EventType::Removed) {
        events.publish(repository, &event);
    }
}

/// Publishes that the link is gone which only the deleted `tag` held: one of cosign's.
pub(super) fn publish_removed_tag(events: &UpstreamEvents, repository: &RepositoryName, tag: &Tag) {
    let link = tag_scheme::parse(tag.as_str()).filter(|link| matches!(link.kind, LinkTagKind::Cosign(_)));
    if let Some(subject) = link.and_then(|link| link.subject.digest()) {
        let event = LinkEvent {
            event_type: EventType::Removed,
            subject,
            referrer: None,
            dialects: [LinkSource::CosignTag].into(),
        };
        events.publish(repository, &event);
    }
}
