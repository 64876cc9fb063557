//! Blobs of any size: whether they are there, and their uploads, which are streamed.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;

use super::Upstream;
use super::blob_calls::BlobUpload;
use crate::http::body::{Body, BoxError};
use crate::oci::{Digest, RepositoryName};
use crate::registry::answer::{Answer, RegistryResponse};
use crate::registry::caller::Caller;
use crate::registry::classify::classify;
use crate::registry::error::UpstreamError;
use crate::registry::reader::request::Redirects;
use crate::registry::retry::ReadFailure;
use crate::registry::transport::collect;

/// Uploads of one blob that are begun.
const MOST_ATTEMPTS: usize = 3;

/// How a blob came to be in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobWritten {
    /// From another repository of the registry, without its content having been sent.
    Mounted,
    /// It was sent.
    Uploaded,
}

impl Upstream {
    /// Whether the registry holds the blob. What a HEAD leaves open (a 404, which states nothing; a redirect to storage, whose signed URLs
    /// refuse HEADs), a GET decides, of which only the head is read.
    pub async fn holds_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Answer<()>, UpstreamError> {
        match self.blob_head(repository, digest, caller).await?.status {
            StatusCode::OK => Ok(Answer::Found(())),
            _ => self.holds_blob_by_get(repository, digest, caller).await,
        }
    }

    /// The same for whoever may upload the blob once more: a HEAD's 404 is taken for a no.
    pub async fn seems_to_hold_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<bool, UpstreamError> {
        match self.blob_head(repository, digest, caller).await?.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => {
                let answer = self.holds_blob_by_get(repository, digest, caller).await?;
                Ok(matches!(answer, Answer::Found(())))
            }
        }
    }

    async fn blob_head(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<RegistryResponse, UpstreamError> {
        let ask = self.ask_blob(Method::HEAD, Redirects::Own, repository, digest, caller)?;
        self.reader.ask(&ask, 0).await
    }

    async fn holds_blob_by_get(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Answer<()>, UpstreamError> {
        let ask = self.ask_blob(Method::GET, Redirects::Elsewhere, repository, digest, caller)?;
        let mut retry = self.reader.retry();
        let open = loop {
            match self.reader.attempt(&ask).await {
                Ok(open) => break open,
                Err(failure) => retry.after(failure).await?,
            }
        };
        if open.response.status() == StatusCode::OK {
            return Ok(Answer::Found(()));
        }
        let reply = collect::refusal(open.response).await?;
        classify(reply, &ask.uri)?.try_map(|_| Ok(()))
    }

    /// Mounts the blob `from` another repository where the registry can, or else sends it. `content` opens it, once for each attempt, as a
    /// stream and its length in bytes; a stream that ends in an error stores nothing and is
    /// [`UpstreamError::CallersBody`].
    pub async fn write_blob<S, E>(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        content: impl AsyncFn() -> Result<(S, u64), String>,
        caller: &Caller,
    ) -> Result<Answer<BlobWritten>, UpstreamError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        for _ in 1..MOST_ATTEMPTS {
            match self.send_blob(repository, digest, from, &content, caller).await {
                Ok(answer) => return Ok(answer),
                // An upload may take longer than all attempts of a read.
                Err(failure) => self.reader.retry().after(failure).await?,
            }
        }
        let last = self.send_blob(repository, digest, from, &content, caller).await;
        last.map_err(|failure| failure.error)
    }

    async fn send_blob<S, E>(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        content: &impl AsyncFn() -> Result<(S, u64), String>,
        caller: &Caller,
    ) -> Result<Answer<BlobWritten>, ReadFailure>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let begun = match self.begin(repository, digest, from, caller).await? {
            // Who may not read there may write here all the same.
            Answer::Absent | Answer::Refused(_) if from.is_some() => {
                self.begin(repository, digest, None, caller).await?
            }
            begun => begun,
        };
        let session = match begun {
            Answer::Found(BlobUpload::Begun(session)) => session,
            Answer::Found(BlobUpload::Unneeded) => return Ok(Answer::Found(BlobWritten::Mounted)),
            Answer::Absent => return Ok(Answer::Absent),
            Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let (stream, length) = content().await.map_err(UpstreamError::CallersBody)?;
        let frames = stream.map_ok(Frame::data).map_err(E::into);
        let body = match length {
            // Nothing is left to say of it.
            0 => Body::empty(),
            _ => Body::stream(StreamBody::new(frames)),
        };
        let sent = self.finish(&session, (body, length), caller).await?;
        Ok(sent.try_map(|()| Ok(BlobWritten::Uploaded))?)
    }
}
