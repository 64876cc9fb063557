//! From candidates to entries: each is built from its own bytes, because stored indexes and tags lie.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::sync::Arc;
use std::time::Duration;

use crate::oci::adoption::{self, ArtifactContent};
use crate::oci::media_type::ManifestKind;
use crate::oci::{Descriptor, Digest, LinkSource, Manifest, Reference, Referrer, ReferrerList, timestamp};
use crate::registry::{Answer, HeadOutcome, RawManifest};

use super::adopted::{self, EntryManifest, KnownReferences, Unnamed, VerifiedEntry};
use super::candidates::{Candidate, CandidateContent, Candidates};
use super::lag::LAG;
use super::read_candidates::ReadCandidates;
use super::unverified::{self, UnverifiedEntry};
use super::{PARALLEL, context::Scan};
use crate::referrers::error::ResolveError;
use crate::referrers::manifest_store::{FoundOrSkipped, ManifestResult};
use crate::referrers::remembered::Given;

/// The finished list, and what else the candidates turned out to be.
pub(in crate::referrers) struct VerifiedEntries {
    pub links: ReferrerList,
    /// Candidates that the upstream has not had for longer than answers are fresh.
    pub gone: Vec<Digest>,
    /// How long ago the upstream said so of the one that it was asked for first.
    pub age: Duration,
}

/// What became of a candidate.
enum VerifiedCandidate {
    Entry(Box<VerifiedEntry>),
    /// The upstream does not have it.
    Missing(MissingCandidate),
    /// It refers to something else, although the registry's own API listed it.
    OfAnotherSubject(Digest),
    /// It is broken, or refers to something else.
    Skipped,
}

struct MissingCandidate {
    candidate: Candidate,
    /// How long ago the upstream said so.
    ago: Duration,
    /// Since when it says so.
    missing_for: Duration,
}

/// Whether it should be there and was not missing a second ago.
fn is_lately_missing(missing: &MissingCandidate) -> bool {
    missing.candidate.is_expected && missing.missing_for < LAG
}

/// Reads what is not read yet, drops what is gone or refers to something else, and orders the rest.
pub(in crate::referrers) async fn verified_entries(
    scan: &Scan,
    candidates: Candidates,
    references: &KnownReferences<'_>,
) -> Result<VerifiedEntries, ResolveError> {
    let candidates: Vec<Candidate> = candidates.without(&scan.subject).collect();
    let mut read = ReadCandidates::default();
    let (mut gone, mut age) = (Vec::new(), Duration::ZERO);
    let missing = verify_all(scan, candidates, &mut read).await?;
    let (again, mut missing): (Vec<MissingCandidate>, Vec<_>) = missing.into_iter().partition(is_lately_missing);
    if !again.is_empty() {
        tokio::time::sleep(LAG).await;
        let again = again.into_iter().map(|missing| missing.candidate);
        missing.extend(verify_all(scan, again.collect(), &mut read).await?);
    }
    read.check_own_list()?;
    for MissingCandidate {
        candidate,
        ago,
        missing_for,
    } in missing
    {
        age = age.max(ago);
        scan.lacks(candidate.digest());
        match scan.may_come(missing_for) {
            true if candidate.is_expected => scan.unsettle(),
            // Nor is it forgotten what memory says of it.
            true => {}
            false => gone.push(candidate.digest().clone()),
        }
    }
    let entries = adopted::listed(scan, read.entries, references).await?;
    let mut referrers: Vec<Referrer> = entries.into_values().collect();
    referrers.sort_unstable_by(Referrer::order);
    Ok(VerifiedEntries {
        links: ReferrerList::new(scan.subject.clone(), referrers),
        gone,
        age,
    })
}

/// Reads these into `read`; returned are those that are missing.
async fn verify_all(
    scan: &Scan,
    candidates: Vec<Candidate>,
    read: &mut ReadCandidates,
) -> Result<Vec<MissingCandidate>, ResolveError> {
    let mut missing = Vec::new();
    let mut outcomes = stream::iter(candidates)
        .map(|candidate| verify(scan, candidate))
        .buffer_unordered(PARALLEL);
    while let Some(outcome) = outcomes.try_next().await? {
        match outcome {
            VerifiedCandidate::Entry(entry) => read.entries.push(*entry),
            VerifiedCandidate::OfAnotherSubject(digest) => read.of_another_subject = Some(digest),
            VerifiedCandidate::Missing(candidate) => missing.push(candidate),
            VerifiedCandidate::Skipped => {}
        }
    }
    Ok(missing)
}

async fn verify(scan: &Scan, candidate: Candidate) -> Result<VerifiedCandidate, ResolveError> {
    if let CandidateContent::Named(_) = &candidate.what
        && let Some(ago) = absent_ago(scan, &candidate)
    {
        return Ok(missing(scan, candidate, ago));
    }
    let raw = match &candidate.what {
        CandidateContent::Blob(descriptor) => return Ok(blob_entry(&candidate, descriptor)),
        CandidateContent::Read(raw) => raw.clone(),
        CandidateContent::Named(descriptor) if !descriptor.digest.is_computable() => {
            return Ok(match unverified::entry(scan, &candidate, descriptor).await? {
                UnverifiedEntry::Listed(entry) => entry_of(*entry, EntryManifest::Unread),
                UnverifiedEntry::Absent => missing_now(scan, candidate),
                UnverifiedEntry::Unsupported => VerifiedCandidate::Skipped,
            });
        }
        CandidateContent::Named(descriptor) => {
            let read = read(scan, descriptor, candidate.verified).await;
            match scan
                .stores
                .manifests
                .found_or_skipped(read, descriptor.digest.as_str())?
            {
                FoundOrSkipped::Found(raw) => {
                    scan.manifest_is_there(&descriptor.digest);
                    raw
                }
                FoundOrSkipped::Absent => return Ok(missing_now(scan, candidate)),
                FoundOrSkipped::Skipped => return Ok(VerifiedCandidate::Skipped),
            }
        }
    };
    let manifest = match raw.parse_of_any_kind() {
        Ok(manifest) => manifest,
        Err(error) => {
            tracing::warn!(digest = %raw.digest, %error, "a referrer's manifest cannot be read; skipped");
            scan.stores.manifests.counts.skipped_manifests.inc();
            return Ok(VerifiedCandidate::Skipped);
        }
    };
    let stated = manifest.own_subjects();
    if stated.is_empty() || stated.iter().any(|(subject, _)| *subject == scan.subject) {
        return Ok(manifest_entry(candidate, raw, &manifest));
    }
    // By another algorithm, it may be the same.
    let names_another = stated
        .iter()
        .all(|(subject, _)| subject.algorithm() == scan.subject.algorithm());
    Ok(match candidate.sources.contains(&LinkSource::Native) && names_another {
        true => VerifiedCandidate::OfAnotherSubject(raw.digest.clone()),
        false => VerifiedCandidate::Skipped,
    })
}

