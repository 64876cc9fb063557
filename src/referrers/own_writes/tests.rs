//! What is remembered of own writes, and for how long.

use super::*;
use crate::cache::Bounds;
use crate::oci::Digest;

fn cache() -> Cache {
    Cache::new(Bounds {
        manifests: 1 << 20,
        lists: 1 << 20,
    })
}

fn names(tags: &[WrittenTag]) -> Vec<&str> {
    tags.iter().map(|tag| &*tag.name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_remembered_for_ten_minutes_or_until_it_is_deleted() {
    let (writes, cache, repository_key) = (OwnWrites::default(), cache(), RepositoryKey::new("u", "r"));
    let (one, other) = (Digest::sha256(b"one"), Digest::sha256(b"other"));
    let (key, of_other) = (SubjectKey::of(&one), format!("{}.sig", SubjectKey::of(&other)));
    let link = format!("{key}.sig");
    for name in [&*link, &*of_other, "v1"] {
        writes.written(&cache, &repository_key, name, None).await;
    }
    assert_eq!(names(&writes.of(&cache, &repository_key, &key).await), [&*link, "v1"]);
    assert_eq!(writes.all(&cache, &repository_key).await.len(), 3);
    assert!(writes.all(&cache, &RepositoryKey::new("u", "other")).await.is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    writes.gone(&cache, &repository_key, "v1").await;
    assert_eq!(names(&writes.of(&cache, &repository_key, &key).await), [&*link]);
    tokio::time::advance(REMEMBERED_FOR).await;
    assert!(writes.all(&cache, &repository_key).await.is_empty());
    writes.written(&cache, &repository_key, "v2", None).await;
    let remembered = writes.remembered.lock().unwrap();
    assert_eq!((remembered.tags.len(), remembered.order.len()), (1, 1));
}

#[test]
fn replicas_agree_on_what_was_done_last() {
    let tag = |name: &str, at: u64, gone: bool| WrittenTag {
        name: name.into(),
        at: Duration::from_secs(at),
        gone,
        digest: None,
    };
    let one = SharedTags(vec![tag("a", 1, false), tag("b", 5, false)]);
    let other = SharedTags(vec![tag("a", 2, true), tag("b", 4, true)]);
    let expected = SharedTags(vec![tag("b", 5, false), tag("a", 2, true)]);
    assert_eq!(one.join(&other), Some(expected.clone()));
    assert_eq!(other.join(&one), Some(expected.clone()));
    assert_eq!(
        SharedTags::decode("", expected.encode().unwrap().into()),
        Some(expected)
    );
}
