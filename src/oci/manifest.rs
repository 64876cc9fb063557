//! Manifests of every dialect. They are read leniently, so that one invalid member does not hide links in others.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::descriptor::{Annotations, Descriptor, annotations_from_json, is_for_platform};
use super::digest::Digest;
use super::link::{LinkSource, LinkTarget, ManifestLink, digest_in};
use super::media_type::{self, ManifestKind};

/// Proposal D: the subject's digest.
pub const ANNOTATION_REFERENCE: &str = "org.opencontainers.reference";
/// Proposal D: the short type, which becomes the tag's `<type>`.
pub const ANNOTATION_REFERENCE_TYPE: &str = "org.opencontainers.reference.type";
/// Proposal F: the subject's digest.
pub const ANNOTATION_REFERENCE_DIGEST: &str = "org.opencontainers.reference.digest";
const ANNOTATION_DESCRIPTION: &str = "org.opencontainers.image.description";

/// The members of a manifest that matter for links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its media type, without parameters.
    pub media_type: String,
    /// What it is, by its media type.
    pub kind: ManifestKind,
    /// `artifactType`; for an image manifest without one, its config's media type (OCI 1.1).
    pub artifact_type: Option<String>,
    /// An image's config.
    pub config: Option<Descriptor>,
    /// An image's layers.
    pub layers: Vec<Descriptor>,
    /// The manifests that an index lists.
    pub manifests: Vec<Descriptor>,
    /// The digests in `manifests` that the index lists only as images for a platform.
    pub platforms: BTreeSet<Digest>,
    /// Number of entries of `manifests` that are not descriptors, about which nothing is known.
    pub odd_entries: usize,
    /// The blobs of an artifact manifest (Proposal A, ORAS).
    pub blobs: Vec<Descriptor>,
    /// The objects of a node manifest (Proposal C).
    pub objects: Vec<Descriptor>,
    /// What it refers to: OCI 1.1, Proposal A, ORAS.
    pub subject: Option<Descriptor>,
    /// What it refers to: Proposal E's early text.
    pub refers: Option<Descriptor>,
    /// What it refers to: Proposals B and C.
    pub reference: Option<Descriptor>,
    /// Its own annotations.
    pub annotations: Annotations,
    description: Option<String>,
}

/// Why bytes are not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is not valid JSON: {0}")]
    Json(String),
    #[error("the manifest is not a JSON object")]
    NotAnObject,
    #[error("'{}' is not a manifest's media type", .0.escape_default())]
    MediaType(String),
}

