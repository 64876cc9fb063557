//! Tag listings of any size: what is larger than a value may be is stored in pieces under keys of their own, and its key holds what they must
//! add up to. Pieces that are missing, or of another version, are as good as no value.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use redis::cmd;

use super::connection::{CommandError, LiveConnection};
use crate::cache::clock::millis;
use crate::cache::shared::StoredValue;
use crate::cache::stored_value;
use crate::cache::whole_value::WholeValue;

/// Bytes of the largest value in pieces.
pub(super) const MOST: usize = 64 << 20;
/// Bytes of a piece: what others ask Redis meanwhile waits no longer than one of them takes.
const PIECE: usize = 256 << 10;
const MAGIC: &[u8; 4] = b"rsp1";
const HEADER: usize = 4 + 8 + 4 + 8 + 32;
/// How often a value is read that is replaced meanwhile.
const ATTEMPTS: usize = 3;

/// What stands under the key of a value in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PiecesHeader {
    /// Milliseconds since 1970 at which the value was read from the registry.
    at: u64,
    /// Bytes of each piece but the last.
    size: usize,
    whole: WholeValue,
}

impl PiecesHeader {
    fn encode(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER);
        header.put_slice(MAGIC);
        header.put_u64(self.at);
        header.put_u32(u32::try_from(self.size).unwrap_or(u32::MAX));
        header.put_u64(self.whole.length as u64);
        header.put_slice(&self.whole.hash);
        header
    }

    /// `None` for anything else.
    fn decode(mut header: &[u8]) -> Option<Self> {
        if header.len() != HEADER || !header.starts_with(MAGIC) {
            return None;
        }
        header.advance(MAGIC.len());
        let at = header.get_u64();
        let size = usize::try_from(header.get_u32()).ok()?;
        let length = usize::try_from(header.get_u64()).ok()?;
        let hash = header.try_into().ok()?;
        let whole = WholeValue { length, hash };
        let is_bounded = (1..=PIECE).contains(&size) && length <= MOST + PIECE;
        is_bounded.then_some(Self { at, size, whole })
    }

    /// The keys of its pieces, which those of no other version have.
    fn keys(&self, key: &str) -> impl Iterator<Item = String> + use<> {
        let version = &self.whole.hash[..8];
        let version = u64::from_be_bytes(version.try_into().unwrap_or_default());
        let prefix = format!("{key}:{version:016x}");
        (0..self.whole.pieces(self.size).len()).map(move |number| format!("{prefix}:{number}"))
    }
}

/// A little more than `most` bytes of what is stored under `key` at most; or all pieces of a value in pieces, if it was read from the registry
/// after `newer_than`.
pub(super) async fn read(live: &LiveConnection, key: &str, most: usize, newer_than: Option<Duration>) -> Option<Bytes> {
    let mut before = None;
    for _ in 0..ATTEMPTS {
        let bytes = get(live, key, most.max(HEADER)).await?;
        let Some(header) = PiecesHeader::decode(&bytes) else {
            return Some(bytes);
        };
        let is_newer = newer_than.is_none_or(|known| header.at > millis(known));
        if !is_newer || before == Some(header) {
            return None;
        }
        if let Some(value) = assemble(live, key, &header).await {
            return Some(value);
        }
        // Perhaps another replica has just replaced it.
        before = Some(header);
    }
    None
}

async fn assemble(live: &LiveConnection, key: &str, header: &PiecesHeader) -> Option<Bytes> {
    let mut found = Vec::with_capacity(header.whole.length);
    for key in header.keys(key) {
        let piece = get(live, &key, header.size).await?;
        if piece.is_empty() {
            return None;
        }
        found.extend_from_slice(&piece);
    }
    header.whole.assembled(found)
}

/// Not GET, so that little more is read than a value of ours may have, whatever is stored there.
async fn get(live: &LiveConnection, key: &str, most: usize) -> Option<Bytes> {
    live.ask(cmd("GETRANGE").arg(key).arg(0).arg(most)).await.ok()
}

/// Stores a value, in pieces if it has more than `most` bytes, and removes the pieces of the one that it replaces.
pub(super) async fn write(
    live: &LiveConnection,
    key: &str,
    stored: &StoredValue,
    most: usize,
    ttl: Duration,
) -> Result<(), CommandError> {
    let value = stored_value::pack(key, stored);
    let replaced: Bytes = live.ask(cmd("GETRANGE").arg(key).arg(0).arg(HEADER)).await?;
    if value.len() > most {
        let header = PiecesHeader {
            at: millis(stored.at),
            size: PIECE.min(most),
            whole: WholeValue::of(&value),
        };
        for (key, piece) in header.keys(key).zip(header.whole.pieces(header.size)) {
            set(live, &key, &value[piece], ttl).await?;
        }
        set(live, key, &header.encode(), ttl).await?;
    } else {
        set(live, key, &value, ttl).await?;
    }
    // Of a version that was not seen here, time removes them.
    let Some(replaced) = PiecesHeader::decode(&replaced) else {
        return Ok(());
    };
    for key in replaced.keys(key) {
        live.ask::<()>(cmd("DEL").arg(key)).await?;
    }
    Ok(())
}

/// Stores one entry.
pub(super) async fn set(live: &LiveConnection, key: &str, bytes: &[u8], ttl: Duration) -> Result<(), CommandError> {
    let mut write = cmd("SET");
    write.arg(key).arg(bytes).arg("PX").arg(millis(ttl));
    live.ask(&write).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_were_written_and_garbage_is_not() {
        let header = PiecesHeader {
            at: 1_700_000_000_123,
            size: PIECE,
            whole: WholeValue::of(&vec![7; 2 * PIECE + 1]),
        };
        let encoded = header.encode();
        assert_eq!(PiecesHeader::decode(&encoded), Some(header));
        assert_eq!(header.keys("key").count(), 3);
        assert!(header.keys("key").all(|key| key.starts_with("key:")));
        for garbage in [&encoded[1..], &encoded[..HEADER - 1], &[], b"rsv1", &[0; HEADER]] {
            assert_eq!(PiecesHeader::decode(garbage), None);
        }
        let endless = PiecesHeader {
            whole: WholeValue {
                length: usize::MAX,
                ..header.whole
            },
            ..header
        };
        let no_pieces = PiecesHeader { size: 0, ..header };
        for unbounded in [endless, no_pieces] {
            assert_eq!(PiecesHeader::decode(&unbounded.encode()), None);
        }
    }
}
