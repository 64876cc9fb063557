//! The store on disk, and what becomes of it.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use super::directory::CacheDirectory;
use super::entry_file::{Change, EntryFile};
use super::*;
use crate::cache::epoch::Epoch;
use crate::cache::key::Key;
use crate::cache::{Bounds, Cache, RepositoryKey};

const BYTES: u64 = 64 << 20;
const AT: Duration = Duration::from_millis(1_700_000_000_123);

fn stored(bytes: impl Into<Bytes>) -> StoredValue {
    StoredValue {
        at: AT,
        epoch: None,
        bytes: bytes.into(),
    }
}

fn file_of(folder: &TempDir) -> PathBuf {
    folder.path().join("entries.redb")
}

fn open(folder: &TempDir) -> EntryFile {
    open_with(folder, BYTES)
}

fn open_with(folder: &TempDir, bytes: u64) -> EntryFile {
    CacheDirectory::claim(folder.path()).unwrap().open(bytes).unwrap()
}

fn put(file: &EntryFile, name: &str, bytes: impl Into<Bytes>) {
    let change = Change::Put(Kind::Written, stored(bytes));
    file.change([(name.to_owned(), change)]).unwrap();
}

fn read(file: &EntryFile, name: &str) -> Option<Bytes> {
    Some(file.read(name).unwrap()?.bytes)
}

/// Bytes that compress badly and differ by their number.
fn some_bytes(number: u64, length: usize) -> Vec<u8> {
    let mut random = SmallRng::seed_from_u64(number);
    (0..length).map(|_| random.random()).collect()
}

#[test]
fn values_of_any_size_are_read_by_the_next_process() {
    let folder = TempDir::new().unwrap();
    let file = open(&folder);
    let sizes = [0, 1, 3999, 4000, 4001, 100_000, 1 << 20];
    for size in sizes {
        put(&file, &format!("of {size}"), some_bytes(1, size));
    }
    put(&file, "of 1", "replaced");
    file.change([("of 4000".to_owned(), Change::Remove)]).unwrap();
    let used = file.used();
    drop(file);
    let file = open(&folder);
    assert_eq!(file.used(), used);
    for size in sizes {
        let expected = match size {
            1 => Some(b"replaced".to_vec()),
            4000 => None,
            size => Some(some_bytes(1, size)),
        };
        assert!(
            read(&file, &format!("of {size}")) == expected.map(Bytes::from),
            "{size}"
        );
    }
    assert_eq!(file.read("of 0").unwrap().unwrap().at, AT);
}

#[test]
fn the_oldest_entries_go_and_the_file_keeps_within_its_bound() {
    const SMALL: u64 = 16 << 20;
    let folder = TempDir::new().unwrap();
    let file = open_with(&folder, SMALL);
    let mut random = SmallRng::seed_from_u64(1);
    let mut longest = 0;
    for batch in 0..40 {
        let changes = (0..20).map(|number| {
            let length = match random.random_range(0..10) {
                0 => random.random_range(0..590_000),
                _ => random.random_range(0..10_000),
            };
            let value = stored(some_bytes(number, length));
            // Some are written again and again.
            let name = format!("entry {}", random.random_range(0..batch * 20 + 20));
            (name, Change::Put(Kind::Written, value))
        });
        file.change(changes).unwrap();
        let length = fs::metadata(file_of(&folder)).unwrap().len();
        assert!(length <= SMALL, "{length} bytes for {}", file.used());
        longest = file.used().max(longest);
    }
    put(&file, "the newest", "value");
    put(&file, "too large", some_bytes(1, 1 << 20));
    assert_eq!(read(&file, "the newest").unwrap(), "value");
    assert_eq!(read(&file, "too large"), None);
    assert!(longest > SMALL / 4, "nothing goes without need: {longest}");
}

