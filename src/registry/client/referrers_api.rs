//! The upstream's own referrers API, asked once and judged by what is understood: whatever else it answers is a failure.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{Method, StatusCode, Uri};
use serde_json::Value;

use crate::http::link_header;
use crate::oci::media_type::{OCI_IMAGE_INDEX, essence};
use crate::oci::{Descriptor, Digest, RepositoryName};
use crate::registry::counts::RequestKind;
use crate::registry::reader::{ReadRequest, Redirects, is_redirect, not_understood};
use crate::registry::{Caller, Native, RegistryResponse, Upstream, UpstreamError};

/// One page, in bytes: clients take no more.
const PAGE_BYTES: usize = 4 << 20;
const MOST_PAGES: usize = 100;

/// Codes by which a registry says that it holds no such repository or subject.
const UNKNOWN: &[&str] = &["NAME_UNKNOWN", "MANIFEST_UNKNOWN", "NOT_FOUND"];
/// Codes of a 400 about a subject: Quay's, where it does not hold it.
const NOT_HELD: &[&str] = &["MANIFEST_INVALID"];
/// Codes of a 400 about a digest whose algorithm the registry does not know.
const NO_SUCH_ALGORITHM: &[&str] = &["DIGEST_INVALID", "UNSUPPORTED"];
/// Codes of a 404 about the API itself: go-containerregistry's, in its registry and in `crane registry serve`.
const NO_SUCH_API: &[&str] = &["METHOD_UNKNOWN", "UNSUPPORTED"];
/// Codes of a 400 that is a refusal: ECR Public answers an expired token this way.
const REFUSALS: &[&str] = &["DENIED", "UNAUTHORIZED"];

/// One answer.
enum ReferrersApiPage {
    /// Entries, and the next page.
    Entries(Vec<Descriptor>, Option<Uri>),
    /// See [`Native`].
    Nothing,
    NoRoute(String),
    Refused(RegistryResponse),
}

impl Upstream {
    /// What the upstream itself lists, as it says now. What that proves is for [`Upstream::native_support`] to remember, and for
    /// whoever knows whether the subject is one that the registry gave.
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
                ReferrersApiPage::Entries(mut entries, next) => {
                    all.append(&mut entries);
                    match next {
                        Some(next) => uri = next,
                        None => return Ok(Native::Entries(all)),
                    }
                }
                ReferrersApiPage::Refused(refusal) => return Ok(Native::Refused(refusal)),
                // Half a list is none.
                ReferrersApiPage::Nothing | ReferrersApiPage::NoRoute(_) if page > 0 => break,
                ReferrersApiPage::Nothing => return Ok(Native::Nothing),
                ReferrersApiPage::NoRoute(seen) => return Ok(Native::NoRoute(seen)),
            }
        }
        Err(UpstreamError::Invalid(format!(
            "the list of its referrers API for {repository} cannot be read to its end"
        )))
    }

    async fn native_page(
        &self,
        uri: Uri,
        subject: &Digest,
        caller: &Caller,
    ) -> Result<ReferrersApiPage, UpstreamError> {
        let ask = ReadRequest {
            kind: RequestKind::Referrers,
            method: Method::GET,
            uri: uri.clone(),
            accept: OCI_IMAGE_INDEX,
            redirects: Redirects::OwnApi,
            caller,
        };
        match self.ask(&ask, PAGE_BYTES).await {
            Ok(reply) => self.judge(reply, &uri, subject),
            Err(UpstreamError::Failed(StatusCode::NOT_IMPLEMENTED)) => Ok(ReferrersApiPage::NoRoute("HTTP 501".into())),
            Err(error) => Err(error),
        }
    }

    fn judge(&self, reply: RegistryResponse, asked: &Uri, subject: &Digest) -> Result<ReferrersApiPage, UpstreamError> {
        let stated = reply.error();
        let says = |understood: &[&str]| stated.as_ref().is_some_and(|stated| stated.says_only(understood));
        let no_route = || Ok(ReferrersApiPage::NoRoute(not_understood(&reply, asked)));
        match reply.status.as_u16() {
            200 => {
                let entries = entries(&reply.body).ok_or_else(|| not_an_answer(&reply, asked))?;
                let next = link_header::next(&reply.headers);
                let next = next.map_err(|error| UpstreamError::Invalid(error.to_string()))?;
                let next = next.map(|link| self.own_link(asked, &link)).transpose()?;
                Ok(ReferrersApiPage::Entries(entries, next))
            }
            // Redirects from one place of the API to another were followed.
            _ if is_redirect(reply.status) && reply.headers.contains_key(LOCATION) => no_route(),
            401 => Ok(ReferrersApiPage::Refused(reply)),
            403 if is_page(&reply) => no_route(),
            403 => Ok(ReferrersApiPage::Refused(reply)),
            400 if says(REFUSALS) => Ok(ReferrersApiPage::Refused(reply)),
            400 if says(NOT_HELD) || !is_common(subject) && says(NO_SUCH_ALGORITHM) => Ok(ReferrersApiPage::Nothing),
            404 if says(UNKNOWN) => Ok(ReferrersApiPage::Nothing),
            // zot, without a word: a repository that it does not have, a digest of an algorithm that it does not know.
            404 if reply.body.is_empty() => Ok(ReferrersApiPage::Nothing),
            404 if says(NO_SUCH_API) || is_page(&reply) => no_route(),
            405 => no_route(),
            _ => Err(not_an_answer(&reply, asked)),
        }
    }
}

