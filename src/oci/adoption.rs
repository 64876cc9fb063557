//! Adopted forms: a manifest that is linked to a subject without naming it (cosign's tags, BuildKit's attestations, Proposal D), with
//! `subject` added, so that OCI 1.1 clients take it for a referrer and copy it as one.
//!
//! The bytes follow from the original and the subject alone, so that every process of refshim makes the same. Everything before the
//! last `}` of the original stays as it is; what follows it (white space) goes. In its place come, each after a comma, without white
//! space, strings escaped no more than JSON demands, in this order and where they are added:
//!
//! 1. `"annotations":{"in-toto.io/predicate-type":"…"}`, of a BuildKit attestation without annotations whose layers all have this
//!    predicate type;
//! 2. `"artifactType":"…"`, where the original has none and its config says "runnable image" or nothing: that of the cosign tag, or
//!    BuildKit's for attestations;
//! 3. `"subject":{"mediaType":"…","digest":"…","size":…}`, as the registry serves the subject;
//!
//! and a last `}`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::descriptor::{Annotations, Descriptor};
use super::digest::Digest;
use super::manifest::Manifest;
use super::media_type::{self, ManifestKind};
use super::tag_scheme::CosignKind;
use super::weight::{allocated, shared_text};

/// The artifact type that newer versions of BuildKit give to attestations themselves.
pub const BUILDKIT_ATTESTATION: &str = "application/vnd.docker.attestation.manifest.v1+json";
/// The annotation by which trivy and BuildKit choose among attestations.
pub const ANNOTATION_PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// Config media types that say "runnable image", or nothing: no artifact type.
const IMAGE_CONFIGS: [&str; 3] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    media_type::OCI_EMPTY,
];

/// What the link says of an artifact whose own manifest claims to be a runnable image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArtifactHint {
    /// The kind of the cosign tag.
    pub cosign: Option<CosignKind>,
    /// Whether BuildKit's annotations call it an attestation.
    pub is_attestation: bool,
}

/// What a manifest is, where it does not say so itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactNames {
    pub artifact_type: Option<&'static str>,
    pub predicate_type: Option<String>,
}

impl ArtifactHint {
    /// What is to be added to what `manifest` says of itself.
    pub fn names(self, manifest: &Manifest) -> ArtifactNames {
        let is_unnamed = is_unnamed(manifest.artifact_type.as_deref());
        let artifact_type = match (self.cosign, self.is_attestation) {
            (Some(kind), _) => Some(kind.artifact_type()),
            (None, true) => Some(BUILDKIT_ATTESTATION),
            (None, false) => None,
        };
        ArtifactNames {
            artifact_type: artifact_type.filter(|_| is_unnamed),
            predicate_type: predicate_type(manifest).filter(|_| self.is_attestation && manifest.annotations.is_empty()),
        }
    }
}

/// Whether an artifact type says no more than that something may be an image.
pub fn is_unnamed(artifact_type: Option<&str>) -> bool {
    artifact_type.is_none_or(|stated| IMAGE_CONFIGS.contains(&stated))
}

/// The predicate type of an attestation's statements, where it is one.
fn predicate_type(manifest: &Manifest) -> Option<String> {
    let types = manifest
        .layers
        .iter()
        .map(|layer| layer.annotations.get(ANNOTATION_PREDICATE_TYPE));
    let mut types: Vec<Option<&String>> = types.collect();
    types.dedup();
    match types[..] {
        [Some(only)] => Some(only.clone()),
        _ => None,
    }
}

/// The subject as its adopted referrers name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdoptionSubject {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
}

/// What is added to a manifest to make its adopted form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    pub subject: AdoptionSubject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
}

impl Adoption {
    /// How `original` is adopted; `None` for what is listed as it is.
    pub fn of(original: &[u8], media_type: &str, subject: &AdoptionSubject, hint: ArtifactHint) -> Option<Self> {
        let members = adoptable_members(original, media_type)?;
        let manifest = Manifest::from_members(&members, media_type).ok()?;
        let names = hint.names(&manifest);
        let artifact_type = names.artifact_type.filter(|_| !has(&members, "artifactType"));
        Some(Self {
            subject: subject.clone(),
            artifact_type: artifact_type.map(str::to_owned),
            predicate_type: names.predicate_type.filter(|_| !has(&members, "annotations")),
        })
    }

