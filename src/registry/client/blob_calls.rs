//! Blobs: small ones read whole, and written.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, LOCATION};
use http::{Method, Uri};

use super::Upstream;
use super::content_check::check;
use super::write::WriteRequest;
use crate::http::body::Body;
use crate::oci::{Digest, RepositoryName};
use crate::registry::answer::{Answer, RegistryResponse};
use crate::registry::caller::Caller;
use crate::registry::classify::{classify, failure_of};
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::origin::resolve;
use crate::registry::reader::request::{ReadRequest, Redirects};
use crate::registry::retry::ReadFailure;

const OCTETS: &str = "application/octet-stream";

/// What the registry answers to whoever wants to upload a blob.
pub(super) enum BlobUpload {
    /// It has the blob now: mounted from another repository.
    Unneeded,
    /// Where the blob is to be sent, its digest included.
    Begun(Uri),
}

impl Upstream {
    /// A blob of at most `limit` bytes, checked against its digest.
    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        limit: usize,
        caller: &Caller,
    ) -> Result<Answer<Bytes>, UpstreamError> {
        let ask = self.ask_blob(Method::GET, Redirects::Elsewhere, repository, digest, caller)?;
        let reply = self.reader.ask(&ask, limit).await?;
        classify(reply, &ask.uri)?.try_map(|reply| {
            check(digest, &reply.headers, &reply.body)?;
            Ok(reply.body)
        })
    }

    /// Writes a blob unless it is there. An upload is named by its content, so it can be begun again when it fails.
    pub async fn put_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: Bytes,
        caller: &Caller,
    ) -> Result<Answer<()>, UpstreamError> {
        if self.has_blob(repository, digest, Some(bytes.len()), caller).await? {
            return Ok(Answer::Found(()));
        }
        let mut retry = self.reader.retry();
        loop {
            match self.upload(repository, digest, bytes.clone(), caller).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    /// Deletes a blob. The response is returned whatever its status.
    ///
    /// # Errors
    /// If there is no response.
    pub async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<RegistryResponse, UpstreamError> {
        let uri = self.origin().uri(&format!("/v2/{repository}/blobs/{digest}"))?;
        self.write(WriteRequest::empty(RequestKind::BlobWrite, Method::DELETE, uri), caller)
            .await
    }

    /// Whether the upstream has the blob, of `size` bytes where that is known. Only a plain yes counts. A redirect is followed nowhere: signed URLs refuse HEAD; and a blob that is there may be
    /// written again.
    pub async fn has_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: Option<usize>,
        caller: &Caller,
    ) -> Result<bool, UpstreamError> {
        let ask = self.ask_blob(Method::HEAD, Redirects::Own, repository, digest, caller)?;
        let reply = self.reader.ask(&ask, 0).await?;
        let length = reply.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let same_size = length.is_none_or(|length| size.is_none() || length.parse().ok() == size);
        Ok(reply.status == http::StatusCode::OK && same_size)
    }

    pub(super) fn ask_blob<'a>(
        &self,
        method: Method,
        redirects: Redirects,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &'a Caller,
    ) -> Result<ReadRequest<'a>, UpstreamError> {
        Ok(ReadRequest {
            kind: RequestKind::Blob,
            method,
            uri: self.origin().uri(&format!("/v2/{repository}/blobs/{digest}"))?,
            accept: "*/*",
            redirects,
            caller,
        })
    }

    /// POST, then PUT: Distribution 2.8 ignores a POST that brings the content along.
    async fn upload(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: Bytes,
        caller: &Caller,
    ) -> Result<Answer<()>, ReadFailure> {
        match self.begin(repository, digest, None, caller).await? {
            Answer::Found(BlobUpload::Unneeded) => Ok(Answer::Found(())),
            Answer::Found(BlobUpload::Begun(session)) => {
                let length = bytes.len() as u64;
                self.finish(&session, (Body::from(bytes), length), caller).await
            }
            Answer::Absent => Ok(Answer::Absent),
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }

    /// Opens an upload, unless the registry can mount the blob `from` another repository.
    pub(super) async fn begin(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        caller: &Caller,
    ) -> Result<Answer<BlobUpload>, ReadFailure> {
        let mount = from.map(|from| format!("?mount={}&from={from}", in_query(digest)));
        let path = format!("/v2/{repository}/blobs/uploads/{}", mount.unwrap_or_default());
        let asked = self.origin().uri(&path)?;
        let post = WriteRequest::empty(RequestKind::BlobWrite, Method::POST, asked.clone());
        let begun = self.write(post, caller).await?;
        match begun.status.as_u16() {
            202 => Ok(Answer::Found(BlobUpload::Begun(self.session(&begun, &asked, digest)?))),
            201 => Ok(Answer::Found(BlobUpload::Unneeded)),
            _ => Ok(unwritten(begun, &asked)?),
        }
    }

    /// Sends the whole blob, `body` of this many bytes, to an upload that was begun for it.
    pub(super) async fn finish(
        &self,
        session: &Uri,
        body: (Body, u64),
        caller: &Caller,
    ) -> Result<Answer<()>, ReadFailure> {
        let put = WriteRequest {
            media_type: OCTETS,
            ..WriteRequest::empty(RequestKind::BlobWrite, Method::PUT, session.clone())
        };
        let put = self.write_body(put, body, caller).await?;
        match put.status.as_u16() {
            201 | 204 => Ok(Answer::Found(())),
            _ => unwritten(put, session),
        }
    }

    /// The URL that finishes an upload: `Location`, its query kept as it is, and the digest.
    fn session(&self, begun: &RegistryResponse, asked: &Uri, digest: &Digest) -> Result<Uri, UpstreamError> {
        let location = begun.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let session = location.and_then(|location| self.origin().own(&resolve(asked, location)?));
        let session =
            session.ok_or_else(|| UpstreamError::Invalid("an upload without a Location of its own".into()))?;
        let separator = if session.query().is_some() { '&' } else { '?' };
        let finished = format!("{session}{separator}digest={}", in_query(digest));
        finished
            .parse()
            .map_err(|e| UpstreamError::Invalid(format!("an upload's Location: {e}")))
    }
}

/// Of a digest's characters only `+`, in an algorithm's name, means something else in a query.
fn in_query(digest: &Digest) -> String {
    digest.as_str().replace('+', "%2B")
}

fn unwritten<T>(reply: RegistryResponse, asked: &Uri) -> Result<Answer<T>, ReadFailure> {
    if reply.status == http::StatusCode::TOO_MANY_REQUESTS || reply.status.is_server_error() {
        return Err(failure_of(&reply));
    }
    let unexpected = |_| Err(UpstreamError::Invalid("HTTP 200 to an upload".into()));
    Ok(classify(reply, asked)?.try_map(unexpected)?)
}
