//! What refers to what in an OCI image layout: all its manifests are read, since there is no API to ask.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::error::CliError;
use crate::config::LimitsConfig;
use crate::oci::media_type::{ManifestKind, says_nothing};
use crate::oci::{
    Descriptor, Digest, LinkSource, LinkTag, LinkTagKind, LinkTarget, Manifest, Referrer, ReferrersTagIndex,
    SubjectKey, tag_scheme,
};
use crate::registry::RawManifest;

use super::layout::{ImageLayout, LayoutEntry};

/// The manifests of a layout that can be reached from its `index.json`, and their links.
#[derive(Default)]
pub(super) struct LayoutLinks {
    /// The media type of each manifest.
    types: BTreeMap<Digest, String>,
    /// By subject, as tags name it: of a long digest, the beginning.
    referrers: BTreeMap<SubjectKey, BTreeMap<Digest, FoundLink>>,
}

#[derive(Clone)]
struct FoundLink {
    descriptor: Descriptor,
    sources: BTreeSet<LinkSource>,
}

impl LayoutLinks {
    /// # Errors
    /// If a manifest that may hold links is missing or cannot be read.
    pub(super) fn read(layout: &ImageLayout) -> Result<Self, CliError> {
        let mut links = Self::default();
        let mut queue = Vec::new();
        for LayoutEntry { tag, descriptor } in layout.entries() {
            let raw = match manifest_behind(layout, &descriptor)? {
                Some(raw) => raw,
                None if ManifestKind::of(&descriptor.media_type).is_none() => continue,
                None => return Err(missing(layout, &descriptor.digest)),
            };
            match tag.and_then(|tag| tag_scheme::parse(tag.as_str())) {
                Some(link) => queue.extend(links.read_tag(layout, link, raw)?),
                None => queue.push(raw),
            }
        }
        while let Some(raw) = queue.pop() {
            if links.types.insert(raw.digest.clone(), raw.media_type.clone()).is_some() {
                continue;
            }
            let Ok(manifest) = raw.parse_of_any_kind() else {
                continue;
            };
            if let Some(original) = raw.enveloped() {
                queue.extend(raw_manifest(layout, &original)?);
            }
            queue.extend(children(layout, &manifest)?);
            links.read_manifest(layout, &raw, &manifest)?;
        }
        Ok(links)
    }

    /// The media type of a manifest, where it can be reached.
    pub(super) fn media_type(&self, digest: &Digest) -> Option<&str> {
        self.types.get(digest).map(String::as_str)
    }

    pub(super) fn referrers(&self, subject: &Digest) -> Vec<Referrer> {
        let found = self.referrers.get(&SubjectKey::of(subject));
        let found = found.into_iter().flat_map(BTreeMap::values);
        found
            .map(|link| Referrer {
                descriptor: link.descriptor.clone(),
                created: None,
                sources: link.sources.clone(),
                objects: None,
                adopted: None,
            })
            .collect()
    }

    /// Whether the manifest refers to something.
    pub(super) fn is_referrer(&self, digest: &Digest) -> bool {
        self.referrers.values().any(|referrers| referrers.contains_key(digest))
    }

    /// The digests that something refers to, where they are known in full.
    pub(super) fn subjects(&self) -> impl Iterator<Item = Digest> {
        self.referrers.keys().filter_map(SubjectKey::digest)
    }

    /// Reads what the name of a tag says. Returns the manifests behind the tag: of a list of referrers those in it, since the list is no
    /// content of its own.
    fn read_tag(
        &mut self,
        layout: &ImageLayout,
        LinkTag { subject, kind }: LinkTag,
        raw: RawManifest,
    ) -> Result<Vec<RawManifest>, CliError> {
        let source = match kind {
            LinkTagKind::Cosign(_) => LinkSource::CosignTag,
            LinkTagKind::ProposalD { .. } => LinkSource::ProposalDTag,
            LinkTagKind::Referrers => {
                let Ok(index) = raw.parse_of_any_kind() else {
                    return Ok(vec![raw]);
                };
                let mut found = Vec::new();
                for entry in index.listed_for(&subject, &raw.digest) {
                    let referrer = match ManifestKind::of(&entry.media_type) {
                        Some(_) => raw_manifest(layout, entry)?,
                        None => manifest_of_any_type(layout, entry)?,
                    };
                    // What is gone from a list of referrers is no referrer.
                    if let Some(referrer) = referrer {
                        self.add(subject.clone(), described(&referrer, entry), LinkSource::ReferrersTag);
                        found.push(referrer);
                    }
                }
                if ReferrersTagIndex::of_tag(&subject, &raw.media_type, &raw.bytes).is_none() {
                    found.push(raw);
                }
                return Ok(found);
            }
        };
        let referrer = match raw.enveloped() {
            Some(original) => raw_manifest(layout, &original)?,
            None => Some(raw.clone()),
        };
        if let Some(referrer) = referrer.filter(|referrer| SubjectKey::of(&referrer.digest) != subject) {
            let hint = Descriptor::new(referrer.media_type.clone(), referrer.digest.clone(), 0);
            self.add(subject, described(&referrer, &hint), source);
        }
        Ok(vec![raw])
    }

