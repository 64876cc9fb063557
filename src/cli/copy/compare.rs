//! What an image consists of, and what of it a destination lacks.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::cli::error::CliError;
use crate::oci::{Descriptor, Digest, Tag};

use super::destination::CopyDestination;
use super::graph::ImageGraph;

/// Questions to a destination at the same time.
const PARALLEL: usize = 8;

/// When a destination is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// To find out what need not be copied: what it does not show, it lacks.
    Before,
    /// To prove that everything is there: only a plain yes counts.
    After,
}

/// Content of an image, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ImageContent {
    pub(super) manifests: BTreeSet<Digest>,
    pub(super) blobs: BTreeMap<Digest, Descriptor>,
    /// By subject: what refers to it.
    pub(super) links: BTreeMap<Digest, BTreeSet<Digest>>,
    pub(super) tags: BTreeMap<Tag, Digest>,
}

/// What a destination lacks.
#[derive(Debug, Default)]
pub(super) struct LackingContent {
    pub(super) content: ImageContent,
    /// Those of the tags that point elsewhere, and where.
    pub(super) moved: BTreeMap<Tag, Digest>,
}

impl ImageContent {
    /// Everything of an image, and its tag at the destination.
    pub(super) fn of(graph: &ImageGraph, tag: Option<&Tag>) -> Self {
        let mut content = Self {
            manifests: graph.nodes.keys().cloned().collect(),
            tags: graph.cosign_tags.clone(),
            ..Self::default()
        };
        let blobs = graph.blobs().into_iter();
        content.blobs = blobs.map(|(digest, blob)| (digest.clone(), blob.clone())).collect();
        for (subject, referrer) in graph.written_links() {
            content.link(subject, &referrer.descriptor.digest);
        }
        content.tags.extend(tag.map(|tag| (tag.clone(), graph.root.clone())));
        content
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn link(&mut self, subject: &Digest, referrer: &Digest) {
        self.links.entry(subject.clone()).or_default().insert(referrer.clone());
    }

    /// Takes all of `other` in.
    pub(super) fn add(&mut self, other: Self) {
        self.manifests.extend(other.manifests);
        self.blobs.extend(other.blobs);
        for (subject, referrers) in other.links {
            self.links.entry(subject).or_default().extend(referrers);
        }
        self.tags.extend(other.tags);
    }

    /// What of it is not in `other`. A tag is the same only where it points at the same.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.manifests.retain(|digest| !other.manifests.contains(digest));
        rest.blobs.retain(|digest, _| !other.blobs.contains_key(digest));
        rest.tags.retain(|tag, digest| other.tags.get(tag) != Some(digest));
        for (subject, referrers) in &mut rest.links {
            let known = other.links.get(subject);
            referrers.retain(|referrer| !known.is_some_and(|known| known.contains(referrer)));
        }
        rest.links.retain(|_, referrers| !referrers.is_empty());
        rest
    }

    /// The size of all blobs, as their descriptors say: whoever wrote those may have written anything.
    pub(super) fn blob_bytes(&self) -> u64 {
        let sizes = self.blobs.values().map(|blob| blob.size);
        sizes.fold(0, u64::saturating_add)
    }

    /// The number of links.
    pub(super) fn link_count(&self) -> usize {
        self.links.values().map(BTreeSet::len).sum()
    }

    /// One of its parts, in words; `None` of nothing.
    pub(super) fn first(&self) -> Option<String> {
        let manifests = self.manifests.iter().map(|digest| format!("the manifest {digest}"));
        let blobs = self.blobs.keys().map(|digest| format!("the blob {digest}"));
        let links = self.links.iter().flat_map(|(subject, referrers)| {
            let link = move |referrer| format!("{referrer} among what refers to {subject}");
            referrers.iter().map(link)
        });
        let tags = self
            .tags
            .iter()
            .map(|(tag, digest)| format!("the tag {tag} of {digest}"));
        manifests.chain(blobs).chain(links).chain(tags).next()
    }
}

/// What of `content` the destination lacks. `root`: where that is missing, no other manifest is asked for before a copy: to write them is
/// as cheap.
pub(super) async fn missing(
    destination: &CopyDestination,
    content: &ImageContent,
    root: Option<&Digest>,
    moment: Moment,
) -> Result<LackingContent, CliError> {
    let mut missing = LackingContent::default();
    for (tag, digest) in &content.tags {
        let holds = destination.tag_holds(tag, moment).await?;
        if holds.as_ref() != Some(digest) {
            missing.content.tags.insert(tag.clone(), digest.clone());
            missing.moved.extend(holds.map(|holds| (tag.clone(), holds)));
        }
    }
    missing.content.blobs = stream::iter(&content.blobs)
        .map(async |(digest, blob): (&Digest, &Descriptor)| {
            let held = destination.holds_blob(blob, moment).await?;
            Ok::<_, CliError>((!held).then(|| (digest.clone(), blob.clone())))
        })
        .buffer_unordered(PARALLEL)
        .try_filter_map(async |missing| Ok(missing))
        .try_collect()
        .await?;
    if let Some(root) = root.filter(|root| moment == Moment::Before && content.manifests.contains(root))
        && !destination.holds_manifest(root, moment).await?
    {
        missing.content.manifests.clone_from(&content.manifests);
        missing.content.links.clone_from(&content.links);
        return Ok(missing);
    }
    missing.content.manifests = stream::iter(&content.manifests)
        .map(async |digest: &Digest| {
            let held = destination.holds_manifest(digest, moment).await?;
            Ok::<_, CliError>((!held).then(|| digest.clone()))
        })
        .buffer_unordered(PARALLEL)
        .try_filter_map(async |missing| Ok(missing))
        .try_collect()
        .await?;
    for (subject, referrers) in &content.links {
        let listed = destination.referrers(subject, moment).await?;
        for referrer in referrers.difference(&listed) {
            missing.content.link(subject, referrer);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_not_asked_again() {
        let (one, other) = (Digest::sha256(b"one"), Digest::sha256(b"other"));
        let tag = Tag::parse("v1").unwrap();
        let mut all = ImageContent::default();
        all.manifests.extend([one.clone(), other.clone()]);
        all.link(&one, &other);
        all.tags.insert(tag.clone(), one.clone());
        assert!(all.without(&all).is_empty());
        let mut known = ImageContent::default();
        known.manifests.insert(one.clone());
        known.tags.insert(tag.clone(), other.clone());
        let rest = all.without(&known);
        assert_eq!((rest.manifests.len(), rest.link_count(), rest.tags.len()), (1, 1, 1));
        assert_eq!(rest.first(), Some(format!("the manifest {other}")));
        known.add(all.clone());
        assert_eq!(known, all);
        assert_eq!(ImageContent::default().first(), None);
    }

    #[test]
    fn sizes_that_nothing_has_are_added_all_the_same() {
        let mut content = ImageContent::default();
        for (name, size) in [("one", u64::MAX), ("other", 2)] {
            let digest = Digest::sha256(name.as_bytes());
            content
                .blobs
                .insert(digest.clone(), Descriptor::new("x/y", digest, size));
        }
        assert_eq!(content.blob_bytes(), u64::MAX);
    }
}
