//! The upstream's own referrers API, where it has one that can be believed.

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode, Uri};
use serde_json::Value;

use super::counts::RequestKind;
use super::link_header;
use super::scan::{Ask, Redirects};
use super::{Caller, Native, Reply, Upstream, UpstreamError};
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Descriptor, Digest, RepositoryName};

/// One page, in bytes: clients take no more.
const PAGE_BYTES: usize = 4 << 20;
const MOST_PAGES: usize = 100;

/// One answer.
enum Page {
    /// Entries, and the next page.
    Entries(Vec<Descriptor>, Option<Uri>),
    /// No such repository or subject, said by an API that is known to be there.
    Nothing,
    /// Not this API. Whether that holds for every repository and subject.
    No {
        always: bool,
    },
    Refused(Reply),
}

impl Upstream {
    /// Whether [`Upstream::native_referrers`] is supported. `None`: not asked lately.
    pub fn native(&self) -> Option<bool> {
        self.native.get()
    }

    /// What the upstream itself lists. Supported only when it answers 200 with the exact content type of an OCI index, without
    /// a redirect out of its API.
    pub async fn native_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
    ) -> Result<Native, UpstreamError> {
        let mut all = Vec::new();
        let mut uri = self.origin.uri(&format!("/v2/{repository}/referrers/{subject}"))?;
        for page in 0..MOST_PAGES {
            match self.native_page(uri, subject, caller).await? {
                Page::Entries(mut entries, next) => {
                    all.append(&mut entries);
                    match next {
                        Some(next) => uri = next,
                        None => {
                            self.native.learn(true);
                            return Ok(Native::Supported(all));
                        }
                    }
                }
                Page::Refused(refusal) => return Ok(Native::Refused(refusal)),
                // Half a list is none.
                Page::Nothing | Page::No { .. } if page > 0 => break,
                Page::Nothing => return Ok(Native::Supported(Vec::new())),
                Page::No { always } => {
                    if always {
                        self.native.learn(false);
                    }
                    return Ok(Native::Unsupported);
                }
            }
        }
        Err(UpstreamError::Invalid(
            "its list of referrers cannot be read to its end".into(),
        ))
    }

    async fn native_page(&self, uri: Uri, subject: &Digest, caller: &Caller) -> Result<Page, UpstreamError> {
        let ask = Ask {
            kind: RequestKind::Referrers,
            method: Method::GET,
            uri: uri.clone(),
            accept: OCI_IMAGE_INDEX,
            redirects: Redirects::OwnApi,
            caller,
        };
        // Even when that is long ago: an API that fails is no API that is missing.
        let known = self.native.last() == Some(true);
        match self.ask(&ask, PAGE_BYTES).await {
            Ok(reply) => self.judge(reply, &uri, subject, known),
            Err(UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR | StatusCode::NOT_IMPLEMENTED)) if !known => {
                self.no(subject)
            }
            Err(error) => Err(error),
        }
    }

    /// Whoever asks chooses the subject, and must not be able to turn the API off for all others: no conclusion is drawn from an
    /// algorithm that many registries refuse, and an API that worked a moment ago fails rather than being gone.
    fn no(&self, subject: &Digest) -> Result<Page, UpstreamError> {
        if self.native() == Some(true) {
            return Err(UpstreamError::Invalid("its referrers API answers no longer".into()));
        }
        Ok(Page::No {
            always: is_common(subject),
        })
    }

    fn judge(&self, reply: Reply, asked: &Uri, subject: &Digest, known: bool) -> Result<Page, UpstreamError> {
        let no = || self.no(subject);
        let stated = reply.error();
        let says = |code: &str| stated.as_ref().is_some_and(|stated| stated.has(code));
        match reply.status.as_u16() {
            200 => {
                let content_type = reply.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
                let entries = entries(&reply.body).filter(|_| content_type == Some(OCI_IMAGE_INDEX.as_bytes()));
                let Some(entries) = entries else { return no() };
                let next = link_header::next(&reply.headers);
                let next = next.map_err(|error| UpstreamError::Invalid(error.to_string()))?;
                let next = next.map(|link| self.own_link(asked, &link)).transpose()?;
                Ok(Page::Entries(entries, next))
            }
            401 | 403 => Ok(Page::Refused(reply)),
            // ECR Public answers an expired token this way.
            400 if says("DENIED") || says("UNAUTHORIZED") => Ok(Page::Refused(reply)),
            404 if known && (says("NAME_UNKNOWN") || says("MANIFEST_UNKNOWN")) => Ok(Page::Nothing),
            // Quay, about a subject that it does not hold.
            400 if says("MANIFEST_INVALID") && known => Ok(Page::Nothing),
            400 if says("MANIFEST_INVALID") => Ok(Page::No { always: false }),
            404 if says("NAME_UNKNOWN") => Ok(Page::No { always: false }),
            // zot, without a word: a repository that it does not have, a digest of an algorithm that it does not know.
            404 if reply.body.is_empty() && known => Ok(Page::Nothing),
            404 if reply.body.is_empty() => Ok(Page::No { always: false }),
            400 if !is_common(subject) && known => Ok(Page::Nothing),
            _ => no(),
        }
    }
}

/// Whether every registry knows digests of this algorithm.
fn is_common(subject: &Digest) -> bool {
    subject.algorithm() == "sha256"
}

/// The entries of an index; what names no digest is left out. `None` when it is no index.
fn entries(body: &[u8]) -> Option<Vec<Descriptor>> {
    let index: Value = serde_json::from_slice(body).ok()?;
    let manifests = index.get("manifests")?.as_array()?;
    Some(manifests.iter().filter_map(Descriptor::from_json).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_from_an_index_only() {
        let digest = Digest::sha256(b"x");
        let body = format!(r#"{{"manifests":[{{"digest":"{digest}","size":1}},{{"digest":"no"}},7]}}"#);
        assert_eq!(entries(body.as_bytes()).unwrap().len(), 1);
        for body in ["", "{}", "[]", r#"{"manifests":null}"#, "<html>"] {
            assert!(entries(body.as_bytes()).is_none(), "{body}");
        }
    }
}
