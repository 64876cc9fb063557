//! What is wrong with links, and what is linked twice, told from what was read. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::gc::judge::{MissingContent, Verdict};
use crate::cli::gc::snapshot::Snapshot;
use crate::oci::media_type::{OCI_EMPTY, essence};
use crate::oci::{Descriptor, Digest, LinkTagKind, Manifest, SubjectKey, Tag};

use super::findings::AuditedReferrer;
use super::link_faults::{Duplicates, LinkFault, LinkFaultKind};

/// A manifest that was read, by whatever names it.
pub(super) struct DescribedManifest<'a> {
    pub(super) manifest: &'a Manifest,
    /// In bytes.
    pub(super) size: u64,
}

/// Link tags that lead nowhere, and lists with entries that are gone.
pub(super) fn dead(verdict: &Verdict) -> Vec<LinkFault> {
    let dead = verdict.dead.iter().map(|dead| LinkFault {
        kind: match &dead.gone {
            MissingContent::Subject(_) => LinkFaultKind::SubjectGone,
            MissingContent::Target => LinkFaultKind::TargetGone,
            MissingContent::Original(_) => LinkFaultKind::BlobGone,
            MissingContent::Entries(_) => LinkFaultKind::EntryGone,
        },
        tag: Some(dead.tag.clone()),
        referrer: dead.digest.clone(),
        message: dead.gone.text(),
    });
    let stale = verdict.stale.iter().flat_map(|stale| {
        stale.entries.iter().map(|entry| LinkFault {
            kind: LinkFaultKind::EntryGone,
            tag: Some(stale.tag.clone()),
            referrer: Some(entry.clone()),
            message: format!("it lists {entry}, which is gone"),
        })
    });
    dead.chain(stale).collect()
}

/// What link tags and indexes say of manifests, and these do not. `known` are those that were read.
pub(super) fn contradictions(snapshot: &Snapshot, known: &BTreeMap<Digest, DescribedManifest<'_>>) -> Vec<LinkFault> {
    let mut faults = Vec::new();
    for (tag, link, target) in snapshot.link_tags() {
        let Some((digest, held)) = target.and_then(|digest| Some((digest, snapshot.manifests.get(digest)?))) else {
            continue;
        };
        match link.kind {
            LinkTagKind::Referrers => {
                for entry in held.manifest.iter().flat_map(|index| &index.manifests) {
                    let found = known.get(&entry.digest);
                    faults.extend(
                        found.and_then(|found| other_subject(tag, &link.subject, &entry.digest, found.manifest)),
                    );
                    faults.extend(found.and_then(|found| differs(Some(tag), entry, found)));
                }
            }
            LinkTagKind::Cosign(_) | LinkTagKind::ProposalD { .. } if !link.is_envelope() && held.sealed.is_none() => {
                let manifest = held.manifest.as_ref();
                faults.extend(manifest.and_then(|manifest| other_subject(tag, &link.subject, digest, manifest)));
            }
            LinkTagKind::Cosign(_) | LinkTagKind::ProposalD { .. } => {}
        }
    }
    let tags = snapshot.tags.iter();
    let tags: BTreeMap<&Digest, &Tag> = tags.filter_map(|(tag, target)| Some((target.as_ref()?, tag))).collect();
    for (digest, held) in &snapshot.manifests {
        let tag = tags.get(digest).copied();
        let is_link = tag.is_some_and(|tag| snapshot.link(tag).is_some());
        let listed = held.manifest.iter().flat_map(|index| &index.manifests);
        for entry in listed.filter(|entry| !is_link && entry.stated_subjects().next().is_some()) {
            let found = known.get(&entry.digest);
            faults.extend(found.and_then(|found| differs(tag, entry, found)));
        }
    }
    faults
}

/// A manifest that names subjects, but not that of the tag that links it.
fn other_subject(tag: &Tag, subject: &SubjectKey, digest: &Digest, manifest: &Manifest) -> Option<LinkFault> {
    let stated = manifest.own_subjects();
    let names_another = !stated.is_empty() && !stated.iter().any(|(stated, _)| SubjectKey::of(stated) == *subject);
    names_another.then(|| LinkFault {
        kind: LinkFaultKind::OtherSubject,
        tag: Some(tag.clone()),
        referrer: Some(digest.clone()),
        message: format!("{digest} names the subject {}", stated[0].0),
    })
}

/// An entry that says something else of a manifest than that says itself. Clients choose by its artifact type and refuse another size.
fn differs(tag: Option<&Tag>, entry: &Descriptor, found: &DescribedManifest<'_>) -> Option<LinkFault> {
    let own = found.manifest.descriptor(entry.digest.clone(), found.size);
    let artifact_type = entry
        .artifact_type
        .as_ref()
        .filter(|stated| Some(*stated) != own.artifact_type.as_ref());
    let difference = if entry.size != own.size {
        format!("size {} instead of {}", entry.size, own.size)
    } else if !entry.media_type.is_empty() && essence(&entry.media_type) != own.media_type {
        format!("media type {} instead of {}", entry.media_type, own.media_type)
    } else {
        let stated = artifact_type?;
        format!(
            "artifact type {stated} instead of {}",
            own.artifact_type.as_deref().unwrap_or("none")
        )
    };
    Some(LinkFault {
        kind: LinkFaultKind::DescriptorDiffers,
        tag: tag.cloned(),
        referrer: Some(entry.digest.clone()),
        message: format!("it lists {} with {difference}", entry.digest),
    })
}

/// Referrers of one type whose content is the same, apart from dates and other annotations.
pub(super) fn duplicates(
    subject: &Digest,
    referrers: &[AuditedReferrer],
    known: &BTreeMap<Digest, DescribedManifest<'_>>,
) -> Vec<Duplicates> {
    let mut by_content: BTreeMap<(Option<String>, Vec<Digest>), BTreeSet<Digest>> = BTreeMap::new();
    for found in referrers {
        let Some(manifest) = known.get(found.referrer.stored_digest()).map(|known| known.manifest) else {
            continue;
        };
        let content = manifest.contents().iter().filter(|part| part.media_type != OCI_EMPTY);
        let content: Vec<Digest> = content.map(|part| part.digest.clone()).collect();
        if !content.is_empty() {
            let key = (found.referrer.descriptor.artifact_type.clone(), content);
            by_content
                .entry(key)
                .or_default()
                .insert(found.referrer.descriptor.digest.clone());
        }
    }
    let several = by_content.into_iter().filter(|(_, referrers)| referrers.len() > 1);
    several
        .map(|((artifact_type, _), referrers)| Duplicates {
            subject: subject.clone(),
            artifact_type,
            referrers: referrers.into_iter().collect(),
        })
        .collect()
}
