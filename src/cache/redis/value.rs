//! A value with the time and the epoch at which it was learned, as bytes.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::cache::epoch::WriteId;
use crate::cache::shared::Stored;

const MAGIC: &[u8; 4] = b"rsv1";
/// Bytes around the value itself: magic, milliseconds since 1970, whether there is an epoch, the epoch.
pub(super) const OVERHEAD: usize = 4 + 8 + 1 + 8;

pub(super) fn pack(stored: &Stored) -> Vec<u8> {
    let mut packed = BytesMut::with_capacity(OVERHEAD + stored.bytes.len());
    packed.put_slice(MAGIC);
    packed.put_u64(super::millis(stored.at));
    packed.put_u8(stored.epoch.is_some().into());
    packed.put_slice(&stored.epoch.map(WriteId::to_bytes).unwrap_or_default());
    packed.put_slice(&stored.bytes);
    packed.into()
}

/// `None` for anything but what [`pack`] made.
pub(super) fn unpack(mut packed: Bytes) -> Option<Stored> {
    if packed.len() < OVERHEAD || packed.split_to(MAGIC.len()) != MAGIC[..] {
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
    Some(Stored {
        at,
        epoch: has_epoch.then(|| WriteId::from_bytes(epoch)),
        bytes: packed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_were_written_and_garbage_is_not() {
        for epoch in [None, Some(WriteId::random())] {
            let stored = Stored {
                at: Duration::from_millis(1_700_000_000_123),
                epoch,
                bytes: Bytes::from_static(b"{}"),
            };
            let packed = pack(&stored);
            assert_eq!(packed.len(), OVERHEAD + 2);
            assert_eq!(unpack(packed.into()), Some(stored));
        }
        for garbage in [
            "",
            "rsv1",
            "garbage that is long enough to be a value",
            "rsv100000000900000000",
        ] {
            assert_eq!(unpack(Bytes::from_static(garbage.as_bytes())), None, "{garbage}");
        }
    }
}
