//! A repository as it was read: every tag, and what it points at. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::oci::media_type::ManifestKind;
use crate::oci::tag_scheme::{self, ENVELOPE_KIND};
use crate::oci::{Digest, LinkTag, LinkTagKind, LinkTarget, Manifest, ReferrersTagIndex, SubjectKey, Tag, envelope};
use crate::registry::RawManifest;

#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Snapshot {
    /// `None`: the tag is listed, but nothing is behind it.
    pub(in crate::cli) tags: BTreeMap<Tag, Option<Digest>>,
    pub(in crate::cli) manifests: BTreeMap<Digest, ReadManifest>,
}

/// A manifest that the registry holds.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct ReadManifest {
    /// `None`: nothing that can be understood, such as an old schema1 image. It holds no links.
    pub(in crate::cli) manifest: Option<Manifest>,
    /// Its bytes, where it is an index.
    pub(in crate::cli) index: Option<Bytes>,
    /// An index of platforms to run on.
    pub(in crate::cli) is_image: bool,
    /// Set when it is an envelope.
    pub(in crate::cli) sealed: Option<EnvelopeContent>,
}

/// What an envelope keeps.
#[derive(Clone, Debug)]
pub(in crate::cli) struct EnvelopeContent {
    pub(in crate::cli) digest: Digest,
    /// `None`: the blob with the original's bytes is gone.
    pub(in crate::cli) original: Option<EnvelopedManifest>,
}

/// The manifest in an envelope.
#[derive(Clone, Debug)]
pub(in crate::cli) struct EnvelopedManifest {
    /// `None`: nothing that can be understood.
    pub(in crate::cli) manifest: Option<Manifest>,
}

/// One link that a manifest states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct StatedLink {
    pub(in crate::cli) subject: Digest,
    pub(in crate::cli) referrer: Digest,
}

impl ReadManifest {
    /// `raw` as it is; `sealed` is left to be filled in by whoever can read blobs.
    pub(in crate::cli) fn of(raw: &RawManifest) -> Self {
        let manifest = raw.parse_of_any_kind().ok();
        let is_index = manifest.as_ref().is_some_and(|m| m.kind == ManifestKind::Index);
        Self {
            is_image: is_index && ReferrersTagIndex::parse(&raw.bytes).is_some_and(|index| index.is_image()),
            index: is_index.then(|| raw.bytes.clone()),
            sealed: None,
            manifest,
        }
    }

    /// The list of referrers of `subject` that it is under the referrers tag.
    pub(in crate::cli) fn list(&self, subject: &SubjectKey) -> Option<ReferrersTagIndex> {
        let media_type = &self.manifest.as_ref()?.media_type;
        ReferrersTagIndex::of_tag(subject, media_type, self.index.as_ref()?)
    }

    /// What the manifest claims to keep, when it is an envelope.
    pub(in crate::cli) fn seals(&self) -> Option<envelope::Original> {
        self.manifest.as_ref().and_then(envelope::open)
    }

    /// Every link that it states, `own` being its digest; of an envelope, every link that the original states.
    pub(in crate::cli) fn links(&self, own: &Digest) -> Vec<StatedLink> {
        match &self.sealed {
            Some(sealed) => {
                let original = sealed.original.as_ref().and_then(|original| original.manifest.as_ref());
                original
                    .map(|manifest| stated(manifest, &sealed.digest))
                    .unwrap_or_default()
            }
            None => self
                .manifest
                .as_ref()
                .map(|manifest| stated(manifest, own))
                .unwrap_or_default(),
        }
    }

    /// What it lists, when it is an index.
    pub(in crate::cli) fn listed(&self) -> impl Iterator<Item = &Digest> {
        let manifests = self.manifest.iter().flat_map(|manifest| &manifest.manifests);
        manifests.map(|listed| &listed.digest)
    }

    /// Of that, what has a type that is no manifest's.
    pub(in crate::cli) fn listed_as_others(&self) -> impl Iterator<Item = &Digest> {
        self.listed_as(None)
    }

