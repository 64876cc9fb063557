//! `GET` and `HEAD /v2/<name>/manifests/<ref>`: passed through and learned from, envelopes opened, referrers tags synthesised.

use http::header::ACCEPT;
use http::{Method, Response, StatusCode};

use super::given::given;
use super::request::{ManifestRequest, instead_of};
use super::stored_list;
use super::synthesised;
use crate::http::body::Body;
use crate::metrics::{CacheUse, note_cache_use};
use crate::oci::media_type::{self, ManifestKind};
use crate::oci::{Digest, Reference};
use crate::proxy::content_reads::ContentRead;
use crate::proxy::error::ProxyError;
use crate::proxy::memory::{self, KnownManifest};
use crate::proxy::{passthrough, read_access};
use crate::referrers::{Recency, UnknownForm};
use crate::registry::Answer;

pub(super) async fn read(asked: &ManifestRequest<'_>, body: Body) -> Result<Response<Body>, ProxyError> {
    let (known, read) = known_or_begun(asked).await;
    let head = &asked.context.head;
    if let Some(known) = &known
        && memory::is_enough(known, head)
    {
        return Ok(memory::serve_manifest(known, head));
    }
    if let Some(adopted) = adopted(asked, known.as_ref()).await {
        return Ok(adopted);
    }
    if let Some(kept) = listed_in_sibling(asked, known.as_ref()).await {
        return Ok(kept);
    }
    let question = memory::unencoded(head, known.as_ref());
    let request = stored_list::unconditional(asked, question.request);
    match passthrough::forward_as(asked.context, request, body).await {
        Ok(response) => {
            let known = (known.as_ref(), question.is_conditional);
            answered(asked, response, known, read).await
        }
        Err(failure) => match known.filter(|_| failure.is_outage()) {
            Some(known) => Ok(memory::serve_stale_manifest(&known, head)),
            None => Err(failure),
        },
    }
}

/// What is remembered of the manifest, also after another caller has read it, or this caller's own read of it.
async fn known_or_begun(asked: &ManifestRequest<'_>) -> (Option<KnownManifest>, Option<ContentRead>) {
    let known = known(asked).await;
    let head = &asked.context.head;
    match asked.reference {
        Reference::Digest(digest)
            if known.is_none() && head.method == Method::GET && read_access::is_known_by_authorization(head) =>
        {
            let reads = &asked.context.backend.reads;
            let read = Box::pin(reads.begin(asked.repository, digest, &asked.caller)).await;
            // Also where nobody else reads: somebody may have just ended.
            (self::known(asked).await, read)
        }
        _ => (known, None),
    }
}

/// What is remembered of the manifest that a GET names by its digest. A HEAD always goes to the registry: by HEADs clients learn
/// what they must push.
async fn known(asked: &ManifestRequest<'_>) -> Option<KnownManifest> {
    let Reference::Digest(digest) = asked.reference else {
        return None;
    };
    if asked.context.head.method != Method::GET {
        return None;
    }
    note_cache_use(CacheUse::Miss);
    let resolver = asked.resolver();
    resolver.known_manifest(asked.repository, digest, &asked.caller).await
}

