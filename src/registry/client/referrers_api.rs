//! The upstream's own referrers API, asked once and judged by what is understood: whatever else it answers is a failure.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;

use super::Upstream;
use crate::http::link_header;
use crate::oci::media_type::{OCI_IMAGE_INDEX, essence};
use crate::oci::{Descriptor, Digest, RepositoryName, error_body};
use crate::registry::answer::{Native, Refusal, RegistryResponse};
use crate::registry::caller::Caller;
use crate::registry::classify::{is_redirect, not_understood};
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::reader::request::{ReadRequest, Redirects};

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

/// Where an answer says that it was filtered.
const FILTERS_APPLIED_HEADER: &str = "oci-filters-applied";
const FILTERS_APPLIED_ANNOTATIONS: [&str; 2] = [
    "org.opencontainers.referrers.filtersApplied",
    "org.opencontainers.references.filtersApplied",
];

/// One answer.
enum ReferrersApiPage {
    /// Entries, and the next page.
    Entries {
        listed: Vec<Descriptor>,
        next: Option<Uri>,
        bytes: usize,
    },
    /// See [`Native`].
    Nothing,
    Silence(String),
    NoRoute(String),
    Barred(String),
    Refused(Refusal),
}

impl Upstream {
    /// What the upstream itself lists, as it says now. What that proves is for [`Upstream::native`] to remember, and for
    /// whoever knows whether the subject is one that the registry gave.
    pub async fn native_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
    ) -> Result<Native, UpstreamError> {
        let (mut all, mut read) = (Vec::new(), 0);
        let mut uri = self.origin().uri(&format!("/v2/{repository}/referrers/{subject}"))?;
        for page in 0..MOST_PAGES {
            match self.native_page(uri, subject, caller).await? {
                ReferrersApiPage::Entries {
                    mut listed,
                    next,
                    bytes,
                } => {
                    all.append(&mut listed);
                    read += bytes;
                    match next {
                        Some(next) if read <= self.tag_list_bytes => uri = next,
                        Some(_) => break,
                        None => return Ok(Native::Entries(all)),
                    }
                }
                ReferrersApiPage::Refused(refusal) => return Ok(Native::Refused(refusal)),
                // Half a list is none.
                ReferrersApiPage::Nothing
                | ReferrersApiPage::Silence(_)
                | ReferrersApiPage::NoRoute(_)
                | ReferrersApiPage::Barred(_)
                    if page > 0 =>
                {
                    break;
                }
                ReferrersApiPage::Nothing => return Ok(Native::Nothing),
                ReferrersApiPage::Silence(seen) => return Ok(Native::Silence(seen)),
                ReferrersApiPage::NoRoute(seen) => return Ok(Native::NoRoute(seen)),
                ReferrersApiPage::Barred(seen) => return Ok(Native::Barred(seen)),
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
            uri,
            accept: OCI_IMAGE_INDEX,
            redirects: Redirects::OwnApi,
            caller,
        };
        match self.reader.ask_wherever(&ask, PAGE_BYTES).await {
            Ok((reply, from)) => self.judge(reply, &ask.uri, &from, subject),
            Err(UpstreamError::Failed(StatusCode::NOT_IMPLEMENTED)) => Ok(ReferrersApiPage::NoRoute("HTTP 501".into())),
            Err(error) => Err(error),
        }
    }

    /// What `reply` to a question at `asked`, which came from `from`, says.
    fn judge(
        &self,
        reply: RegistryResponse,
        asked: &Uri,
        from: &Uri,
        subject: &Digest,
    ) -> Result<ReferrersApiPage, UpstreamError> {
        let stated = reply.error();
        let says = |understood: &[&str]| stated.as_ref().is_some_and(|stated| stated.says_only(understood));
        let no_route = || Ok(ReferrersApiPage::NoRoute(not_understood(&reply, asked)));
        match reply.status.as_u16() {
            200 => {
                let index = image_index(&reply.body).ok_or_else(|| not_an_answer(&reply, asked))?;
                if let Some(filters) = filters_applied(&reply.headers, &index) {
                    return Err(filtered(asked, filters));
                }
                let manifests = manifests(index).ok_or_else(|| not_an_answer(&reply, asked))?;
                let listed = entries(&manifests).ok_or_else(|| unreadable(asked))?;
                let next = link_header::next(&reply.headers);
                let next = next.map_err(|error| UpstreamError::Invalid(error.to_string()))?;
                if next.is_none() && link_header::has_links(&reply.headers) {
                    return Err(leads_nowhere(asked));
                }
                let next = next.map(|link| self.page_link(from, &link)).transpose()?;
                Ok(ReferrersApiPage::Entries {
                    listed,
                    next,
                    bytes: reply.body.len(),
                })
            }
            // Redirects from one place of the API to another were followed.
            _ if is_redirect(reply.status) && reply.headers.contains_key(LOCATION) => no_route(),
            401 => Ok(ReferrersApiPage::Refused(reply.into())),
            403 if is_page(&reply) => Ok(ReferrersApiPage::Barred(not_understood(&reply, asked))),
            403 => Ok(ReferrersApiPage::Refused(reply.into())),
            400 if says(REFUSALS) => Ok(ReferrersApiPage::Refused(reply.into())),
            400 if says(NOT_HELD) || !is_common(subject) && says(NO_SUCH_ALGORITHM) => Ok(ReferrersApiPage::Nothing),
            404 if says(UNKNOWN) => Ok(ReferrersApiPage::Nothing),
            // zot, without a word: a repository that it does not have, a digest of an algorithm that it does not know.
            404 if reply.body.is_empty() && !is_common(subject) => Ok(ReferrersApiPage::Nothing),
            404 if reply.body.is_empty() => Ok(ReferrersApiPage::Silence(not_understood(&reply, asked))),
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

/// A list with an entry that cannot be read is not all of it.
fn unreadable(asked: &Uri) -> UpstreamError {
    UpstreamError::Invalid(format!(
        "its referrers API lists something without a digest that can be read, for {}",
        asked.path()
    ))
}

/// A `Link` may lead to more entries whatever its relation says, as with tags; here nothing else tells.
fn leads_nowhere(asked: &Uri) -> UpstreamError {
    UpstreamError::Invalid(format!(
        "its referrers API gives a Link to no next page, for {}",
        asked.path()
    ))
}

/// The registry says that it left entries out.
fn filtered(asked: &Uri, filters: &str) -> UpstreamError {
    let filters: String = filters.chars().take(80).collect();
    UpstreamError::Invalid(format!(
        "its referrers API has filtered its list by '{filters}', which nobody asked for, for {}",
        asked.path()
    ))
}

/// The filters that an answer says to have applied (distribution-spec 1.1; the annotations are those of its release candidates).
fn filters_applied<'a>(headers: &'a HeaderMap, index: &'a Value) -> Option<&'a str> {
    let annotations = FILTERS_APPLIED_ANNOTATIONS.iter();
    let annotated = annotations.filter_map(|name| index.get("annotations")?.get(name)?.as_str());
    let headers = headers.get_all(FILTERS_APPLIED_HEADER).iter();
    let stated = headers.map(|value| value.to_str().unwrap_or("?"));
    stated.chain(annotated).find(|filters| !filters.trim().is_empty())
}

/// An image index; `None` when the body is something else, calls itself something else, or tells of errors.
fn image_index(body: &[u8]) -> Option<Value> {
    let index: Value = serde_json::from_slice(body).ok()?;
    let is_index = index.get("mediaType").is_none_or(|stated| stated == OCI_IMAGE_INDEX);
    let is_second = index.get("schemaVersion").is_none_or(|stated| stated == 2);
    let is_all = error_body::MEMBERS
        .iter()
        .all(|member| index.get(member).is_none_or(error_body::tells_nothing));
    (is_index && is_second && is_all).then_some(index)
}

/// What an image index lists; `null` is Go's empty list.
fn manifests(mut index: Value) -> Option<Vec<Value>> {
    match index.get_mut("manifests")?.take() {
        Value::Array(manifests) => Some(manifests),
        Value::Null => Some(Vec::new()),
        _ => None,
    }
}

/// The entries; `None` where one of them names no digest.
fn entries(manifests: &[Value]) -> Option<Vec<Descriptor>> {
    manifests.iter().map(Descriptor::from_json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_from_an_image_index_only() {
        let digest = Digest::sha256(b"x");
        let list = format!(r#""manifests":[{{"digest":"{digest}","size":1}}]"#);
        let read = |body: &str| entries(&manifests(image_index(body.as_bytes())?)?);
        for stated in ["", r#""schemaVersion":2,"#] {
            assert_eq!(read(&format!("{{{stated}{list}}}")).unwrap().len(), 1);
        }
        assert_eq!(read(r#"{"manifests":null}"#).unwrap(), []);
        for body in [
            "",
            "{}",
            "[]",
            r#"{"manifests":{}}"#,
            "<html>",
            r#"{"manifests":[],"error":"later"}"#,
        ] {
            assert!(read(body).is_none(), "{body}");
        }
        for odd in [r#"{"digest":"no"}"#, r#"{"size":1}"#, "7", "null"] {
            let body = format!(r#"{{"manifests":[{{"digest":"{digest}","size":1}},{odd}]}}"#);
            assert!(read(&body).is_none(), "{body}");
        }
        for stated in [
            r#""schemaVersion":1,"#,
            r#""mediaType":"application/json","#,
            r#""mediaType":7,"#,
        ] {
            assert!(read(&format!("{{{stated}{list}}}")).is_none(), "{stated}");
        }
    }
}
