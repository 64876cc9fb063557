//! The list of referrers that every API prints.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::descriptor::Descriptor;
use super::digest::Digest;
use super::link::LinkSource;

/// One referrer of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referrer {
    /// Built from the manifest's own bytes: size, digest, media type, artifact type, annotations.
    pub descriptor: Descriptor,
    /// Its creation date, from its annotations, in nanoseconds since 1970.
    pub created: Option<i128>,
    /// Every way in which the link was found.
    #[serde(rename = "dialects")]
    pub sources: BTreeSet<LinkSource>,
    /// The objects of a node manifest, which Proposal C lists in the node's place.
    pub objects: Option<Vec<Descriptor>>,
    /// What the registry keeps, where this is the adopted form of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<AdoptedOriginal>,
}

/// The manifest that an adopted form was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdoptedOriginal {
    pub digest: Digest,
    /// Whether an index lists it, which would lose it.
    pub is_in_index: bool,
}

impl Referrer {
    /// The digest under which the registry itself has it.
    pub fn stored_digest(&self) -> &Digest {
        match &self.adopted {
            Some(original) => &original.digest,
            None => &self.descriptor.digest,
        }
    }

    /// Newest creation date first, as in Proposal A, undated last, then by digest. It is the order of every dialect.
    pub fn order(&self, other: &Self) -> Ordering {
        self.position().cmp(&other.position())
    }

    /// The sort key. Page tokens contain it, so that pages stay consistent while the list changes.
    pub fn position(&self) -> Position {
        Position {
            undated: self.created.is_none(),
            newest: Reverse(self.created.unwrap_or_default()),
            digest: self.descriptor.digest.clone(),
        }
    }
}

/// The position of an entry in any list that contains it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub undated: bool,
    pub newest: Reverse<i128>,
    pub digest: Digest,
}

/// All referrers of one subject: one entry per digest, in [`Referrer::order`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferrerList {
    /// What all entries refer to.
    pub subject: Digest,
    /// The entries, sorted.
    pub referrers: Vec<Referrer>,
    /// The list as OCI 1.1 prints it, once it was asked for.
    #[serde(skip)]
    pub printed: Printed,
}

impl ReferrerList {
    /// A list of `referrers`, which are sorted and have different digests.
    pub fn new(subject: Digest, referrers: Vec<Referrer>) -> Self {
        Self {
            subject,
            referrers,
            printed: Printed::default(),
        }
    }
}

/// The list as OCI 1.1 prints it, made once because it is the same for every caller. It follows from the list, so two of these are
/// always equal.
#[derive(Clone, Debug, Default)]
pub struct Printed(OnceLock<(Bytes, Digest)>);

impl Printed {
    /// The result of the first call of `print`, and its digest.
    pub fn once(&self, print: impl FnOnce() -> Bytes) -> &(Bytes, Digest) {
        self.0.get_or_init(|| {
            let body = print();
            let digest = Digest::sha256(&body);
            (body, digest)
        })
    }

    pub fn is_made(&self) -> bool {
        self.0.get().is_some()
    }
}

impl PartialEq for Printed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Printed {}
