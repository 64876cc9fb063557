//! The store as the cache uses it.

use super::*;
use crate::cache::epoch::Epoch;
use crate::cache::key::Key;
use crate::cache::{Bounds, Cache, Invalidation, RepositoryKey};

fn cache(folder: &TempDir) -> Cache {
    let bounds = Bounds {
        manifests: 1 << 20,
        lists: 1 << 20,
    };
    let options = DiskOptions {
        dir: folder.path().to_owned(),
        bytes: BYTES,
    };
    let opened = (0..100).find_map(|_| match Cache::new(bounds).with_disk(&options) {
        // The last one's thread has not ended yet.
        Err(DiskError::InUse { .. }) => {
            std::thread::sleep(Duration::from_millis(20));
            None
        }
        opened => Some(opened.unwrap()),
    });
    opened.unwrap()
}

fn value(text: &str) -> Arc<String> {
    Arc::new(text.to_owned())
}

#[tokio::test]
async fn the_next_process_knows_content_but_trusts_nothing_that_a_write_may_have_changed() {
    let (folder, repository_key) = (TempDir::new().unwrap(), RepositoryKey::new("http://u/", "r"));
    let keys = |epoch: &Epoch| {
        [
            (Key::tag_list(&repository_key, epoch), Some(false)),
            (Key::manifest(&repository_key, epoch, "sha256:m"), Some(false)),
            (Key::blob(&repository_key, "sha256:b"), Some(true)),
            (Key::written(&repository_key, "sha256-ab"), Some(true)),
            (Key::answer(&repository_key, epoch, "sha256:m"), None),
            (Key::tag(&repository_key, epoch, "v1"), None),
        ]
    };
    let first = cache(&folder);
    let epoch = first.epoch(&repository_key).await;
    for (key, _) in keys(&epoch) {
        first.put(key, value("v")).await;
    }
    while first.disk_health().unwrap().used < 4 * 512 {
        first.finish().await;
    }
    drop(first);
    let second = cache(&folder);
    let epoch = second.epoch(&repository_key).await;
    for (key, verified) in keys(&epoch) {
        let found = second.get::<String>(&key).await;
        assert_eq!(found.map(|found| found.verified), verified, "{key:?}");
    }
    let another = RepositoryKey::new("http://u/", "s");
    assert!(second.get::<String>(&Key::blob(&another, "sha256:b")).await.is_none());
}

#[tokio::test]
async fn what_a_write_has_named_is_found_no_more() {
    let (folder, repository_key) = (TempDir::new().unwrap(), RepositoryKey::new("http://u/", "r"));
    let touched: Arc<[Invalidation]> = Arc::from([Invalidation::Manifest("sha256:m".into())]);
    let found = async |cache: &Cache| {
        let epoch = cache.epoch(&repository_key).await;
        let key = Key::manifest(&repository_key, &epoch, "sha256:m");
        (cache.get::<String>(&key).await.is_some(), key)
    };
    let first = cache(&folder);
    let (_, key) = found(&first).await;
    first.put(key, value("v")).await;
    while first.disk_health().unwrap().used < 512 {
        first.finish().await;
    }
    // Another process did it.
    first.epochs.wrote(&repository_key, &touched);
    assert!(!found(&first).await.0);
    drop(first);
    let second = cache(&folder);
    assert!(found(&second).await.0, "nobody has told it");
    second.wrote(&repository_key, touched).await;
    assert!(!found(&second).await.0);
    second.finish().await;
    drop(second);
    assert!(!found(&cache(&folder)).await.0, "it is gone from the disk");
}

#[tokio::test]
async fn a_file_that_is_damaged_while_it_is_used_is_replaced() {
    let (folder, repository_key) = (TempDir::new().unwrap(), RepositoryKey::new("http://u/", "r"));
    let cache = cache(&folder);
    let disk = cache.disk.as_ref().unwrap();
    let keys: Vec<Key> = (0..100)
        .map(|n| Key::blob(&repository_key, format!("sha256:{n}")))
        .collect();
    let large = value(&"x".repeat(50_000));
    for key in &keys {
        disk.put(key.id(), &large, AT);
    }
    disk.finish().await;
    let length = fs::metadata(file_of(&folder)).unwrap().len();
    let garbage = vec![0x55; usize::try_from(length).unwrap() - 8192];
    let file = fs::File::options().write(true).open(file_of(&folder)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &garbage, 8192).unwrap();
    for key in &keys {
        let found = disk.get(key.id()).await;
        assert!(found.is_none_or(|found| found.bytes.len() == 50_000));
    }
    // What redb has in memory, or takes garbage for a tree without the key, is no failure that anybody could see.
    while disk.get(keys[0].id()).await.is_none() {
        disk.put(keys[0].id(), &large, AT);
        disk.finish().await;
    }
    assert!(cache.disk_health().unwrap().open);
}
