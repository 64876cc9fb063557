//! One manifest and the tree of what refers to it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Response;

use super::html::html;
use crate::http::body::Body;
use crate::oci::media_type::ManifestKind;
use crate::oci::{Digest, Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::handlers::subject_lookup;
use crate::proxy::respond::LocalResponse;
use crate::referrers::AnsweredFrom;
use crate::registry::Caller;
use crate::ui::{Address, Details, ReferrerTree};

/// Levels of referrers of referrers.
const LEVELS: usize = 5;
/// Manifests of which it is asked what refers to them.
const MANIFESTS: usize = 100;
/// Of them, at once.
const AT_ONCE: usize = 8;

pub(super) async fn show_details(
    context: &RequestContext<'_>,
    address: &Address,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ProxyError> {
    let caller = context.caller();
    let raw = subject_lookup::manifest(context, repository, reference, &caller).await?;
    let manifest = raw.parse().ok();
    let listed = manifest.iter().flat_map(|manifest| &manifest.manifests);
    let listed = listed.filter(|one| ManifestKind::of(&one.media_type).is_some());
    let mut tops = vec![raw.digest.clone()];
    tops.extend(listed.map(|one| one.digest.clone()));
    let below = walk(context, repository, tops, &caller).await?;
    let page = Details {
        address,
        repository,
        reference,
        digest: &raw.digest,
        media_type: &raw.media_type,
        size: raw.bytes.len() as u64,
        manifest: manifest.as_ref(),
        below: &below,
    };
    Ok(html(page.print(), &context.head))
}

/// What refers to `tops`, what refers to that, and so on, level by level.
async fn walk(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    tops: Vec<Digest>,
    caller: &Caller,
) -> Result<BTreeMap<Digest, ReferrerTree>, ProxyError> {
    let mut known: BTreeMap<Digest, ReferrerTree> = BTreeMap::new();
    let mut level: BTreeSet<Digest> = BTreeSet::new();
    let mut next = tops;
    for _ in 0..LEVELS {
        level.clear();
        let room = MANIFESTS - known.len();
        level.extend(next.drain(..).filter(|digest| !known.contains_key(digest)).take(room));
        let asked = stream::iter(level.iter().cloned()).map(|digest| ask(context, repository, digest, caller));
        let answers: Vec<(Digest, ReferrerTree)> = asked.buffered(AT_ONCE).try_collect().await?;
        for (_, below) in &answers {
            if let ReferrerTree::Links { links, .. } = below {
                next.extend(
                    links
                        .referrers
                        .iter()
                        .map(|referrer| referrer.descriptor.digest.clone()),
                );
            }
        }
        known.extend(answers);
        if next.is_empty() {
            break;
        }
    }
    Ok(known)
}

/// A refusal is about the whole page; anything else fails this manifest alone.
async fn ask(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: Digest,
    caller: &Caller,
) -> Result<(Digest, ReferrerTree), ProxyError> {
    let resolved = context.backend.resolver.resolve(repository, &digest, caller).await;
    let below = match resolved.map_err(ProxyError::from) {
        Ok(resolved) => ReferrerTree::Links {
            links: resolved.links,
            stale: resolved.age.filter(|_| resolved.from == AnsweredFrom::Stale),
        },
        Err(refused @ ProxyError::Refused(_)) => return Err(refused),
        Err(failure) => ReferrerTree::Unknown(failure.to_string()),
    };
    Ok((digest, below))
}

/// A manifest's bytes, as a file.
pub(super) async fn show_manifest(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: Digest,
) -> Result<Response<Body>, ProxyError> {
    let reference = Reference::Digest(digest);
    let raw = subject_lookup::manifest(context, repository, &reference, &context.caller()).await?;
    let file = LocalResponse::new("application/json", raw.bytes.clone());
    let file = file.header("content-disposition", "attachment; filename=\"manifest.json\"");
    Ok(file.respond(&context.head))
}
