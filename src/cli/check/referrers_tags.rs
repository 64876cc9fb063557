//! Whether referrers tags list what Proposal D tags link: one that is locked, or that others overwrite, lacks entries.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::tag_scheme::{self, ENVELOPE_KIND};
use crate::oci::{LinkTagKind, Reference, ReferrersTagIndex, RepositoryName, SubjectKey, Tag};
use crate::registry::{Answer, Caller, TagNames, Upstream, UpstreamError};

/// Referrers tags that are read.
const LOOKED_AT: usize = 20;

/// Referrers tags of which some lack links, of those that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct IncompleteTags {
    pub(super) incomplete: Vec<Tag>,
    pub(super) looked_at: usize,
}

impl IncompleteTags {
    /// What to do about them.
    pub(super) fn advice(&self) -> Option<String> {
        let first = self.incomplete.first()?;
        Some(format!(
            "{} of {} referrers tags lack links that Proposal D tags hold, such as {first}: it is locked, or somebody overwrites it, and clients \
             that bypass refshim miss them; 'refshim materialize REPO --as referrers-tag' adds what can be added",
            self.incomplete.len(),
            self.looked_at
        ))
    }
}

/// By subject, how the digests of what its Proposal D tags link begin. What an envelope keeps has no place in a referrers tag.
fn linked(names: &TagNames) -> BTreeMap<SubjectKey, BTreeSet<String>> {
    let mut linked: BTreeMap<SubjectKey, BTreeSet<String>> = BTreeMap::new();
    let mut enveloped = BTreeSet::new();
    for link in names.iter().filter_map(tag_scheme::parse) {
        match link.kind {
            LinkTagKind::ProposalD { hash, kind } if kind == ENVELOPE_KIND => _ = enveloped.insert(hash),
            LinkTagKind::ProposalD { hash, .. } => _ = linked.entry(link.subject).or_default().insert(hash),
            LinkTagKind::Cosign(_) | LinkTagKind::Referrers => {}
        }
    }
    for hashes in linked.values_mut() {
        hashes.retain(|hash| !enveloped.contains(hash));
    }
    linked.retain(|_, hashes| !hashes.is_empty());
    linked
}

/// Reads the referrers tags of subjects that have Proposal D tags, too.
pub(super) async fn incomplete(
    upstream: &Upstream,
    repository: &RepositoryName,
    names: &TagNames,
    caller: &Caller,
) -> Result<IncompleteTags, UpstreamError> {
    let mut found = IncompleteTags::default();
    let listed = linked(names).into_iter();
    let listed = listed.filter(|(subject, _)| names.contains(subject.as_str()));
    for (subject, hashes) in listed.take(LOOKED_AT) {
        let Ok(tag) = Tag::parse(subject.as_str()) else {
            continue;
        };
        let reference = Reference::Tag(tag.clone());
        let Answer::Found(raw) = upstream.manifest(repository, &reference, caller).await? else {
            continue;
        };
        let Some(index) = ReferrersTagIndex::of_tag(&subject, &raw.media_type, &raw.bytes) else {
            continue;
        };
        found.looked_at += 1;
        let digests = index.digests();
        let is_listed = |hash: &String| digests.iter().any(|digest| digest.encoded().starts_with(hash.as_str()));
        if !hashes.iter().all(is_listed) {
            found.incomplete.push(tag);
        }
    }
    Ok(found)
}
