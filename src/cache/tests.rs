//! The facade over memory, and over a second tier that a test plays.

mod locks;
mod model;
mod table;

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::shared::StoredValue;
use super::tiers::CLOCK_SKEW;
use super::*;
use table::Table;

impl Cached for String {
    fn weight(&self) -> usize {
        self.len()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        Some(self.clone().into_bytes())
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        Self::from_utf8(bytes.into()).ok()
    }
}

const BOUNDS: Bounds = Bounds {
    manifests: 1 << 20,
    lists: 1 << 20,
};
const SECOND_LOOK: Duration = Duration::from_secs(30);

fn repository_key() -> RepositoryKey {
    RepositoryKey::new("http://u/", "r")
}

fn value(text: &str) -> Arc<String> {
    Arc::new(text.to_owned())
}

fn tag(name: &str) -> [Invalidation; 1] {
    [Invalidation::Tag(name.into())]
}

async fn text(cache: &Cache, key: &Key) -> Option<(String, bool)> {
    let found = cache.get::<String>(key).await?;
    Some((found.value.to_string(), found.verified))
}

/// Two replicas and what they share.
fn replicas() -> (Cache, Cache, Arc<Table>) {
    let table = Arc::new(Table::default());
    let replica = || Cache::new(BOUNDS).with_shared(table.clone(), SECOND_LOOK);
    (replica(), replica(), table)
}

