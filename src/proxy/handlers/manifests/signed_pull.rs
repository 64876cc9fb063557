//! Whether an image that is pulled had a signature that refshim knew of, for the metrics and the log (`metrics.signed_pulls`). It is told
//! from memory alone: the registry is never asked for it.

use http::header::CONTENT_TYPE;
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use super::given::hold;
use super::request::ManifestRequest;
use crate::http::body::Body;
use crate::metrics::{SignedPull, note_signed_pull};
use crate::oci::media_type::{ManifestKind, essence};
use crate::oci::{Digest, Manifest, Reference, tag_scheme};
use crate::proxy::error::ProxyError;
use crate::proxy::respond::CONTENT_DIGEST;
use crate::referrers::KnownReferrers;
use crate::ui::Badge;

/// Passes `response` on, the answer to a caller of this [`pulled_type`], and notes whether it is a signed image.
pub(super) async fn noted(
    asked: &ManifestRequest<'_>,
    response: Response<Body>,
    media_type: &str,
) -> Result<Response<Body>, ProxyError> {
    let limit = asked.context.backend.shared.limits.manifest_bytes as u64;
    if response.body().size_hint().upper().is_none_or(|length| length > limit) {
        // It streams through, so that it is not seen what it is.
        if matches!(asked.reference, Reference::Tag(_)) {
            note_signed_pull(SignedPull::Unknown);
        }
        return Ok(response);
    }
    let stated = response.headers().get(CONTENT_DIGEST);
    let stated = stated.and_then(|value| Digest::parse(value.to_str().ok()?).ok());
    let held = hold(asked, response).await?;
    let digest = match asked.reference {
        Reference::Digest(digest) => digest.clone(),
        Reference::Tag(_) => stated.unwrap_or_else(|| Digest::sha256(&held.bytes)),
    };
    if let Ok(manifest) = Manifest::parse(&held.bytes, media_type)
        && is_pulled_image(asked, &digest, &manifest)
    {
        note_signed_pull(known(asked, &digest).await);
    }
    held.into_response(asked)
}

/// The media type of what a caller is given, where that may be an image and signed pulls are noted.
pub(super) fn pulled_type(asked: &ManifestRequest<'_>, response: &Response<Body>) -> Option<String> {
    if !asked.context.backend.shared.notes_signed_pulls {
        return None;
    }
    let is_get = asked.context.head.method == Method::GET && response.status() == StatusCode::OK;
    let is_link_tag = matches!(asked.reference, Reference::Tag(tag) if tag_scheme::parse(tag.as_str()).is_some());
    if !is_get || is_link_tag {
        return None;
    }
    let media_type = essence(response.headers().get(CONTENT_TYPE)?.to_str().ok()?);
    let is_image = matches!(
        ManifestKind::of(media_type),
        Some(ManifestKind::Image | ManifestKind::Index)
    );
    is_image.then(|| media_type.to_owned())
}

/// Whether it is an image by itself: neither something that refers to one, nor a part of an index that was pulled before.
fn is_pulled_image(asked: &ManifestRequest<'_>, digest: &Digest, manifest: &Manifest) -> bool {
    let parts = &asked.context.backend.pulled_parts;
    let is_part = matches!(asked.reference, Reference::Digest(_)) && parts.contains(asked.repository, digest);
    for listed in &manifest.manifests {
        parts.add(asked.repository, &listed.digest);
    }
    let is_evidence = matches!(
        Badge::of_manifest(manifest, digest),
        Some(Badge::Signature | Badge::Attestation | Badge::Sbom)
    );
    !is_part && !is_evidence && manifest.own_subjects().is_empty()
}

async fn known(asked: &ManifestRequest<'_>, digest: &Digest) -> SignedPull {
    let resolver = asked.resolver();
    match resolver.known_referrers(asked.repository, digest, &asked.caller).await {
        Some(known) if is_signed(&known) => SignedPull::Yes,
        Some(known) if known.is_all => SignedPull::No,
        Some(_) | None => SignedPull::Unknown,
    }
}

fn is_signed(known: &KnownReferrers) -> bool {
    let mut found = known.lists.iter().flat_map(|list| &list.referrers);
    found.any(|found| Badge::of(found) == Badge::Signature)
}
