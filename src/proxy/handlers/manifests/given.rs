//! A manifest that the registry gave: opened where it is an envelope, learned from while it passes through.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderName, Method, Response};
use http_body::Body as _;

use super::request::{ManifestRequest, instead_of};
use super::stored_list::{self, GivenList};
use super::synthesised;
use crate::http::body::Body;
use crate::http::tee::Tee;
use crate::oci::{Digest, Reference, RepositoryName, Tag, envelope, media_type};
use crate::proxy::content_reads::ContentRead;
use crate::proxy::error::ProxyError;
use crate::proxy::memory;
use crate::proxy::respond::CONTENT_DIGEST;
use crate::proxy::response_budget::Reservation;
use crate::referrers::{Given, Resolver, ServedHeaders};
use crate::registry::{RawManifest, UpstreamError, is_encoded};

/// What a caller is given for the registry's 200, which ends its `read` of a manifest by digest.
pub(super) async fn given(
    asked: &ManifestRequest<'_>,
    response: Response<Body>,
    read: Option<ContentRead>,
) -> Result<Response<Body>, ProxyError> {
    let read = read.map(ContentRead::answered);
    let media_type = media_type::essence(header(&response, CONTENT_TYPE).unwrap_or_default()).to_owned();
    let promised = match asked.reference {
        Reference::Digest(digest) => Some(digest.clone()),
        Reference::Tag(_) => header(&response, CONTENT_DIGEST).and_then(|text| Digest::parse(text).ok()),
    };
    if let Some(digest) = &promised
        && let Some(index) = synthesised::instead_of_subject(asked, digest).await?
    {
        return Ok(instead_of(response.headers(), index));
    }
    if let Reference::Tag(tag) = asked.reference {
        let resolver = asked.resolver();
        resolver.saw_tag(asked.repository, tag, promised.as_ref()).await;
    }
    if is_encoded(response.headers()) {
        // Other bytes than the manifest's, although it was asked for without.
        stored_list::check_comparable(asked, &media_type)?;
        return Ok(response);
    }
    let response = match stored_list::subject_of_list(asked, &media_type) {
        None => response,
        Some(subject) => match Box::pin(stored_list::completed(asked, response, &subject, promised.as_ref())).await? {
            GivenList::Stored(response) => response,
            GivenList::Whole(whole) => return Ok(whole),
        },
    };
    let given = GivenManifest {
        by: match asked.reference {
            Reference::Digest(_) => Given::ByDigest,
            Reference::Tag(_) => Given::ByTag,
        },
        promised,
        media_type,
        _read: read,
    };
    // Only a tag can resolve to an envelope unawares, and an envelope is always an OCI image manifest.
    let is_image = given.media_type == media_type::OCI_IMAGE_MANIFEST;
    match (&asked.context.head.method, asked.reference) {
        (&Method::GET, Reference::Tag(_)) if is_image => opened(asked, response, given).await,
        (&Method::GET, _) => Ok(learn(asked, response, given)),
        (_, Reference::Tag(tag)) if is_image => opened_head(asked, response, given.promised.as_ref(), tag).await,
        (_, Reference::Tag(_)) => Ok(response),
        (_, Reference::Digest(_)) => {
            asked.confirm().await;
            Ok(response)
        }
    }
}

/// What is to be learned of a manifest that passes through, besides its bytes and headers.
struct GivenManifest {
    by: Given,
    promised: Option<Digest>,
    media_type: String,
    /// Others wait until it is learned.
    _read: Option<ContentRead>,
}

/// An answer whose body was read.
pub(super) struct HeldBody {
    pub head: Parts,
    pub bytes: Bytes,
    pub reserved: Option<Reservation>,
}

impl HeldBody {
    /// The answer again. The room is kept for as long as it is on its way to the caller.
    pub fn into_response(self, asked: &ManifestRequest<'_>) -> Result<Response<Body>, ProxyError> {
        let body = match asked.context.head.method {
            Method::HEAD => Body::empty(),
            _ => self.bytes.into(),
        };
        let response = Response::from_parts(self.head, body);
        let budget = &asked.context.backend.shared.response_budget;
        budget.hold(response, self.reserved)
    }
}

