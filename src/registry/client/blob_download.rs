//! A blob of any size, read as it arrives. Where the connection breaks, the download goes on from there.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue, Method};

use super::Upstream;
use super::manifest_calls::is_encoded;
use crate::http::collect::next_chunk;
use crate::oci::{Digest, RepositoryName};
use crate::registry::answer::Answer;
use crate::registry::caller::Caller;
use crate::registry::classify::classify;
use crate::registry::error::UpstreamError;
use crate::registry::reader::OpenResponse;
use crate::registry::reader::request::Redirects;
use crate::registry::retry::{ReadFailure, Retry};
use crate::registry::transport::collect;

/// A blob on its way. Its bytes are not checked against the digest here.
pub struct BlobDownload {
    upstream: Arc<Upstream>,
    repository: RepositoryName,
    digest: Digest,
    caller: Caller,
    open: Option<OpenResponse>,
    /// Bytes of the blob that were returned, or that the caller has anyway.
    at: u64,
    /// Bytes of the answer that are not wanted: whoever knows no ranges begins at the beginning.
    unwanted: u64,
    /// The whole blob's length in bytes, where the registry says it.
    length: Option<u64>,
    /// The attempts since bytes came last.
    retry: Option<Retry>,
}

impl BlobDownload {
    /// Asks for what follows the first `offset` bytes of the blob.
    pub async fn open(
        upstream: Arc<Upstream>,
        repository: &RepositoryName,
        digest: &Digest,
        offset: u64,
        caller: &Caller,
    ) -> Result<Answer<Self>, UpstreamError> {
        let mut download = Self {
            upstream,
            repository: repository.clone(),
            digest: digest.clone(),
            caller: caller.clone(),
            open: None,
            at: offset,
            unwanted: 0,
            length: None,
            retry: None,
        };
        loop {
            match download.ask().await {
                Ok(answer) => return answer.try_map(|()| Ok(download)),
                Err(failure) => download.again(failure).await?,
            }
        }
    }

    /// The whole blob's length in bytes, where the registry says it.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            let read = match &mut self.open {
                Some(open) => next_chunk(open.response.body_mut()).await,
                None => match self.ask().await {
                    Ok(Answer::Found(())) => continue,
                    Ok(Answer::Absent | Answer::Refused(_)) => {
                        return Err(UpstreamError::Invalid(format!(
                            "{} is gone in the midst of it",
                            self.digest
                        )));
                    }
                    Err(failure) => {
                        self.again(failure).await?;
                        continue;
                    }
                },
            };
            match read {
                Ok(None) => return Ok(None),
                Ok(Some(mut bytes)) => {
                    let unwanted = bytes.len().min(usize::try_from(self.unwanted).unwrap_or(usize::MAX));
                    bytes.advance(unwanted);
                    self.unwanted -= unwanted as u64;
                    if !bytes.is_empty() {
                        self.at += bytes.len() as u64;
                        self.retry = None;
                        return Ok(Some(bytes));
                    }
                }
                Err(error) => {
                    self.open = None;
                    self.again(error.into()).await?;
                }
            }
        }
    }

    async fn again(&mut self, failure: ReadFailure) -> Result<(), UpstreamError> {
        let upstream = &self.upstream;
        self.retry
            .get_or_insert_with(|| upstream.reader.retry())
            .after(failure)
            .await
    }

    async fn ask(&mut self) -> Result<Answer<()>, ReadFailure> {
        let ask = self.upstream.ask_blob(
            Method::GET,
            Redirects::Elsewhere,
            &self.repository,
            &self.digest,
            &self.caller,
        )?;
        let open = self.upstream.reader.attempt_from(&ask, self.at).await?;
        let headers = open.response.headers();
        self.unwanted = match open.response.status().as_u16() {
            200 | 206 if is_encoded(headers) => {
                let problem = "a blob with a Content-Encoding that was not asked for";
                return Err(UpstreamError::Invalid(problem.into()).into());
            }
            200 => self.at,
            206 if begins_at(headers, self.at) => 0,
            206 => return Err(UpstreamError::Invalid("another range of a blob than was asked for".into()).into()),
            _ => {
                let reply = collect::refusal(open.response).await?;
                let unexpected = |_| Err(UpstreamError::Invalid("no blob".into()));
                return Ok(classify(reply, &ask.uri)?.try_map(unexpected)?);
            }
        };
        let begins = self.at - self.unwanted;
        self.length = content_length(headers).map(|length| begins + length).or(self.length);
        self.open = Some(open);
        Ok(Answer::Found(()))
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether `Content-Range: bytes <offset>-…`.
fn begins_at(headers: &HeaderMap, offset: u64) -> bool {
    let range = headers
        .get(CONTENT_RANGE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    range.starts_with(format!("bytes {offset}-").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_begins_where_it_says() {
        let of = |value| HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_static(value))]);
        assert!(begins_at(&of("bytes 12-99/100"), 12) && begins_at(&of("bytes 12-99/*"), 12));
        for other in ["bytes 1-99/100", "bytes 120-199/200", "bytes */100", ""] {
            assert!(!begins_at(&of(other), 12), "{other}");
        }
        assert!(!begins_at(&HeaderMap::new(), 12));
    }
}
