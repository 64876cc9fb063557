//! Links learned, at no extra request, from manifests that pass through.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

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
/// For so long it is remembered of a link that it is gone: other processes that still know it are told.
const GONE_FOR: Duration = Duration::from_secs(60 * 60);
/// Where something was written since the registry was asked, what was learned so shortly before that is not forgotten: it may have been
/// pushed again. Clocks of replicas differ, and a manifest that was parsed a moment ago is not parsed again.
pub(in crate::referrers) const LATELY: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ObservedLink {
    target: LinkTarget,
    holder: Digest,
    #[serde(rename = "dialect")]
    source: LinkSource,
    /// When it was learned last, or was not there any more: milliseconds since 1970.
    #[serde(default)]
    at: u64,
    /// Its holder was not there any more. It is kept so that no other process brings it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

impl ObservedLink {
    fn is_same(&self, other: &Self) -> bool {
        self.holder == other.holder && self.source == other.source && self.target == other.target
    }

    /// Whether it says something later than `other`; at the same time, that it is there.
    fn is_newer(&self, other: &Self) -> bool {
        (self.at, !self.gone) > (other.at, !other.gone)
    }
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
        Some(newest(self.0.iter().chain(&other.0).cloned()))
    }
}

impl ObservedLinks {
    fn there(&self) -> impl Iterator<Item = &ObservedLink> {
        self.0.iter().filter(|link| !link.gone)
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

fn by_subject(raw: &RawManifest, manifest: &Manifest) -> BTreeMap<Digest, Vec<ObservedLink>> {
    let mut links: BTreeMap<Digest, Vec<ObservedLink>> = BTreeMap::new();
    for link in manifest.links(&raw.digest).into_iter().take(PER_MANIFEST) {
        links.entry(link.subject).or_default().push(ObservedLink {
            target: link.target,
            holder: raw.digest.clone(),
            source: link.source,
            at: 0,
            gone: false,
        });
    }
    links
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Of each link what was learned last. Those that are there come first.
fn newest(links: impl IntoIterator<Item = ObservedLink>) -> ObservedLinks {
    let mut kept: Vec<ObservedLink> = Vec::new();
    let mut places: HashMap<Digest, Vec<usize>> = HashMap::new();
    for link in links {
        let of_holder = places.entry(link.holder.clone()).or_default();
        match of_holder.iter().find(|place| kept[**place].is_same(&link)) {
            Some(&place) if link.is_newer(&kept[place]) => kept[place] = link,
            Some(_) => {}
            None => {
                of_holder.push(kept.len());
                kept.push(link);
            }
        }
    }
    let last = kept.iter().map(|link| link.at).max().unwrap_or_default();
    let gone_since = last.saturating_sub(milliseconds(GONE_FOR));
    kept.retain(|link| !link.gone || link.at > gone_since);
    kept.sort_by_key(|link| link.gone);
    kept.truncate(PER_SUBJECT);
    ObservedLinks(kept)
}

/// What is known with `links`, learned at the time `now`, whatever was gone before by another process' clock.
fn with(known: &ObservedLinks, links: Vec<ObservedLink>, now: u64) -> ObservedLinks {
    let gone = |link: &ObservedLink| {
        known
            .0
            .iter()
            .find(|known| known.gone && known.is_same(link))
            .map(|gone| gone.at)
    };
    let links: Vec<ObservedLink> = links
        .into_iter()
        .map(|link| ObservedLink {
            at: gone(&link).map_or(now, |gone| now.max(gone + 1)),
            ..link
        })
        .collect();
    newest(known.0.iter().cloned().chain(links))
}

/// What is known without what `gone` held at the time `asked`; `None` where that is the same.
fn without(known: &ObservedLinks, gone: &HashSet<Digest>, asked: u64) -> Option<ObservedLinks> {
    let is_gone = |link: &ObservedLink| !link.gone && link.at <= asked && gone.contains(&link.holder);
    known.0.iter().any(is_gone).then(|| {
        newest(known.0.iter().map(|link| match is_gone(link) {
            true => ObservedLink {
                at: asked,
                gone: true,
                ..link.clone()
            },
            false => link.clone(),
        }))
    })
}

/// The candidates for the scan's subject among what was learned. They are hints: nothing says that they still exist, so
/// whoever holds such a link is asked for again at every refresh. Holders that are gone go into the second.
pub(in crate::referrers) async fn find(scan: &Scan) -> Result<(Candidates, HashSet<Digest>), ResolveError> {
    let key = Key::observed(&scan.context.repository_key, &scan.subject);
    let mut found = Candidates::default();
    let Some(observed) = scan.manifests.cache.get::<ObservedLinks>(&key).await else {
        return Ok((found, HashSet::new()));
    };
    let links: Vec<&ObservedLink> = observed.value.there().filter(|link| scan.reads(link.source)).collect();
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
            at: 0,
            gone: false,
        }
    }

    fn learned(known: &ObservedLinks, names: &[&str], now: u64) -> ObservedLinks {
        with(known, names.iter().map(|name| link(name)).collect(), now)
    }

    fn gone(names: &[&str]) -> HashSet<Digest> {
        names.iter().map(|name| link(name).holder).collect()
    }

    fn there(known: &ObservedLinks) -> Vec<Digest> {
        known.there().map(|link| link.holder.clone()).collect()
    }

    fn holders(names: &[&str]) -> Vec<Digest> {
        names.iter().map(|name| link(name).holder).collect()
    }

    #[test]
    fn only_so_much_is_learned_and_nothing_twice() {
        let known = learned(&ObservedLinks::default(), &["a", "b"], 1);
        let more = learned(&known, &["b", "c"], 2);
        assert_eq!(there(&more), holders(&["a", "b", "c"]));
        let many = (0..PER_SUBJECT + 1).map(|n| link(&n.to_string())).collect();
        assert_eq!(with(&known, many, 3).0.len(), PER_SUBJECT);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_nothing_else() {
        let known = learned(&ObservedLinks::default(), &["a", "b"], 1);
        assert_eq!(there(&without(&known, &gone(&["a"]), 2).unwrap()), holders(&["b"]));
        assert!(without(&known, &gone(&["c"]), 2).is_none());
    }

    /// Another process still knows it, and puts what it knows with what it learns.
    #[test]
    fn what_is_gone_does_not_come_back_from_elsewhere() {
        let elsewhere = learned(&ObservedLinks::default(), &["a", "b"], 1);
        let here = without(&elsewhere, &gone(&["a"]), 2).unwrap();
        let elsewhere = learned(&elsewhere, &["c"], 3);
        for joined in [here.join(&elsewhere), elsewhere.join(&here)] {
            let mut joined = there(&joined.unwrap());
            joined.sort_unstable();
            let mut expected = holders(&["b", "c"]);
            expected.sort_unstable();
            assert_eq!(joined, expected);
        }
    }

    #[test]
    fn what_is_learned_after_the_registry_was_asked_stays() {
        let known = learned(&ObservedLinks::default(), &["a"], 1);
        let pushed_again = learned(&known, &["a"], 3);
        assert!(without(&pushed_again, &gone(&["a"]), 2).is_none());
        // By a clock that is behind, too.
        let forgotten = without(&known, &gone(&["a"]), 5).unwrap();
        let pushed_again = learned(&forgotten, &["a"], 4);
        assert_eq!(there(&forgotten.join(&pushed_again).unwrap()), holders(&["a"]));
    }

    #[test]
    fn that_something_is_gone_is_remembered_for_an_hour() {
        let known = learned(&ObservedLinks::default(), &["a", "b"], 1);
        let forgotten = without(&known, &gone(&["a"]), 2).unwrap();
        assert_eq!(forgotten.0.len(), 2);
        let later = 3 + milliseconds(GONE_FOR);
        assert_eq!(learned(&forgotten, &["c"], later).0.len(), 2);
    }

    #[test]
    fn what_older_versions_wrote_is_read() {
        let old = serde_json::json!([{"target": LinkTarget::This, "holder": link("a").holder, "dialect": LinkSource::Subject}]);
        let read = ObservedLinks::decode("", old.to_string().into()).unwrap();
        assert_eq!(there(&read), holders(&["a"]));
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
