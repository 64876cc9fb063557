//! What the sources say may refer to the subject, before it was verified.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::oci::adoption::ArtifactHint;
use crate::oci::tag_scheme::CosignKind;
use crate::oci::{Descriptor, Digest, LinkSource, LinkTarget};
use crate::registry::RawManifest;

/// One digest that may refer to the subject.
#[derive(Clone, Debug)]
pub(in crate::referrers) struct Candidate {
    pub what: CandidateContent,
    pub sources: BTreeSet<LinkSource>,
    /// The cosign tag that named it: its config claims to be a runnable image's. Of several the first in their order, so that every
    /// process names it alike.
    pub cosign: Option<CosignKind>,
    /// Whether an index that was read lists it.
    pub is_in_index: bool,
    /// Something that was just read at the upstream names it, rather than memory alone.
    pub verified: bool,
    /// Whether the registry just said that it is there: by its own API, or by a tag. What a stored index says proves nothing.
    pub is_expected: bool,
}

#[derive(Clone, Debug)]
pub(in crate::referrers) enum CandidateContent {
    /// Read already, because a tag resolved to it.
    Read(Arc<RawManifest>),
    /// To be read by its digest.
    Named(Descriptor),
    /// A blob: there is no manifest to read.
    Blob(Descriptor),
}

impl Candidate {
    pub fn digest(&self) -> &Digest {
        self.what.digest()
    }

    /// What its links say of it.
    pub fn hint(&self) -> ArtifactHint {
        ArtifactHint {
            cosign: self.cosign,
            is_attestation: self.sources.contains(&LinkSource::Buildkit),
        }
    }
}

impl CandidateContent {
    fn digest(&self) -> &Digest {
        match self {
            Self::Read(raw) => &raw.digest,
            Self::Named(descriptor) | Self::Blob(descriptor) => &descriptor.digest,
        }
    }

    fn says_more_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Read(_), _) => true,
            // Of what cannot be checked, the descriptor is all there is.
            (Self::Named(this), Self::Named(other)) => other.media_type.is_empty() && !this.media_type.is_empty(),
            (Self::Named(_) | Self::Blob(_), _) => false,
        }
    }
}

/// Candidates by digest: found twice is one entry that remembers both dialects.
#[derive(Clone, Debug, Default)]
pub(in crate::referrers) struct Candidates(BTreeMap<Digest, Candidate>);

impl Candidates {
    /// Adds what something that was just read at the upstream names.
    pub fn add(&mut self, what: CandidateContent, source: LinkSource, cosign: Option<CosignKind>) {
        self.insert(what, source, cosign, true);
    }

    /// Adds what is only remembered.
    pub fn add_remembered(&mut self, what: CandidateContent, source: LinkSource) {
        self.insert(what, source, None, false);
    }

    fn insert(&mut self, what: CandidateContent, source: LinkSource, cosign: Option<CosignKind>, verified: bool) {
        let digest = what.digest().clone();
        let candidate = self.0.entry(digest).or_insert_with(|| Candidate {
            what: what.clone(),
            sources: BTreeSet::new(),
            cosign,
            is_in_index: false,
            verified,
            is_expected: false,
        });
        candidate.verified |= verified;
        candidate.is_expected |= verified && source == LinkSource::Native;
        candidate.sources.insert(source);
        candidate.cosign = candidate.cosign.into_iter().chain(cosign).min();
        if what.says_more_than(&candidate.what) {
            candidate.what = what;
        }
    }

    /// Adds the target of a link that `holder` holds.
    pub fn add_link(&mut self, target: &LinkTarget, holder: &Arc<RawManifest>, source: LinkSource) {
        let what = match target {
            LinkTarget::This => CandidateContent::Read(holder.clone()),
            LinkTarget::Manifest(descriptor) => CandidateContent::Named(descriptor.clone()),
            LinkTarget::Blob(descriptor) => CandidateContent::Blob(descriptor.clone()),
        };
        self.add(what, source, None);
        if let LinkTarget::Manifest(descriptor) = target {
            self.listed_by_index(&descriptor.digest);
        }
    }

    /// An index that was read lists this candidate.
    pub fn listed_by_index(&mut self, digest: &Digest) {
        if let Some(candidate) = self.0.get_mut(digest) {
            candidate.is_in_index = true;
        }
    }

    pub fn merge(&mut self, other: Self) {
        for (_, candidate) in other.0 {
            for source in &candidate.sources {
                self.insert(candidate.what.clone(), *source, candidate.cosign, candidate.verified);
            }
            if candidate.is_expected {
                self.expect(candidate.digest());
            }
            if candidate.is_in_index {
                self.listed_by_index(candidate.digest());
            }
        }
    }

    /// A tag was just seen to point at this candidate.
    pub fn expect(&mut self, digest: &Digest) {
        if let Some(candidate) = self.0.get_mut(digest) {
            candidate.is_expected = true;
        }
    }

    /// One of them, whichever.
    pub fn first(&self) -> Option<&Digest> {
        self.0.keys().next()
    }

    /// Everything but `subject`: nothing refers to itself.
    pub fn without(mut self, subject: &Digest) -> impl ExactSizeIterator<Item = Candidate> {
        self.0.remove(subject);
        self.0.into_values()
    }
}
