//! Links that tag names announce: Proposal D, cosign, the OCI 1.1 referrers tag.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::oci::media_type::ManifestKind;
use crate::oci::tag_scheme::{self, CosignKind, ENVELOPE_KIND, HASH_LENGTH, LinkTagKind};
use crate::oci::{Digest, LinkSource, LinkTag, LinkTarget, Manifest, SubjectKey, Tag};
use crate::registry::{Answer, RawManifest, UpstreamError};

use crate::referrers::error::ResolveError;
use crate::referrers::manifest_store::ManifestResult;
use crate::referrers::missing_tags::MISSING_FOR;
use crate::referrers::names::ScannedNames;
use crate::referrers::scan::candidates::{CandidateContent, Candidates};
use crate::referrers::scan::lag::LAG;
use crate::referrers::scan::{PARALLEL, context::Scan};
use crate::referrers::tag_reads::Recheck;

/// Whether a tag should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The listing names it, or refshim wrote it a while ago.
    Yes,
    /// Its name was made up of the subject's digest.
    Perhaps,
}

/// Reads every tag that begins with the subject's key.
pub(in crate::referrers) async fn find(scan: &Scan, names: &ScannedNames) -> Result<Candidates, ResolveError> {
    let key = SubjectKey::of(&scan.subject);
    if let Some(listed) = names.listed() {
        let is_expected = |tag: &Tag| listed.contains(tag.as_str()) || names.written.contains(tag);
        scan.stores
            .tags
            .missing
            .keep(&scan.context.repository_key, &key, is_expected);
    }
    let listed = names
        .listed()
        .into_iter()
        .flat_map(|names| names.with_prefix(key.as_str()));
    let listed = listed.filter_map(|name| Tag::parse(name).ok());
    let expected = listed
        .chain(names.written.iter().cloned())
        .map(|tag| (tag, Expected::Yes));
    let computed = names.computed.iter().cloned().map(|tag| (tag, Expected::Perhaps));
    let tags: Vec<(Tag, LinkTag, Expected)> = expected
        .chain(computed)
        .filter_map(|(tag, expected)| {
            let link = tag_scheme::parse_of(&key, tag.as_str())?;
            Some((tag, link, expected))
        })
        .filter(|(_, link, _)| is_read(scan, &link.kind))
        .collect();
    let found = stream::iter(tags)
        .map(|(tag, link, expected)| read(scan, tag, link, expected))
        .buffer_unordered(PARALLEL);
    found
        .try_fold(Candidates::default(), |mut all, some| async move {
            all.merge(some);
            Ok(all)
        })
        .await
}

fn is_read(scan: &Scan, kind: &LinkTagKind) -> bool {
    match kind {
        // The envelope of the subject itself, not something that refers to it.
        LinkTagKind::ProposalD { kind, .. } if kind == ENVELOPE_KIND => false,
        LinkTagKind::ProposalD { .. } => scan.reads(LinkSource::ProposalDTag),
        LinkTagKind::Cosign(_) => scan.reads(LinkSource::CosignTag),
        LinkTagKind::Referrers => scan.reads(LinkSource::ReferrersTag),
    }
}

async fn read(scan: &Scan, tag: Tag, link: LinkTag, expected: Expected) -> Result<Candidates, ResolveError> {
    let recheck = match &link.kind {
        // A shorter hash may be that of another manifest, to which the tag was moved.
        LinkTagKind::ProposalD { hash, .. } if hash.len() == HASH_LENGTH => Recheck::UnlessHash(hash),
        // Anyone may move it; in a search that goes on, one that was asked in the beginning is not asked again.
        _ => Recheck::After(scan.since),
    };
    let found = match expected {
        Expected::Yes => expected_tag(scan, &tag, recheck).await,
        Expected::Perhaps => scan.stores.manifests.by_tag(&scan.context, &tag, recheck).await,
    };
    if matches!(found, Ok(Answer::Absent)) {
        scan.lacks(&tag);
    }
    let found = match link.kind {
        // One artifact left out hides no other, but an index lists many: without it the list would be a wrong one.
        LinkTagKind::Referrers => found?.or_refusal()?,
        LinkTagKind::ProposalD { .. } | LinkTagKind::Cosign(_) => {
            scan.stores.manifests.unless_skipped(found, tag.as_str())?
        }
    };
    let Some(raw) = found else {
        return Ok(Candidates::default());
    };
    // Some registries answer the subject's own tag with the subject itself.
    if raw.digest == scan.subject {
        return Ok(Candidates::default());
    }
    let manifest = match raw.parse_of_any_kind() {
        Ok(manifest) => manifest,
        Err(error) if link.kind == LinkTagKind::Referrers && is_index(&raw) => {
            return Err(UpstreamError::Content(format!("{tag}: {error}")).into());
        }
        Err(_) => {
            tracing::warn!(%tag, "a link tag points at something that is no manifest; skipped");
            scan.stores.manifests.counts.skipped_manifests.inc();
            return Ok(Candidates::default());
        }
    };
    scan.stores.manifests.skip_entries(&manifest, tag.as_str());
    let mut found = stated_links(scan, &raw, &manifest);
    match &link.kind {
        LinkTagKind::ProposalD { kind, .. } => {
            proposal_d(&scan.subject, CosignKind::parse(kind), &raw, &manifest, &mut found);
        }
        LinkTagKind::Cosign(kind) => cosign(*kind, &raw, &manifest, &mut found),
        LinkTagKind::Referrers => referrers_tag(&scan.subject, &raw, &manifest, &mut found),
    }
    Ok(found)
}

