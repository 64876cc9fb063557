//! Links as they are remembered: what a manifest that was read says of itself and of others.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::candidates::{CandidateContent, Candidates};
use crate::cache::{Cached, from_json, to_json};
use crate::oci::weight::{allocated, shared_text, tree};
use crate::oci::{Descriptor, Digest, LinkSource, LinkTarget, Manifest};

/// A link to a subject that whoever keeps it knows. `This` in the target is the manifest with digest `holder`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::referrers) struct HeldLink {
    pub target: LinkTarget,
    pub holder: Digest,
    #[serde(rename = "dialect")]
    pub source: LinkSource,
}

impl HeldLink {
    /// Bytes that it takes up beside its own.
    pub fn held(&self) -> usize {
        shared_text(self.holder.as_str()) + self.target.held()
    }

    /// Adds what the link names. `verified`: something that was just asked says that it still stands there.
    pub fn add_to(&self, found: &mut Candidates, verified: bool) {
        let what = match &self.target {
            LinkTarget::This => CandidateContent::Named(Descriptor::new("", self.holder.clone(), 0)),
            LinkTarget::Manifest(listed) => CandidateContent::Named(listed.clone()),
            LinkTarget::Blob(listed) => CandidateContent::Blob(listed.clone()),
        };
        match verified {
            true => {
                found.add(what, self.source, None);
                if matches!(self.target, LinkTarget::This) {
                    found.expect(&self.holder);
                }
            }
            false => found.add_remembered(what, self.source),
        }
        if let LinkTarget::Manifest(listed) = &self.target {
            found.listed_by_index(&listed.digest);
        }
    }
}

/// A link, and what it links to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::referrers) struct SubjectLink {
    pub subject: Digest,
    #[serde(flatten)]
    pub link: HeldLink,
}

impl SubjectLink {
    /// Every link that a manifest states.
    pub fn stated_by<'a>(manifest: &Manifest, holder: &'a Digest) -> impl Iterator<Item = Self> + use<'a> {
        manifest.links(holder).into_iter().map(|link| Self {
            subject: link.subject,
            link: HeldLink {
                target: link.target,
                holder: holder.clone(),
                source: link.source,
            },
        })
    }

    /// Bytes that it takes up beside its own.
    fn held(&self) -> usize {
        shared_text(self.subject.as_str()) + self.link.held()
    }
}

/// Everything behind one manifest, itself included.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::referrers) struct LinksBehind {
    pub links: Vec<SubjectLink>,
    /// Every manifest that is read or listed: of those it is known what, behind this tag, refers to them.
    pub mentioned: BTreeSet<Digest>,
    /// What an index lists and the registry did not give whoever read this: it may come, and others may be given it.
    pub missing: BTreeSet<Digest>,
    /// True where that was missing only a moment ago: this is not remembered.
    #[serde(skip)]
    pub is_unsettled: bool,
    /// Whether the registry failed at something here, which may pass: this is not remembered.
    #[serde(skip)]
    pub fails: bool,
    /// Whether the registry withholds something here from this caller: this is not remembered, and is nobody else's answer.
    #[serde(skip)]
    pub is_withheld: bool,
}

impl LinksBehind {
    /// Whether there may be more links than these, in what could not be read this time.
    pub fn is_partial(&self) -> bool {
        self.fails || self.is_withheld
    }
}

impl Cached for LinksBehind {
    fn weight(&self) -> usize {
        let digests = self.mentioned.iter().chain(&self.missing);
        let texts = digests.map(|digest| shared_text(digest.as_str()));
        size_of::<Self>()
            + allocated(self.links.capacity() * size_of::<SubjectLink>())
            + self.links.iter().map(SubjectLink::held).sum::<usize>()
            + tree(self.mentioned.len(), size_of::<Digest>())
            + tree(self.missing.len(), size_of::<Digest>())
            + texts.sum::<usize>()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }
}
