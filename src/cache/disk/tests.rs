//! The store on disk, and what becomes of it.

mod cached;

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use super::directory::CacheDirectory;
use super::entry_file::{Change, EntryFile};
use super::*;

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
