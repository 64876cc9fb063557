//! The file with the entries: which there are, in the order in which they were written, and their bytes in pieces of a page each, so
//! that a value of any size fits the room that others left.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, WriteTransaction,
};
use sha2::{Digest as _, Sha256};

use super::file_error::FileError;
use crate::cache::clock::millis;
use crate::cache::entry_id::Kind;
use crate::cache::shared::StoredValue;
use crate::cache::stored_value;
use crate::cache::whole_value::WholeValue;

/// A file of another layout is not read. To be increased with every change of the tables or of the form of values.
const LAYOUT: u64 = 1;
/// Bytes of memory for pages of the file.
const PAGE_CACHE: usize = 4 << 20;
/// Bytes of a page of the file, which is written whole.
const PAGE: usize = 4096;
/// Longest piece that fits a page with its key.
const PIECE: usize = 4000;
/// Bytes that an entry takes beside its pieces: its rows in the other tables, and its share of the trees above them.
const ROWS: u64 = 512;
/// An entry takes at most this part of the room, so that one does not replace all others; so do those of one transaction, the last one not
/// counted.
const PART: u64 = 8;
/// Room for entries in percent of the file. It doubles when it grows, to which the rest adds what a transaction writes, and what it and
/// the one before it replace, an eighth of the room each, and the file's own tables.
const ROOM_PERCENT: u64 = 30;
/// A large listing is written again no sooner after it was last, in milliseconds: its pages are asked for again anyhow.
const LISTING_STANDS: u64 = 60_000;
/// Bytes of a listing that is not large.
const SMALL_LISTING: usize = 1 << 20;

const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");
/// By the SHA-256 of an entry's name: where it stands in [`WRITTEN`], when it was read from the registry (milliseconds since 1970), its
/// length, its hash.
const ENTRIES: TableDefinition<'static, &[u8; 32], (u64, u64, u64, &[u8; 32])> = TableDefinition::new("entries");
/// The entries in the order in which they were written.
const WRITTEN: TableDefinition<'static, u64, &[u8; 32]> = TableDefinition::new("written");
/// By the entry's place in [`WRITTEN`] and the number of the piece.
const PIECES: TableDefinition<'static, (u64, u32), &[u8]> = TableDefinition::new("pieces");

/// What is to be done with an entry.
pub(super) enum Change {
    Put(Kind, StoredValue),
    Remove,
}

/// See the module documentation.
pub(super) struct EntryFile {
    database: Database,
    /// Bytes that entries may take.
    room: u64,
    used: AtomicU64,
}

#[derive(Clone, Copy)]
struct EntryRow {
    place: u64,
    at: u64,
    whole: WholeValue,
}

impl EntryFile {
    /// Opens or creates the file, which never grows beyond `bytes`, and reads all of it: what a disk lost or a crash tore is found now.
    pub fn open(path: &Path, bytes: u64) -> Result<Self, FileError> {
        let mut builder = Database::builder();
        builder.set_cache_size(PAGE_CACHE).set_check_integrity_on_open(true);
        let database = builder.create(path)?;
        let transaction = database.begin_write()?;
        let is_new = transaction.list_tables()?.next().is_none();
        let used = {
            let mut numbers = transaction.open_table(NUMBERS)?;
            let layout = number(&numbers, "layout")?;
            if is_new {
                numbers.insert("layout", LAYOUT)?;
            } else if layout != LAYOUT {
                return Err(FileError::Unreadable(format!("its layout is {layout}, not {LAYOUT}")));
            }
            transaction.open_table(ENTRIES)?;
            transaction.open_table(WRITTEN)?;
            transaction.open_table(PIECES)?;
            number(&numbers, "used")?
        };
        transaction.commit()?;
        Ok(Self {
            database,
            room: bytes / 100 * ROOM_PERCENT,
            used: used.into(),
        })
    }

    /// Bytes that the entries take.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The value of this name, checked against its hash.
    pub fn read(&self, name: &str) -> Result<Option<StoredValue>, FileError> {
        let transaction = self.database.begin_read()?;
        let Some(row) = row(&transaction, &key(name))? else {
            return Ok(None);
        };
        let pieces = transaction.open_table(PIECES)?;
        let mut found = Vec::with_capacity(row.whole.length.min(PIECE * row.whole.pieces(PIECE).len()));
        for piece in pieces.range((row.place, 0)..=(row.place, u32::MAX))? {
            found.extend_from_slice(piece?.1.value());
        }
        let value = row.whole.assembled(found);
        let value = value.and_then(|bytes| stored_value::unpack(name, bytes));
        value
            .map(Some)
            .ok_or_else(|| FileError::Unreadable("an entry is not what was written".to_owned()))
    }