/// What a tag points at that should be there. Registries lag: one that is missing is asked for again after a second, and until it
/// has been missing for longer than answers are fresh, none that rests on it is remembered.
pub(in crate::referrers) async fn expected_tag(scan: &Scan, tag: &Tag, recheck: Recheck<'_>) -> ManifestResult {
    let repository_key = &scan.context.repository_key;
    let ask = || scan.stores.manifests.by_tag(&scan.context, tag, recheck);
    let mut found = ask().await?;
    if matches!(found, Answer::Absent) {
        let subject = SubjectKey::of(&scan.subject);
        let missing_for = scan.stores.tags.missing.is_missing(repository_key, &subject, tag);
        if missing_for < LAG {
            tokio::time::sleep(LAG).await;
            found = ask().await?;
        }
        if matches!(found, Answer::Absent) && missing_for < scan.stores.fresh_for.min(MISSING_FOR / 2) {
            scan.unsettle();
        }
    }
    if matches!(found, Answer::Found(_)) {
        scan.stores.tags.missing.is_there(repository_key, tag);
    }
    Ok(found)
}

fn is_index(raw: &RawManifest) -> bool {
    ManifestKind::of(&raw.media_type) == Some(ManifestKind::Index)
}

/// The links to this subject that the manifest itself states.
fn stated_links(scan: &Scan, raw: &Arc<RawManifest>, manifest: &Manifest) -> Candidates {
    let mut found = Candidates::default();
    for link in manifest.links(&raw.digest) {
        if link.subject == scan.subject && scan.reads(link.source) {
            found.add_link(&link.target, raw, link.source);
        }
    }
    found
}

/// The tag points at the artifact, or at an index: of one with annotated entries these count, of the originator's own
/// multi-platform index (which holds the subject) nothing else does. `kind` tells what an artifact is that, as cosign's, claims
/// to be a runnable image.
fn proposal_d(
    subject: &Digest,
    kind: Option<CosignKind>,
    raw: &Arc<RawManifest>,
    manifest: &Manifest,
    found: &mut Candidates,
) {
    if manifest.kind == ManifestKind::Index {
        let listed = manifest.links(&raw.digest);
        let annotated: Vec<_> = listed
            .iter()
            .filter(|link| !matches!(link.target, LinkTarget::This))
            .collect();
        for link in annotated.iter().filter(|link| link.subject == *subject) {
            found.add_link(&link.target, raw, LinkSource::ProposalDTag);
        }
        if !annotated.is_empty() || manifest.lists(subject) {
            return;
        }
    }
    found.add(CandidateContent::Read(raw.clone()), LinkSource::ProposalDTag, kind);
}

/// What the tag resolves to; of an index each of its manifests.
fn cosign(kind: CosignKind, raw: &Arc<RawManifest>, manifest: &Manifest, found: &mut Candidates) {
    if manifest.kind != ManifestKind::Index {
        found.add(CandidateContent::Read(raw.clone()), LinkSource::CosignTag, Some(kind));
        return;
    }
    for listed in &manifest.manifests {
        found.add(
            CandidateContent::Named(listed.clone()),
            LinkSource::CosignTag,
            Some(kind),
        );
        found.listed_by_index(&listed.digest);
    }
}

fn referrers_tag(subject: &Digest, raw: &Arc<RawManifest>, manifest: &Manifest, found: &mut Candidates) {
    for listed in manifest.listed_for(&SubjectKey::of(subject), &raw.digest) {
        let kind = listed.artifact_type.as_deref().and_then(CosignKind::of_artifact_type);
        found.add(CandidateContent::Named(listed.clone()), LinkSource::ReferrersTag, kind);
        found.listed_by_index(&listed.digest);
    }
}
