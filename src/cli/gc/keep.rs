//! Everything that live images need: what ordinary tags hold, what that lists, what refers to it, and so on. Pure; whoever
//! drives it reads what it asks for.
//!
//! It errs on the side of keeping: a link counts wherever it is stated, whether or not it would be listed.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::{Digest, SubjectKey};

use super::snapshot::{ReadManifest, Snapshot};

pub(super) struct Keep {
    /// What link tags point at.
    by_key: BTreeMap<SubjectKey, BTreeSet<Digest>>,
    /// What refers to a digest, and what says so.
    by_subject: BTreeMap<Digest, BTreeSet<Digest>>,
    reached: BTreeSet<Digest>,
    unread: BTreeSet<Digest>,
    /// What an index lists under a type that is no manifest's, such as the layers of a BuildKit cache.
    may_be_blobs: BTreeSet<Digest>,
    /// What tags that are no links point at, and the manifests that this lists: users' own content.
    owned: BTreeSet<Digest>,
    /// Of that, what is listed as an index, which lists more.
    owned_indexes: BTreeSet<Digest>,
    /// What was asked for and is not there.
    absent: BTreeSet<Digest>,
    needed: BTreeSet<Digest>,
}

impl Keep {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut keep = Self {
            by_key: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            reached: BTreeSet::new(),
            unread: BTreeSet::new(),
            may_be_blobs: BTreeSet::new(),
            owned: snapshot.roots(),
            owned_indexes: BTreeSet::new(),
            absent: BTreeSet::new(),
            needed: BTreeSet::new(),
        };
        for (_, link, target) in snapshot.link_tags() {
            keep.by_key.entry(link.subject).or_default().extend(target.cloned());
        }
        for (own, held) in &snapshot.manifests {
            keep.learn(own, held);
        }
        keep.reach(snapshot.roots());
        keep
    }

    /// What is to be read next; empty when everything is known.
    pub(super) fn unread(&mut self) -> BTreeSet<Digest> {
        std::mem::take(&mut self.unread)
    }

    /// Whether nothing but its place in an index speaks for its being a manifest.
    pub(super) fn may_be_blob(&self, digest: &Digest) -> bool {
        self.may_be_blobs.contains(digest)
    }

    /// Whether a tagged image or index is, or lists, this manifest.
    pub(super) fn must_be_there(&self, digest: &Digest) -> bool {
        self.owned.contains(digest) && !self.may_be_blob(digest)
    }

    /// What a tagged index lists and is not there, once everything is read: platforms that were never copied.
    pub(super) fn absent(&self) -> BTreeSet<Digest> {
        let absent = self.absent.iter().filter(|digest| self.must_be_there(digest));
        absent.cloned().collect()
    }

    /// An index among these: what it lists is not known, and needed all the same.
    pub(super) fn absent_index(&self) -> Option<&Digest> {
        self.absent.iter().find(|digest| self.owned_indexes.contains(digest))
    }

    /// Takes in one digest that was asked for: what it holds, `None` when it is gone, and what the registry itself lists as
    /// referring to it.
    pub(super) fn read(&mut self, digest: &Digest, held: Option<&ReadManifest>, native: Vec<Digest>) {
        if let Some(held) = held {
            self.needed.insert(digest.clone());
            self.learn(digest, held);
            for listed in held.listed_as_others() {
                self.needed.insert(listed.clone());
                self.may_be_blobs.insert(listed.clone());
            }
            if self.owned.contains(digest) {
                self.owned.extend(held.listed().cloned());
                self.owned_indexes.extend(held.listed_indexes().cloned());
            }
            self.reach(held.listed().cloned().collect());
        } else {
            self.absent.insert(digest.clone());
        }
        self.reach(native.into_iter().collect());
        let tagged = self.by_key.get(&SubjectKey::of(digest)).cloned().unwrap_or_default();
        self.reach(tagged);
        let linked = self.by_subject.get(digest).cloned().unwrap_or_default();
        self.reach(linked);
    }

    pub(super) fn needed(self) -> BTreeSet<Digest> {
        self.needed
    }

    /// Remembers who refers to whom. A subject that was reached before gets what was not known then.
    fn learn(&mut self, own: &Digest, held: &ReadManifest) {
        for link in held.links(own) {
            let both: BTreeSet<Digest> = [link.referrer, own.clone()].into();
            if self.reached.contains(&link.subject) {
                self.reach(both.clone());
            }
            self.by_subject.entry(link.subject).or_default().extend(both);
        }
    }

    fn reach(&mut self, digests: BTreeSet<Digest>) {
        for digest in digests {
            if self.reached.insert(digest.clone()) {
                self.unread.insert(digest);
            }
        }
    }
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
