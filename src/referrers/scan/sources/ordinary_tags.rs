//! Links behind ordinary tags: annotations in indexes, `subject`, `reference`, BuildKit attestations.
//!
//! Read once per repository and refresh, for all its subjects. A tag name not seen before is read, a known one is asked
//! again only every `deep_refresh`, or where an answer would rest on what may have changed since: see [`find`].

use std::sync::Arc;

use futures_util::{FutureExt as _, future};

use crate::cache::{Ends, Key};
use crate::registry::{Fingerprint, UpstreamError};

use self::collect::{Collected, read_tags, read_unlisted};
use self::links::{OrdinaryTagCandidates, OrdinaryTagLinks, OrdinaryTagResult, ReferredTo, scope_of};
use super::tags_with_links;
use crate::referrers::basis;
use crate::referrers::error::ResolveError;
use crate::referrers::scan::candidates::Candidates;
use crate::referrers::scan::context::Scan;
use crate::referrers::tag_listings::AgedTagNames;

mod collect;
pub(in crate::referrers) mod links;
pub(in crate::referrers) mod one_tag;

/// The candidates for the scan's subject behind ordinary tags. Where no known manifest mentions the subject, tags are asked
/// again that were asked longer than `fresh_for` ago: one may have been moved to what does.
pub(in crate::referrers) async fn find(
    scan: &Scan,
    listing: &AgedTagNames,
) -> Result<OrdinaryTagCandidates, ResolveError> {
    let Some((mut links, mut age)) = all(scan, listing, false).await? else {
        return tags_with_links::find(scan, Some(listing)).await;
    };
    if links.may_lack(&scan.subject) && links.oldest_tag + age > scan.stores.fresh_for {
        match all(scan, listing, true).await? {
            Some(again) => (links, age) = again,
            None => return tags_with_links::find(scan, Some(listing)).await,
        }
    }
    if links.may_lack(&scan.subject) {
        age += links.oldest_tag;
    }
    if links.is_unsettled {
        scan.unsettle();
    }
    if links.is_withheld {
        scan.withhold();
    }
    if let Some(missing) = links.missing {
        scan.lacks(&u128::from_be_bytes(missing));
    }
    let mut candidates = Candidates::default();
    for link in links.links.get(&scan.subject).into_iter().flatten() {
        link.add_to(&mut candidates, true);
    }
    Ok(OrdinaryTagCandidates {
        candidates,
        referred_to: ReferredTo::All(links),
        age,
        is_whole: true,
    })
}

async fn all(scan: &Scan, listing: &AgedTagNames, again: bool) -> OrdinaryTagResult {
    let (shared, own) = keys(scan, listing);
    for key in [shared, own] {
        if let Some(found) = scan.stores.manifests.cache.get::<OrdinaryTagLinks>(&key).await
            && found.within(scan.stores.fresh_for)
            && !(again && found.value.oldest_tag + found.age > scan.stores.fresh_for)
        {
            return Ok(Some((found.value, found.age)));
        }
    }
    let context = &scan.context;
    let flight = (
        context.repository_key.clone(),
        context.epoch.clone(),
        listing.fingerprint,
        again,
    );
    let begin = || {
        let (leader, reading) = (scan.clone(), read_all(scan.clone(), listing.clone(), again));
        Ok(async move { (reading.await, leader.may_read()) })
    };
    let upstream = &*scan.stores.manifests.upstream;
    let asked = (flight, upstream, context, Ends::WithLastWaiter);
    let is_told_no_more = |_| future::ready(Ok(true)).boxed();
    match scan
        .stores
        .ordinary_tag_work
        .share(asked, begin, scope_of, is_told_no_more)
        .await?
    {
        Some((found, _)) => found,
        None => Box::pin(read_all(scan.clone(), listing.clone(), again)).await,
    }
}

/// What is found behind the tags of this listing by whoever is given all of it, and by this caller where it is not.
fn keys(scan: &Scan, listing: &AgedTagNames) -> (Key, Key) {
    let key = |read: Fingerprint| {
        let read = format!("{:032x}", u128::from_be_bytes(read));
        Key::ordinary_tags(&scan.context.repository_key, &scan.context.epoch, read)
    };
    let credential = scan.context.caller.credential_hash();
    let own = basis::given_of(listing.fingerprint, Some(credential));
    (key(listing.fingerprint), key(own))
}

/// Reads behind the tags that are listed.
async fn read_all(scan: Scan, listing: AgedTagNames, again: bool) -> OrdinaryTagResult {
    let (mut collected, age) = (Collected::default(), listing.age);
    let read = read_tags(&scan, &listing.names, again, &mut collected).await;
    if scan.counts_pulls() == Some(true) {
        match read {
            // Also where the limit is reached already.
            Ok(()) | Err(ResolveError::Upstream(UpstreamError::Limited { .. })) => {}
            Err(error) => return Err(error),
        }
        collected.linked.remember_more(&scan).await;
        return Ok(None);
    }
    read?;
    read_unlisted(&scan, &listing.names, &mut collected).await?;
    collected.linked.remember(&scan, &collected.unread).await;
    let ordinary_tags = Arc::new(OrdinaryTagLinks {
        missing: collected.unavailable.fingerprint(),
        ..collected.ordinary_tags
    });
    if !ordinary_tags.is_unsettled && !ordinary_tags.is_withheld && scan.may_read() {
        let (shared, own) = keys(&scan, &listing);
        let key = if ordinary_tags.missing.is_some() { own } else { shared };
        let cache = &scan.stores.manifests.cache;
        cache.put_aged(key, ordinary_tags.clone(), age).await;
    }
    Ok(Some((ordinary_tags, age)))
}
