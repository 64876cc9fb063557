//! Manifests of every dialect. They are read leniently, so that one invalid member does not hide links in others.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::descriptor::{Annotations, Descriptor, annotations_from_json, is_for_platform};
use super::digest::Digest;
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
    /// counts; where neither says anything (the image-spec lets the member be left out), the members by which an image or an index is known.
    ///
    /// # Errors
    /// If `bytes` are not a JSON object, or nothing says that they are a manifest.
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

    /// The members that all kinds of manifests have in common, of a kind that is not known here.
    pub fn of_unknown_kind(bytes: &[u8], media_type: String) -> Result<Self, ManifestError> {
        Ok(Self {
            media_type,
            ..Self::parse(bytes, media_type::OCI_ARTIFACT_MANIFEST)?
        })
    }

    /// Whether it is an index with this entry.
    pub fn lists(&self, digest: &Digest) -> bool {
        self.manifests.iter().any(|listed| listed.digest == *digest)
    }

    /// The descriptor of what this manifest refers to (Proposal C's "reference").
    pub fn parent(&self) -> Option<&Descriptor> {
        self.reference
            .as_ref()
            .or(self.subject.as_ref())
            .or(self.refers.as_ref())
    }

    /// Everything that it is made of: the manifests and blobs that it lists, and its config.
    pub fn parts(&self) -> impl Iterator<Item = &Descriptor> {
        let lists = [&self.manifests, &self.layers, &self.blobs, &self.objects];
        lists.into_iter().flatten().chain(&self.config)
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
    let by_members = match stated.is_empty() && media_type::says_nothing(content_type) {
        true => type_by_members(object),
        false => None,
    };
    for candidate in [Some(content_type), Some(stated), by_members].into_iter().flatten() {
        if let Some(kind) = ManifestKind::of(candidate) {
            return Ok((candidate.to_owned(), kind));
        }
    }
    Err(ManifestError::MediaType(
        if stated.is_empty() { content_type } else { stated }.to_owned(),
    ))
}

/// The media type of a manifest that states none, by what the image-spec requires of it. `None` where it has the members of both: those
/// mean something else to each reader.
fn type_by_members(object: &Map<String, Value>) -> Option<&'static str> {
    let is_list = |key: &str| object.get(key).is_some_and(Value::is_array);
    let is_second = object.get("schemaVersion").is_some_and(|version| *version == 2);
    match (is_list("manifests"), is_list("layers") && object.contains_key("config")) {
        _ if !is_second => None,
        (true, false) => Some(media_type::OCI_IMAGE_INDEX),
        (false, true) => Some(media_type::OCI_IMAGE_MANIFEST),
        (true, true) | (false, false) => None,
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
    fn the_artifact_type_of_an_image_is_its_config_unless_it_has_one() {
        let config = serde_json::json!({"mediaType": "application/x", "digest": digest(1), "size": 1});
        let image = parse(serde_json::json!({ "config": config }), media_type::OCI_IMAGE_MANIFEST);
        assert_eq!(image.artifact_type.as_deref(), Some("application/x"));
        let index = parse(serde_json::json!({}), media_type::OCI_IMAGE_INDEX);
        assert_eq!(index.artifact_type, None);
    }

    #[test]
    fn where_no_type_is_stated_the_members_tell() {
        let kind = |json: serde_json::Value, content_type: &str| {
            let parsed = Manifest::parse(json.to_string().as_bytes(), content_type);
            parsed.ok().map(|manifest| manifest.media_type)
        };
        let image = serde_json::json!({"schemaVersion": 2, "config": {}, "layers": []});
        let index = serde_json::json!({"schemaVersion": 2, "manifests": []});
        for content_type in ["", "application/json", "text/plain", "APPLICATION/octet-stream"] {
            assert_eq!(
                kind(image.clone(), content_type).as_deref(),
                Some(media_type::OCI_IMAGE_MANIFEST)
            );
            assert_eq!(
                kind(index.clone(), content_type).as_deref(),
                Some(media_type::OCI_IMAGE_INDEX)
            );
        }
        let with = |member: &str, value: serde_json::Value| {
            let mut other = image.clone();
            other[member] = value;
            other
        };
        // Both at once, Docker's first kind, and what says that it is something else.
        for other in [
            with("manifests", serde_json::json!([])),
            with("schemaVersion", serde_json::json!(1)),
            with("mediaType", serde_json::json!("application/x")),
            with("layers", serde_json::json!({})),
        ] {
            assert_eq!(kind(other.clone(), "application/json"), None, "{other}");
        }
        assert_eq!(kind(image.clone(), "application/x+json"), None);
    }
}
