//! What refers to a manifest, what refers to that, and so on.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::details::AT_ONCE;
use crate::oci::{Digest, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::referrers::AnsweredFrom;
use crate::registry::Caller;
use crate::ui::ReferrerTree;

/// Levels of referrers of referrers.
const LEVELS: usize = 5;
/// Manifests of which it is asked what refers to them.
const MANIFESTS: usize = 100;

/// The referrers of `tops`, level by level, of each list as many entries as are shown.
pub(super) async fn walk(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    tops: Vec<Digest>,
    (shown, caller): (usize, &Caller),
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
                let referrers = links.referrers.iter().take(shown);
                next.extend(referrers.map(|referrer| referrer.descriptor.digest.clone()));
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
