//! Synthesised referrers tags: where the upstream has none, the list that was found is served as its index. Some clients ask for
//! nothing else.

use bytes::Bytes;
use http::Response;

use super::request::ManifestRequest;
use crate::http::body::Body;
use crate::oci::{Digest, LinkSource, LinkTagKind, Reference, Referrer, ReferrersTagIndex, RepositoryName, tag_scheme};
use crate::proxy::error::ProxyError;
use crate::proxy::respond::LocalResponse;
use crate::referrers::{Lookup, Resolver};
use crate::registry::{RawManifest, STORED_ONLY};
use crate::render::oci11;

/// The synthesised index where the upstream has no such tag. `None` where the tag is another, or nothing refers to its
/// subject: then the upstream's own 404 stands.
pub(super) async fn for_missing_tag(asked: &ManifestRequest<'_>) -> Result<Option<Response<Body>>, ProxyError> {
    match subject_of(asked.reference).filter(|_| !wants_stored(asked)) {
        Some(subject) => Box::pin(index(asked, &subject)).await,
        None => Ok(None),
    }
}

/// Some registries answer a referrers tag with the subject itself: that is no index.
pub(super) async fn instead_of_subject(
    asked: &ManifestRequest<'_>,
    answered: &Digest,
) -> Result<Option<Response<Body>>, ProxyError> {
    match subject_of(asked.reference) {
        Some(subject) if subject == *answered => Box::pin(index(asked, &subject)).await,
        _ => Ok(None),
    }
}

/// An index that was synthesised before, by its digest, while it is the list of its subject.
pub(super) async fn by_digest(
    asked: &ManifestRequest<'_>,
    digest: &Digest,
) -> Result<Option<Response<Body>>, ProxyError> {
    let resolver = asked.resolver();
    let Some(made) = resolver.synthesised(asked.repository, digest, &asked.caller).await? else {
        return Ok(None);
    };
    if made.is_current {
        let manifest = as_manifest(digest.clone(), made.bytes);
        return Ok(Some(asked.serve(&manifest)));
    }
    let resolved = Box::pin(resolver.resolve(asked.repository, &made.subject, &asked.caller)).await?;
    let links = &resolved.links;
    let printed = links.printed.once(|| oci11::print_whole(links));
    if printed.1 != *digest {
        return Ok(None);
    }
    remember(resolver, asked.repository, &made.subject, printed).await;
    Ok(Some(answer(asked, printed, &resolved)))
}

/// Keeps what was just printed as a list fetchable, and deletable, by its digest: clients take it for a stored index.
pub(in crate::proxy::handlers) async fn remember(
    resolver: &Resolver,
    repository: &RepositoryName,
    subject: &Digest,
    printed: &(Bytes, Digest),
) {
    resolver.remember_synthesised(repository, subject, printed).await;
}

async fn index(asked: &ManifestRequest<'_>, subject: &Digest) -> Result<Option<Response<Body>>, ProxyError> {
    let resolved = asked
        .resolver()
        .resolve(asked.repository, subject, &asked.caller)
        .await?;
    match resolved.links.referrers.iter().all(is_cosigns_own) {
        true => Ok(None),
        false => Ok(Some(of_list(asked, subject, &resolved).await)),
    }
}

/// The index of all that was found, and of what the registry lists besides, without what is gone.
pub(super) async fn with_stored(
    asked: &ManifestRequest<'_>,
    subject: &Digest,
    resolved: &Lookup,
    (stored, gone): (&ReferrersTagIndex, &[Digest]),
) -> Response<Body> {
    let links = &resolved.links;
    let found = links.printed.once(|| oci11::print_whole(links));
    let whole = ReferrersTagIndex::parse(&found.0).map(|found| {
        let mut whole = found.clone();
        whole.take_over(stored, gone);
        (whole != found).then(|| whole.print())
    });
    let Some(Some(bytes)) = whole else {
        return of_list(asked, subject, resolved).await;
    };
    let printed = (bytes.clone(), Digest::sha256(&bytes));
    remember(asked.resolver(), asked.repository, subject, &printed).await;
    answer(asked, &printed, resolved)
}

/// The index of all that was found.
async fn of_list(asked: &ManifestRequest<'_>, subject: &Digest, resolved: &Lookup) -> Response<Body> {
    let links = &resolved.links;
    let printed = links.printed.once(|| oci11::print_whole(links));
    remember(asked.resolver(), asked.repository, subject, printed).await;
    answer(asked, printed, resolved)
}

fn answer(asked: &ManifestRequest<'_>, (body, digest): &(Bytes, Digest), resolved: &Lookup) -> Response<Body> {
    let answer = LocalResponse::manifest(oci11::CONTENT_TYPE, digest, body.clone()).made_of(resolved);
    answer.respond(&asked.context.head)
}

/// Whether only cosign's own tags say so. Who knows them asks for them; and `cosign copy` would take the list for one that
/// somebody has copied before, and stop.
fn is_cosigns_own(referrer: &Referrer) -> bool {
    referrer.sources.iter().eq([&LinkSource::CosignTag])
}

fn as_manifest(digest: Digest, bytes: Bytes) -> RawManifest {
    RawManifest {
        digest,
        media_type: oci11::CONTENT_TYPE.to_owned(),
        bytes,
    }
}

/// Whether the caller wants what the registry has, and nothing else.
pub(super) fn wants_stored(asked: &ManifestRequest<'_>) -> bool {
    asked.context.head.headers.contains_key(STORED_ONLY)
}

/// Whether the reference is a referrers tag, so that links may stand for it where the registry has none.
pub(super) fn is_referrers_tag(reference: &Reference) -> bool {
    subject_of(reference).is_some()
}

/// The subject of a referrers tag; `None` where the tag is cut and the digest cannot be told from it.
pub(super) fn subject_of(reference: &Reference) -> Option<Digest> {
    let Reference::Tag(tag) = reference else { return None };
    let link = tag_scheme::parse(tag.as_str())?;
    if link.kind != LinkTagKind::Referrers {
        return None;
    }
    Digest::parse(&tag.as_str().replacen('-', ":", 1)).ok()
}
