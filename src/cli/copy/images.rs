//! Which images are copied: one, or those of a repository, under tags and without.

use regex_lite::Regex;

use crate::cli::error::CliError;
use crate::oci::{Digest, LinkTagKind, Reference, ReferrersTagIndex, Tag, tag_scheme};
use crate::registry::RawManifest;

use super::reference::CopyReference;
use super::report::{CopyOutcome, ImageReport};
use super::source::CopySource;
use super::transfer::Copier;

/// Which tags are copied.
#[derive(Clone, Debug)]
pub(super) struct TagPattern(Regex);

impl std::str::FromStr for TagPattern {
    type Err = String;

    /// The expression has to match a whole tag.
    fn from_str(text: &str) -> Result<Self, String> {
        let whole = Regex::new(&format!("^(?:{text})$"));
        whole.map(Self).map_err(|error| error.to_string())
    }
}

/// The manifest of the one image that `reference` names, and its tag.
pub(super) async fn one(
    source: &CopySource,
    reference: &CopyReference,
) -> Result<(RawManifest, Option<Tag>), CliError> {
    let (found, tag) = match (reference, reference.reference()) {
        (_, Some(Reference::Digest(digest))) => (source.manifest(digest).await?, None),
        (_, Some(Reference::Tag(tag))) => (source.tagged(tag).await?, Some(tag.clone())),
        (CopyReference::Registry(target), None) => match &target.reference {
            Reference::Tag(tag) => (source.tagged(tag).await?, Some(tag.clone())),
            Reference::Digest(digest) => (source.manifest(digest).await?, None),
        },
        (CopyReference::Layout(_), None) => only(source).await?,
    };
    match found {
        Some(raw) => Ok((raw, tag)),
        None => {
            let problem = "it does not hold this image; check the name and the tag";
            Err(CliError::failed(format!("{reference}: {problem}")))
        }
    }
}

/// The one image of a layout.
async fn only(source: &CopySource) -> Result<(Option<RawManifest>, Option<Tag>), CliError> {
    let tags: Vec<Tag> = source.tags().await?.into_iter().filter(is_ordinary).collect();
    match (&tags[..], &source.listed_without_tag()[..]) {
        ([tag], _) => Ok((source.tagged(tag).await?, Some(tag.clone()))),
        ([], [digest]) => Ok((source.manifest(digest).await?, None)),
        ([], _) => Err(CliError::failed(format!(
            "{}: name an image by its digest",
            source.name()
        ))),
        (several, _) => {
            let several: Vec<&str> = several.iter().map(Tag::as_str).collect();
            let problem = format!("it has several images: write :tag, one of {}", several.join(", "));
            Err(CliError::failed(format!("{}: {problem}", source.name())))
        }
    }
}

/// Copies all images whose tag matches; without a pattern also those without a tag, as far as links lead to them.
pub(super) async fn all(
    source: &CopySource,
    pattern: Option<&TagPattern>,
    copier: &mut Copier<'_>,
) -> Result<Vec<ImageReport>, CliError> {
    let tags = source.tags().await?;
    let (ordinary, links): (Vec<Tag>, Vec<Tag>) = tags.into_iter().partition(is_ordinary);
    let mut reports = Vec::new();
    for tag in ordinary {
        if pattern.is_some_and(|pattern| !pattern.0.is_match(tag.as_str())) {
            continue;
        }
        match source.tagged(&tag).await? {
            Some(raw) => reports.push(copy(copier, raw, Some(tag)).await?),
            // It went meanwhile, or its manifest did. Either way there is nothing to copy.
            None => eprintln!("refshim: {tag}: the source lists it, but has no manifest behind it; passed over"),
        }
    }
    if pattern.is_some() {
        return Ok(reports);
    }
    for digest in source.untagged() {
        copy_untagged(source, copier, &digest, &mut reports).await?;
    }
    for tag in links {
        copy_behind_link_tag(source, copier, tag, &mut reports).await?;
    }
    Ok(reports)
}

fn is_ordinary(tag: &Tag) -> bool {
    tag_scheme::parse(tag.as_str()).is_none()
}

async fn copy(copier: &mut Copier<'_>, raw: RawManifest, tag: Option<Tag>) -> Result<ImageReport, CliError> {
    let name = tag.as_ref().map_or_else(|| raw.digest.to_string(), Tag::to_string);
    let report = copier.copy(raw, tag).await;
    report.map_err(|error| CliError::failed(format!("{name}: {}", error.message())))
}

/// Copies an image that no tag named, unless it is part of one that was copied. Returns whether the source has it.
async fn copy_untagged(
    source: &CopySource,
    copier: &mut Copier<'_>,
    digest: &Digest,
    reports: &mut Vec<ImageReport>,
) -> Result<bool, CliError> {
    if copier.knows(digest)
        || reports
            .iter()
            .any(|report| report.outcome == CopyOutcome::Conflict && report.digest == *digest)
    {
        return Ok(true);
    }
    match source.manifest(digest).await? {
        Some(raw) => {
            reports.push(copy(copier, raw, None).await?);
            Ok(true)
        }
        None => Ok(false),
    }
}

/// What a link tag names may have no tag of its own, or be gone. Then what refers to it is copied all the same.
async fn copy_behind_link_tag(
    source: &CopySource,
    copier: &mut Copier<'_>,
    tag: Tag,
    reports: &mut Vec<ImageReport>,
) -> Result<(), CliError> {
    let Some(link) = tag_scheme::parse(tag.as_str()) else {
        return Ok(());
    };
    if let Some(subject) = link.subject.digest()
        && copy_untagged(source, copier, &subject, reports).await?
    {
        return Ok(());
    }
    let Some(raw) = source.tagged(&tag).await? else {
        return Ok(());
    };
    let list = match link.kind {
        LinkTagKind::Referrers => ReferrersTagIndex::of_tag(&link.subject, &raw.media_type, &raw.bytes),
        LinkTagKind::Cosign(_) | LinkTagKind::ProposalD { .. } => None,
    };
    match list {
        Some(list) => {
            for referrer in list.digests() {
                copy_untagged(source, copier, &referrer, reports).await?;
            }
        }
        None if copier.knows(&raw.digest) => {}
        None => reports.push(copy(copier, raw, Some(tag)).await?),
    }
    Ok(())
}
