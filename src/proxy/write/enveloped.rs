//! Pushing what the upstream refuses to store: in an envelope, a plain image manifest with the original as its layer.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::oci::media_type::{ManifestKind, OCI_IMAGE_MANIFEST};
use crate::oci::{Code, Descriptor, Digest, Manifest, OciError, Reference, RepositoryName, Tag, envelope, tag_scheme};
use crate::registry::{Answer, Caller, RegistryResponse};

use super::error::WriteError;
use super::link_tags::LinkedManifest;
use super::pushed_manifest::PushedManifest;
use super::{Push, Writer};

/// Whether `refusal` means that the upstream does not know this kind of manifest, or the algorithm of the digest `own` that
/// it is pushed by, rather than that the manifest is bad.
pub(super) fn is_not_understood(manifest: &Manifest, own: &Digest, refusal: &RegistryResponse) -> bool {
    let unheard_of = matches!(
        manifest.kind,
        ManifestKind::Artifact | ManifestKind::OrasArtifact | ManifestKind::Node
    );
    match refusal.status {
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE => true,
        // The digest was checked here already.
        StatusCode::BAD_REQUEST if own.algorithm() != "sha256" && says(refusal, "DIGEST_INVALID") => true,
        // A missing blob is the pusher's mistake, whatever the manifest.
        StatusCode::BAD_REQUEST => {
            unheard_of && !says(refusal, "BLOB_UNKNOWN") && !says(refusal, "MANIFEST_BLOB_UNKNOWN")
        }
        _ => false,
    }
}

fn says(refusal: &RegistryResponse, code: &str) -> bool {
    refusal.error().is_some_and(|stated| stated.has(code))
}

impl Writer {
    /// Stores `push` in an envelope: under its own envelope tag, the tags that the client asked for, and every link tag. Returns the
    /// answer.
    pub(super) async fn seal(&self, push: &Push, pushed: &PushedManifest) -> Result<RegistryResponse, WriteError> {
        let (manifest, own) = (&pushed.manifest, &pushed.own);
        let original = Descriptor::new(manifest.media_type.clone(), own.clone(), push.bytes.len() as u64);
        let bytes = envelope::seal(&original, manifest);
        let digest = Digest::sha256(&bytes);
        let config = Bytes::from_static(envelope::CONFIG);
        for (digest, bytes) in [(own, push.bytes.clone()), (&Digest::sha256(&config), config)] {
            self.put_blob(&push.repository, digest, bytes, &push.caller).await?;
        }
        let sealed = LinkedManifest {
            repository: &push.repository,
            media_type: OCI_IMAGE_MANIFEST,
            bytes: &bytes,
            digest: &digest,
            caller: &push.caller,
        };
        for tag in self.first_tags(push, own) {
            self.put_tag(&sealed, &tag).await?;
        }
        if !self.keeps_links_beside(&push.repository) {
            self.write_link_tags(&sealed, pushed.link_tags.clone()).await?;
        }
        let mut answer = created(push, own);
        self.write_asked_tags(push, &sealed, &mut answer).await?;
        Ok(answer)
    }

    /// Where the envelope goes first, so that its digest resolves before anything points at it.
    fn first_tags(&self, push: &Push, own: &Digest) -> Vec<Tag> {
        let asked_for = match &push.reference {
            Reference::Tag(tag) => Some(tag.clone()),
            Reference::Digest(_) => None,
        };
        tag_scheme::envelope_tag(own).into_iter().chain(asked_for).collect()
    }

    pub(super) async fn put_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: Bytes,
        caller: &Caller,
    ) -> Result<(), WriteError> {
        match self.upstream.put_blob(repository, digest, bytes, caller).await? {
            Answer::Found(()) => Ok(()),
            Answer::Refused(refusal) => Err(refusal.into()),
            Answer::Absent => {
                let message = format!("the registry has no repository {repository}");
                Err(WriteError::Oci(OciError::not_found(Code::NameUnknown, message)))
            }
        }
    }
}

/// The answer to a push that the upstream has not seen as such.
pub(super) fn created(push: &Push, own: &Digest) -> RegistryResponse {
    let mut headers = HeaderMap::new();
    let location = format!("/v2/{}/manifests/{own}", push.repository);
    // Names and digests are ASCII.
    if let (Ok(location), Ok(digest)) = (HeaderValue::try_from(location), HeaderValue::try_from(own.as_str())) {
        headers.insert(http::header::LOCATION, location);
        headers.insert("docker-content-digest", digest);
    }
    headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    RegistryResponse {
        status: StatusCode::CREATED,
        headers,
        body: Bytes::new(),
    }
}