/// Whether every registry knows digests of this algorithm.
fn is_common(subject: &Digest) -> bool {
    subject.algorithm() == "sha256"
}

/// Whether it is a text for people: what a router without such a path, a web site or a firewall says.
fn is_page(reply: &RegistryResponse) -> bool {
    let content_type = reply
        .headers
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or("?"));
    let is_text = content_type.is_none_or(|content_type| {
        let media_type = essence(content_type);
        media_type.eq_ignore_ascii_case("text/plain") || media_type.eq_ignore_ascii_case("text/html")
    });
    let is_json = serde_json::from_slice::<Value>(&reply.body).is_ok();
    is_text && !is_json && !reply.body.is_empty()
}

fn not_an_answer(reply: &RegistryResponse, asked: &Uri) -> UpstreamError {
    UpstreamError::Invalid(format!(
        "{}, where an image index or a refusal is expected; leave 'native' out of links.sources if it has no referrers API",
        not_understood(reply, asked)
    ))
}

/// The entries of an image index; what names no digest is left out. `None` when the body is something else, or calls itself
/// something else.
fn entries(body: &[u8]) -> Option<Vec<Descriptor>> {
    let index: Value = serde_json::from_slice(body).ok()?;
    let is_index = index.get("mediaType").is_none_or(|stated| stated == OCI_IMAGE_INDEX);
    let is_second = index.get("schemaVersion").is_none_or(|stated| stated == 2);
    let manifests = index.get("manifests")?.as_array().filter(|_| is_index && is_second)?;
    Some(manifests.iter().filter_map(Descriptor::from_json).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_from_an_image_index_only() {
        let digest = Digest::sha256(b"x");
        let list = format!(r#""manifests":[{{"digest":"{digest}","size":1}},{{"digest":"no"}},7]"#);
        for stated in ["", r#""schemaVersion":2,"#] {
            assert_eq!(entries(format!("{{{stated}{list}}}").as_bytes()).unwrap().len(), 1);
        }
        for body in ["", "{}", "[]", r#"{"manifests":null}"#, r#"{"manifests":{}}"#, "<html>"] {
            assert!(entries(body.as_bytes()).is_none(), "{body}");
        }
        for stated in [
            r#""schemaVersion":1,"#,
            r#""mediaType":"application/json","#,
            r#""mediaType":7,"#,
        ] {
            assert!(entries(format!("{{{stated}{list}}}").as_bytes()).is_none(), "{stated}");
        }
    }
}