    fn read_manifest(&mut self, layout: &ImageLayout, raw: &RawManifest, manifest: &Manifest) -> Result<(), CliError> {
        for link in manifest.links(&raw.digest) {
            let descriptor = match &link.target {
                LinkTarget::This => manifest.descriptor(raw.digest.clone(), raw.bytes.len() as u64),
                LinkTarget::Manifest(listed) => match raw_manifest(layout, listed)? {
                    Some(listed_raw) => described(&listed_raw, listed),
                    None => listed.clone(),
                },
                LinkTarget::Blob(blob) => blob.clone(),
            };
            self.add(SubjectKey::of(&link.subject), descriptor, link.source);
        }
        Ok(())
    }

    fn add(&mut self, subject: SubjectKey, descriptor: Descriptor, source: LinkSource) {
        let of_subject = self.referrers.entry(subject).or_default();
        let link = of_subject
            .entry(descriptor.digest.clone())
            .or_insert_with(|| FoundLink {
                descriptor,
                sources: BTreeSet::new(),
            });
        link.sources.insert(source);
    }
}

/// The manifests that an index lists. A platform that it lists may be missing: a copy of some platforms only.
fn children(layout: &ImageLayout, manifest: &Manifest) -> Result<Vec<RawManifest>, CliError> {
    let listed = manifest.manifests.iter().chain(&manifest.objects);
    let mut children = Vec::new();
    for child in listed {
        match manifest_behind(layout, child)? {
            Some(raw) => children.push(raw),
            None if ManifestKind::of(&child.media_type).is_none() => {}
            None if manifest.platforms.contains(&child.digest) || child.inlined().is_some() => {}
            None => return Err(missing(layout, &child.digest)),
        }
    }
    Ok(children)
}

/// The manifest that a descriptor names; `None` where the layout does not hold it.
pub(super) fn raw_manifest(layout: &ImageLayout, descriptor: &Descriptor) -> Result<Option<RawManifest>, CliError> {
    let bytes = layout.manifest(&descriptor.digest)?;
    Ok(bytes.map(|bytes| RawManifest {
        digest: descriptor.digest.clone(),
        media_type: descriptor.media_type.clone(),
        bytes,
    }))
}

/// The manifest that a descriptor names. A media type that may be a manifest's is but a hint, and the content may link all the same. `None` for
/// content that is something else.
fn manifest_behind(layout: &ImageLayout, descriptor: &Descriptor) -> Result<Option<RawManifest>, CliError> {
    let media_type = &descriptor.media_type;
    match ManifestKind::of(media_type) {
        Some(_) => raw_manifest(layout, descriptor),
        None if says_nothing(media_type) || media_type.contains("json") => manifest_of_any_type(layout, descriptor),
        None => Ok(None),
    }
}

/// Content that reads as a manifest, whatever its media type. `None` where it does not.
fn manifest_of_any_type(layout: &ImageLayout, descriptor: &Descriptor) -> Result<Option<RawManifest>, CliError> {
    let length = layout.blob_length(&descriptor.digest)?;
    if length.is_none_or(|length| length > LimitsConfig::default().manifest_bytes as u64) {
        return Ok(None);
    }
    let raw = raw_manifest(layout, descriptor)?;
    Ok(raw.filter(|raw| raw.parse_of_any_kind().is_ok()))
}

/// The descriptor of a manifest from its own bytes; where those are no manifest that is known, as it is listed.
fn described(raw: &RawManifest, listed: &Descriptor) -> Descriptor {
    match raw.parse_of_any_kind() {
        Ok(manifest) => manifest.descriptor(raw.digest.clone(), raw.bytes.len() as u64),
        Err(_) => listed.clone(),
    }
}

fn missing(layout: &ImageLayout, digest: &Digest) -> CliError {
    CliError::failed(format!(
        "{}: this manifest is listed and missing, so that what it refers to is not known",
        layout.blob_path(digest).display()
    ))
}
