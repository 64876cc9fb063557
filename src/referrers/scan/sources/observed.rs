//! Links learned, at no extra request, from manifests that pass through.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::cache::{Cache, Cached, Key, RepositoryKey, from_json, to_json};
use crate::oci::weight::{allocated, shared_text};
use crate::oci::{Descriptor, Digest, LinkSource, LinkTarget, Manifest};
use crate::registry::{Answer, RawManifest};

use crate::referrers::error::ResolveError;
use crate::referrers::scan::candidates::{CandidateContent, Candidates};
use crate::referrers::scan::run::{PARALLEL, Scan};

/// Links remembered per subject; what lies beyond is still found by tag.
const PER_SUBJECT: usize = 4096;
/// Links learned from one manifest: a few kilobytes could make many thousands, of which each is looked up.
const PER_MANIFEST: usize = 1024;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ObservedLink {
    target: LinkTarget,
    holder: Digest,
    #[serde(rename = "dialect")]
    source: LinkSource,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::referrers) struct ObservedLinks(Vec<ObservedLink>);

impl Cached for ObservedLinks {
    fn weight(&self) -> usize {
        // Holders are shared with nobody once they were read from elsewhere.
        let held = |link: &ObservedLink| link.target.held() + shared_text(link.holder.as_str());
        allocated(self.0.len() * size_of::<ObservedLink>()) + self.0.iter().map(held).sum::<usize>()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }

    /// What was learned elsewhere is worth as much.
    fn join(&self, other: &Self) -> Option<Self> {
        let news = other.0.iter().filter(|link| !self.0.contains(link));
        Some(Self(self.0.iter().chain(news).take(PER_SUBJECT).cloned().collect()))
    }
}

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
            if let Some(merged) = with(known, links) {
                cache.put(key, Arc::new(merged)).await;
                news.push(subject);
            }
        }
        news
    }

    /// Forgets what manifests say that are not there any more.
    pub async fn forget(
        &self,
        cache: &Cache,
        repository_key: &RepositoryKey,
        subject: &Digest,
        gone: &HashSet<Digest>,
    ) {
        let key = Key::observed(repository_key, subject);
        let _writing = self.writing.lock().await;
        let known = cache.get::<ObservedLinks>(&key).await.map(|found| found.value);
        if let Some(left) = known.and_then(|known| without(&known, gone)) {
            cache.put(key, Arc::new(left)).await;
        }
    }
}

fn by_subject(raw: &RawManifest, manifest: &Manifest) -> BTreeMap<Digest, Vec<ObservedLink>> {
    let mut links: BTreeMap<Digest, Vec<ObservedLink>> = BTreeMap::new();
    for link in manifest.links(&raw.digest).into_iter().take(PER_MANIFEST) {
        links.entry(link.subject).or_default().push(ObservedLink {
            target: link.target,
            holder: raw.digest.clone(),
            source: link.source,
        });
    }
    links
}

/// What is known with what is new in `links`; `None` where nothing is.
fn with(known: Option<Arc<ObservedLinks>>, links: Vec<ObservedLink>) -> Option<ObservedLinks> {
    let known = known.unwrap_or_default();
    let room = PER_SUBJECT.saturating_sub(known.0.len());
    let news = links.into_iter().filter(|link| !known.0.contains(link));
    let news: Vec<ObservedLink> = news.take(room).collect();
    (!news.is_empty()).then(|| ObservedLinks(known.0.iter().cloned().chain(news).collect()))
}

/// What is known without what `gone` held; `None` where that is the same.
fn without(known: &ObservedLinks, gone: &HashSet<Digest>) -> Option<ObservedLinks> {
    let left = known.0.iter().filter(|link| !gone.contains(&link.holder));
    let left: Vec<ObservedLink> = left.cloned().collect();
    (left.len() < known.0.len()).then_some(ObservedLinks(left))
}

/// The candidates for the scan's subject among what was learned. They are hints: nothing says that they still exist, so
/// whoever holds such a link is asked for again at every refresh. Holders that are gone go into the second.
pub(in crate::referrers) async fn find(scan: &Scan) -> Result<(Candidates, HashSet<Digest>), ResolveError> {
    let key = Key::observed(&scan.context.repository_key, &scan.subject);
    let mut found = Candidates::default();
    let Some(observed) = scan.manifests.cache.get::<ObservedLinks>(&key).await else {
        return Ok((found, HashSet::new()));
    };
    let links: Vec<&ObservedLink> = observed.value.0.iter().filter(|link| scan.reads(link.source)).collect();
    // What is its own holder is read with all candidates.
    let others = links.iter().filter(|link| !matches!(link.target, LinkTarget::This));
    let holders: HashSet<Digest> = others.map(|link| link.holder.clone()).collect();
    let asked: HashMap<Digest, HolderState> = stream::iter(holders)
        .map(|holder| ask(scan, holder))
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    for link in links {
        let what = match &link.target {
            LinkTarget::This => CandidateContent::Named(Descriptor::new("", link.holder.clone(), 0)),
            _ if asked.get(&link.holder) != Some(&HolderState::There) => continue,
            LinkTarget::Manifest(listed) => CandidateContent::Named(listed.clone()),
            LinkTarget::Blob(listed) => CandidateContent::Blob(listed.clone()),
        };
        found.add_remembered(what, link.source);
    }
    let gone = asked.into_iter().filter(|(_, holder)| *holder == HolderState::Gone);
    let gone = gone.map(|(digest, _)| digest);
    // One that is missing only for a moment is not forgotten.
    let gone = gone.filter(|digest| !scan.may_come(scan.manifest_missing_for(digest)));
    Ok((found, gone.collect()))
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
    let recheck = scan.fresh_for.max(scan.since);
    let answer = match scan.manifests.still_there(&scan.context, &holder, recheck).await {
        Ok(Answer::Found(_)) => HolderState::There,
        Ok(Answer::Absent) => HolderState::Gone,
        Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
        Err(error) => {
            scan.manifests.skip(error, holder.as_str())?;
            HolderState::Broken
        }
    };
    Ok((holder, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> ObservedLink {
        ObservedLink {
            target: LinkTarget::This,
            holder: Digest::sha256(name.as_bytes()),
            source: LinkSource::Subject,
        }
    }

    #[test]
    fn only_news_is_learned_and_only_so_much() {
        let known = with(None, vec![link("a"), link("b")]).unwrap();
        assert!(with(Some(Arc::new(known.clone())), vec![link("b"), link("a")]).is_none());
        let more = with(Some(Arc::new(known)), vec![link("b"), link("c")]).unwrap();
        assert_eq!(more.0, [link("a"), link("b"), link("c")]);
        let many = (0..PER_SUBJECT + 1).map(|n| link(&n.to_string())).collect();
        assert_eq!(with(None, many).unwrap().0.len(), PER_SUBJECT);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_nothing_else() {
        let known = with(None, vec![link("a"), link("b")]).unwrap();
        let gone = |name: &str| HashSet::from([link(name).holder]);
        assert_eq!(without(&known, &gone("a")).unwrap().0, [link("b")]);
        assert!(without(&known, &gone("c")).is_none());
    }

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
        assert!(ObservedLinks(links).weight() > PER_MANIFEST * 200);
    }
}