impl Manifest {
    /// Parses `bytes`, which were served or pushed with `content_type`. If that is no manifest's media type, the `mediaType` in the body
    /// counts.
    ///
    /// # Errors
    /// If `bytes` are not a JSON object, or neither type is a manifest's.
    pub fn parse(bytes: &[u8], content_type: &str) -> Result<Self, ManifestError> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| ManifestError::Json(e.to_string()))?;
        let Value::Object(object) = value else {
            return Err(ManifestError::NotAnObject);
        };
        Self::from_members(&object, content_type)
    }

    /// The same from the members of its JSON.
    pub fn from_members(object: &Map<String, Value>, content_type: &str) -> Result<Self, ManifestError> {
        let (media_type, kind) = kind_of(object, media_type::essence(content_type))?;
        let all = |key: &str| object.get(key).and_then(Value::as_array).into_iter().flatten();
        let list = |key: &str| -> Vec<Descriptor> { all(key).filter_map(Descriptor::from_json).collect() };
        let entries =
            all("manifests").filter_map(|entry| Some((Descriptor::from_json(entry)?, is_for_platform(entry))));
        let entries: Vec<(Descriptor, bool)> = entries.collect();
        let one = |key: &str| object.get(key).and_then(Descriptor::from_json);
        let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
        let config = one("config");
        let artifact_type = text("artifactType").map(str::to_owned).or_else(|| match kind {
            ManifestKind::Image => config.as_ref().map(|c| c.media_type.clone()).filter(|t| !t.is_empty()),
            _ => None,
        });
        Ok(Self {
            media_type,
            kind,
            artifact_type,
            layers: list("layers"),
            platforms: platforms(&entries),
            odd_entries: all("manifests").count() - entries.len(),
            manifests: entries.into_iter().map(|(listed, _)| listed).collect(),
            blobs: list("blobs"),
            objects: list("objects"),
            subject: one("subject"),
            refers: one("refers"),
            reference: one("reference"),
            annotations: object.get("annotations").map(annotations_from_json).unwrap_or_default(),
            description: text("description").map(str::to_owned),
            config,
        })
    }

    /// Every link that this manifest, whose digest is `own`, contains. A link to itself is ignored.
    pub fn links(&self, own: &Digest) -> Vec<ManifestLink> {
        let mut links = Vec::new();
        for (subject, source) in self.own_subjects() {
            links.push(ManifestLink {
                subject,
                target: LinkTarget::This,
                source,
            });
        }
        for listed in &self.manifests {
            for (subject, source) in listed.stated_subjects() {
                links.push(ManifestLink {
                    subject,
                    target: LinkTarget::Manifest(listed.clone()),
                    source,
                });
            }
        }
        for listed in self.layers.iter().chain(&self.config) {
            if let Some(reference) = &listed.reference {
                links.push(ManifestLink {
                    subject: reference.digest.clone(),
                    target: target_of(listed),
                    source: LinkSource::ProposalB,
                });
            }
        }
        links.retain(|link| {
            let referrer = match &link.target {
                LinkTarget::This => own,
                LinkTarget::Manifest(listed) | LinkTarget::Blob(listed) => &listed.digest,
            };
            *referrer != link.subject
        });
        links
    }

    /// The listed manifests that may contain links and are therefore worth reading: indexes, artifacts, and images except those for a platform and
    /// those whose subject this index itself states (BuildKit's attestations). Entries that are not manifests contain no links: a BuildKit
    /// cache is an index of layers.
    pub fn may_hold_links(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests
            .iter()
            .filter(|listed| match ManifestKind::of(&listed.media_type) {
                Some(ManifestKind::Image) => {
                    listed.artifact_type.is_some()
                        || !self.platforms.contains(&listed.digest) && listed.stated_subjects().next().is_none()
                }
                Some(
                    ManifestKind::Index | ManifestKind::Artifact | ManifestKind::OrasArtifact | ManifestKind::Node,
                ) => true,
                None => false,
            })
    }

    /// The subjects of this manifest itself, from any of its fields or its own annotation.
    pub fn own_subjects(&self) -> Vec<(Digest, LinkSource)> {
        let mut subjects = Vec::new();
        if let Some(subject) = &self.subject {
            let source = match self.kind {
                ManifestKind::Artifact => LinkSource::ProposalA,
                ManifestKind::OrasArtifact => LinkSource::Oras,
                _ => LinkSource::Subject,
            };
            subjects.push((subject.digest.clone(), source));
        }
        if let Some(refers) = &self.refers {
            subjects.push((refers.digest.clone(), LinkSource::Refers));
        }
        if let Some(reference) = &self.reference {
            let source = match self.kind {
                ManifestKind::Node => LinkSource::ProposalC,
                _ => LinkSource::ProposalB,
            };
            subjects.push((reference.digest.clone(), source));
        }
        if let Some(digest) = digest_in(&self.annotations, ANNOTATION_REFERENCE) {
            subjects.push((digest, LinkSource::ProposalDManifestAnnotation));
        }
        subjects
    }

    /// The descriptor of what this manifest refers to (Proposal C's "reference").
    pub fn parent(&self) -> Option<&Descriptor> {
        self.reference
            .as_ref()
            .or(self.subject.as_ref())
            .or(self.refers.as_ref())
    }

    /// Proposal C's "objects": a node's objects, an index's manifests, an artifact's blobs, an image's layers.
    pub fn contents(&self) -> &[Descriptor] {
        match self.kind {
            ManifestKind::Node => &self.objects,
            ManifestKind::Index => &self.manifests,
            ManifestKind::Artifact | ManifestKind::OrasArtifact => &self.blobs,
            ManifestKind::Image => &self.layers,
        }
    }

    /// Proposal C's "description": a node's own, otherwise the description annotation of images, otherwise empty.
    pub fn description(&self) -> &str {
        let annotated = || self.annotations.get(ANNOTATION_DESCRIPTION).map(String::as_str);
        self.description.as_deref().or_else(annotated).unwrap_or_default()
    }

    /// The descriptor of this manifest for a list of referrers (OCI 1.1, "Listing Referrers").
    pub fn descriptor(&self, own: Digest, size: u64) -> Descriptor {
        Descriptor {
            artifact_type: self.artifact_type.clone(),
            annotations: self.annotations.clone(),
            ..Descriptor::new(self.media_type.clone(), own, size)
        }
    }
}

