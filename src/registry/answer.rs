//! What the upstream said.

use std::ops::Deref;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::error::UpstreamError;
use crate::oci::manifest::ManifestError;
use crate::oci::media_type::says_nothing;
use crate::oci::{Descriptor, Digest, ErrorBody, Manifest, OciError, envelope};

pub(super) const DIGEST_HEADER: &str = "docker-content-digest";

/// An upstream's answer to a question that has one.
#[derive(Clone, Debug)]
pub enum Answer<T> {
    /// What was asked for.
    Found(T),
    /// A 404 that says so in the registry's own words ([`ErrorBody::states_absence`]). Any other 404 (a load balancer's, a web
    /// page, another code) is an [`UpstreamError`]: it says nothing about the registry's content.
    Absent,
    /// 401, 403, or another final refusal.
    Refused(Refusal),
}

/// Why a function does not get what it asked for: all that is not [`Answer::Found`], as an error that `?` passes on.
#[derive(Debug)]
pub enum Stop {
    /// [`Answer::Absent`].
    Absent,
    /// [`Answer::Refused`].
    Refused(Box<Refusal>),
    /// There is no answer.
    Failed(UpstreamError),
}

impl Stop {
    /// The registry's answer cannot be used, for this reason.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Failed(UpstreamError::Invalid(reason.into()))
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<UpstreamError> for Stop {
    fn from(error: UpstreamError) -> Self {
        Self::Failed(error)
    }
}

impl<T> Answer<T> {
    /// The answer that comes of reads that passed on by `?` what stopped them.
    pub fn of(read: Result<T, Stop>) -> Result<Self, UpstreamError> {
        match read {
            Ok(found) => Ok(Self::Found(found)),
            Err(Stop::Absent) => Ok(Self::Absent),
            Err(Stop::Refused(refusal)) => Ok(Self::Refused(*refusal)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// What was found; everything else stops whoever needs it.
    pub fn found(self) -> Result<T, Stop> {
        match self {
            Self::Found(found) => Ok(found),
            Self::Absent => Err(Stop::Absent),
            Self::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Makes something else of what was found.
    pub fn try_map<U>(self, f: impl FnOnce(T) -> Result<U, UpstreamError>) -> Result<Answer<U>, UpstreamError> {
        Ok(match self {
            Self::Found(found) => Answer::Found(f(found)?),
            Self::Absent => Answer::Absent,
            Self::Refused(refusal) => Answer::Refused(refusal),
        })
    }

    /// What was found, `None` for what the registry says it does not hold. A refusal becomes the caller's error by `?`.
    #[expect(clippy::result_large_err, reason = "as large as the answer that it is made of")]
    pub fn or_refusal(self) -> Result<Option<T>, Refusal> {
        match self {
            Self::Found(found) => Ok(Some(found)),
            Self::Absent => Ok(None),
            Self::Refused(refusal) => Err(refusal),
        }
    }
}

/// A response of the registry, to be looked at whatever its status. Hop-by-hop headers are gone already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl RegistryResponse {
    /// What the registry says in it (distribution-spec, "Error Codes"); `None` when the body is no registry's error.
    pub fn error(&self) -> Option<ErrorBody> {
        ErrorBody::parse(&self.body)
    }

    /// Whether it says that the registry took the manifest `digest`: 201 (distribution-spec, "Pushing Manifests"), or another success that
    /// names it, as older registries answer. With 200 comes what whoever stands between has to say, too.
    pub fn states_written(&self, digest: &Digest) -> bool {
        let named = self.headers.get(DIGEST_HEADER).and_then(|value| value.to_str().ok());
        match self.status {
            StatusCode::CREATED => self.error().is_none(),
            status => status.is_success() && named == Some(digest.as_str()),
        }
    }
}

/// A response that refuses what was asked, finally: to be relayed byte for byte where it is about the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(RegistryResponse);

impl From<RegistryResponse> for Refusal {
    fn from(response: RegistryResponse) -> Self {
        Self(response)
    }
}

impl From<Refusal> for RegistryResponse {
    fn from(refusal: Refusal) -> Self {
        refusal.0
    }
}

impl Refusal {
    /// refshim's own: what the registry would give is not for this caller.
    pub fn of_refshim(error: &OciError) -> Self {
        Self(RegistryResponse {
            status: error.status,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
            body: error.body(),
        })
    }

    /// 401 and 403 are about the caller, not about the question.
    pub fn is_about_access(&self) -> bool {
        matches!(self.status.as_u16(), 401 | 403)
    }
}

impl Deref for Refusal {
    type Target = RegistryResponse;

    fn deref(&self) -> &RegistryResponse {
        &self.0
    }
}

/// A manifest as it was served; its bytes were checked against the digest that it was asked by, where that was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// `Content-Type` without parameters.
    pub media_type: String,
    /// The manifest's exact bytes.
    pub bytes: Bytes,
}

impl RawManifest {
    /// Its members, as far as they matter for links.
    pub fn parse(&self) -> Result<Manifest, ManifestError> {
        Manifest::parse(&self.bytes, &self.media_type)
    }

    /// The same of what a link calls a manifest. Of a kind that is not known here it is what all kinds have in common: clients may know it,
    /// and to leave it out would hide it.
    pub fn parse_of_any_kind(&self) -> Result<Manifest, ManifestError> {
        match self.parse() {
            Err(ManifestError::MediaType(media_type)) if !says_nothing(&media_type) => {
                Manifest::of_unknown_kind(&self.bytes, media_type)
            }
            parsed => parsed,
        }
    }

    /// The manifest that it keeps, where it is an envelope.
    pub fn enveloped(&self) -> Option<envelope::Original> {
        envelope::open(&self.parse().ok()?)
    }

    /// Whether it is an envelope that keeps the manifest `original`.
    pub fn is_envelope_of(&self, original: &Digest) -> bool {
        self.enveloped().is_some_and(|kept| kept.digest == *original)
    }

    /// Whether the bytes have the digest. They do not where that cannot be computed.
    pub fn is_what_its_digest_says(&self) -> bool {
        self.digest.matches(&self.bytes) == Some(true)
    }
}

/// What a HEAD tells of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    pub digest: Digest,
    pub media_type: String,
    pub size: Option<u64>,
    pub etag: Option<HeaderValue>,
}

/// What a HEAD alone says of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadOutcome {
    /// The manifest exists.
    Found(ManifestHead),
    /// A 404. It has no body that states what is absent, so no absence may be concluded from it.
    NotFound,
    /// Neither: refused, not supported, or without a digest. A GET decides.
    Unclear,
}

/// What the upstream's own referrers API says. Everything that is none of this is an error.
#[derive(Clone, Debug)]
pub enum Native {
    /// An image index, whatever its content type, read to its last page.
    Entries(Vec<Descriptor>),
    /// It holds no such repository or subject.
    Nothing,
    /// A 404 without a word about a digest that every registry knows: zot's, where it has no such repository, and as well that of
    /// whoever stands between. What was seen.
    Silence(String),
    /// As registries answer that have no such API: a page for people with 404, a redirect out of the API, 405, 501. What was seen.
    NoRoute(String),
    /// A page for people with 403: a firewall without such a path, or one that is closed to this credential. What was seen.
    Barred(String),
    /// 401 or 403, to be relayed as it is.
    Refused(Refusal),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bytes_of_its_digest_are_what_it_says() {
        let raw = |digest| RawManifest {
            digest,
            media_type: String::new(),
            bytes: Bytes::from_static(b"{}"),
        };
        assert!(raw(Digest::sha256(b"{}")).is_what_its_digest_says());
        assert!(!raw(Digest::sha256(b"x")).is_what_its_digest_says());
        assert!(!raw(Digest::parse("md5:99914b932bd37a50b983c5e7c90ae93b").unwrap()).is_what_its_digest_says());
    }
}
