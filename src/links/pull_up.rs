//! From candidates to entries: each is built from its own bytes, because stored indexes and tags lie.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::BTreeMap;

use crate::oci::media_type::{self, ManifestKind};
use crate::oci::{Descriptor, Digest, Links, Manifest, Referrer, timestamp};
use crate::upstream::{Answer, RawManifest};

use super::candidate::{Candidate, Candidates, What};
use super::error::ResolveError;
use super::manifests::Found;
use super::scan::{PARALLEL, Scan};

/// Config media types that say "runnable image": no artifact type of a cosign entry.
const IMAGE_CONFIGS: [&str; 3] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    media_type::OCI_EMPTY,
];

/// What became of a candidate.
enum Outcome {
    Entry(Referrer),
    /// The upstream does not have it.
    Gone(Digest),
    /// It is broken, or refers to something else.
    Skipped,
}

/// Reads what is not read yet, drops what is gone or refers to something else, and orders the rest. The second is what is gone.
pub(super) async fn pull_up(scan: &Scan, candidates: Candidates) -> Result<(Links, Vec<Digest>), ResolveError> {
    let candidates: Vec<Candidate> = candidates.without(&scan.subject).collect();
    let (entries, gone) = stream::iter(candidates)
        .map(|candidate| look_at(scan, candidate))
        .buffer_unordered(PARALLEL)
        .try_fold(
            (BTreeMap::new(), Vec::new()),
            |(mut entries, mut gone), outcome| async move {
                match outcome {
                    Outcome::Entry(entry) => merge(&mut entries, entry),
                    Outcome::Gone(digest) => gone.push(digest),
                    Outcome::Skipped => {}
                }
                Ok((entries, gone))
            },
        )
        .await?;
    let mut referrers: Vec<Referrer> = entries.into_values().collect();
    referrers.sort_unstable_by(Referrer::order);
    Ok((Links::new(scan.subject.clone(), referrers), gone))
}

/// An envelope and its original can both be candidates; they are one entry.
fn merge(entries: &mut BTreeMap<Digest, Referrer>, entry: Referrer) {
    match entries.get_mut(&entry.descriptor.digest) {
        Some(known) => known.dialects.extend(entry.dialects),
        None => {
            entries.insert(entry.descriptor.digest.clone(), entry);
        }
    }
}

async fn look_at(scan: &Scan, candidate: Candidate) -> Result<Outcome, ResolveError> {
    let raw = match &candidate.what {
        What::Blob(descriptor) => return Ok(Outcome::Entry(blob_entry(&candidate, descriptor))),
        What::Read(raw) => raw.clone(),
        What::Named(descriptor) => match read(scan, descriptor, candidate.vouched).await {
            Ok(Answer::Found(raw)) => raw,
            Ok(Answer::Absent) => return Ok(Outcome::Gone(descriptor.digest.clone())),
            Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
            Err(error) => {
                scan.manifests.skip(error, descriptor.digest.as_str())?;
                return Ok(Outcome::Skipped);
            }
        },
    };
    let manifest = match Manifest::parse(&raw.bytes, &raw.media_type) {
        Ok(manifest) => manifest,
        Err(error) => {
            tracing::warn!(digest = %raw.digest, %error, "a referrer's manifest cannot be read; skipped");
            return Ok(Outcome::Skipped);
        }
    };
    let stated = manifest.own_subjects();
    if !stated.is_empty() && !stated.iter().any(|(subject, _)| *subject == scan.subject) {
        return Ok(Outcome::Skipped);
    }
    Ok(Outcome::Entry(manifest_entry(candidate, &raw, &manifest)))
}

/// The manifest that a descriptor names: inlined, remembered or fetched; envelopes opened.
/// What nothing vouches for is asked for again at every refresh: it may have been deleted behind refshim's back.
async fn read(scan: &Scan, descriptor: &Descriptor, vouched: bool) -> Found {
    if ManifestKind::of(&descriptor.media_type).is_some()
        && let Some(bytes) = descriptor.inlined()
    {
        let raw = RawManifest {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
            bytes,
        };
        return Ok(Answer::Found(raw.into()));
    }
    let recheck = if vouched { scan.deep_refresh } else { scan.fresh_for };
    let manifests = &scan.manifests;
    match manifests.still_there(&scan.place, &descriptor.digest, recheck).await? {
        Answer::Found(raw) => manifests.open(&scan.place, raw).await,
        other => Ok(other),
    }
}

fn manifest_entry(candidate: Candidate, raw: &RawManifest, manifest: &Manifest) -> Referrer {
    let mut descriptor = manifest.descriptor(raw.digest.clone(), raw.bytes.len() as u64);
    if let Some(kind) = candidate.cosign {
        let stated = descriptor.artifact_type.as_deref().unwrap_or_default();
        if stated.is_empty() || IMAGE_CONFIGS.contains(&stated) {
            descriptor.artifact_type = Some(kind.artifact_type().to_owned());
        }
    }
    Referrer {
        created: timestamp::created(&descriptor.annotations),
        descriptor,
        dialects: candidate.dialects,
        objects: (manifest.kind == ManifestKind::Node).then(|| manifest.objects.clone()),
    }
}

/// Proposal B on a layer or config: the holder's descriptor is all there is.
fn blob_entry(candidate: &Candidate, descriptor: &Descriptor) -> Referrer {
    let descriptor = Descriptor {
        data: None,
        reference: None,
        ..descriptor.clone()
    };
    Referrer {
        created: timestamp::created(&descriptor.annotations),
        descriptor,
        dialects: candidate.dialects.clone(),
        objects: None,
    }
}
