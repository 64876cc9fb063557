//! The links that a manifest brings or takes with it, as events tell of them.

use std::collections::{BTreeMap, BTreeSet};

use super::link_event::{LinkEvent, LinkOrigin, LinkedReferrer};
use crate::config::EventType;
use crate::oci::adoption::{ArtifactHint, describe};
use crate::oci::{Descriptor, Digest, LinkSource, LinkTagKind, LinkTarget, Manifest, Tag, tag_scheme};

/// Where the link of a pushed manifest to what it refers to is kept, besides in the manifest itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptLinks {
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
pub struct ChangedLinks(BTreeMap<(Digest, Digest), (Descriptor, BTreeSet<LinkSource>)>);

impl ChangedLinks {
    /// The links that a pushed manifest brings: those of what it lists, and its own where something keeps them.
    pub fn of_push(manifest: &Manifest, own: &Digest, size: usize, kept: KeptLinks) -> Self {
        let mut links = Self::default();
        links.add_stated(manifest, own, size, |stated| {
            Some(kept.dialects(stated)).filter(|_| kept != KeptLinks::default())
        });
        links
    }

    /// The links that a manifest states, wherever else they are kept.
    pub fn stated(manifest: &Manifest, own: &Digest, size: usize) -> Self {
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

    pub fn into_events(self, event_type: EventType, origin: LinkOrigin) -> impl Iterator<Item = LinkEvent> {
        self.0
            .into_iter()
            .map(move |((subject, _), (referrer, dialects))| LinkEvent {
                event_type,
                origin,
                subject,
                referrer: Some(LinkedReferrer::from(&referrer)),
                dialects,
            })
    }
}