/// How long ago the upstream said that it has no such manifest, where it need not be asked again.
fn absent_ago(scan: &Scan, candidate: &Candidate) -> Option<Duration> {
    let ago = scan.stated_absence(candidate.digest(), scan.stores.fresh_for.max(scan.since))?;
    let missing_for = scan.manifest_missing_for(candidate.digest());
    (!candidate.is_expected || scan.need_not_be_asked(ago, missing_for)).then_some(ago)
}

/// The upstream just said that it has no such manifest.
fn missing_now(scan: &Scan, candidate: Candidate) -> VerifiedCandidate {
    scan.note_absence(candidate.digest());
    missing(scan, candidate, Duration::ZERO)
}

fn missing(scan: &Scan, candidate: Candidate, ago: Duration) -> VerifiedCandidate {
    VerifiedCandidate::Missing(MissingCandidate {
        missing_for: scan.manifest_missing_for(candidate.digest()),
        candidate,
        ago,
    })
}

/// The manifest that a descriptor names: inlined, remembered or fetched; envelopes opened.
/// What is unverified is asked for again at every refresh: it may have been deleted behind refshim's back.
async fn read(scan: &Scan, descriptor: &Descriptor, verified: bool) -> ManifestResult {
    if let Some(raw) = inlined(scan, descriptor).await {
        return Ok(Answer::Found(raw));
    }
    let recheck = match verified {
        true => scan.stores.config.deep_refresh,
        false => scan.stores.fresh_for.max(scan.since),
    };
    let manifests = &scan.stores.manifests;
    match manifests
        .still_there(&scan.context, &descriptor.digest, recheck)
        .await?
    {
        Answer::Found(raw) => {
            let known = manifests.find(&scan.context, &raw.digest).await;
            let given = known.and_then(|known| known.value.given);
            manifests.open(&scan.context, raw, given).await
        }
        other => Ok(other),
    }
}

/// The manifest that stands in its descriptor, where it is not remembered and the registry says by a HEAD that it has it, and of what
/// type: an index outlives what it lists, and may be anybody's. Whatever else the HEAD is answered, a GET decides.
async fn inlined(scan: &Scan, descriptor: &Descriptor) -> Option<Arc<RawManifest>> {
    let bytes = descriptor.inlined()?;
    let (manifests, context, digest) = (&scan.stores.manifests, &scan.context, &descriptor.digest);
    if manifests.find(context, digest).await.is_some() {
        return None;
    }
    let reference = Reference::Digest(digest.clone());
    let head = manifests
        .upstream
        .head_only(&context.repository, &reference, &context.caller);
    match head.await {
        Ok(HeadOutcome::Found(head)) if ManifestKind::of(&head.media_type).is_some() => {
            let raw = RawManifest {
                digest: digest.clone(),
                media_type: head.media_type,
                bytes,
            };
            Some(manifests.remember(context, raw, Given::ByDigest).await)
        }
        _ => None,
    }
}

fn entry_of(referrer: Referrer, manifest: EntryManifest) -> VerifiedCandidate {
    VerifiedCandidate::Entry(Box::new(VerifiedEntry { referrer, manifest }))
}

fn manifest_entry(candidate: Candidate, raw: Arc<RawManifest>, manifest: &Manifest) -> VerifiedCandidate {
    let mut descriptor = manifest.descriptor(raw.digest.clone(), raw.bytes.len() as u64);
    let hint = candidate.hint();
    adoption::describe(&mut descriptor, hint.names(manifest));
    let referrer = Referrer {
        created: timestamp::created(&descriptor.annotations),
        descriptor,
        sources: candidate.sources,
        objects: (manifest.kind == ManifestKind::Node).then(|| manifest.objects.clone()),
        adopted: None,
    };
    let content = ArtifactContent::of(manifest);
    let stated = match manifest.subject {
        Some(_) => EntryManifest::WithSubject(content),
        None => EntryManifest::WithoutSubject(Box::new(Unnamed {
            raw,
            content,
            hint,
            is_in_index: candidate.is_in_index,
        })),
    };
    entry_of(referrer, stated)
}

/// Proposal B on a layer or config: the holder's descriptor is all there is.
fn blob_entry(candidate: &Candidate, descriptor: &Descriptor) -> VerifiedCandidate {
    let descriptor = Descriptor {
        data: None,
        reference: None,
        ..descriptor.clone()
    };
    let referrer = Referrer {
        created: timestamp::created(&descriptor.annotations),
        descriptor,
        sources: candidate.sources.clone(),
        objects: None,
        adopted: None,
    };
    entry_of(referrer, EntryManifest::None)
}
