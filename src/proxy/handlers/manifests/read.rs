//! `/v2/<name>/manifests/<ref>`: reads are passed through and learned from, envelopes opened, referrers tags synthesised.

use http::header::ACCEPT;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::{synthesised, write};
use crate::http::body::Body;
use crate::oci::media_type::{self, ManifestKind};
use crate::oci::{Reference, RepositoryName};
use crate::proxy::backend::Backend;
use crate::proxy::error::ProxyError;
use crate::proxy::given_manifests::found;
use crate::proxy::memory::{self, KnownManifest};
use crate::proxy::proof::is_known_by_authorization;
use crate::proxy::respond::LocalResponse;
use crate::proxy::{headers, passthrough};
use crate::registry::{Answer, Caller, RawManifest};

/// A request for one manifest.
pub(in crate::proxy) struct ManifestRequest<'a> {
    pub backend: &'a Backend,
    pub repository: &'a RepositoryName,
    pub reference: &'a Reference,
    pub caller: Caller,
    pub request: &'a Parts,
}

pub(in crate::proxy) async fn handle_manifest(
    backend: &Backend,
    request: &Parts,
    body: Body,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ProxyError> {
    let asked = ManifestRequest {
        backend,
        repository,
        reference,
        caller: backend.caller(request),
        request,
    };
    match request.method {
        Method::GET | Method::HEAD => read(&asked, body).await,
        Method::PUT => Box::pin(write::push(&asked, body)).await,
        Method::DELETE => Box::pin(write::delete(&asked)).await,
        _ => passthrough::forward(backend, request, body).await,
    }
}

async fn read(asked: &ManifestRequest<'_>, body: Body) -> Result<Response<Body>, ProxyError> {
    if let Some(merged) = synthesised::instead(asked).await? {
        return Ok(merged);
    }
    let known = known(asked).await;
    if let Some(known) = &known
        && memory::is_enough(known, asked.request)
    {
        return Ok(memory::serve_manifest(known, asked.request));
    }
    let question = memory::unencoded(asked.request, known.as_ref());
    match passthrough::forward(asked.backend, &question.request, body).await {
        Ok(response) => answered(asked, response, known.as_ref(), question.is_conditional).await,
        Err(failure) => match known.filter(|_| failure.is_outage()) {
            Some(known) => Ok(memory::serve_stale_manifest(&known, asked.request)),
            None => Err(failure),
        },
    }
}

/// What is remembered of the manifest that a GET names by its digest. A HEAD always goes to the registry: by HEADs clients learn
/// what they must push.
async fn known(asked: &ManifestRequest<'_>) -> Option<KnownManifest> {
    let Reference::Digest(digest) = asked.reference else {
        return None;
    };
    if asked.request.method != Method::GET {
        return None;
    }
    let resolver = &asked.backend.resolver;
    resolver.known_manifest(asked.repository, digest, &asked.caller).await
}

/// What the upstream's answer means, and what is given for it. `is_conditional`: it was asked whether `known` is the same still.
async fn answered(
    asked: &ManifestRequest<'_>,
    response: Response<Body>,
    known: Option<&KnownManifest>,
    is_conditional: bool,
) -> Result<Response<Body>, ProxyError> {
    let status = response.status();
    match status {
        StatusCode::OK => {
            let backend = asked.backend;
            backend.was_read(asked.request, asked.repository, &asked.caller).await;
            found(asked, response).await
        }
        StatusCode::NOT_MODIFIED => {
            confirm(asked).await;
            Ok(match known.filter(|_| is_conditional) {
                Some(known) => memory::serve_same_manifest(known, response.headers(), asked.request),
                None => response,
            })
        }
        StatusCode::NOT_FOUND => match (Box::pin(not_found(asked)).await, known) {
            (Ok(Some(handle_manifest)), _) => Ok(instead_of(&response, handle_manifest)),
            (Err(failure), Some(known)) if known.is_sealed && failure.is_outage() => {
                Ok(memory::serve_stale_manifest(known, asked.request))
            }
            (Err(failure), _) => Err(failure),
            (Ok(None), _) => {
                if memory::states_absence(&response) {
                    withheld(asked).await;
                }
                Ok(response)
            }
        },
        // Distribution 2.8 finds the blob in an envelope and fails to read it as a manifest.
        StatusCode::INTERNAL_SERVER_ERROR => match (Box::pin(in_envelope(asked)).await, known) {
            (Ok(Some(original)), _) => Ok(instead_of(&response, original)),
            // The envelope is gone, and the blob that was in it is no manifest.
            (Ok(None), Some(known)) if known.is_sealed => Ok(response),
            (_, Some(known)) => Ok(memory::serve_stale_manifest(known, asked.request)),
            (_, None) => Ok(response),
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => refused(asked, response).await,
        _ if memory::is_outage(status) => Ok(match known {
            Some(known) => memory::serve_stale_manifest(known, asked.request),
            None => response,
        }),
        _ => {
            if status.is_client_error() {
                withheld(asked).await;
            }
            Ok(response)
        }
    }
}

/// A refusal ends what is known of the digest, and of the caller's right; some registries refuse tags that are not there (403),
/// behind which links may be known.
async fn refused(asked: &ManifestRequest<'_>, response: Response<Body>) -> Result<Response<Body>, ProxyError> {
    if response.status() == StatusCode::FORBIDDEN
        && synthesised::is_referrers_tag(asked.reference)
        && let Ok(Some(index)) = Box::pin(synthesised::for_missing_tag(asked)).await
    {
        return Ok(instead_of(&response, index));
    }
    withheld(asked).await;
    let backend = asked.backend;
    backend
        .was_refused(asked.request, asked.repository, &asked.caller)
        .await;
    Ok(response)
}

/// The upstream did not give what was asked for by its digest.
async fn withheld(asked: &ManifestRequest<'_>) {
    if let Reference::Digest(digest) = asked.reference
        && is_known_by_authorization(asked.request)
    {
        let resolver = &asked.backend.resolver;
        resolver.withheld(asked.repository, digest, &asked.caller).await;
    }
}

/// The upstream said that what was asked for by its digest is there.
pub(in crate::proxy) async fn confirm(asked: &ManifestRequest<'_>) {
    if let Reference::Digest(digest) = asked.reference {
        let resolver = &asked.backend.resolver;
        resolver.confirm_manifest(asked.repository, digest, &asked.caller).await;
    }
}

/// refshim's own `answer` in place of the upstream's, with what that sends along.
pub(in crate::proxy) fn instead_of(upstreams: &Response<Body>, mut answer: Response<Body>) -> Response<Body> {
    let along = headers::along_with_another_body(upstreams.headers());
    headers::add(answer.headers_mut(), &along);
    answer
}

/// What the upstream does not have may be in an envelope, or be refshim's own.
async fn not_found(asked: &ManifestRequest<'_>) -> Result<Option<Response<Body>>, ProxyError> {
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
async fn behind_tag(asked: &ManifestRequest<'_>) -> Result<Option<Response<Body>>, ProxyError> {
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

async fn in_envelope(asked: &ManifestRequest<'_>) -> Result<Option<Response<Body>>, ProxyError> {
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

pub(in crate::proxy) fn serve(manifest: &RawManifest, request: &Parts) -> Response<Body> {
    LocalResponse::manifest(&manifest.media_type, &manifest.digest, manifest.bytes.clone()).respond(request)
}
