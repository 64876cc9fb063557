//! `PUT /v2/<name>/manifests/<digest>?tag=…`: a push by digest that asks for tags, too (distribution-spec 1.1+dev, "Pushing
//! Manifests").
//!
//! A registry that knows the parameter states in `OCI-Tag` what it tagged. The other tags are written here, one after the other, after
//! the manifest and its links: a manifest that is refused is tagged nowhere. A tag that is refused ends the push with an error that
//! names those which were written; pushing again writes the rest.

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::oci::{Code, LinkTagKind, OciError, Reference, Tag, tag_scheme};
use crate::registry::{Refusal, RegistryResponse};
use crate::render::Query;

use super::error::WriteError;
use super::link_tags::LinkedManifest;
use super::{Push, Writer};

const PARAMETER: &str = "tag";
const OCI_TAG: &str = "oci-tag";
/// Tags of one push. The specification asks for ten at least; each may be a request of its own.
pub const MAX_TAGS: usize = 100;

/// The query of a push.
#[derive(Clone, Debug, Default)]
pub struct PushQuery {
    /// What the registry is sent of it.
    passed_on: Option<String>,
    /// The tags that it asks for, each once.
    pub(super) tags: Vec<Tag>,
}

impl PushQuery {
    /// Reads the raw `query` of a push to `reference`. Beside another tag the parameter has no meaning, and is the registry's to judge.
    ///
    /// # Errors
    /// If one is no tag (400), or there are more than [`MAX_TAGS`] (414).
    pub fn read(query: Option<&str>, reference: &Reference) -> Result<Self, OciError> {
        let (Some(raw), Reference::Digest(_)) = (query, reference) else {
            return Ok(Self {
                passed_on: query.map(str::to_owned),
                tags: Vec::new(),
            });
        };
        let mut tags = Vec::new();
        for text in Query::parse(Some(raw)).all(PARAMETER) {
            let tag = Tag::parse(text).map_err(|bad| OciError::bad_request(Code::TagInvalid, bad.to_string()))?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > MAX_TAGS {
                let message = format!("a push may name at most {MAX_TAGS} tags; push the others apart");
                return Err(OciError::new(StatusCode::URI_TOO_LONG, Code::TagInvalid, message));
            }
        }
        // A list of referrers is merged with what stands there, which the registry would not do.
        let passed_on: Vec<&str> = raw.split('&').filter(|pair| !asks_for_referrers_tag(pair)).collect();
        Ok(Self {
            passed_on: Some(passed_on.join("&")).filter(|query| !query.is_empty()),
            tags,
        })
    }

    /// What the registry is sent of it.
    pub(super) fn passed_on(&self) -> Option<&str> {
        self.passed_on.as_deref()
    }
}

fn asks_for_referrers_tag(pair: &str) -> bool {
    Query::parse(Some(pair)).first(PARAMETER).is_some_and(is_referrers_tag)
}

fn is_referrers_tag(tag: &str) -> bool {
    tag_scheme::parse(tag).is_some_and(|link| link.kind == LinkTagKind::Referrers)
}

impl Writer {
    /// Puts `stored` under the tags of `push` that the registry, by its `reply`, did not write. A condition was checked for the digest
    /// alone: then nothing is written that the registry did not, and `OCI-Tag` says so.
    pub(super) async fn write_asked_tags(
        &self,
        push: &Push,
        stored: &LinkedManifest<'_>,
        reply: &mut RegistryResponse,
    ) -> Result<(), WriteError> {
        let (mut written, missing): (Vec<&Tag>, Vec<&Tag>) =
            push.query.tags.iter().partition(|tag| states(&reply.headers, tag));
        for tag in &written {
            self.resolver
                .tag_written(&push.repository, tag, Some(stored.digest))
                .await;
        }
        if push.headers.is_conditional() || missing.is_empty() {
            return Ok(());
        }
        for (index, tag) in missing.iter().enumerate() {
            if let Err(cause) = self.write_asked_tag(push, stored, tag).await {
                return Err(WriteError::not_tagged(&written, &missing[index..], cause));
            }
            written.push(tag);
        }
        if let Ok(value) = HeaderValue::try_from(joined(&missing)) {
            reply.headers.append(OCI_TAG, value);
        }
        Ok(())
    }

