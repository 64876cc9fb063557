//! Pushing what a test needs: blobs, images, indexes, artifacts, each with exactly the JSON that was asked for.

use bytes::Bytes;
use http::Method;
use refshim::testing::oci::Digest;
use serde_json::{Value, json};

use super::endpoint::Endpoint;

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What entries of cosign's tags are called, and BuildKit's attestations.
pub const SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
pub const ATTESTATION: &str = "application/vnd.dev.cosign.artifact.att.v1+json";
pub const SBOM: &str = "application/vnd.dev.cosign.artifact.sbom.v1+json";
pub const BUILDKIT: &str = "application/vnd.docker.attestation.manifest.v1+json";
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub const ANY: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, */*";

/// A manifest as it was stored.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub digest: String,
    pub media_type: String,
    pub bytes: Bytes,
}

impl Pushed {
    /// `manifest` as it will be stored, pushed or not.
    pub fn of(media_type: &str, manifest: &Value) -> Self {
        let bytes = Bytes::from(serde_json::to_vec(manifest).expect("JSON prints"));
        let digest = Digest::sha256(&bytes).to_string();
        Self {
            digest,
            media_type: media_type.to_owned(),
            bytes,
        }
    }

    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The part after `sha256:`.
    pub fn hex(&self) -> &str {
        self.digest.trim_start_matches("sha256:")
    }

    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size()})
    }

    /// The descriptor with annotations, as an index holds it.
    pub fn annotated(&self, annotations: Value) -> Value {
        let mut descriptor = self.descriptor();
        descriptor["annotations"] = annotations;
        descriptor
    }

    /// The referrers tag of this subject (OCI 1.1).
    pub fn referrers_tag(&self) -> String {
        format!("sha256-{}", self.hex())
    }

    /// The adopted form that names `subject` (docs/adopted-forms.md), with this artifact type where one is added.
    pub fn adopted(&self, subject: &Pushed, artifact_type: Option<&str>) -> Self {
        let text = std::str::from_utf8(&self.bytes).expect("a manifest is text").trim_end();
        let begin = text.strip_suffix('}').expect("a manifest is an object");
        let named = artifact_type
            .map(|named| format!(",\"artifactType\":\"{named}\""))
            .unwrap_or_default();
        let Pushed { media_type, digest, .. } = subject;
        let size = subject.size();
        let subject = format!(r#","subject":{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}}}"#);
        let bytes = Bytes::from(format!("{begin}{named}{subject}"));
        Self {
            digest: Digest::sha256(&bytes).to_string(),
            media_type: self.media_type.clone(),
            bytes,
        }
    }

    /// The same of what cosign's tag with this suffix names.
    pub fn adopted_by_suffix(&self, subject: &Pushed, suffix: &str) -> Self {
        let artifact_type = format!("application/vnd.dev.cosign.artifact{suffix}.v1+json");
        self.adopted(subject, Some(&artifact_type))
    }

    /// How it is listed: as it is where it has a subject or cannot be adopted, otherwise in its adopted form.
    pub fn listed(&self, subject: &Pushed, artifact_type: Option<&str>) -> Self {
        let json: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        let is_oci = [IMAGE, INDEX].contains(&self.media_type.as_str());
        match is_oci && json.get("subject").is_none() {
            true => self.adopted(subject, artifact_type),
            false => self.clone(),
        }
    }

    /// The tag of Proposal D by which `self` refers to `subject`.
    pub fn proposal_d_tag(&self, subject: &Pushed, kind: &str) -> String {
        format!("sha256-{}.{}.{kind}", subject.hex(), &self.hex()[..16])
    }
}

/// Whether a tag is the OCI 1.1 referrers tag of some sha256.
pub fn is_referrers_tag(tag: &str) -> bool {
    let encoded = tag.strip_prefix("sha256-").unwrap_or_default();
    encoded.len() == 64 && !encoded.contains('.')
}

/// A descriptor of the two-byte blob `{}`.
pub fn empty_descriptor() -> Value {
    json!({"mediaType": EMPTY, "digest": Digest::sha256(b"{}").to_string(), "size": 2})
}

/// An image manifest with nothing in it; `name` makes its digest its own.
pub fn bare_image(name: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": empty_descriptor(),
        "layers": [empty_descriptor()],
        "annotations": {"org.opencontainers.image.title": name},
    })
}

/// An artifact that names its subject the OCI 1.1 way.
pub fn artifact(subject: &Pushed, artifact_type: &str, name: &str) -> Value {
    let mut manifest = bare_image(name);
    manifest["artifactType"] = artifact_type.into();
    manifest["subject"] = subject.descriptor();
    manifest
}

/// An index of `descriptors`.
pub fn index(descriptors: impl IntoIterator<Item = Value>) -> Value {
    let manifests: Vec<Value> = descriptors.into_iter().collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
}

impl Endpoint {
    /// Pushes a blob (POST, then PUT: 2.8.2 knows no other way in one go).
    pub async fn push_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::sha256(&bytes);
        let location = self.begin_upload(repository).await;
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={digest}");
        let octets = [("content-type", "application/octet-stream")];
        self.send(Method::PUT, &url, &octets, bytes).await.expect_status(201);
        digest
    }

    /// Begins to upload a blob; where it goes on.
    pub async fn begin_upload(&self, repository: &str) -> String {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.send(Method::POST, &path, &[], Bytes::new()).await;
        begun
            .expect_status(202)
            .header("location")
            .expect("a Location")
            .to_owned()
    }

    /// Puts a manifest under a tag, or under its digest where `tag` is empty.
    pub async fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, manifest: &Value) -> Pushed {
        let pushed = Pushed::of(media_type, manifest);
        self.put_bytes(repository, tag, &pushed).await.expect_status(201);
        pushed
    }

    /// The same, with the answer as it comes.
    pub async fn put_bytes(&self, repository: &str, tag: &str, manifest: &Pushed) -> super::Reply {
        let reference = if tag.is_empty() { &manifest.digest } else { tag };
        let path = format!("/v2/{repository}/manifests/{reference}");
        let headers = [("content-type", manifest.media_type.as_str())];
        self.send(Method::PUT, &path, &headers, manifest.bytes.clone()).await
    }

    /// Reads a manifest of any type.
    pub async fn manifest(&self, repository: &str, reference: &str) -> super::Reply {
        self.get_with(&format!("/v2/{repository}/manifests/{reference}"), &[("accept", ANY)])
            .await
    }

    /// Pushes a small image whose digest depends on `name` only.
    pub async fn push_image(&self, repository: &str, tag: &str, name: &str) -> Pushed {
        self.push_blob(repository, "{}").await;
        self.put_manifest(repository, tag, IMAGE, &bare_image(name)).await
    }

    /// Points one more tag at a manifest.
    pub async fn put_tag(&self, repository: &str, tag: &str, manifest: &Pushed) {
        self.put_bytes(repository, tag, manifest).await.expect_status(201);
    }

    /// Pushes an OCI 1.1 artifact by digest only, as cosign, oras and notation do.
    pub async fn push_artifact(&self, repository: &str, subject: &Pushed, artifact_type: &str, name: &str) -> Pushed {
        self.push_blob(repository, "{}").await;
        self.put_manifest(repository, "", IMAGE, &artifact(subject, artifact_type, name))
            .await
    }

    /// The same, under its Proposal D tag too.
    pub async fn attach(&self, repository: &str, subject: &Pushed, artifact_type: &str, name: &str) -> Pushed {
        let pushed = self.push_artifact(repository, subject, artifact_type, name).await;
        let tag = pushed.proposal_d_tag(subject, "x");
        self.put_tag(repository, &tag, &pushed).await;
        pushed
    }

    /// The answer to `/referrers/<digest>`.
    pub async fn referrers_reply(&self, repository: &str, digest: &str) -> super::Reply {
        self.get(&format!("/v2/{repository}/referrers/{digest}")).await
    }

    /// The descriptors of a well-formed list of referrers.
    pub async fn referrers(&self, repository: &str, digest: &str) -> Vec<Value> {
        let reply = self.referrers_reply(repository, digest).await.expect_status(200);
        assert_eq!(reply.header("content-type"), Some(INDEX), "{reply:?}");
        let index = reply.json();
        assert_eq!(
            (&index["schemaVersion"], &index["mediaType"]),
            (&json!(2), &json!(INDEX))
        );
        index["manifests"].as_array().expect("manifests is a list").clone()
    }

    /// Only their digests, sorted.
    pub async fn referrer_digests(&self, repository: &str, digest: &str) -> Vec<String> {
        let listed = self.referrers(repository, digest).await;
        let mut digests: Vec<String> = listed
            .iter()
            .map(|d| d["digest"].as_str().expect("a digest").to_owned())
            .collect();
        digests.sort();
        digests
    }
}
