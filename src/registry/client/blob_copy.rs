//! A blob brought from one repository into another, on two callers' behalf: mounted where both are in one registry and that does it, else copied as
//! it arrives. Constant memory.

use std::sync::Arc;

use futures_util::stream;
use http::header::LOCATION;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;

use super::Upstream;
use super::blob_calls::BlobUpload;
use super::blob_download::BlobDownload;
use super::write::WriteRequest;
use crate::http::body::Body;
use crate::oci::{Digest, RepositoryName};
use crate::registry::answer::{Answer, RegistryResponse};
use crate::registry::caller::Caller;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::origin::resolve;
use crate::registry::retry::ReadFailure;

/// A repository of a registry, and who reads or writes it.
#[derive(Clone, Copy)]
pub struct CallersRepository<'a> {
    pub upstream: &'a Arc<Upstream>,
    pub repository: &'a RepositoryName,
    pub caller: &'a Caller,
}

impl CallersRepository<'_> {
    /// Brings a blob here, where it is not yet. Mounted is what the writer may read where it comes `from`, and is content of a kind that
    /// registries mount: Distribution mounts sha512 content under a name by which it never looks.
    pub async fn copy_blob(&self, digest: &Digest, from: CallersRepository<'_>) -> Result<Answer<()>, UpstreamError> {
        let mut retry = self.upstream.reader.retry();
        loop {
            match self.try_to_copy(digest, from).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_to_copy(&self, digest: &Digest, from: CallersRepository<'_>) -> Result<Answer<()>, ReadFailure> {
        let Self {
            upstream,
            repository,
            caller,
        } = *self;
        let mut begun = Answer::Absent;
        if digest.algorithm() == "sha256" && Arc::ptr_eq(upstream, from.upstream) {
            begun = upstream
                .begin(repository, digest, Some(from.repository), caller)
                .await?;
        }
        if !matches!(begun, Answer::Found(_)) {
            // Who may not read there may write here all the same.
            begun = upstream.begin(repository, digest, None, caller).await?;
        }
        match begun {
            Answer::Found(BlobUpload::Unneeded) => Ok(Answer::Found(())),
            Answer::Found(BlobUpload::Begun(session)) => {
                let content = from.content(digest).await?;
                upstream.finish(&session, content, caller).await
            }
            Answer::Absent => Ok(Answer::Absent),
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }

    /// The blob as a body that arrives, and its length in bytes.
    async fn content(&self, digest: &Digest) -> Result<(Body, u64), UpstreamError> {
        let Self {
            upstream,
            repository,
            caller,
        } = *self;
        let unread = |problem: &str| UpstreamError::Invalid(format!("{digest} of {repository}: {problem}"));
        let open = BlobDownload::open(upstream.clone(), repository, digest, 0, caller);
        let download = match open.await? {
            Answer::Found(download) => download,
            Answer::Absent => return Err(unread("it is gone")),
            Answer::Refused(refusal) => return Err(unread(&format!("HTTP {}", refusal.status.as_u16()))),
        };
        let length = download.length().ok_or_else(|| unread("its length is not stated"))?;
        let frames = stream::try_unfold(download, |mut download| async move {
            let piece = download.next().await?;
            Ok::<_, UpstreamError>(piece.map(|piece| (Frame::data(piece), download)))
        });
        Ok(match length {
            // Nothing is left to say of it.
            0 => (Body::empty(), 0),
            _ => (Body::stream(StreamBody::new(frames)), length),
        })
    }
}

impl Upstream {
    /// Whether the registry opens an upload for this caller, which proves the right to push; it is cancelled at once. What the registry answers
    /// instead is returned.
    pub async fn opens_upload(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Result<(), RegistryResponse>, UpstreamError> {
        let asked = self.origin().uri(&format!("/v2/{repository}/blobs/uploads/"))?;
        let post = WriteRequest::empty(RequestKind::BlobWrite, Method::POST, asked.clone());
        let begun = self.write(post, caller).await?;
        if begun.status != StatusCode::ACCEPTED {
            return Ok(Err(begun));
        }
        let location = begun.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let session = location.and_then(|location| self.origin().own(&resolve(&asked, location)?));
        let session =
            session.ok_or_else(|| UpstreamError::Invalid("an upload without a Location of its own".into()))?;
        let cancel = WriteRequest::empty(RequestKind::BlobWrite, Method::DELETE, session);
        match self.write(cancel, caller).await {
            Ok(reply) if reply.status.is_success() => {}
            // Registries end what nobody goes on with.
            Ok(reply) => tracing::debug!(%repository, status = %reply.status, "an upload was not cancelled"),
            Err(error) => tracing::debug!(%repository, %error, "an upload was not cancelled"),
        }
        Ok(Ok(()))
    }
}
