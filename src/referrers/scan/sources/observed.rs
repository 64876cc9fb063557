//! Links learned, at no extra request, from manifests that pass through.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Mutex;

use self::links::{ObservedLinks, milliseconds, with, without};
use crate::cache::{Cache, Key, RepositoryKey};
use crate::oci::{Digest, LinkTarget, Manifest};
use crate::referrers::error::ResolveError;
use crate::referrers::manifest_store::FoundOrSkipped;
use crate::referrers::scan::candidates::Candidates;
use crate::referrers::scan::held_links::{HeldLink, SubjectLink};
use crate::referrers::scan::{PARALLEL, context::Scan};
use crate::registry::RawManifest;

mod links;

/// Links learned from one manifest: a few kilobytes could make many thousands, of which each is looked up.
const PER_MANIFEST: usize = 1024;
/// Where something was written since the registry was asked, what was learned so shortly before that is not forgotten: it may have been
/// pushed again. Clocks of replicas differ, and a manifest that was parsed a moment ago is not parsed again.
pub(in crate::referrers) const LATELY: Duration = Duration::from_secs(15);

/// What was learned, by subject.
#[derive(Default)]
pub(in crate::referrers) struct ObservedLinkStore {
    /// Read-modify-write of one subject's links.
    writing: Mutex<()>,
}

impl ObservedLinkStore {
    /// Remembers every link that the manifest states. Returns the subjects of which something new was learned.
    pub async fn learn(
        &self,
        cache: &Cache,
        repository_key: &RepositoryKey,
        raw: &RawManifest,
        manifest: &Manifest,
    ) -> Vec<Digest> {
        let mut news = Vec::new();
        for (subject, links) in by_subject(raw, manifest) {
            let key = Key::observed(repository_key, &subject);
            let _writing = self.writing.lock().await;
            let known = cache.get::<ObservedLinks>(&key).await.map(|found| found.value);
            let known = known.unwrap_or_default();
            let merged = with(&known, links, milliseconds(cache.now()));
            if merged.there().count() > known.there().count() {
                news.push(subject);
            }
            cache.put(key, Arc::new(merged)).await;
        }
        news
    }

    /// Forgets what manifests say that were not there any more `age` ago. What was learned since then stays.
    pub async fn forget(
        &self,
        cache: &Cache,
        repository_key: &RepositoryKey,
        subject: &Digest,
        (gone, age): (&HashSet<Digest>, Duration),
    ) {
        let asked = milliseconds(cache.now().saturating_sub(age));
        let key = Key::observed(repository_key, subject);
        let _writing = self.writing.lock().await;
        let known = cache.get::<ObservedLinks>(&key).await.map(|found| found.value);
        if let Some(left) = known.and_then(|known| without(&known, gone, asked)) {
            cache.put(key, Arc::new(left)).await;
        }
    }
}

fn by_subject(raw: &RawManifest, manifest: &Manifest) -> BTreeMap<Digest, Vec<HeldLink>> {
    let mut links: BTreeMap<Digest, Vec<HeldLink>> = BTreeMap::new();
    for stated in SubjectLink::stated_by(manifest, &raw.digest).take(PER_MANIFEST) {
        links.entry(stated.subject).or_default().push(stated.link);
    }
    links
}

/// The candidates for the scan's subject among what was learned. They are hints: nothing says that they still exist, so
/// whoever holds such a link is asked for again at every refresh. Holders that are gone go into the second.
pub(in crate::referrers) async fn find(scan: &Scan) -> Result<(Candidates, HashSet<Digest>), ResolveError> {
    let key = Key::observed(&scan.context.repository_key, &scan.subject);
    let mut found = Candidates::default();
    let Some(observed) = scan.stores.manifests.cache.get::<ObservedLinks>(&key).await else {
        return Ok((found, HashSet::new()));
    };
    let there = observed.value.there().map(|known| &known.link);
    let links: Vec<&HeldLink> = there.filter(|link| scan.reads(link.source)).collect();
    // What is its own holder is read with all candidates.
    let others = links.iter().filter(|link| !matches!(link.target, LinkTarget::This));
    let holders: HashSet<Digest> = others.map(|link| link.holder.clone()).collect();
    let asked: HashMap<Digest, HolderState> = stream::iter(holders)
        .map(|holder| ask(scan, holder))
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    for link in links {
        let is_its_own = matches!(link.target, LinkTarget::This);
        if is_its_own || asked.get(&link.holder) == Some(&HolderState::There) {
            link.add_to(&mut found, false);
        }
    }
    let gone = asked.into_iter().filter(|(_, holder)| *holder == HolderState::Gone);
    let gone = gone.map(|(digest, _)| digest).inspect(|digest| scan.lacks(digest));
    // One that is missing only for a moment is not forgotten.
    let gone = gone.filter(|digest| !scan.may_come(scan.manifest_missing_for(digest)));
    Ok((found, gone.collect()))
}

/// Whether something passed through that refers to this manifest.
pub(in crate::referrers) async fn knows_of(scan: &Scan, digest: &Digest) -> bool {
    let key = Key::observed(&scan.context.repository_key, digest);
    let observed = scan.stores.manifests.cache.get::<ObservedLinks>(&key).await;
    observed.is_some_and(|observed| observed.value.there().next().is_some())
}

/// What the upstream says of a manifest that holds links to others.
#[derive(PartialEq)]
enum HolderState {
    There,
    Gone,
    /// Its bytes are not what was learned from.
    Broken,
}

async fn ask(scan: &Scan, holder: Digest) -> Result<(Digest, HolderState), ResolveError> {
    let recheck = scan.stores.fresh_for.max(scan.since);
    let manifests = &scan.stores.manifests;
    let read = manifests.still_there(&scan.context, &holder, recheck).await;
    let state = match manifests.found_or_skipped(read, holder.as_str())? {
        FoundOrSkipped::Found(_) => HolderState::There,
        FoundOrSkipped::Absent => HolderState::Gone,
        FoundOrSkipped::Skipped => HolderState::Broken,
    };
    Ok((holder, state))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::cache::Cached as _;

    #[test]
    fn one_manifest_teaches_only_so_much_and_weighs_what_it_holds() {
        let entry = |n: usize| {
            serde_json::json!({"digest": Digest::sha256(&n.to_be_bytes()), "mediaType": "x/y", "size": 1,
                "annotations": {"org.opencontainers.reference": Digest::sha256(b"s"), "x": "y".repeat(100)}})
        };
        let entries: Vec<_> = (0..PER_MANIFEST + 1).map(entry).collect();
        let bytes: Bytes = serde_json::json!({ "manifests": entries }).to_string().into();
        let media_type = crate::oci::media_type::OCI_IMAGE_INDEX;
        let manifest = Manifest::parse(&bytes, media_type).unwrap();
        let raw = RawManifest {
            digest: Digest::sha256(&bytes),
            media_type: media_type.to_owned(),
            bytes,
        };
        let links = by_subject(&raw, &manifest).remove(&Digest::sha256(b"s")).unwrap();
        assert_eq!(links.len(), PER_MANIFEST);
        let learned = with(&ObservedLinks::default(), links, 1);
        assert!(learned.weight() > PER_MANIFEST * 200);
    }
}