/// Puts, and waits until the others can see it.
async fn put(cache: &Cache, table: &Table, key: &Key, text: &str) {
    cache.put(key.clone(), value(text)).await;
    let arrived = || {
        let values = table.values.lock().unwrap();
        values.get(key.id()).is_some_and(|stored| stored.bytes == text)
    };
    while !arrived() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn age_follows_the_clock() {
    let cache = Cache::new(BOUNDS);
    let key = Key::manifest(&repository_key(), &cache.epoch(&repository_key()).await, "sha256:x");
    cache.put(key.clone(), value("v")).await;
    tokio::time::advance(Duration::from_secs(7)).await;
    let found = cache.get::<String>(&key).await.unwrap();
    assert_eq!((found.value.as_str(), found.age), ("v", Duration::from_secs(7)));
}

#[tokio::test]
async fn a_write_hides_lists_and_what_it_touched() {
    let (cache, repository_key) = (Cache::new(BOUNDS), repository_key());
    let before = cache.epoch(&repository_key).await;
    for key in [
        Key::ordinary_tags(&repository_key, &before, "l"),
        Key::tag(&repository_key, &before, "a"),
        Key::tag(&repository_key, &before, "b"),
    ] {
        cache.put(key, value("v")).await;
    }
    cache.wrote(&repository_key, tag("a")).await;
    let now = cache.epoch(&repository_key).await;
    assert_eq!(
        text(&cache, &Key::ordinary_tags(&repository_key, &now, "l")).await,
        None
    );
    assert_eq!(text(&cache, &Key::tag(&repository_key, &now, "a")).await, None);
    assert_eq!(
        text(&cache, &Key::tag(&repository_key, &now, "b")).await,
        Some(("v".into(), true))
    );
    cache.wrote(&repository_key, [Invalidation::Everything]).await;
    let now = cache.epoch(&repository_key).await;
    assert_eq!(
        text(&cache, &Key::tag(&repository_key, &now, "b")).await,
        Some(("v".into(), false))
    );
}

#[tokio::test]
async fn a_listing_counts_until_tags_were_written_that_nobody_remembers() {
    let (cache, repository_key) = (Cache::new(BOUNDS), repository_key());
    let before = cache.epoch(&repository_key).await;
    cache.put(Key::tag_list(&repository_key, &before), value("v")).await;
    for (touched, verified) in [(Invalidation::Tag("a".into()), true), (Invalidation::TagNames, false)] {
        cache.wrote(&repository_key, [touched]).await;
        let now = cache.epoch(&repository_key).await;
        let key = Key::tag_list(&repository_key, &now);
        assert_eq!(text(&cache, &key).await, Some(("v".into(), verified)));
    }
    // One that began before the write.
    cache.put(Key::tag_list(&repository_key, &before), value("old")).await;
    let key = Key::tag_list(&repository_key, &cache.epoch(&repository_key).await);
    assert_eq!(text(&cache, &key).await, Some(("old".into(), false)));
}

#[tokio::test]
async fn what_a_scan_from_before_a_write_brings_counts_for_nothing() {
    let (cache, repository_key) = (Cache::new(BOUNDS), repository_key());
    let before = cache.epoch(&repository_key).await;
    cache.wrote(&repository_key, tag("a")).await;
    cache.put(Key::tag(&repository_key, &before, "a"), value("old")).await;
    let now = cache.epoch(&repository_key).await;
    assert_eq!(text(&cache, &Key::tag(&repository_key, &now, "a")).await, None);
}

#[tokio::test]
async fn what_one_replica_learned_another_has() {
    let (a, b, table) = replicas();
    let repository_key = repository_key();
    let epoch = a.epoch(&repository_key).await;
    assert_eq!(b.epoch(&repository_key).await, epoch);
    let key = Key::answer(&repository_key, &epoch, "sha256:x");
    put(&a, &table, &key, "v").await;
    assert_eq!(text(&b, &key).await, Some(("v".into(), true)));
    // From now on in memory.
    table.values.lock().unwrap().clear();
    assert_eq!(text(&b, &key).await, Some(("v".into(), true)));
}

#[tokio::test]
async fn a_write_through_one_replica_counts_for_another_at_once() {
    let (a, b, table) = replicas();
    let repository_key = repository_key();
    let before = b.epoch(&repository_key).await;
    put(&b, &table, &Key::tag(&repository_key, &before, "a"), "old").await;
    a.wrote(&repository_key, tag("a")).await;
    let now = b.epoch(&repository_key).await;
    assert_ne!(now, before);
    assert_eq!(
        text(&b, &Key::tag(&repository_key, &now, "a")).await,
        None,
        "neither its own nor the shared"
    );
}

#[tokio::test(start_paused = true)]
async fn the_newer_of_two_wins_once_ones_own_is_old() {
    let (a, b, table) = replicas();
    let repository_key = repository_key();
    let key = Key::tag_list(&repository_key, &a.epoch(&repository_key).await);
    put(&b, &table, &key, "old").await;
    tokio::time::advance(Duration::from_secs(20)).await;
    put(&a, &table, &key, "new").await;
    assert_eq!(text(&b, &key).await.unwrap().0, "old", "still good enough");
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(text(&b, &key).await.unwrap().0, "new");
    assert_eq!(text(&a, &key).await.unwrap().0, "new");
}

#[tokio::test]
async fn a_value_from_the_future_is_not_believed() {
    let (a, _, table) = replicas();
    let repository_key = repository_key();
    let key = Key::large(&repository_key);
    let mut stored = StoredValue {
        at: a.clock.now() + CLOCK_SKEW / 2,
        epoch: None,
        bytes: "v".into(),
    };
    table.values.lock().unwrap().insert(key.id().clone(), stored.clone());
    let found = a.get::<String>(&key).await.unwrap();
    assert_eq!(found.age, Duration::ZERO);
    a.memory(Kind::Large).remove(key.id());
    stored.at = a.clock.now() + CLOCK_SKEW * 2;
    table.values.lock().unwrap().insert(key.id().clone(), stored);
    assert!(a.get::<String>(&key).await.is_none());
}

#[tokio::test]
async fn while_the_second_tier_is_closed_memory_does_but_after_a_gap_nothing_old_is_vouched_for() {
    let (a, _, table) = replicas();
    let repository_key = repository_key();
    let key = Key::tag_list(&repository_key, &a.epoch(&repository_key).await);
    put(&a, &table, &key, "v").await;
    table.closed.store(true, Ordering::Relaxed);
    assert_eq!(text(&a, &key).await, Some(("v".into(), true)));
    let mark_unverified = a.clock.now().as_secs() + 1;
    table.unverified_before.store(mark_unverified, Ordering::Relaxed);
    assert_eq!(text(&a, &key).await, Some(("v".into(), false)));
    table.closed.store(false, Ordering::Relaxed);
    assert_eq!(
        text(&a, &key).await,
        Some(("v".into(), false)),
        "the shared one is as old"
    );
}