    /// The adopted form of `original`. `None` for what is not adopted, or has already what would be added.
    pub fn apply(&self, original: &[u8], media_type: &str) -> Option<Bytes> {
        let members = adoptable_members(original, media_type)?;
        let mut added = String::new();
        if let Some(predicate_type) = &self.predicate_type {
            let annotations = Annotations::from([(ANNOTATION_PREDICATE_TYPE.to_owned(), predicate_type.clone())]);
            add(&mut added, &members, "annotations", &annotations)?;
        }
        if let Some(artifact_type) = &self.artifact_type {
            add(&mut added, &members, "artifactType", artifact_type)?;
        }
        add(&mut added, &members, "subject", &self.subject)?;
        let end = original.iter().rposition(|byte| *byte == b'}')?;
        Some([&original[..end], added.as_bytes(), b"}"].concat().into())
    }

    /// Bytes of memory that it uses beside its own.
    pub fn held(&self) -> usize {
        let texts = [
            Some(&self.subject.media_type),
            self.artifact_type.as_ref(),
            self.predicate_type.as_ref(),
        ];
        let texts = texts.into_iter().flatten().map(|text| allocated(text.len()));
        shared_text(self.subject.digest.as_str()) + texts.sum::<usize>()
    }
}

/// The members of a manifest that can be adopted: an OCI image manifest or index, by what it is served as and by what it says, that
/// has no `subject`. Go's JSON parser does not tell `Subject` from `subject`, nor the Kelvin sign from a k.
fn adoptable_members(original: &[u8], media_type: &str) -> Option<Map<String, Value>> {
    let members: Map<String, Value> = serde_json::from_slice(original).ok()?;
    let stated = members.get("mediaType");
    let is_oci = matches!(media_type, media_type::OCI_IMAGE_MANIFEST | media_type::OCI_IMAGE_INDEX);
    let is_as_stated = stated.is_none_or(|stated| stated.as_str() == Some(media_type));
    let has_subject = has(&members, "subject") || members.keys().any(|name| !name.is_ascii());
    (is_oci && is_as_stated && !has_subject && !members.is_empty()).then_some(members)
}

/// Whether there is such a member, in any spelling that some reader takes for the same.
fn has(members: &Map<String, Value>, name: &str) -> bool {
    members.keys().any(|known| known.eq_ignore_ascii_case(name))
}

/// Adds a member that is not there yet.
fn add(added: &mut String, members: &Map<String, Value>, name: &str, value: &impl Serialize) -> Option<()> {
    if has(members, name) {
        return None;
    }
    added.push_str(&format!(",\"{name}\":{}", serde_json::to_string(value).ok()?));
    Some(())
}

/// What two manifests have in common that are one artifact, with and without a subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ArtifactContent {
    kind: ManifestKind,
    config: Option<Digest>,
    listed: Vec<Digest>,
    annotations: Annotations,
}

impl ArtifactContent {
    pub fn of(manifest: &Manifest) -> Self {
        let listed = manifest.layers.iter().chain(&manifest.manifests);
        Self {
            kind: manifest.kind,
            config: manifest.config.as_ref().map(|config| config.digest.clone()),
            listed: listed.map(|listed| listed.digest.clone()).collect(),
            annotations: manifest.annotations.clone(),
        }
    }
}

/// Describes `manifest` as `names` call it, where it is listed as it is.
pub fn describe(descriptor: &mut Descriptor, names: ArtifactNames) {
    if let Some(artifact_type) = names.artifact_type {
        descriptor.artifact_type = Some(artifact_type.to_owned());
    }
    if let Some(predicate_type) = names.predicate_type {
        descriptor
            .annotations
            .insert(ANNOTATION_PREDICATE_TYPE.to_owned(), predicate_type);
    }
}

#[cfg(test)]
#[path = "adoption_tests.rs"]
mod tests;
