//! Which images of a repository are audited, with their platforms.

use std::collections::BTreeMap;

use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::oci::media_type::ManifestKind;
use crate::oci::{Descriptor, Digest, Manifest, Reference, Tag, tag_scheme};
use crate::registry::RawManifest;
use crate::ui::platform_names;

use super::findings::{ImageAudit, ImageFindings, PlatformAudit, SubjectAudit};
use super::repository::AuditScope;
use super::tags::ReadTags;

/// An image, before it is known what refers to it.
pub(super) struct FoundImage {
    tags: Vec<Tag>,
    content: Result<FoundContent, String>,
}

struct FoundContent {
    digest: Digest,
    media_type: String,
    /// Name and digest.
    platforms: Vec<(String, Digest)>,
}

impl FoundContent {
    fn of(raw: &RawManifest) -> Self {
        let manifest = raw.parse().ok();
        let names = platform_names(&raw.bytes);
        let listed = manifest.iter().flat_map(|manifest| platforms_of(manifest, &names));
        Self {
            digest: raw.digest.clone(),
            media_type: raw.media_type.clone(),
            platforms: listed.collect(),
        }
    }
}

/// The images that an index lists: those for a platform to run on, and those without a platform of which it states no subject.
fn platforms_of<'a>(
    index: &'a Manifest,
    names: &'a BTreeMap<Digest, String>,
) -> impl Iterator<Item = (String, Digest)> + 'a {
    let is_image = |listed: &&Descriptor| {
        let is_manifest = matches!(
            ManifestKind::of(&listed.media_type),
            Some(ManifestKind::Image | ManifestKind::Index)
        );
        let is_plain = !names.contains_key(&listed.digest)
            && listed.artifact_type.is_none()
            && listed.stated_subjects().next().is_none();
        is_manifest && (index.platforms.contains(&listed.digest) || is_plain)
    };
    index.manifests.iter().filter(is_image).map(|listed| {
        let name = names.get(&listed.digest).cloned().unwrap_or_default();
        (name, listed.digest.clone())
    })
}

/// What the tags of a repository point at, but for link tags and for artifacts that name a subject. Several tags of one digest are one
/// image.
pub(super) async fn tagged(session: &Session, tags: &ReadTags) -> Vec<FoundImage> {
    let mut images: BTreeMap<Digest, FoundImage> = BTreeMap::new();
    let mut unread = Vec::new();
    let ordinary = tags
        .snapshot
        .tags
        .iter()
        .filter(|(tag, _)| tags.snapshot.link(tag).is_none());
    for (tag, target) in ordinary {
        let raw = match target.as_ref().and_then(|digest| tags.stored.get(digest)) {
            Some(raw) => opened(session, raw).await,
            None => Err("the tag is listed, but the registry has nothing behind it".to_owned()),
        };
        match raw {
            Ok(raw) if names_subject(&raw) => {}
            Ok(raw) => {
                let found = images.entry(raw.digest.clone()).or_insert_with(|| FoundImage {
                    tags: Vec::new(),
                    content: Ok(FoundContent::of(&raw)),
                });
                found.tags.push(tag.clone());
            }
            Err(problem) => unread.push(FoundImage {
                tags: vec![tag.clone()],
                content: Err(problem),
            }),
        }
    }
    let names = tags.unread.iter().filter(|(name, _)| tag_scheme::parse(name).is_none());
    unread.extend(names.map(|(name, problem)| FoundImage {
        tags: Tag::parse(name).into_iter().collect(),
        content: Err(problem.clone()),
    }));
    let mut all: Vec<FoundImage> = images.into_values().chain(unread).collect();
    all.sort_by(|one, other| one.tags.cmp(&other.tags));
    all
}

/// The manifest itself; of an envelope the one in it.
async fn opened(session: &Session, raw: &RawManifest) -> Result<RawManifest, String> {
    let Some(original) = raw.enveloped() else {
        return Ok(raw.clone());
    };
    let read = session.made(&original.digest).await.map_err(|error| error.message())?;
    read.ok_or_else(|| "the content of the envelope is gone".to_owned())
}

fn names_subject(raw: &RawManifest) -> bool {
    raw.parse().is_ok_and(|manifest| !manifest.own_subjects().is_empty())
}

/// The images of these references.
pub(super) async fn named(session: &Session, references: &[Reference]) -> Vec<FoundImage> {
    let mut images: BTreeMap<Digest, FoundImage> = BTreeMap::new();
    let mut unread = Vec::new();
    for reference in references {
        let tags = tags_of(reference);
        match read(session, reference).await {
            Ok(raw) => {
                let found = images.entry(raw.digest.clone()).or_insert_with(|| FoundImage {
                    tags: Vec::new(),
                    content: Ok(FoundContent::of(&raw)),
                });
                found.tags.extend(tags);
            }
            Err(problem) => unread.push(FoundImage {
                tags,
                content: Err(format!("{reference}: {problem}")),
            }),
        }
    }
    images.into_values().chain(unread).collect()
}

/// The images that were asked for in a repository of which nothing is known.
pub(super) fn unread(scope: &AuditScope, problem: &str) -> Vec<ImageAudit> {
    let references = match scope {
        AuditScope::Whole => &[],
        AuditScope::Images(references) => references.as_slice(),
    };
    let image = |reference: &Reference| ImageAudit {
        tags: tags_of(reference),
        content: None,
        problem: Some(format!("{reference}: {problem}")),
    };
    references.iter().map(image).collect()
}

fn tags_of(reference: &Reference) -> Vec<Tag> {
    match reference {
        Reference::Tag(tag) => vec![tag.clone()],
        Reference::Digest(_) => Vec::new(),
    }
}

async fn read(session: &Session, reference: &Reference) -> Result<RawManifest, String> {
    let resolver = session.resolver();
    let read: Result<Option<RawManifest>, CliError> = match reference {
        Reference::Tag(tag) => {
            let stored = resolver.stored(session.repository(), tag, session.caller()).await;
            session.found(stored).map(|raw| raw.map(|raw| RawManifest::clone(&raw)))
        }
        Reference::Digest(digest) => session.made(digest).await,
    };
    match read.map_err(|error| error.message())? {
        Some(raw) => opened(session, &raw).await,
        None => Err("the registry does not hold it; check the name, the tag and the digest".to_owned()),
    }
}

impl FoundImage {
    /// All digests that something may refer to.
    pub(super) fn subjects(&self) -> impl Iterator<Item = &Digest> {
        self.content.iter().flat_map(|content| {
            let platforms = content.platforms.iter().map(|(_, digest)| digest);
            std::iter::once(&content.digest).chain(platforms)
        })
    }

    /// The image with what was found of its `subjects`.
    pub(super) fn audit(self, subjects: &BTreeMap<Digest, SubjectAudit>) -> ImageAudit {
        let found = |digest: &Digest| match subjects.get(digest) {
            Some(subject) => subject.clone(),
            None => SubjectAudit {
                digest: digest.clone(),
                referrers: Vec::new(),
                problem: Some("it was not asked what refers to it".to_owned()),
            },
        };
        let (content, problem) = match self.content {
            Ok(content) => (Some(content), None),
            Err(problem) => (None, Some(problem)),
        };
        let content = content.map(|content| ImageFindings {
            own: found(&content.digest),
            platforms: content
                .platforms
                .iter()
                .map(|(name, digest)| PlatformAudit {
                    name: name.clone(),
                    subject: found(digest),
                })
                .collect(),
            media_type: content.media_type,
        });
        ImageAudit {
            tags: self.tags,
            content,
            problem,
        }
    }
}
