//! `/v2/<name>/manifests/<ref>`: reads are passed through and learned from, envelopes opened, referrers tags synthesised.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, Method, Response, StatusCode};
use http_body::Body as _;

use super::answer::{Answered, CONTENT_DIGEST};
use super::backend::Backend;
use super::failure::Failure;
use super::tee::Tee;
use super::{passthrough, pushes, synthesised};
use crate::body::Body;
use crate::links::Resolver;
use crate::oci::media_type::{self, ManifestKind};
use crate::oci::{Digest, Reference, RepositoryName, envelope};
use crate::upstream::{Answer, Caller, RawManifest, UpstreamError};

/// A request for one manifest.
pub(super) struct Asked<'a> {
    pub backend: &'a Backend,
    pub repository: &'a RepositoryName,
    pub reference: &'a Reference,
    pub caller: Caller,
    pub request: &'a Parts,
}

pub(super) async fn answer(
    backend: &Backend,
    request: &Parts,
    body: Body,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, Failure> {
    let asked = Asked {
        backend,
        repository,
        reference,
        caller: backend.caller(request),
        request,
    };
    match request.method {
        Method::GET | Method::HEAD => read(&asked, body).await,
        Method::PUT => Box::pin(pushes::push(&asked, body)).await,
        Method::DELETE => Box::pin(pushes::delete(&asked)).await,
        _ => passthrough::forward(backend, request, body).await,
    }
}

async fn read(asked: &Asked<'_>, body: Body) -> Result<Response<Body>, Failure> {
    if let Some(merged) = synthesised::instead(asked).await? {
        return Ok(merged);
    }
    if let Reference::Digest(digest) = asked.reference
        && let Some(known) = asked
            .backend
            .resolver
            .remembered(asked.repository, digest, &asked.caller)
            .await
    {
        return Ok(serve(&known, asked.request));
    }
    let response = passthrough::forward(asked.backend, asked.request, body).await?;
    match response.status() {
        StatusCode::OK => {
            asked
                .backend
                .was_read(asked.request, asked.repository, &asked.caller)
                .await;
            found(asked, response).await
        }
        StatusCode::NOT_FOUND => match Box::pin(not_found(asked)).await? {
            Some(answer) => Ok(answer),
            None => Ok(response),
        },
        // Distribution 2.8 finds the blob in an envelope and fails to read it as a manifest.
        StatusCode::INTERNAL_SERVER_ERROR => match Box::pin(in_envelope(asked)).await {
            Ok(Some(original)) => Ok(original),
            Ok(None) | Err(_) => Ok(response),
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            asked
                .backend
                .was_refused(asked.request, asked.repository, &asked.caller)
                .await;
            Ok(response)
        }
        _ => Ok(response),
    }
}

/// What the upstream does not have may be in an envelope, or be refshim's own.
async fn not_found(asked: &Asked<'_>) -> Result<Option<Response<Body>>, Failure> {
    let synthesised = match asked.reference {
        Reference::Digest(digest) => synthesised::by_digest(asked, digest).await?,
        Reference::Tag(_) => synthesised::for_missing_tag(asked).await?,
    };
    match (synthesised, asked.reference) {
        (Some(index), _) => Ok(Some(index)),
        (None, Reference::Digest(_)) => in_envelope(asked).await,
        (None, Reference::Tag(_)) => behind_tag(asked).await,
    }
}

/// What a tag's envelope holds, for a caller who accepts only that: an image manifest, which the envelope is to the upstream,
/// was refused on its behalf.
async fn behind_tag(asked: &Asked<'_>) -> Result<Option<Response<Body>>, Failure> {
    let accepted = asked.request.headers.get_all(ACCEPT).iter();
    let mut accepted = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    if accepted.any(|value| media_type::essence(value) == media_type::OCI_IMAGE_MANIFEST) {
        return Ok(None);
    }
    let resolver = &asked.backend.resolver;
    let found = resolver
        .manifest(asked.repository, asked.reference, &asked.caller)
        .await?;
    Ok(match found {
        Answer::Found(raw) if !is_common(&raw.media_type) => Some(serve(&raw, asked.request)),
        _ => None,
    })
}

/// Whether every registry stores manifests of this type as they are.
fn is_common(media_type: &str) -> bool {
    matches!(
        ManifestKind::of(media_type),
        None | Some(ManifestKind::Image | ManifestKind::Index)
    )
}

async fn in_envelope(asked: &Asked<'_>) -> Result<Option<Response<Body>>, Failure> {
    let Reference::Digest(digest) = asked.reference else {
        return Ok(None);
    };
    let original = asked
        .backend
        .resolver
        .enveloped(asked.repository, digest, &asked.caller)
        .await?;
    Ok(original.map(|original| serve(&original, asked.request)))
}

async fn found(asked: &Asked<'_>, response: Response<Body>) -> Result<Response<Body>, Failure> {
    let media_type = media_type::essence(header(&response, CONTENT_TYPE).unwrap_or_default()).to_owned();
    let promised = match asked.reference {
        Reference::Digest(digest) => Some(digest.clone()),
        Reference::Tag(_) => header(&response, CONTENT_DIGEST).and_then(|text| Digest::parse(text).ok()),
    };
    if let Some(digest) = &promised
        && let Some(index) = synthesised::instead_of_subject(asked, digest).await?
    {
        return Ok(index);
    }
    if let (Reference::Tag(tag), Some(digest)) = (asked.reference, &promised) {
        asked.backend.resolver.saw_tag(asked.repository, tag, digest).await;
    }
    // Only a tag can resolve to an envelope unawares, and an envelope is always an OCI image manifest.
    let may_be_sealed = matches!(asked.reference, Reference::Tag(_)) && media_type == media_type::OCI_IMAGE_MANIFEST;
    match (&asked.request.method, promised) {
        (&Method::GET, promised) if may_be_sealed => opened(asked, response, promised, media_type).await,
        (&Method::GET, promised) => Ok(learn(asked, response, promised, media_type)),
        (_, Some(digest)) if may_be_sealed => opened_head(asked, response, &digest).await,
        _ => Ok(response),
    }
}

/// Holds the manifest back until it is known whether it is an envelope.
async fn opened(
    asked: &Asked<'_>,
    response: Response<Body>,
    promised: Option<Digest>,
    media_type: String,
) -> Result<Response<Body>, Failure> {
    let limit = asked.backend.shared.limits.manifest_bytes;
    let (mut head, body) = response.into_parts();
    let length = expected_length(&body, limit);
    let reserved = asked.backend.shared.held_room.reserve(length).await;
    let read = body
        .read(limit)
        .await
        .map_err(|e| UpstreamError::Broken(e.to_string()))?;
    let too_large = || UpstreamError::Invalid(format!("the manifest is larger than {limit} bytes"));
    let bytes = read.ok_or_else(too_large)?;
    // Kept for as long as the manifest is on its way to the caller.
    if let Some(reserved) = reserved {
        head.extensions.insert(Arc::new(reserved));
    }
    let resolver = &asked.backend.resolver;
    let Some(digest) = study(resolver, asked.repository, promised, media_type, bytes.clone()).await else {
        return Ok(Response::from_parts(head, bytes.into()));
    };
    if envelope::may_be(&bytes)
        && let Some(original) = Box::pin(resolver.original(asked.repository, &digest, &asked.caller)).await?
    {
        return Ok(serve(&original, asked.request));
    }
    Ok(Response::from_parts(head, bytes.into()))
}

/// A HEAD does not tell an envelope from an image: the manifest is read, once for every digest.
async fn opened_head(asked: &Asked<'_>, response: Response<Body>, digest: &Digest) -> Result<Response<Body>, Failure> {
    let resolver = &asked.backend.resolver;
    let original = Box::pin(resolver.original(asked.repository, digest, &asked.caller)).await?;
    Ok(match original {
        Some(original) => serve(&original, asked.request),
        None => response,
    })
}

pub(super) fn serve(manifest: &RawManifest, request: &Parts) -> Response<Body> {
    Answered::manifest(&manifest.media_type, &manifest.digest, manifest.bytes.clone()).respond(request)
}

/// Bytes that reading `body` will take: what it says, or what it may take.
fn expected_length(body: &Body, limit: usize) -> usize {
    let stated = body.size_hint().upper();
    stated.map_or(limit, |length| usize::try_from(length).unwrap_or(limit).min(limit))
}

/// Reads along while the manifest streams to the caller; not where there is no room for a copy.
fn learn(asked: &Asked<'_>, response: Response<Body>, promised: Option<Digest>, media_type: String) -> Response<Body> {
    let (resolver, repository) = (asked.backend.resolver.clone(), asked.repository.clone());
    let limit = asked.backend.shared.limits.manifest_bytes;
    let length = expected_length(response.body(), limit);
    let Some(reserved) = asked.backend.shared.held_room.spare(length) else {
        return response;
    };
    response.map(|body| {
        Body::stream(Tee::new(body, limit, move |bytes: Bytes| {
            tokio::spawn(async move {
                study(&resolver, &repository, promised, media_type, bytes).await;
                drop(reserved);
            });
        }))
    })
}

fn header(response: &Response<Body>, name: HeaderName) -> Option<&str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Learns from a manifest that passes through, and returns its digest. `None` where the bytes are not what was promised, such
/// as compressed.
async fn study(
    resolver: &Resolver,
    repository: &RepositoryName,
    promised: Option<Digest>,
    media_type: String,
    bytes: Bytes,
) -> Option<Digest> {
    let digest = promised.unwrap_or_else(|| Digest::sha256(&bytes));
    let raw = RawManifest {
        digest,
        media_type,
        bytes,
    };
    let digest = raw.digest.clone();
    if !resolver.has_just_learned(repository, &raw).await {
        Box::pin(resolver.learn(repository, verified(raw)?)).await;
    }
    Some(digest)
}

fn verified(raw: RawManifest) -> Option<RawManifest> {
    (raw.digest.matches(&raw.bytes) == Some(true)).then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_its_digest_promises_is_learned() {
        let raw = |digest| RawManifest {
            digest,
            media_type: String::new(),
            bytes: Bytes::from_static(b"{}"),
        };
        assert!(verified(raw(Digest::sha256(b"{}"))).is_some());
        assert!(verified(raw(Digest::sha256(b"x"))).is_none());
    }
}