fn kind_of(object: &Map<String, Value>, content_type: &str) -> Result<(String, ManifestKind), ManifestError> {
    let stated = object.get("mediaType").and_then(Value::as_str).unwrap_or_default();
    for candidate in [content_type, stated] {
        if let Some(kind) = ManifestKind::of(candidate) {
            return Ok((candidate.to_owned(), kind));
        }
    }
    Err(ManifestError::MediaType(
        if stated.is_empty() { content_type } else { stated }.to_owned(),
    ))
}

fn target_of(listed: &Descriptor) -> LinkTarget {
    match ManifestKind::of(&listed.media_type) {
        Some(_) => LinkTarget::Manifest(listed.clone()),
        None => LinkTarget::Blob(listed.clone()),
    }
}

/// The digests that an index lists only as images for a platform. Each entry comes with whether it is one.
fn platforms(entries: &[(Descriptor, bool)]) -> BTreeSet<Digest> {
    let (running, others): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, runs)| *runs);
    let others: BTreeSet<&Digest> = others.into_iter().map(|(listed, _)| &listed.digest).collect();
    let running = running.into_iter().map(|(listed, _)| &listed.digest);
    running.filter(|digest| !others.contains(digest)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::sha256(&[n])
    }

    fn parse(json: serde_json::Value, media_type: &str) -> Manifest {
        Manifest::parse(json.to_string().as_bytes(), media_type).unwrap()
    }

    #[test]
    fn one_broken_descriptor_hides_no_other() {
        let index = parse(
            serde_json::json!({"manifests": [
                {"digest": "nonsense", "size": 1}, 7,
                {"digest": digest(1), "size": "x", "annotations": {"a": 1, "vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": digest(2)}},
            ]}),
            media_type::OCI_IMAGE_INDEX,
        );
        let links = index.links(&digest(0));
        assert_eq!(links.len(), 1);
        assert_eq!((&links[0].subject, links[0].source), (&digest(2), LinkSource::Buildkit));
    }

    #[test]
    fn the_artifact_type_of_an_image_is_its_config_unless_it_has_one() {
        let config = serde_json::json!({"mediaType": "application/x", "digest": digest(1), "size": 1});
        let image = parse(serde_json::json!({ "config": config }), media_type::OCI_IMAGE_MANIFEST);
        assert_eq!(image.artifact_type.as_deref(), Some("application/x"));
        let index = parse(serde_json::json!({}), media_type::OCI_IMAGE_INDEX);
        assert_eq!(index.artifact_type, None);
    }

    #[test]
    fn a_manifest_does_not_refer_to_itself() {
        let image = parse(
            serde_json::json!({"subject": {"digest": digest(1), "size": 1, "mediaType": "x"}}),
            media_type::OCI_IMAGE_MANIFEST,
        );
        assert_eq!(image.links(&digest(1)), []);
        assert_eq!(image.links(&digest(2)).len(), 1);
    }

    #[test]
    fn a_reference_on_a_layer_is_a_blob_link() {
        let layer = serde_json::json!({"mediaType": "application/x", "digest": digest(1), "size": 1, "reference": {"digest": digest(2)}});
        let image = parse(serde_json::json!({"layers": [layer]}), media_type::OCI_IMAGE_MANIFEST);
        assert!(matches!(
            &image.links(&digest(0))[..],
            [ManifestLink {
                target: LinkTarget::Blob(_),
                ..
            }]
        ));
    }
}