/// Reads the body of a GET's answer, up to the limit of manifests.
pub(super) async fn hold(asked: &ManifestRequest<'_>, response: Response<Body>) -> Result<HeldBody, ProxyError> {
    let shared = &asked.context.backend.shared;
    let limit = shared.limits.manifest_bytes;
    let (head, body) = response.into_parts();
    let length = expected_length(&body, limit);
    let reserved = shared.response_budget.reserve(length).await;
    let read = body
        .read(limit)
        .await
        .map_err(|e| UpstreamError::Broken(e.to_string()))?;
    let too_large = || UpstreamError::Invalid(format!("the manifest is larger than {limit} bytes"));
    Ok(HeldBody {
        head,
        bytes: read.ok_or_else(too_large)?,
        reserved,
    })
}

/// Holds the manifest back until it is known whether it is an envelope.
async fn opened(
    asked: &ManifestRequest<'_>,
    response: Response<Body>,
    given: GivenManifest,
) -> Result<Response<Body>, ProxyError> {
    let held = hold(asked, response).await?;
    let resolver = asked.resolver();
    let headers = || memory::sent_with_content(&held.head.headers, &asked.context.head);
    let studied = study(resolver, asked.repository, given, held.bytes.clone(), headers).await;
    if let Some(digest) = studied
        && envelope::may_be(&held.bytes)
        && let Some(original) = Box::pin(resolver.original(asked.repository, &digest, &asked.caller)).await?
    {
        return Ok(instead_of(&held.head.headers, asked.serve(&original)));
    }
    held.into_response(asked)
}

/// A HEAD does not tell an envelope from an image: the manifest is read, once for every digest; every time where the answer names
/// no digest. Where that fails, the registry's own answer stands.
async fn opened_head(
    asked: &ManifestRequest<'_>,
    response: Response<Body>,
    digest: Option<&Digest>,
    tag: &Tag,
) -> Result<Response<Body>, ProxyError> {
    let resolver = asked.resolver();
    let named = (tag, digest);
    let original = Box::pin(resolver.original_for_head(asked.repository, named, &asked.caller)).await?;
    Ok(match original {
        Some(original) => instead_of(response.headers(), asked.serve(&original)),
        None => response,
    })
}

/// Bytes that reading `body` will take: what it says, or what it may take.
fn expected_length(body: &Body, limit: usize) -> usize {
    let stated = body.size_hint().upper();
    stated.map_or(limit, |length| usize::try_from(length).unwrap_or(limit).min(limit))
}

/// Reads along while the manifest streams to the caller; not where there is no room for a copy.
fn learn(asked: &ManifestRequest<'_>, response: Response<Body>, given: GivenManifest) -> Response<Body> {
    let (resolver, repository) = (asked.context.backend.resolver.clone(), asked.repository.clone());
    let shared = &asked.context.backend.shared;
    let limit = shared.limits.manifest_bytes;
    let length = expected_length(response.body(), limit);
    let Some(reserved) = shared.response_budget.spare(length) else {
        return response;
    };
    let headers = memory::sent_with_content(response.headers(), &asked.context.head);
    response.map(|body| {
        Body::stream(Tee::new(body, limit, move |bytes: Bytes| {
            tokio::spawn(async move {
                study(&resolver, &repository, given, bytes, || headers).await;
                drop(reserved);
            });
        }))
    })
}

fn header(response: &Response<Body>, name: HeaderName) -> Option<&str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Learns from a manifest that passes through, and returns its digest. `None` where the bytes are not what was promised.
async fn study(
    resolver: &Resolver,
    repository: &RepositoryName,
    given: GivenManifest,
    bytes: Bytes,
    headers: impl FnOnce() -> ServedHeaders,
) -> Option<Digest> {
    let digest = given.promised.unwrap_or_else(|| Digest::sha256(&bytes));
    let raw = RawManifest {
        digest: digest.clone(),
        media_type: given.media_type,
        bytes,
    };
    let is_genuine = resolver.learn_given(repository, raw, given.by, headers).await;
    is_genuine.then_some(digest)
}
