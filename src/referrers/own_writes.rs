//! Tags that refshim itself wrote a while ago. They lie over every listing, because a registry's may lag behind what it
//! acknowledged: until one that began later shows them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::cache::{Cache, Cached, Clock, Key, RepositoryKey, from_json, to_json};
use crate::oci::{SubjectKey, tag_scheme};

/// No registry's listing lags longer.
const REMEMBERED_FOR: Duration = Duration::from_secs(10 * 60);
/// Tags remembered of all repositories; beyond, the oldest go.
const REMEMBERED: usize = 100_000;
/// Tags that replicas share of one subject, and of all ordinary tags of a repository; beyond, the oldest go.
const SHARED: usize = 1000;

/// One tag, and what refshim did with it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WrittenTag {
    pub name: Arc<str>,
    /// Time since 1970.
    pub at: Duration,
    /// Whether it was deleted, or found to be gone.
    gone: bool,
    /// The manifest that it was written for; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Arc<str>>,
}

/// What replicas tell each other of one subject's tags, or of a repository's ordinary ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SharedTags(Vec<WrittenTag>);

impl Cached for SharedTags {
    fn weight(&self) -> usize {
        let tags = self.0.iter();
        tags.map(|tag| size_of::<WrittenTag>() + tag.name.len()).sum()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }

    /// Of each tag what was done last.
    fn join(&self, other: &Self) -> Option<Self> {
        let mut newest: BTreeMap<&str, &WrittenTag> = BTreeMap::new();
        for tag in self.0.iter().chain(&other.0) {
            let known = newest.entry(&tag.name).or_insert(tag);
            if known.at < tag.at {
                *known = tag;
            }
        }
        let mut tags: Vec<WrittenTag> = newest.into_values().cloned().collect();
        tags.sort_unstable_by_key(|tag| std::cmp::Reverse(tag.at));
        tags.truncate(SHARED);
        Some(Self(tags))
    }
}

type WrittenTags = BTreeMap<Arc<str>, WrittenTag>;

/// This process' own.
#[derive(Default)]
struct Remembered {
    tags: HashMap<RepositoryKey, WrittenTags>,
    /// Oldest first; what was written again since is passed over.
    order: VecDeque<(Duration, RepositoryKey, Arc<str>)>,
}

/// What was written, by this process and by those that share its cache.
#[derive(Default)]
pub(super) struct OwnWrites {
    remembered: Lock<Remembered>,
    /// Read-modify-write of what replicas share.
    sharing: Mutex<()>,
    clock: Clock,
}

impl OwnWrites {
    /// The tag was written; back when other replicas can know it.
    pub async fn written(&self, cache: &Cache, repository_key: &RepositoryKey, name: &str, digest: Option<&str>) {
        self.note(cache, repository_key, name, false, digest).await;
    }

    /// The tag was deleted, or needs to be remembered no longer.
    pub async fn gone(&self, cache: &Cache, repository_key: &RepositoryKey, name: &str) {
        self.note(cache, repository_key, name, true, None).await;
    }

    /// A manifest was deleted: many registries delete the tags with what they name, and a listing tells where one does not.
    pub async fn gone_with(&self, cache: &Cache, repository_key: &RepositoryKey, digest: &str) {
        let tags = self.all(cache, repository_key).await.into_iter();
        for tag in tags.filter(|tag| tag.digest.as_deref() == Some(digest)) {
            self.gone(cache, repository_key, &tag.name).await;
        }
    }

