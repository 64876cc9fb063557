//! Which tags have to be written so that links exist in another dialect. Pure: what the registry holds is passed in.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Serialize;

use crate::oci::{Descriptor, Digest, LinkSource, Referrer, ReferrersTagIndex, Tag};

/// One referrer, and what the registry has of it.
#[derive(Clone, Debug)]
pub(super) struct FoundReferrer {
    pub(super) referrer: Referrer,
    pub(super) carrier: Carrier,
    /// The Proposal D tag that would link it.
    pub(super) tag: Option<Tag>,
    /// What that tag points at already.
    pub(super) tag_holds: Option<Digest>,
}

/// How the registry keeps a referrer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Itself,
    /// As the original of this adopted form, which is to be stored, too.
    Original,
    Envelope(Descriptor),
    /// It is inlined in an index, or a blob.
    Elsewhere,
}

/// The referrers tag as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Existing {
    /// `None`: there is no such tag.
    pub(super) digest: Option<Digest>,
    /// `None`: it is no list of referrers.
    pub(super) index: Option<ReferrersTagIndex>,
    /// Its entries that are not among the referrers.
    pub(super) others: BTreeMap<Digest, OtherEntry>,
}

/// An entry of a stored index that is no referrer as far as can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OtherEntry {
    Gone,
    /// It names another subject, perhaps. Its descriptor, built from the manifest.
    There(Descriptor),
    /// Not a manifest that can be understood.
    Strange,
}

/// What is to be done for one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) subject: Digest,
    pub(super) writes: Vec<PlannedWrite>,
    /// Links that are written down already.
    pub(super) there: BTreeSet<Digest>,
    pub(super) skipped: Vec<Skipped>,
    /// Tags that are of no use once the writes are done.
    pub(super) removals: Vec<PlannedRemoval>,
}

/// A Proposal D tag whose link the referrers tag holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedRemoval {
    pub(super) tag: Tag,
    /// What it points at.
    pub(super) digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedWrite {
    pub(super) tag: Tag,
    pub(super) content: Content,
    /// The links that it writes down, and how they were found.
    pub(super) links: Vec<PlannedLink>,
    /// Entries of the old index that are gone and left out.
    pub(super) dropped: Vec<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The bytes of this manifest, which the registry has.
    Same(Descriptor),
    /// An index in the place of what the tag pointed at.
    Index { bytes: Bytes, replaces: Option<Digest> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PlannedLink {
    pub(super) referrer: Digest,
    #[serde(rename = "dialects")]
    pub(super) sources: BTreeSet<LinkSource>,
    /// Whether the registry does not have the referrer in the form in which it is listed, so that this is stored first.
    #[serde(skip)]
    pub(super) is_adopted: bool,
}

/// A link that cannot be written down so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Skipped {
    pub(super) referrer: Digest,
    pub(super) reason: String,
}

impl Plan {
    fn new(subject: &Digest) -> Self {
        Self {
            subject: subject.clone(),
            writes: Vec::new(),
            there: BTreeSet::new(),
            skipped: Vec::new(),
            removals: Vec::new(),
        }
    }

    /// Whether the subject's links will hold `digest` in the form that is written.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        let mut written = self.writes.iter().flat_map(|write| &write.links);
        self.there.contains(digest) || written.any(|link| link.referrer == *digest)
    }

    fn skip(&mut self, found: &FoundReferrer, reason: impl Into<String>) {
        self.skipped.push(Skipped {
            referrer: found.digest().clone(),
            reason: reason.into(),
        });
    }
}

impl FoundReferrer {
    fn digest(&self) -> &Digest {
        &self.referrer.descriptor.digest
    }

    fn link(&self) -> PlannedLink {
        PlannedLink {
            referrer: self.digest().clone(),
            sources: self.referrer.sources.clone(),
            is_adopted: self.carrier == Carrier::Original,
        }
    }
}

/// One tag for each referrer: its own bytes under `<alg>-<ref>.<hash>.<type>`.
pub(super) fn proposal_d(subject: &Digest, found: &[FoundReferrer]) -> Plan {
    let mut plan = Plan::new(subject);
    for each in found {
        let own = &each.referrer.descriptor;
        let content = match &each.carrier {
            _ if each.referrer.sources.contains(&LinkSource::ProposalDTag) => {
                plan.there.insert(own.digest.clone());
                continue;
            }
            Carrier::Itself | Carrier::Original => {
                Descriptor::new(own.media_type.clone(), own.digest.clone(), own.size)
            }
            Carrier::Envelope(envelope) => envelope.clone(),
            Carrier::Elsewhere => {
                plan.skip(
                    each,
                    "the registry has no such manifest: a blob, or inlined in an index",
                );
                continue;
            }
        };
        let Some(tag) = &each.tag else {
            plan.skip(each, "no tag can be made of its digest");
            continue;
        };
        match &each.tag_holds {
            Some(holds) if *holds == content.digest => {
                plan.there.insert(own.digest.clone());
            }
            Some(holds) => plan.skip(each, format!("the tag {tag} is taken: it points at {holds}")),
            None => plan.writes.push(PlannedWrite {
                tag: tag.clone(),
                content: Content::Same(content),
                links: vec![each.link()],
                dropped: Vec::new(),
            }),
        }
    }
    plan
}

/// One index of all referrers under `tag`. Descriptors are built from the manifests, because stored ones may be wrong.
pub(super) fn referrers_tag(subject: &Digest, tag: &Tag, found: &[FoundReferrer], existing: &Existing) -> Plan {
    let mut plan = Plan::new(subject);
    let stored = match (&existing.digest, &existing.index) {
        (None, _) => ReferrersTagIndex::default(),
        (Some(digest), Some(index)) if digest != subject && !index.is_image() => index.clone(),
        (Some(digest), _) => {
            for each in found {
                plan.skip(
                    each,
                    format!("the tag {tag} is taken: it points at {digest}, which is no list of referrers"),
                );
            }
            return plan;
        }
    };
    let mut wanted = stored.clone();
    let mut links = Vec::new();
    for each in found {
        match &each.carrier {
            Carrier::Itself | Carrier::Original => {
                let before = wanted.clone();
                wanted.add(&each.referrer.descriptor);
                if wanted == before {
                    plan.there.insert(each.digest().clone());
                } else {
                    links.push(each.link());
                }
            }
            Carrier::Envelope(_) => plan.skip(each, "the registry keeps it in an envelope, which only refshim opens"),
            Carrier::Elsewhere => {
                plan.skip(
                    each,
                    "the registry has no such manifest: a blob, or inlined in an index",
                );
            }
        }
    }
    let mut dropped = Vec::new();
    for (digest, other) in &existing.others {
        match other {
            OtherEntry::Gone => {
                wanted.remove(digest);
                dropped.push(digest.clone());
            }
            OtherEntry::There(descriptor) => wanted.add(descriptor),
            OtherEntry::Strange => {}
        }
    }
    if wanted != stored {
        plan.writes.push(PlannedWrite {
            tag: tag.clone(),
            content: Content::Index {
                bytes: wanted.print(),
                replaces: existing.digest.clone(),
            },
            links,
            dropped,
        });
    }
    plan
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