    /// Of that, the indexes.
    pub(in crate::cli) fn listed_indexes(&self) -> impl Iterator<Item = &Digest> {
        self.listed_as(Some(ManifestKind::Index))
    }

    fn listed_as(&self, kind: Option<ManifestKind>) -> impl Iterator<Item = &Digest> {
        let manifests = self.manifest.iter().flat_map(|manifest| &manifest.manifests);
        let listed = manifests.filter(move |listed| ManifestKind::of(&listed.media_type) == kind);
        listed.map(|listed| &listed.digest)
    }
}

fn stated(manifest: &Manifest, own: &Digest) -> Vec<StatedLink> {
    let links = manifest.links(own).into_iter();
    links
        .map(|link| StatedLink {
            referrer: match link.target {
                LinkTarget::This => own.clone(),
                LinkTarget::Manifest(listed) | LinkTarget::Blob(listed) => listed.digest,
            },
            subject: link.subject,
        })
        .collect()
}

impl Snapshot {
    /// What `tag` links, where it does nothing else. A tag that has the name of a link but holds an image, or something that no
    /// link of that name holds, is its owner's.
    pub(in crate::cli) fn link(&self, tag: &Tag) -> Option<LinkTag> {
        let link = tag_scheme::parse(tag.as_str())?;
        let Some(digest) = self.tags.get(tag)?.as_ref() else {
            return Some(link);
        };
        let held = self.manifests.get(digest)?;
        let is_subject = link.subject.digest().as_ref() == Some(digest);
        let fits = match &link.kind {
            LinkTagKind::Referrers => held.list(&link.subject).is_some(),
            LinkTagKind::ProposalD { kind, .. } if kind == ENVELOPE_KIND => held.sealed.is_some(),
            LinkTagKind::ProposalD { .. } | LinkTagKind::Cosign(_) => held.manifest.is_some(),
        };
        (fits && !held.is_image && !is_subject).then_some(link)
    }

    /// The tags that link, with what they point at.
    pub(in crate::cli) fn link_tags(&self) -> impl Iterator<Item = (&Tag, LinkTag, Option<&Digest>)> {
        let tags = self.tags.iter();
        tags.filter_map(|(tag, digest)| Some((tag, self.link(tag)?, digest.as_ref())))
    }

    /// What tags point at that are no links: what users put there.
    pub(in crate::cli) fn roots(&self) -> BTreeSet<Digest> {
        let ordinary = self.tags.iter().filter(|(tag, _)| self.link(tag).is_none());
        ordinary.filter_map(|(_, digest)| digest.clone()).collect()
    }

    /// The manifest `digest`, or the original of that digest in an envelope, as if it were held.
    pub(in crate::cli) fn held(&self, digest: &Digest) -> Option<ReadManifest> {
        if let Some(held) = self.manifests.get(digest) {
            return Some(held.clone());
        }
        let mut sealed = self.manifests.values().filter_map(|held| held.sealed.as_ref());
        let sealed = sealed.find(|sealed| sealed.digest == *digest && sealed.original.is_some())?;
        Some(ReadManifest {
            manifest: sealed.original.as_ref()?.manifest.clone(),
            ..ReadManifest::default()
        })
    }

    /// Everything that is known to exist: what was read, the originals in envelopes, and what tagged indexes list: that the registry
    /// does not give one of those is its fault, or lag.
    pub(in crate::cli) fn known(&self) -> BTreeSet<Digest> {
        let sealed = self.manifests.values().filter_map(|held| held.sealed.as_ref());
        let originals = sealed
            .filter(|sealed| sealed.original.is_some())
            .map(|sealed| &sealed.digest);
        let roots = self.roots();
        let roots = roots.iter().filter_map(|root| self.manifests.get(root));
        let listed = roots.flat_map(ReadManifest::listed);
        self.manifests.keys().chain(originals).chain(listed).cloned().collect()
    }
}