    /// Each of these changes whole or not at all, in this order.
    pub fn change(&self, changes: impl IntoIterator<Item = (String, Change)>) -> Result<(), FileError> {
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let transaction = self.database.begin_write()?;
            let mut tables = Tables::open(&transaction, self.room)?;
            while tables.added < self.room / PART
                && let Some((name, change)) = changes.next()
            {
                match change {
                    Change::Put(kind, value) => tables.put(&name, kind, &value)?,
                    Change::Remove => tables.remove(&key(&name))?,
                }
            }
            match tables.close()? {
                Some(used) => {
                    transaction.commit()?;
                    self.used.store(used, Ordering::Relaxed);
                }
                // Without waiting for the disk.
                None => transaction.abort()?,
            }
        }
        Ok(())
    }
}

/// The tables while they are changed.
struct Tables<'a> {
    numbers: Table<'a, &'static str, u64>,
    entries: Table<'a, &'static [u8; 32], (u64, u64, u64, &'static [u8; 32])>,
    written: Table<'a, u64, &'static [u8; 32]>,
    pieces: Table<'a, (u64, u32), &'static [u8]>,
    room: u64,
    used: u64,
    /// Bytes of entries written since they were opened.
    added: u64,
    next: u64,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction, room: u64) -> Result<Self, FileError> {
        let numbers = transaction.open_table(NUMBERS)?;
        Ok(Self {
            room,
            used: number(&numbers, "used")?,
            added: 0,
            next: number(&numbers, "next")?,
            numbers,
            entries: transaction.open_table(ENTRIES)?,
            written: transaction.open_table(WRITTEN)?,
            pieces: transaction.open_table(PIECES)?,
        })
    }

    /// Bytes that the entries take; `None` if nothing was changed.
    fn close(mut self) -> Result<Option<u64>, FileError> {
        let before = (number(&self.numbers, "used")?, number(&self.numbers, "next")?);
        if before == (self.used, self.next) {
            return Ok(None);
        }
        self.numbers.insert("used", self.used)?;
        self.numbers.insert("next", self.next)?;
        Ok(Some(self.used))
    }

    fn put(&mut self, name: &str, kind: Kind, value: &StoredValue) -> Result<(), FileError> {
        let (key, at) = (key(name), millis(value.at));
        let known = self.entries.get(&key)?.map(|row| EntryRow::of(row.value()));
        if known.is_some_and(|known| known.stands(kind, at)) {
            return Ok(());
        }
        self.remove(&key)?;
        let packed = stored_value::pack(name, value);
        let whole = WholeValue::of(&packed);
        let size = size(&whole);
        if size > self.room / PART {
            return Ok(());
        }
        for (number, piece) in (0..).zip(whole.pieces(PIECE)) {
            self.pieces.insert((self.next, number), &packed[piece])?;
        }
        self.written.insert(self.next, &key)?;
        self.entries
            .insert(&key, (self.next, at, whole.length as u64, &whole.hash))?;
        self.next += 1;
        self.used += size;
        self.added += size;
        self.make_room()
    }

    /// Those that were written longest ago go.
    fn make_room(&mut self) -> Result<(), FileError> {
        while self.used > self.room {
            let Some(oldest) = self.written.first()?.map(|(_, key)| *key.value()) else {
                return Ok(());
            };
            self.remove(&oldest)?;
        }
        Ok(())
    }

    fn remove(&mut self, key: &[u8; 32]) -> Result<(), FileError> {
        let Some(row) = self.entries.remove(key)?.map(|row| EntryRow::of(row.value())) else {
            return Ok(());
        };
        self.written.remove(row.place)?;
        self.pieces
            .retain_in((row.place, 0)..=(row.place, u32::MAX), |_, _| false)?;
        self.used = self.used.saturating_sub(size(&row.whole));
        Ok(())
    }
}

impl EntryRow {
    fn of((place, at, length, hash): (u64, u64, u64, &[u8; 32])) -> Self {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Self {
            place,
            at,
            whole: WholeValue { length, hash: *hash },
        }
    }

    /// Whether it need not be written again for what was read at the time `at`.
    fn stands(self, kind: Kind, at: u64) -> bool {
        match kind {
            // Content by its digest never changes.
            Kind::Manifest | Kind::Blob => true,
            Kind::TagList => self.whole.length > SMALL_LISTING && self.at <= at && at - self.at < LISTING_STANDS,
            _ => false,
        }
    }
}

fn row(transaction: &ReadTransaction, key: &[u8; 32]) -> Result<Option<EntryRow>, FileError> {
    let entries = transaction.open_table(ENTRIES)?;
    Ok(entries.get(key)?.map(|row| EntryRow::of(row.value())))
}

fn number(numbers: &Table<'_, &'static str, u64>, name: &str) -> Result<u64, FileError> {
    Ok(numbers.get(name)?.map_or(0, |number| number.value()))
}

fn key(name: &str) -> [u8; 32] {
    Sha256::digest(name.as_bytes()).into()
}

/// Bytes that an entry takes in the file. A page may be half empty, and holds one piece of more than half its size.
fn size(whole: &WholeValue) -> u64 {
    let pieces = whole.pieces(PIECE).map(|piece| PAGE.min(2 * (piece.len() + 64)) as u64);
    pieces.sum::<u64>() + ROWS
}