    /// A listing shows it: this process needs to remember it no longer.
    pub fn shown(&self, repository_key: &RepositoryKey, tag: &WrittenTag) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tags) = remembered.tags.get_mut(repository_key) {
            if tags.get(&tag.name).is_some_and(|known| known.at == tag.at) {
                tags.remove(&tag.name);
            }
            if tags.is_empty() {
                remembered.tags.remove(repository_key);
            }
        }
    }

    async fn note(&self, cache: &Cache, repository_key: &RepositoryKey, name: &str, gone: bool, digest: Option<&str>) {
        let mut tag = WrittenTag {
            name: name.into(),
            at: self.clock.now(),
            gone,
            digest: digest.map(Arc::from),
        };
        self.remember(repository_key, &tag);
        if !cache.outlives_process() {
            return;
        }
        let key = Key::written(repository_key, shard(name));
        let _sharing = self.sharing.lock().await;
        let known = cache.get::<SharedTags>(&key).await.map(|found| found.value);
        let before = known
            .iter()
            .flat_map(|known| &known.0)
            .find(|known| known.name == tag.name);
        if let Some(before) = before.filter(|before| before.at >= tag.at) {
            // A clock was set back since: what is done now is done last.
            tag.at = before.at + Duration::from_nanos(1);
            self.remember(repository_key, &tag);
        }
        let news = SharedTags(vec![tag]);
        let joined = known.and_then(|known| known.join(&news)).unwrap_or(news);
        cache.put_through(key, Arc::new(joined)).await;
    }

    fn remember(&self, repository_key: &RepositoryKey, tag: &WrittenTag) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let tags = remembered.tags.entry(repository_key.clone()).or_default();
        tags.insert(tag.name.clone(), tag.clone());
        remembered
            .order
            .push_back((tag.at, repository_key.clone(), tag.name.clone()));
        remembered.shorten(tag.at);
    }

    /// The tags of `subject` and the ordinary ones that were written in the last ten minutes and are there for all that refshim
    /// knows.
    pub async fn of(&self, cache: &Cache, repository_key: &RepositoryKey, subject: &SubjectKey) -> Vec<WrittenTag> {
        let concerns = |name: &str| name.starts_with(subject.as_str()) || tag_scheme::parse(name).is_none();
        let mut all = SharedTags(self.own(repository_key, concerns));
        if cache.outlives_process() {
            for shard in [subject.as_str(), ""] {
                let shared = cache.get::<SharedTags>(&Key::written(repository_key, shard)).await;
                if let Some(joined) = shared.and_then(|shared| all.join(&shared.value)) {
                    all = joined;
                }
            }
        }
        self.current(all)
    }

    /// Whether it is remembered of each of these tags what was done with it last.
    pub async fn knows_all(&self, cache: &Cache, repository_key: &RepositoryKey, mut names: Vec<Arc<str>>) -> bool {
        let oldest = self.clock.now().saturating_sub(REMEMBERED_FOR);
        let forget_known = |names: &mut Vec<Arc<str>>, tags: &[WrittenTag]| {
            names.retain(|name| !tags.iter().any(|tag| tag.name == *name && tag.at > oldest));
        };
        let own = self.own(repository_key, |name| names.iter().any(|other| **other == *name));
        forget_known(&mut names, &own);
        while let Some(name) = names.first().filter(|_| cache.outlives_process()) {
            let key = Key::written(repository_key, shard(name));
            let (shared, before) = (cache.get::<SharedTags>(&key).await, names.len());
            let shared = shared.map_or_else(Default::default, |shared| shared.value);
            forget_known(&mut names, &shared.0);
            if names.len() == before {
                return false;
            }
        }
        names.is_empty()
    }

    /// Whether a tag is remembered as deleted since `since`, as time since 1970.
    pub fn is_gone_since(&self, repository_key: &RepositoryKey, tag: &str, since: Duration) -> bool {
        let own = self.own(repository_key, |name| name == tag);
        own.iter().any(|tag| tag.gone && tag.at >= since)
    }

    /// Whether a tag is remembered as deleted.
    pub fn is_gone(&self, repository_key: &RepositoryKey, tag: &str) -> bool {
        self.own(repository_key, |name| name == tag).iter().any(|tag| tag.gone)
    }

    /// All tags that this process wrote, and the ordinary ones of all that share its cache.
    pub async fn all(&self, cache: &Cache, repository_key: &RepositoryKey) -> Vec<WrittenTag> {
        let mut all = SharedTags(self.own(repository_key, |_| true));
        if cache.outlives_process() {
            let shared = cache.get::<SharedTags>(&Key::written(repository_key, "")).await;
            if let Some(joined) = shared.and_then(|shared| all.join(&shared.value)) {
                all = joined;
            }
        }
        self.current(all)
    }

    fn own(&self, repository_key: &RepositoryKey, concerns: impl Fn(&str) -> bool) -> Vec<WrittenTag> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let tags = remembered
            .tags
            .get(repository_key)
            .into_iter()
            .flat_map(BTreeMap::values);
        tags.filter(|tag| concerns(&tag.name)).cloned().collect()
    }

    fn current(&self, tags: SharedTags) -> Vec<WrittenTag> {
        let now = self.clock.now();
        let is_current = |tag: &WrittenTag| !tag.gone && now.saturating_sub(tag.at) < REMEMBERED_FOR;
        tags.0.into_iter().filter(is_current).collect()
    }
}

impl Remembered {
    fn shorten(&mut self, now: Duration) {
        while let Some((at, repository_key, name)) = self.order.front() {
            if self.order.len() <= REMEMBERED && now.saturating_sub(*at) < REMEMBERED_FOR {
                return;
            }
            if let Some(tags) = self.tags.get_mut(repository_key) {
                if tags.get(name).is_some_and(|tag| tag.at == *at) {
                    tags.remove(name);
                }
                if tags.is_empty() {
                    self.tags.remove(repository_key);
                }
            }
            self.order.pop_front();
        }
    }
}

/// What the tag's name says that it links to; empty for ordinary tags.
fn shard(name: &str) -> String {
    tag_scheme::parse(name).map_or_else(String::new, |link| link.subject.to_string())
}

#[cfg(test)]
mod tests;