#[test]
fn what_never_changes_and_large_listings_that_were_just_written_are_not_written_again() {
    let folder = TempDir::new().unwrap();
    let file = open(&folder);
    // The first byte of what is read after this one was written, `seconds` later.
    let put = |kind, seconds: u64, first: u8, length: usize| {
        let mut bytes = vec![0; length];
        bytes[0] = first;
        let value = StoredValue {
            at: AT + Duration::from_secs(seconds),
            ..stored(bytes)
        };
        file.change([("name".to_owned(), Change::Put(kind, value))]).unwrap();
        read(&file, "name").unwrap()[0]
    };
    assert_eq!(put(Kind::TagList, 0, 1, 100), 1);
    assert_eq!(put(Kind::TagList, 1, 2, 2 << 20), 2);
    assert_eq!(put(Kind::TagList, 60, 3, 2 << 20), 2, "soon after a large one");
    assert_eq!(put(Kind::TagList, 61, 4, 2 << 20), 4);
    assert_eq!(put(Kind::TagList, 0, 5, 100), 5, "another clock");
    assert_eq!(put(Kind::Manifest, 900, 6, 100), 5, "the same content");
    assert_eq!(put(Kind::Written, 0, 7, 100), 7);
}

/// A file with an entry, damaged by `damage`, must give that entry or none, and be writable afterwards.
fn is_never_believed(damage: impl Fn(&mut Vec<u8>)) {
    let folder = TempDir::new().unwrap();
    let expected = Bytes::from(some_bytes(1, 30_000));
    let file = open(&folder);
    put(&file, "large", expected.clone());
    put(&file, "small", "small");
    drop(file);
    let mut bytes = fs::read(file_of(&folder)).unwrap();
    damage(&mut bytes);
    fs::write(file_of(&folder), bytes).unwrap();
    let file = open(&folder);
    assert!(read(&file, "large").is_none_or(|found| found == expected));
    assert!(read(&file, "small").is_none_or(|found| found == "small"));
    put(&file, "large", "new");
    drop(file);
    assert_eq!(read(&open(&folder), "large").unwrap(), "new");
}

#[test]
fn a_torn_file_is_never_believed() {
    for thousandths in [1, 10, 100, 300, 500, 700, 900, 999] {
        is_never_believed(|bytes| bytes.truncate(bytes.len() * thousandths / 1000));
        is_never_believed(|bytes| {
            let from = bytes.len() * thousandths / 1000;
            bytes[from..].fill(0);
        });
    }
    is_never_believed(Vec::clear);
}

#[test]
fn a_file_with_other_bytes_in_it_is_never_believed() {
    let mut random = SmallRng::seed_from_u64(1);
    for _ in 0..60 {
        let (place, byte) = (random.random_range(0.0..1.0), random.random());
        is_never_believed(|bytes| {
            let place = (bytes.len() as f64 * place) as usize;
            bytes[place] = byte;
        });
    }
}

#[test]
fn a_foreign_file_is_moved_aside_whole() {
    let folder = TempDir::new().unwrap();
    let foreign = b"somebody's notes, which nobody else may change".repeat(1000);
    fs::write(file_of(&folder), &foreign).unwrap();
    let file = open(&folder);
    put(&file, "name", "value");
    let aside = folder.path().join("entries.redb.unusable");
    assert_eq!(fs::read(aside).unwrap(), foreign);
    assert_eq!(read(&file, "name").unwrap(), "value");
}

#[test]
fn a_database_of_another_layout_or_of_somebody_else_is_moved_aside() {
    for table in ["numbers", "theirs"] {
        let folder = TempDir::new().unwrap();
        let database = redb::Database::create(file_of(&folder)).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let definition = redb::TableDefinition::<&str, u64>::new(table);
            let mut table = transaction.open_table(definition).unwrap();
            table.insert("layout", 999).unwrap();
        }
        transaction.commit().unwrap();
        drop(database);
        let file = open(&folder);
        assert!(folder.path().join("entries.redb.unusable").exists(), "{table}");
        put(&file, "name", "value");
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_in_a_line() {
    let folder = TempDir::new().unwrap();
    let held = CacheDirectory::claim(folder.path()).unwrap();
    let refused = |dir: &Path| match CacheDirectory::claim(dir) {
        Ok(_) => panic!("{} was claimed", dir.display()),
        Err(error) => error.to_string(),
    };
    assert!(refused(folder.path()).contains("in use by another process"));
    drop(held);
    CacheDirectory::claim(folder.path()).unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refusal = refused(&file.join("below"));
    assert!(
        refusal.contains("cannot be written") && !refusal.contains('\n'),
        "{refusal}"
    );
}

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
    assert!(cache.disk_health().unwrap().failures > 0);
    while disk.get(keys[0].id()).await.is_none() {
        disk.put(keys[0].id(), &large, AT);
        disk.finish().await;
    }
    assert!(cache.disk_health().unwrap().open);
}