/// What the upstream's answer means, and what is given for it. `is_conditional`: it was asked whether `known` is the same still. Whoever waits
/// for `read` goes on when what the answer holds is remembered, or it holds nothing.
async fn answered(
    asked: &ManifestRequest<'_>,
    response: Response<Body>,
    (known, is_conditional): (Option<&KnownManifest>, bool),
    read: Option<ContentRead>,
) -> Result<Response<Body>, ProxyError> {
    let status = response.status();
    stored_list::check_answered(asked, status)?;
    match status {
        StatusCode::OK => {
            read_access::was_read(asked.context, asked.repository, &asked.caller).await;
            given(asked, response, read).await
        }
        StatusCode::NOT_MODIFIED => {
            asked.confirm().await;
            Ok(match known.filter(|_| is_conditional) {
                Some(known) => memory::serve_same_manifest(known, response.headers(), &asked.context.head),
                None => response,
            })
        }
        StatusCode::NOT_FOUND => match (Box::pin(not_found(asked)).await, known) {
            (Ok(Some(found)), _) => Ok(instead_of(response.headers(), found)),
            (Err(failure), Some(known)) if known.is_kept_elsewhere && failure.is_outage() => {
                Ok(memory::serve_stale_manifest(known, &asked.context.head))
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
            (Ok(Some(original)), _) => Ok(instead_of(response.headers(), original)),
            // The envelope is gone, and the blob that was in it is no manifest.
            (Ok(None), Some(known)) if known.is_kept_elsewhere => Ok(response),
            (_, Some(known)) => Ok(memory::serve_stale_manifest(known, &asked.context.head)),
            (_, None) => Ok(response),
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => refused(asked, response).await,
        _ if memory::is_outage(status) => Ok(match known {
            Some(known) => memory::serve_stale_manifest(known, &asked.context.head),
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
        return Ok(instead_of(response.headers(), index));
    }
    withheld(asked).await;
    read_access::was_refused(asked.context, asked.repository, &asked.caller).await;
    Ok(response)
}

/// The upstream did not give what was asked for by its digest.
async fn withheld(asked: &ManifestRequest<'_>) {
    if let Reference::Digest(digest) = asked.reference
        && read_access::is_known_by_authorization(&asked.context.head)
    {
        let resolver = asked.resolver();
        resolver.withheld(asked.repository, digest, &asked.caller).await;
    }
}

/// What the upstream does not have may be in an envelope, or be refshim's own.
async fn not_found(asked: &ManifestRequest<'_>) -> Result<Option<Response<Body>>, ProxyError> {
    let synthesised = match asked.reference {
        Reference::Digest(digest) => synthesised::by_digest(asked, digest).await?,
        Reference::Tag(_) => synthesised::for_missing_tag(asked).await?,
    };
    let kept = match (synthesised, asked.reference) {
        (Some(index), _) => Some(index),
        (None, Reference::Digest(digest)) => kept_elsewhere(asked, digest).await?,
        (None, Reference::Tag(_)) => behind_tag(asked).await?,
    };
    match kept {
        Some(kept) => Ok(Some(kept)),
        None => in_sibling(asked).await,
    }
}

/// What the repository's sibling keeps under this digest or link tag. By a HEAD, clients ask whether they must push: nothing is searched for then.
async fn in_sibling(asked: &ManifestRequest<'_>) -> Result<Option<Response<Body>>, ProxyError> {
    let how = match asked.context.head.method == Method::GET {
        true => (UnknownForm::Search, Recency::Fresh),
        false => (UnknownForm::Leave, Recency::Now),
    };
    let resolver = asked.resolver();
    let kept = resolver.linked_manifest(asked.repository, asked.reference, &asked.caller, how);
    Ok(kept.await?.map(|kept| asked.serve(&kept)))
}

/// What was listed from the repository's sibling, which is asked before the repository. Where it does not give it, the registry's word about the
/// repository is next.
async fn listed_in_sibling(asked: &ManifestRequest<'_>, known: Option<&KnownManifest>) -> Option<Response<Body>> {
    let Reference::Digest(digest) = asked.reference else {
        return None;
    };
    let resolver = asked.resolver();
    let is_listed = known.is_none() && resolver.is_known_linked(asked.repository, digest, &asked.caller).await;
    match is_listed {
        true => Box::pin(in_sibling(asked)).await.ok()?,
        false => None,
    }
}

/// An adopted form that was listed. The registry is asked for the original: it does not have the form, and may send whoever asks for that
/// elsewhere. Where it does not give the original, its word about the digest itself is next.
async fn adopted(asked: &ManifestRequest<'_>, known: Option<&KnownManifest>) -> Option<Response<Body>> {
    let Reference::Digest(digest) = asked.reference else {
        return None;
    };
    if known.is_some_and(|known| !known.is_kept_elsewhere) {
        return None;
    }
    let recency = match asked.context.head.method == Method::GET {
        true => Recency::Fresh,
        false => Recency::Now,
    };
    let listed = (UnknownForm::Leave, recency);
    let resolver = asked.resolver();
    let adopted = Box::pin(resolver.adopted(asked.repository, digest, &asked.caller, listed)).await;
    Some(asked.serve(&*adopted.ok()??))
}

/// What the registry keeps under another digest: in an envelope, or as the original of an adopted form. By a HEAD, clients ask whether they
/// must push: no adopted form is searched for then.
async fn kept_elsewhere(asked: &ManifestRequest<'_>, digest: &Digest) -> Result<Option<Response<Body>>, ProxyError> {
    match in_envelope(asked).await? {
        None if asked.context.head.method == Method::GET => {
            let (resolver, searched) = (asked.resolver(), (UnknownForm::Search, Recency::Fresh));
            let adopted = resolver
                .adopted(asked.repository, digest, &asked.caller, searched)
                .await?;
            Ok(adopted.map(|adopted| asked.serve(&adopted)))
        }
        original => Ok(original),
    }
}

/// What a tag's envelope holds, for a caller who accepts only that: an image manifest, which the envelope is to the upstream,
/// was refused on its behalf.
async fn behind_tag(asked: &ManifestRequest<'_>) -> Result<Option<Response<Body>>, ProxyError> {
    let accepted = asked.context.head.headers.get_all(ACCEPT).iter();
    let mut accepted = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    if accepted.any(|value| media_type::essence(value) == media_type::OCI_IMAGE_MANIFEST) {
        return Ok(None);
    }
    let resolver = asked.resolver();
    let found = resolver
        .manifest(asked.repository, asked.reference, &asked.caller)
        .await?;
    Ok(match found {
        Answer::Found(raw) if !is_common(&raw.media_type) => Some(asked.serve(&raw)),
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
    let resolver = asked.resolver();
    let original = resolver.enveloped(asked.repository, digest, &asked.caller).await?;
    Ok(original.map(|original| asked.serve(&original)))
}