    async fn write_asked_tag(&self, push: &Push, stored: &LinkedManifest<'_>, tag: &Tag) -> Result<(), WriteError> {
        if !is_referrers_tag(tag.as_str()) {
            return self.put_tag(stored, tag).await;
        }
        let by_tag = Push {
            reference: Reference::Tag(tag.clone()),
            query: PushQuery::default(),
            ..push.clone()
        };
        let reply = Box::pin(self.push(by_tag)).await?;
        match reply.status.is_success() {
            true => Ok(()),
            false => Err(Refusal::from(reply).into()),
        }
    }
}

/// Whether the registry states that it wrote `tag` (a list, RFC 9110, 5.6.1).
fn states(headers: &HeaderMap, tag: &Tag) -> bool {
    let lines = headers.get_all(OCI_TAG).iter();
    let mut stated = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    stated.any(|stated| stated.trim() == tag.as_str())
}

pub(super) fn joined(tags: &[&Tag]) -> String {
    let tags: Vec<&str> = tags.iter().map(|tag| tag.as_str()).collect();
    tags.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn read(query: &str) -> Result<PushQuery, OciError> {
        PushQuery::read(Some(query), &Reference::Digest(Digest::sha256(b"")))
    }

    #[test]
    fn tags_are_read_from_a_push_by_digest_alone() {
        let query = read("tag=v1&x=%20&tag=v%31.2&tag=v1").unwrap();
        let tags: Vec<&str> = query.tags.iter().map(Tag::as_str).collect();
        assert_eq!(tags, ["v1", "v1.2"]);
        assert_eq!(query.passed_on(), Some("tag=v1&x=%20&tag=v%31.2&tag=v1"));
        let by_tag = Reference::Tag(Tag::parse("v1").unwrap());
        let query = PushQuery::read(Some("tag=-"), &by_tag).unwrap();
        assert_eq!((query.tags.len(), query.passed_on()), (0, Some("tag=-")));
        for (none, passed_on) in [("", None), ("ns=x", Some("ns=x"))] {
            let query = read(none).unwrap();
            assert_eq!((query.tags.len(), query.passed_on()), (0, passed_on));
        }
    }

    #[test]
    fn what_is_no_tag_and_what_are_too_many_is_refused() {
        for bad in ["tag=", "tag", "tag=-x", "tag=a%2Fb", "tag=ok&tag=a:b"] {
            assert_eq!(read(bad).unwrap_err().status, StatusCode::BAD_REQUEST, "{bad}");
        }
        let many = |count: usize| (0..count).map(|n| format!("tag=v{n}")).collect::<Vec<_>>().join("&");
        assert_eq!(read(&many(MAX_TAGS)).unwrap().tags.len(), MAX_TAGS);
        assert_eq!(read(&many(MAX_TAGS + 1)).unwrap_err().status, StatusCode::URI_TOO_LONG);
    }

    #[test]
    fn a_referrers_tag_is_written_here() {
        let tag = format!("sha256-{}", "0".repeat(64));
        let query = read(&format!("tag={tag}&tag=v1")).unwrap();
        assert_eq!((query.tags.len(), query.passed_on()), (2, Some("tag=v1")));
        assert_eq!(read(&format!("tag={tag}")).unwrap().passed_on(), None);
    }

    #[test]
    fn the_registry_states_tags_in_lists_on_several_lines() {
        let mut headers = HeaderMap::new();
        headers.append(OCI_TAG, HeaderValue::from_static("1.2.3, 1.2,1"));
        headers.append(OCI_TAG, HeaderValue::from_static("latest"));
        for stated in ["1.2.3", "1.2", "1", "latest"] {
            assert!(states(&headers, &Tag::parse(stated).unwrap()), "{stated}");
        }
        assert!(!states(&headers, &Tag::parse("1.2.").unwrap()));
    }
}
