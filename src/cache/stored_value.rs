//! The bytes of a value in Redis and on disk, with the time and the epoch in which it was read from the registry.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::clock::millis;
use super::shared::StoredValue;
use super::write::WriteId;

const MAGIC: &[u8; 4] = b"rsv1";
/// Number of bytes in front of the value itself: magic, fingerprint of the key, milliseconds since 1970, whether there is an epoch, the epoch.
pub(super) const OVERHEAD: usize = 4 + 8 + 8 + 1 + 8;

pub(super) fn pack(key: &str, stored: &StoredValue) -> Vec<u8> {
    let mut packed = BytesMut::with_capacity(OVERHEAD + stored.bytes.len());
    packed.put_slice(MAGIC);
    packed.put_slice(&fingerprint(key));
    packed.put_u64(millis(stored.at));
    packed.put_u8(stored.epoch.is_some().into());
    packed.put_slice(&stored.epoch.map(WriteId::to_bytes).unwrap_or_default());
    packed.put_slice(&stored.bytes);
    packed.into()
}

/// `None` for anything that [`pack`] did not make for this key.
pub(super) fn unpack(key: &str, mut packed: Bytes) -> Option<StoredValue> {
    if packed.len() < OVERHEAD || packed.split_to(MAGIC.len()) != MAGIC[..] {
        return None;
    }
    if packed.split_to(8) != fingerprint(key)[..] {
        return None;
    }
    let at = Duration::from_millis(packed.get_u64());
    let has_epoch = match packed.get_u8() {
        0 => false,
        1 => true,
        _ => return None,
    };
    let mut epoch = [0; 8];
    packed.copy_to_slice(&mut epoch);
    Some(StoredValue {
        at,
        epoch: has_epoch.then(|| WriteId::from_bytes(epoch)),
        bytes: packed,
    })
}

/// A part of the key's hash, so that a value under a wrong key is not taken for another repository's.
fn fingerprint(key: &str) -> [u8; 8] {
    let mut fingerprint = [0; 8];
    fingerprint.copy_from_slice(&Sha256::digest(key.as_bytes())[..8]);
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_were_written_and_garbage_is_not() {
        for epoch in [None, Some(WriteId::random())] {
            let stored = StoredValue {
                at: Duration::from_millis(1_700_000_000_123),
                epoch,
                bytes: Bytes::from_static(b"{}"),
            };
            let packed = Bytes::from(pack("key", &stored));
            assert_eq!(packed.len(), OVERHEAD + 2);
            assert_eq!(unpack("key", packed.clone()), Some(stored));
            assert_eq!(unpack("another key", packed.clone()), None);
            assert_eq!(unpack("key", packed.slice(..OVERHEAD - 1)), None);
        }
        for garbage in ["", "rsv1", "garbage that is long enough to be a value"] {
            assert_eq!(unpack("key", Bytes::from_static(garbage.as_bytes())), None, "{garbage}");
        }
    }
}
