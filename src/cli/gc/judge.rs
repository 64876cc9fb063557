//! Which link tags are dead, and which manifests may go with them. Pure: what exists is given.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::oci::tag_scheme::ENVELOPE_KIND;
use crate::oci::{Digest, LinkTag, LinkTagKind, SubjectKey, Tag};

use super::snapshot::{ReadManifest, Snapshot};

/// A link tag that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct DeadTag {
    pub(in crate::cli) tag: Tag,
    /// What it points at.
    pub(in crate::cli) digest: Option<Digest>,
    pub(in crate::cli) gone: MissingContent,
}

/// A referrers tag that lists what is gone beside what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Stale {
    pub(in crate::cli) tag: Tag,
    /// What it points at.
    pub(in crate::cli) digest: Digest,
    /// The entries that are gone.
    pub(in crate::cli) entries: BTreeSet<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "digests")]
pub(in crate::cli) enum MissingContent {
    /// All that it could refer to.
    Subject(BTreeSet<Digest>),
    Target,
    /// The envelope's blob.
    Original(BTreeSet<Digest>),
    /// Everything that the referrers tag lists.
    Entries(BTreeSet<Digest>),
}

impl MissingContent {
    pub(in crate::cli) fn text(&self) -> String {
        let list = |digests: &BTreeSet<Digest>| {
            let texts: Vec<&str> = digests.iter().map(Digest::as_str).collect();
            texts.join(", ")
        };
        match self {
            Self::Subject(digests) => format!("the subject {} is gone", list(digests)),
            Self::Target => "what it points at is gone".to_owned(),
            Self::Original(digests) => format!("the content of the envelope, {}, is gone", list(digests)),
            Self::Entries(digests) => format!("all that it lists, {}, is gone", list(digests)),
        }
    }

    /// What must still be gone when the tag is deleted.
    pub(in crate::cli) fn digests(&self) -> impl Iterator<Item = &Digest> {
        let digests = match self {
            Self::Subject(digests) | Self::Entries(digests) => Some(digests),
            // Both are seen by the tag itself.
            Self::Target | Self::Original(_) => None,
        };
        digests.into_iter().flatten()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Verdict {
    /// How many link tags there are.
    pub(in crate::cli) links: usize,
    pub(in crate::cli) dead: Vec<DeadTag>,
    pub(in crate::cli) stale: Vec<Stale>,
    /// Link tags whose subject's whole digest nothing tells: they stay.
    pub(in crate::cli) unclear: Vec<Tag>,
}

/// The digests of which it must be known whether they exist.
pub(in crate::cli) fn questions(snapshot: &Snapshot) -> BTreeSet<Digest> {
    let mut digests = BTreeSet::new();
    for (_, link, target) in snapshot.link_tags() {
        let held = target.and_then(|digest| Some((digest, snapshot.manifests.get(digest)?)));
        digests.extend(subjects(&link, held));
        if let Some((own, held)) = held {
            digests.extend(held.links(own).into_iter().map(|link| link.subject));
            if link.kind == LinkTagKind::Referrers {
                digests.extend(held.listed().cloned());
            }
        }
    }
    let known = snapshot.known();
    digests.retain(|digest| !known.contains(digest));
    digests
}

/// The digests that a link tag may mean. None: its key was cut, and what it points at does not name the subject.
fn subjects(link: &LinkTag, held: Option<(&Digest, &ReadManifest)>) -> BTreeSet<Digest> {
    let stated = held.map(|(own, held)| held.links(own)).unwrap_or_default();
    let stated = stated.into_iter().map(|stated| stated.subject);
    if is_envelope(link) {
        return stated.collect();
    }
    match link.subject.digest() {
        Some(digest) => BTreeSet::from([digest]),
        None => stated
            .filter(|subject| SubjectKey::of(subject) == link.subject)
            .collect(),
    }
}

fn is_envelope(link: &LinkTag) -> bool {
    matches!(&link.kind, LinkTagKind::ProposalD { kind, .. } if kind == ENVELOPE_KIND)
}

/// Whether there is nothing but link tags, all of them without a subject: so looks a repository that keeps the links of another.
pub(super) fn keeps_links_alone(snapshot: &Snapshot, verdict: &Verdict) -> bool {
    let is_without_subject = |dead: &DeadTag| matches!(dead.gone, MissingContent::Subject(_));
    let all_are_links = snapshot.tags.keys().all(|tag| snapshot.link(tag).is_some());
    all_are_links && verdict.dead.len() == verdict.links && verdict.dead.iter().any(is_without_subject)
}

/// `exists` are those of the [`questions`] that exist.
pub(in crate::cli) fn judge(snapshot: &Snapshot, exists: &BTreeSet<Digest>) -> Verdict {
    let judge = Judge {
        roots: snapshot.roots(),
        known: snapshot.known(),
        snapshot,
        exists,
    };
    let mut verdict = Verdict::default();
    for (tag, link, target) in snapshot.link_tags() {
        verdict.links += 1;
        match judge.judge(&link, target) {
            Judged::Live => {}
            Judged::Stale(digest, entries) => verdict.stale.push(Stale {
                tag: tag.clone(),
                digest,
                entries,
            }),
            Judged::Unclear => verdict.unclear.push(tag.clone()),
            Judged::Dead(gone) => verdict.dead.push(DeadTag {
                tag: tag.clone(),
                digest: target.cloned(),
                gone,
            }),
        }
    }
    verdict
}

enum Judged {
    Live,
    /// What it points at, and which of its entries are gone.
    Stale(Digest, BTreeSet<Digest>),
    Unclear,
    Dead(MissingContent),
}

struct Judge<'a> {
    snapshot: &'a Snapshot,
    exists: &'a BTreeSet<Digest>,
    known: BTreeSet<Digest>,
    roots: BTreeSet<Digest>,
}

impl Judge<'_> {
    fn is_there(&self, digest: &Digest) -> bool {
        self.known.contains(digest) || self.exists.contains(digest)
    }

