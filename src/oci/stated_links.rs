//! The links that a manifest states: its own, and those of what it lists.

use super::descriptor::Descriptor;
use super::digest::Digest;
use super::link::{LinkSource, LinkTarget, ManifestLink, digest_in};
use super::manifest::{ANNOTATION_REFERENCE, Manifest};
use super::media_type::ManifestKind;
use super::subject_key::SubjectKey;

impl Manifest {
    /// What an index behind the referrers tag of `subject` says refers to it, whose own digest is `own`: all that it lists, but what is annotated
    /// for another subject only. Of an originator's own index (which holds the subject among annotated entries) only what is annotated
    /// counts. Nothing of another manifest: under this name that is a user's own.
    pub fn listed_for(&self, subject: &SubjectKey, own: &Digest) -> Vec<&Descriptor> {
        let is_subject = |digest: &Digest| SubjectKey::of(digest) == *subject;
        // Some registries and clients put the subject itself there.
        if self.kind != ManifestKind::Index || is_subject(own) {
            return Vec::new();
        }
        let links = self.links(own);
        let holds_it = self.manifests.iter().any(|listed| is_subject(&listed.digest));
        let is_originators = holds_it && links.iter().any(|link| link.target != LinkTarget::This);
        let listed = self.manifests.iter().filter(|listed| {
            let is_target =
                |target: &LinkTarget| matches!(target, LinkTarget::Manifest(named) if named.digest == listed.digest);
            let mut stated = links.iter().filter(|link| is_target(&link.target)).peekable();
            match stated.peek() {
                None => !is_originators,
                Some(_) => stated.any(|link| is_subject(&link.subject)),
            }
        });
        listed.collect()
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
}

fn target_of(listed: &Descriptor) -> LinkTarget {
    match ManifestKind::of(&listed.media_type) {
        Some(_) => LinkTarget::Manifest(listed.clone()),
        None => LinkTarget::Blob(listed.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;

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
