//! What a list rests on that the registry told one credential. Some registries list to each only what it may see, and have their
//! own referrers API for some alone: whoever was told less must not make others believe that there is no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cache::{Cached, from_json, to_json};
use crate::oci::{Descriptor, Digest, ReferrerList};
use crate::registry::{Caller, Fingerprint, TagNames};

/// What its caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Basis {
    /// The names that were listed, and what was named and not given: see [`given_of`].
    pub names: Fingerprint,
    /// Whether it had no credentials: what it was told, everybody without credentials is.
    pub anonymous: bool,
    /// What the registry's own API said about the subject.
    pub own_api: OwnApi,
}

/// What the registry's own API said about a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum OwnApi {
    /// The configuration does not have it asked.
    NotRead,
    /// It was missing or forbidden, so that others perhaps get more of it.
    Missing,
    /// It listed these digests.
    Listed(Fingerprint),
}

impl OwnApi {
    pub fn listed(entries: &[Descriptor]) -> Self {
        let mut digests: Vec<&str> = entries.iter().map(|entry| entry.digest.as_str()).collect();
        digests.sort_unstable();
        digests.dedup();
        let hasher = digests.iter().fold(Sha256::new(), |hasher, digest| {
            hasher.chain_update(digest).chain_update(b"\n")
        });
        Self::Listed(shortened(hasher))
    }
}

impl Basis {
    /// Whether both rest on the same words of the registry, whoever was told them.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (self.names, self.own_api) == (other.names, other.own_api)
    }

    pub fn is_of_nobody(&self, caller: &Caller) -> bool {
        self.anonymous && caller.is_anonymous()
    }
}

/// The fingerprint of a subject's own names, where others were not asked for.
pub(super) fn of_names(names: &TagNames, subject: &Digest) -> Fingerprint {
    shortened(Sha256::new_with_prefix(names.fingerprint()).chain_update(subject.as_str()))
}

/// The fingerprint of listed `names`, of which something is `missing`. No listing has it: nobody is told what rests on it who was not
/// itself told that the very same is missing, because others perhaps are given it.
pub(super) fn given_of(names: Fingerprint, missing: Option<Fingerprint>) -> Fingerprint {
    match missing {
        Some(missing) => shortened(
            Sha256::new_with_prefix(names)
                .chain_update("without")
                .chain_update(missing),
        ),
        None => names,
    }
}

/// Tags and digests that a listing or an index named to a caller, and that the registry says to it not to have. Registries hide
/// manifests so.
#[derive(Debug, Default)]
pub(super) struct MissingNames(BTreeSet<String>);

impl MissingNames {
    pub fn add(&mut self, name: &impl ToString) {
        self.0.insert(name.to_string());
    }

    /// `None` where there are none.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let add = |hash: Sha256, name: &String| hash.chain_update(name).chain_update("\n");
        (!self.0.is_empty()).then(|| shortened(self.0.iter().fold(Sha256::new(), add)))
    }
}

fn shortened(hasher: Sha256) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(&hasher.finalize()[..16]);
    fingerprint
}

/// A list as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RememberedAnswer {
    pub links: Arc<ReferrerList>,
    pub basis: Basis,
}

impl Cached for RememberedAnswer {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.links.weight()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(subject: &str, bytes: Bytes) -> Option<Self> {
        from_json::<Self>(&bytes).filter(|answer| answer.links.subject.as_str() == subject)
    }
}