    fn judge(&self, link: &LinkTag, target: Option<&Digest>) -> Judged {
        let Some(digest) = target else {
            return Judged::Dead(MissingContent::Target);
        };
        // A link tag that points at something was read.
        let Some(held) = self.snapshot.manifests.get(digest) else {
            return Judged::Live;
        };
        if let Some(sealed) = held.sealed.as_ref().filter(|sealed| sealed.original.is_none()) {
            return Judged::Dead(MissingContent::Original([sealed.digest.clone()].into()));
        }
        let subjects = subjects(link, Some((digest, held)));
        if is_envelope(link) {
            // Without a subject it stands for itself, and so it does when somebody gave it a tag.
            let is_alone = subjects.is_empty() || self.roots.contains(digest);
            return match is_alone || subjects.iter().any(|subject| self.is_there(subject)) {
                true => Judged::Live,
                false => Judged::Dead(MissingContent::Subject(subjects)),
            };
        }
        if subjects.is_empty() {
            return Judged::Unclear;
        }
        if !subjects.iter().any(|subject| self.is_there(subject)) {
            return Judged::Dead(MissingContent::Subject(subjects));
        }
        if link.kind != LinkTagKind::Referrers {
            return Judged::Live;
        }
        let listed: BTreeSet<Digest> = held.listed().cloned().collect();
        let gone: BTreeSet<Digest> = listed.iter().filter(|digest| !self.is_there(digest)).cloned().collect();
        match gone.len() {
            0 => Judged::Live,
            all if all == listed.len() => Judged::Dead(MissingContent::Entries(gone)),
            _ => Judged::Stale(digest.clone(), gone),
        }
    }
}

/// Whether a manifest may be deleted together with the dead tags that point at it, for registries that cannot delete a tag alone.
/// Otherwise what keeps it.
pub(super) fn keeps(
    snapshot: &Snapshot,
    verdict: &Verdict,
    exists: &BTreeSet<Digest>,
    needed: &BTreeSet<Digest>,
    digest: &Digest,
) -> Option<String> {
    let is_dead = |tag: &Tag| verdict.dead.iter().any(|dead| dead.tag == *tag);
    let mut others = snapshot
        .tags
        .iter()
        .filter(|(_, target)| target.as_ref() == Some(digest));
    if let Some((tag, _)) = others.find(|(tag, _)| !is_dead(tag)) {
        return Some(format!("the tag {tag} points at the same manifest"));
    }
    let known = snapshot.known();
    let stated = snapshot
        .manifests
        .get(digest)
        .map(|held| held.links(digest))
        .unwrap_or_default();
    let mut live = stated.iter().map(|link| &link.subject);
    if let Some(subject) = live.find(|subject| known.contains(subject) || exists.contains(subject)) {
        return Some(format!("it also refers to {subject}"));
    }
    needed.contains(digest).then(|| "a tagged image needs it".to_owned())
}

#[cfg(test)]
#[path = "judge_tests.rs"]
pub(super) mod tests;
